"""SQL of seals, and of what they cover. Seals are added, and never changed or removed."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.base.rows import array
from core.ledger.store.log import quick_ranges
from core.ledger.store.outcomes import LINE, Recorded, recorded
from core.notary.attestations import Attestation
from core.notary.leaves import Party
from core.notary.seals import Seal, Statement, Verified

_AT_A_TIME = 500

_ADD = """
INSERT INTO seals (number, first_seq, last_seq, statement, signature)
VALUES (%(number)s, %(first_seq)s, %(last_seq)s, %(statement)s, %(signature)s)
ON CONFLICT DO NOTHING
"""

_SELECT = """
SELECT number, statement, signature
FROM seals
"""

_NEWEST = f"""{_SELECT}
ORDER BY number DESC
LIMIT 1
"""

_EVERY = f"""{_SELECT}
WHERE number >= %(first)s
ORDER BY number
LIMIT %(limit)s
"""

# Served by seals_hand_over_idx.
_HAND_OVERS = f"""{_SELECT}
WHERE statement LIKE '%%"next_key":"%%'
ORDER BY number
"""

_FIND = f"""{_SELECT}
WHERE number = %(number)s
"""

# Served by seals_last_seq_idx. A seal without rows has the last_seq of the one before, so the first is the one that has the row.
_COVERING = f"""{_SELECT}
WHERE last_seq >= %(seq)s
ORDER BY last_seq, number
LIMIT 1
"""

_RANGES = """
SELECT number, first_seq, last_seq
FROM seals
WHERE number BETWEEN %(first)s AND %(last)s
"""

_STATE = """
SELECT
    coalesce((SELECT max(seq) FROM log), 0),
    (SELECT id::text FROM identity),
    to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
"""

_PARTIES = """
SELECT b.id, 'bln_' || b.balance_id, l.ledger_id, b.indicator, b.currency
FROM balances AS b
JOIN ledgers AS l ON l.id = b.ledger
WHERE b.id = ANY(%(keys)s::bigint[])
"""

# A position in log_queue_seq_idx, and a probe of the primary key for each row.
_DECIDED = f"""
SELECT {LINE}
FROM log
JOIN outcomes AS o USING (seq)
WHERE queue = %(queue)s AND seq > %(after)s AND seq <= %(last)s
ORDER BY queue, seq
LIMIT %(limit)s
"""

_DECIDED_BETWEEN = f"""
SELECT {LINE}
FROM outcomes AS o
WHERE seq BETWEEN %(first)s AND %(last)s
ORDER BY seq
"""

NEWEST_CHECKPOINT = """
SELECT id, (heads ->> 'sequence')::bigint AS sequence,
       to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at, signature
FROM checkpoints
ORDER BY id DESC
LIMIT 1
"""

# What the newest checkpoint says, when no attestation says it yet.
_TO_ATTEST = """
SELECT checkpoints.id, heads::text, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), checkpoints.signature,
       encode(log.digest, 'hex')
FROM (SELECT * FROM checkpoints ORDER BY id DESC LIMIT 1) AS checkpoints
JOIN log ON log.seq = (heads ->> 'sequence')::bigint
WHERE NOT EXISTS (SELECT FROM attestations WHERE checkpoint >= checkpoints.id)
"""

_ATTEST = """
INSERT INTO attestations (checkpoint, statement, signature)
VALUES (%(checkpoint)s, %(statement)s, %(signature)s)
ON CONFLICT DO NOTHING
"""

_ATTESTATIONS = """
SELECT checkpoint, statement, signature
FROM attestations
WHERE checkpoint > %(after)s
ORDER BY checkpoint
LIMIT %(limit)s
"""

_NEWEST_ATTESTATION = """
SELECT checkpoint, statement, signature
FROM attestations
ORDER BY checkpoint DESC
LIMIT 1
"""

AUDIT_HEAD = """
SELECT id, encode(hash, 'hex') AS hash
FROM audit
ORDER BY id DESC
LIMIT 1
"""

_IS_CUT_OFF = """
SELECT EXISTS (
    SELECT
    FROM audit
    WHERE action = 'audit.cut' AND id > %(position)s AND (details ->> 'last')::bigint >= %(position)s
)
"""


class Unattested(NamedTuple):
    """A checkpoint that no attestation covers, and the digest that the log has at its position."""

    id: int
    heads: str
    at: str
    signature: str
    digest: str | None


class State(NamedTuple):
    """How far the ledger is."""

    last_seq: int
    ledger: str
    now: str


def newest(conn: Connection) -> tuple[int, Seal] | None:
    """Read the newest seal, with its number."""
    row = driver(conn).execute(_NEWEST).fetchone()
    return None if row is None else (row[0], Seal(row[1], row[2]))


def find(conn: Connection, number: int) -> Seal | None:
    """Find a seal by its number."""
    row = driver(conn).execute(_FIND, {"number": number}).fetchone()
    return None if row is None else Seal(row[1], row[2])


def covering(conn: Connection, seq: int) -> tuple[int, Seal] | None:
    """Find the seal that covers a row of the log, with its number; None when none does yet."""
    row = driver(conn).execute(_COVERING, {"seq": seq}).fetchone()
    return None if row is None else (row[0], Seal(row[1], row[2]))


def every(conn: Connection, first: int = 1) -> Iterator[tuple[int, Seal]]:
    """Yield the seals from a number on, reading some hundred at a time."""
    while rows := driver(conn).execute(_EVERY, {"first": first, "limit": _AT_A_TIME}).fetchall():
        for number, statement, signature in rows:
            yield number, Seal(statement, signature)
        first = rows[-1][0] + 1


def ranges(conn: Connection, first: int, last: int) -> dict[int, tuple[int, int]]:
    """Read by which rows the seals between two numbers are found, by their numbers."""
    rows = driver(conn).execute(_RANGES, {"first": first, "last": last}).fetchall()
    return {number: (first_seq, last_seq) for number, first_seq, last_seq in rows}


def hand_overs(conn: Connection) -> list[tuple[int, Seal]]:
    """Read the seals that name another key for the next one, with their numbers."""
    rows = driver(conn).execute(_HAND_OVERS).fetchall()
    return [(number, Seal(statement, signature)) for number, statement, signature in rows]


def add(conn: Connection, statement: Statement, seal: Seal) -> bool:
    """Add a seal. Returns False when another notary was quicker."""
    added = driver(conn).execute(
        _ADD,
        {
            "number": statement.number,
            "first_seq": statement.first_seq,
            "last_seq": statement.last_seq,
            "statement": seal.statement,
            "signature": seal.signature,
        },
    )
    return added.rowcount == 1


def state(conn: Connection) -> State:
    """Read how far the log is, which ledger it is, and the time."""
    row = driver(conn).execute(_STATE).fetchone()
    assert row is not None
    return State(*row)


def parties(conn: Connection, keys: Collection[int]) -> dict[int, Party]:
    """Read who balances are, by their keys."""
    found = driver(conn).execute(_PARTIES, {"keys": array(keys)}).fetchall()
    return {row[0]: Party._make(row[1:]) for row in found}


def decided(conn: Connection, queue: int, *, after: int, last: int, limit: int) -> list[Recorded]:
    """Read outcomes of a queue beyond the seq ``after``, up to ``last``, in seq order."""
    values = {"queue": queue, "after": after, "last": last, "limit": limit}
    return recorded(driver(conn).execute(_DECIDED, values).fetchall())


class Piece(NamedTuple):
    """Some rows of the log, and their outcomes."""

    rows: list[tuple[Any, ...]]
    """The values of a ``LogRow`` each. Amounts beyond 63 bits are None."""
    outcomes: list[Recorded]


@contextmanager
def pieces(conn: Connection, seqs: Iterable[range]) -> Iterator[Iterator[Piece]]:
    """Read rows of the log piece by piece. One that lacks a number or its version does not have its digest."""
    with quick_ranges(conn, seqs, _DECIDED_BETWEEN) as found:
        yield (Piece(rows, recorded(outcomes)) for rows, outcomes in found)


def cursors(conn: Connection) -> dict[int, int]:
    """Read how far each queue is decided."""
    return dict(driver(conn).execute("SELECT number, cursor FROM queues ORDER BY number").fetchall())


def newest_checkpoint(conn: Connection) -> Verified | None:
    """Read the newest checkpoint of the verifier."""
    row = driver(conn).execute(NEWEST_CHECKPOINT).fetchone()
    return None if row is None else Verified(id=row[0], sequence=row[1], at=row[2], signature=row[3])


def to_attest(conn: Connection) -> Unattested | None:
    """Read the newest checkpoint, if it is not attested."""
    row = driver(conn).execute(_TO_ATTEST).fetchone()
    return None if row is None else Unattested._make(row)


def add_attestation(conn: Connection, checkpoint: int, attestation: Attestation) -> bool:
    """Add an attestation. Returns False when another notary was quicker."""
    values = {
        "checkpoint": checkpoint,
        "statement": attestation.statement,
        "signature": attestation.signature,
    }
    return driver(conn).execute(_ATTEST, values).rowcount == 1


def attestations(conn: Connection) -> Iterator[tuple[int, Attestation]]:
    """Yield the attestations with their checkpoints, oldest first."""
    after = 0
    while rows := driver(conn).execute(_ATTESTATIONS, {"after": after, "limit": _AT_A_TIME}).fetchall():
        for after, statement, signature in rows:
            yield after, Attestation(statement, signature)


def newest_attestation(conn: Connection) -> tuple[int, Attestation] | None:
    """Read the newest attestation with its checkpoint."""
    row = driver(conn).execute(_NEWEST_ATTESTATION).fetchone()
    return None if row is None else (row[0], Attestation(row[1], row[2]))


def audit_head(conn: Connection) -> tuple[int, str] | None:
    """Read position and hash of the last row of the audit log."""
    row = driver(conn).execute(AUDIT_HEAD).fetchone()
    return None if row is None else (row[0], row[1])


def digests(conn: Connection, seqs: Collection[int]) -> dict[int, bytes | None]:
    """Read the digests of rows of the log, by their seqs."""
    return dict(driver(conn).execute("SELECT seq, digest FROM log WHERE seq = ANY(%s)", (list(seqs),)).fetchall())


def hashes(conn: Connection, seqs: Collection[int]) -> dict[int, bytes]:
    """Read the hashes of outcomes, by their seqs. An outcome from before the chain is left out."""
    found = driver(conn).execute("SELECT seq, hash FROM outcomes WHERE seq = ANY(%s)", (list(seqs),)).fetchall()
    return {seq: hash for seq, hash in found if hash is not None}


def audit_hash(conn: Connection, position: int) -> str | None:
    """Return the hash of a row of the audit log, in hexadecimal; None when there is no such row."""
    row = driver(conn).execute("SELECT encode(hash, 'hex') FROM audit WHERE id = %s", (position,)).fetchone()
    return None if row is None else row[0]


def is_cut_off(conn: Connection, position: int) -> bool:
    """Tell whether the audit log says that this row of it was removed because it was old."""
    return driver(conn).execute(_IS_CUT_OFF, {"position": position}).fetchone() == (True,)
