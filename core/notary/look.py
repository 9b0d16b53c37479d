"""Looks at the ends of all that a seal covers. The notary does so each second, so it is one statement."""

from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.ledger.store.waiting import WAITING
from core.notary import seal_store
from core.notary.seal_store import AUDIT_HEAD, NEWEST_CHECKPOINT
from core.notary.seals import Verified

# Positions in indexes, three for each queue. A queue is decided up to its cursor, so its last row up to there has its last
# outcome.
_LOOK = f"""
SELECT
    coalesce(head.seq, 0),
    head.digest,
    coalesce(line.first - 1, head.seq, 0),
    line.numbers,
    line.seqs,
    line.hashes,
    checkpoint.id,
    checkpoint.sequence,
    checkpoint.at,
    checkpoint.signature,
    audit.id,
    audit.hash,
    coalesce((SELECT max(number) FROM pledges), 0),
    coalesce((SELECT max(checkpoint) FROM attestations), 0)
FROM (
    SELECT
        array_agg(number) FILTER (WHERE last IS NOT NULL) AS numbers,
        array_agg(last) FILTER (WHERE last IS NOT NULL) AS seqs,
        array_agg((SELECT hash FROM outcomes WHERE seq = last)) FILTER (WHERE last IS NOT NULL) AS hashes,
        min(first) AS first
    FROM (
        SELECT
            number,
            (
                SELECT seq
                FROM log
                WHERE (queue, seq) <= (number, cursor) AND queue >= number
                ORDER BY queue DESC, seq DESC
                LIMIT 1
            ) AS last,
            (
                SELECT seq
                FROM log
                WHERE {WAITING}
                ORDER BY queue, seq
                LIMIT 1
            ) AS first
        FROM queues
        OFFSET 0
    ) AS each
) AS line
LEFT JOIN (SELECT seq, digest FROM log ORDER BY seq DESC LIMIT 1) AS head ON true
LEFT JOIN ({NEWEST_CHECKPOINT}) AS checkpoint ON true
LEFT JOIN ({AUDIT_HEAD}) AS audit ON true
"""


class Look(NamedTuple):
    """The ends of all that a seal covers, at one moment."""

    last_seq: int
    digest: bytes | None
    decided_to: int
    """All rows of the log up to here are decided."""
    queues: dict[int, tuple[int, bytes | None]]
    """Seq and hash of the last outcome of each queue that has one. One from before the chain has no hash."""
    checkpoint: Verified | None
    audit: tuple[int, str] | None
    pledges: int
    """The number of the last pledge."""
    attested: int
    """The newest checkpoint that has an attestation."""


def look(conn: Connection) -> Look:
    """Look at the ends of all that a seal covers."""
    row = driver(conn).execute(_LOOK).fetchone()
    assert row is not None
    last_seq, digest, decided_to, numbers, seqs, hashes, id, sequence, at, signature, audit, hash, pledges, attested = (
        row
    )
    return Look(
        last_seq=last_seq,
        digest=digest,
        decided_to=decided_to,
        queues=dict(zip(numbers or (), zip(seqs or (), hashes or (), strict=True), strict=True)),
        checkpoint=None if id is None else Verified(id=id, sequence=sequence, at=at, signature=signature),
        audit=None if audit is None else (audit, hash),
        pledges=pledges,
        attested=attested,
    )


def vanished(conn: Connection, seen: Look, now: Look) -> str | None:
    """Tell what was seen and is not there any more. Only what is not an end any more is read again."""
    row = {seen.last_seq: seen.digest}
    if seen.last_seq and row != {now.last_seq: now.digest} and seal_store.digests(conn, row) != row:
        return f"row {seen.last_seq} of the log"
    left = {seq: hash for seq, hash in {*seen.queues.values()} - {*now.queues.values()} if hash is not None}
    found = seal_store.hashes(conn, left) if left else {}
    gone = [seq for seq, hash in left.items() if found.get(seq) != hash]
    return f"the outcome of seq {min(gone)}" if gone else None
