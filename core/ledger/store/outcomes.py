"""Reads and writes what a drain needs besides the log: balances, holds, refunds and outcomes."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.base.rows import array, copy_text
from core.ledger.rules import chain
from core.ledger.rules.model import STATUS_NUMBERS, Balance, Hold, Limit, Outcome, Posting, Refunded, Rejection
from core.ledger.store import limits as limit_store

OUTCOME = (
    "seq, status, amount, source, source_version, source_balance, destination, destination_version, "
    "destination_balance, reason, rejection, decided_at, hash"
)
"""The columns of an outcome in their order. The chain covers all of them but its own hash."""

# A row of ``outcomes AS o`` as ``recorded`` takes it: its numbers as COPY text, and the rest. Postgres writes this text in a
# third of the time in which Python reads the numbers and writes them again. A rejection has no balances.
LINE = r"""
    o.seq,
    CASE
        WHEN o.reason IS NULL THEN concat_ws(
            E'\t', o.seq, o.status, o.amount, o.source, o.source_version, o.source_balance,
            o.destination, o.destination_version, o.destination_balance, '\N'
        )
        ELSE concat_ws(
            E'\t', o.seq, o.status, o.amount, coalesce(o.source::text, '\N'), coalesce(o.source_version::text, '\N'),
            coalesce(o.source_balance::text, '\N'), coalesce(o.destination::text, '\N'),
            coalesce(o.destination_version::text, '\N'), coalesce(o.destination_balance::text, '\N'), o.reason
        )
    END,
    o.rejection::text,
    o.decided_at,
    o.hash
""".strip()

# Balances are sorted by id before they are locked, so that two drains cannot deadlock. The primary key finds them. The last
# columns say whether there is anything to look for in balance_limits, so that most batches need no statement for that, and
# whether somebody watches the balance. A lock that waited for whoever set that reads the new row, so it sees it.
_READ_BALANCES = """
    SELECT
        id,
        credit_balance,
        debit_balance,
        inflight_credit_balance,
        inflight_debit_balance,
        version,
        last_credit_seq,
        EXISTS (SELECT FROM balance_limits WHERE balance_limits.balance = balances.id),
        watched
    FROM balances
    WHERE id = ANY(%(ids)s::bigint[])
    ORDER BY id
"""

# The clock is read after the last row was locked, for the branches of a UNION ALL run one after the other.
_LOCK_BALANCES = f"""
    SELECT locked.*, NULL::timestamptz
    FROM (
        {_READ_BALANCES.strip()}
        FOR NO KEY UPDATE OF balances {{how}}
    ) AS locked
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, clock_timestamp()
"""

_LOCK_ALL_BALANCES = _LOCK_BALANCES.format(how="")
_LOCK_FREE_BALANCES = _LOCK_BALANCES.format(how="SKIP LOCKED")

# log_destination_seq_idx serves this. Only a posting (1), a commit_inflight (3) and a refund (6) credit a balance.
_LATER_CREDITS = """
    SELECT log.destination, outcomes.seq, outcomes.amount
    FROM unnest(%(balances)s::bigint[], %(seqs)s::bigint[]) AS b (id, seq)
    JOIN log ON log.destination = b.id AND log.seq > b.seq AND log.kind IN (1, 3, 6)
    JOIN outcomes ON outcomes.seq = log.seq AND outcomes.status = 1
"""

_FIND_HOLDS = """
    SELECT seq, amount, committed, voided
    FROM holds
    WHERE seq = ANY(%(seqs)s::bigint[])
"""

OPEN_HOLDS_HAVE_SIDES = """EXISTS (
          SELECT
          FROM pg_constraint
          WHERE conrelid = 'holds'::regclass
            AND conname = 'holds_between_two_balances'
            AND convalidated
      )"""
"""A condition: each open hold has its balances beside it. Migration 0032 fills in those of an older release."""

_FIND_REFUNDS = """
    SELECT o.seq, o.amount, coalesce(r.refunded, 0)
    FROM outcomes o
    LEFT JOIN refunds r ON r.seq = o.seq
    WHERE o.seq = ANY(%(seqs)s::bigint[])
"""

_new = tuple.__new__
"""Makes a named tuple from all its values, in half the time of its own constructor."""

# The parameters of the next three are arrays, one for each field of the model in its order.
_WRITE_BALANCES = """
    UPDATE balances
    SET balance = c - d,
        credit_balance = c,
        debit_balance = d,
        inflight_credit_balance = ic,
        inflight_debit_balance = id_,
        version = v,
        last_credit_seq = s
    FROM unnest(
        %s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::bigint[], %s::bigint[]
    ) AS new (key, c, d, ic, id_, v, s)
    WHERE balances.id = key
"""

_WRITE_HOLDS = """
    INSERT INTO holds (seq, amount, committed, voided, settled_at, source, destination)
    SELECT s, a, c, v, CASE WHEN c + v = a THEN %s::timestamptz END, source, destination
    FROM unnest(
        %s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[], %s::bigint[], %s::bigint[]
    ) AS new (s, a, c, v, source, destination)
    ON CONFLICT (seq) DO UPDATE
    SET committed = excluded.committed,
        voided = excluded.voided,
        settled_at = excluded.settled_at
"""

_WRITE_REFUNDS = """
    INSERT INTO refunds (seq, amount, refunded)
    SELECT s, a, r
    FROM unnest(%s::bigint[], %s::numeric[], %s::numeric[]) AS new (s, a, r)
    ON CONFLICT (seq) DO UPDATE
    SET refunded = excluded.refunded
"""


class Recorded(NamedTuple):
    """A stored outcome."""

    seq: int
    line: str
    """Its row as ``line_of`` wrote it."""
    hash: bytes | None
    """None for one from before the chain."""


class Locked(NamedTuple):
    """Balances as they were read."""

    balances: dict[int, Balance]
    limits: dict[int, list[Limit]]
    """The limits of those that ever had any."""
    watched: list[int]
    """Those that somebody watches."""
    at: datetime
    """The time by the database's clock when all were locked."""


def lock_balances(conn: Connection, ids: Collection[int], *, wait: bool = True) -> Locked:
    """Read and lock balances until the transaction ends. Without ``wait``, those that somebody has locked are left out.

    The limits of those that have any come beside them. Whatever was accepted before this call is covered by them.

    Rows are locked in ID order, whatever the caller's order, so two drains cannot deadlock.
    Amounts are minor units. An unknown ID is left out; the caller decides what that means.

    Raises:
        TransientError: a lock was not had in time (55P03), or a deadlock (40P01).
    """
    statement = _LOCK_ALL_BALANCES if wait else _LOCK_FREE_BALANCES
    *rows, last = driver(conn).execute(statement, {"ids": array(ids)}).fetchall()
    assert last[0] is None, "the clock is read last"
    return Locked(*_with_limits(conn, rows), [row[0] for row in rows if row[8]], last[9])


def read_balances(conn: Connection, ids: Collection[int]) -> dict[int, Balance]:
    """Read balances without locking them."""
    return read_with_limits(conn, ids)[0]


def read_with_limits(conn: Connection, ids: Collection[int]) -> tuple[dict[int, Balance], dict[int, list[Limit]]]:
    """Read balances and their limits without locking them."""
    return _with_limits(conn, driver(conn).execute(_READ_BALANCES, {"ids": array(ids)}).fetchall())


def _with_limits(conn: Connection, rows: Sequence[Sequence[Any]]) -> tuple[dict[int, Balance], dict[int, list[Limit]]]:
    limited = [row[0] for row in rows if row[7]]
    balances = {row[0]: Balance._make(row[:7]) for row in rows}
    return balances, limit_store.find(conn, limited) if limited else {}


def later_credits(conn: Connection, after: dict[int, int]) -> dict[int, list[tuple[int, int]]]:
    """Find the applied credits of each balance that have a seq above the one given for it.

    Returns pairs of seq and amount, by balance.
    """
    found: dict[int, list[tuple[int, int]]] = {}
    rows = driver(conn).execute(_LATER_CREDITS, {"balances": array(after), "seqs": array(after.values())})
    for balance, seq, amount in rows.fetchall():
        found.setdefault(balance, []).append((seq, amount))
    return found


def find_holds(conn: Connection, seqs: Collection[int]) -> dict[int, Hold]:
    """Read holds, by seq.

    Their rows need no lock, because only a hold's own queue settles it, and the drain has locked its cursor.
    """
    rows = driver(conn).execute(_FIND_HOLDS, {"seqs": array(seqs)}).fetchall()
    return {row[0]: Hold(*row) for row in rows}


def find_refunds(conn: Connection, seqs: Collection[int]) -> dict[int, Refunded]:
    """Read how much of these postings has been refunded, by seq.

    The rows need no lock, because all refunds of one posting are in one queue.
    The amount that a posting moved is final, because only an applied posting can be refunded.
    """
    rows = driver(conn).execute(_FIND_REFUNDS, {"seqs": array(seqs)})
    return {row[0]: Refunded(*row) for row in rows.fetchall()}


def write(
    conn: Connection,
    outcomes: Iterable[Outcome],
    postings: Iterable[Posting],
    decided_at: datetime,
    heads: dict[int, bytes],
) -> None:
    """Write outcomes and link each to the chain of its queue.

    ``postings`` are those of the outcomes, in the same order. ``heads`` holds the last hash of each queue, and is updated.
    """
    copy_text(conn, "outcomes", OUTCOME, _lines(outcomes, postings, decided_at.isoformat(), heads))


def _lines(
    outcomes: Iterable[Outcome], postings: Iterable[Posting], decided_at: str, heads: dict[int, bytes]
) -> Iterator[str]:
    for outcome, posting in zip(outcomes, postings, strict=False):
        line = line_of(outcome, decided_at)
        head = heads[posting.queue] = chain.link(heads[posting.queue], line)
        yield f"{line}\t\\\\x{head.hex()}"


def write_balances(conn: Connection, balances: Collection[Balance]) -> None:
    """Store the new sums of locked balances."""
    driver(conn).execute(_WRITE_BALANCES, [array(column) for column in zip(*balances, strict=True)])


def write_holds(conn: Connection, outcomes: Collection[Outcome], settled_at: datetime) -> None:
    """Store the new holds of outcomes, and update how much of an old one is committed or voided. Each hold comes once."""
    rows = [
        (*outcome.hold, outcome.source.id, outcome.destination.id)
        for outcome in outcomes
        if outcome.hold is not None and outcome.source is not None and outcome.destination is not None
    ]
    driver(conn).execute(_WRITE_HOLDS, [settled_at, *(array(column) for column in zip(*rows, strict=True))])


def write_refunds(conn: Connection, refunds: Collection[Refunded]) -> None:
    """Store how much of each posting has been refunded."""
    driver(conn).execute(_WRITE_REFUNDS, [array(column) for column in zip(*refunds, strict=True)])


def line_of(outcome: Outcome, decided_at: str) -> str:
    """Write an outcome's row in COPY's text format, without its hash. The chain hashes this text.

    ``decided_at`` is an ISO 8601 time in UTC. No column needs an escape, for all of them are numbers or JSON of numbers.
    """
    seq, status, amount, source, destination, _, rejection, _ = outcome
    if source is None or destination is None:
        assert rejection is not None
        why = _rejection_json(rejection)
        return f"{seq}\t4\t0\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t{int(rejection.reason)}\t{why}\t{decided_at}"
    source_id, source_credit, source_debit, _, _, source_version, _ = source
    id, credit, debit, _, _, version, _ = destination
    return (
        f"{seq}\t{STATUS_NUMBERS[status]}\t{amount}\t{source_id}\t{source_version}\t{source_credit - source_debit}"
        f"\t{id}\t{version}\t{credit - debit}\t\\N\t\\N\t{decided_at}"
    )


@lru_cache(maxsize=16)
def _written(decided_at: datetime) -> str:
    """Write a time. Outcomes that follow each other share theirs, for a drain decides thousands at one."""
    return decided_at.isoformat()


def line_of_row(columns: Sequence[Any]) -> str:
    """Write a stored row as ``line_of`` wrote it. The columns come in the order of ``OUTCOME``, ``rejection`` as JSON text."""
    seq, status, amount, source, version, left, to, to_version, to_left, reason, rejection, decided_at = columns
    # It was not rejected, as most are not.
    if (
        reason is rejection is None
        and source is not None
        and version is not None
        and left is not None
        and to is not None
        and to_version is not None
        and to_left is not None
    ):
        return (
            f"{seq}\t{status}\t{amount}\t{source}\t{version}\t{left}\t{to}\t{to_version}\t{to_left}"
            f"\t\\N\t\\N\t{_written(decided_at)}"
        )
    numbers = columns[:10]
    return "\t".join(
        [
            *("\\N" if number is None else str(number) for number in numbers),
            "\\N" if rejection is None else _as_written(json.loads(rejection)),
            _written(decided_at),
        ]
    )


def recorded(rows: Iterable[Sequence[Any]]) -> list[Recorded]:
    """Make outcomes from rows that were selected by ``LINE``."""
    found = []
    for seq, numbers, rejection, decided_at, hash in rows:
        why = "\\N" if rejection is None else _as_written(json.loads(rejection))
        found.append(_new(Recorded, (seq, f"{numbers}\t{why}\t{_written(decided_at)}", hash)))
    return found


def _as_written(rejection: Any) -> str:
    """Write a rejection with its names in their first order, which the database does not keep."""
    if isinstance(rejection, dict):
        rejection = {name: rejection[name] for name in Rejection._fields if name in rejection} | rejection
    return json.dumps(rejection)


def _rejection_json(rejection: Rejection) -> str:
    values = rejection._asdict()
    del values["reason"]
    return json.dumps({name: value for name, value in values.items() if value is not None})
