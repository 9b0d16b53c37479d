"""What a drain reads and writes besides the log: balances, holds, outcomes."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from core.base.db import array, copy_text, driver
from core.ledger.rules import chain
from core.ledger.rules.model import STATUS_NUMBERS, Balance, Hold, Outcome, Posting, Refunded, Rejection

OUTCOME = (
    "seq, status, amount, source, source_version, source_balance, destination, destination_version, "
    "destination_balance, reason, rejection, decided_at, hash"
)
"""The columns in their order, of which the chain covers all but itself."""


def lock_balances(conn: Connection, ids: Collection[int]) -> dict[int, Balance]:
    """Read and lock balances until the transaction ends.

    Rows are locked in ID order, whatever the caller's order, so two drains cannot deadlock.
    Amounts are minor units. An unknown ID is left out; the caller decides what that means.

    Raises:
        TransientError: a lock was not had in time (55P03), or a deadlock (40P01).
    """
    return _balances(conn, ids, " FOR NO KEY UPDATE")


def read_balances(conn: Connection, ids: Collection[int]) -> dict[int, Balance]:
    """Read balances without locking them."""
    return _balances(conn, ids, "")


def _balances(conn: Connection, ids: Collection[int], lock: str) -> dict[int, Balance]:
    rows = (
        driver(conn)
        .execute(
            "SELECT id, credit_balance, debit_balance, inflight_credit_balance, inflight_debit_balance, version, "
            f"last_credit_seq FROM balances WHERE id = ANY(%s::bigint[]) ORDER BY id{lock}",
            (array(ids),),
        )
        .fetchall()
    )
    return {row[0]: Balance._make(row) for row in rows}


def clock(conn: Connection) -> datetime:
    """The database's time now. Read under the balances' locks, it never runs backwards for a balance."""
    (now,) = driver(conn).execute("SELECT clock_timestamp()").fetchone()  # type: ignore[misc]
    assert isinstance(now, datetime)
    return now


def later_credits(conn: Connection, after: dict[int, int]) -> dict[int, list[tuple[int, int]]]:
    """For each balance, the credits it got from postings with a seq above the given one: pairs of seq and amount."""
    found: dict[int, list[tuple[int, int]]] = {}
    rows = driver(conn).execute(
        "SELECT log.destination, outcomes.seq, outcomes.amount FROM unnest(%s::bigint[], %s::bigint[]) AS b (id, seq) "
        "JOIN log ON log.destination = b.id AND log.seq > b.seq AND log.kind IN (1, 3, 6) "
        "JOIN outcomes ON outcomes.seq = log.seq AND outcomes.status = 1",
        (array(after), array(after.values())),
    )
    for balance, seq, amount in rows.fetchall():
        found.setdefault(balance, []).append((seq, amount))
    return found


def find_holds(conn: Connection, seqs: Collection[int]) -> dict[int, Hold]:
    """Holds by seq. Their rows need no lock: a hold is settled only by its own queue, whose cursor is locked."""
    rows = (
        driver(conn)
        .execute("SELECT seq, amount, committed, voided FROM holds WHERE seq = ANY(%s::bigint[])", (array(seqs),))
        .fetchall()
    )
    return {row[0]: Hold(*row) for row in rows}


def find_refunds(conn: Connection, seqs: Collection[int]) -> dict[int, Refunded]:
    """How far these have been given back. Like holds they need no lock: all refunds of one thing are in one queue.

    What they moved is final, for nothing else is accepted as what a refund gives back.
    """
    rows = driver(conn).execute(
        "SELECT o.seq, o.amount, coalesce(r.refunded, 0) FROM outcomes o "
        "LEFT JOIN refunds r ON r.seq = o.seq WHERE o.seq = ANY(%s::bigint[])",
        (array(seqs),),
    )
    return {row[0]: Refunded(*row) for row in rows.fetchall()}


def write(
    conn: Connection,
    outcomes: Iterable[Outcome],
    postings: Iterable[Posting],
    decided_at: datetime,
    heads: dict[int, bytes],
) -> None:
    """Append outcomes, of these postings in this order, to the chains of their queues. ``heads`` moves on with them."""
    copy_text(conn, "outcomes", OUTCOME, _lines(outcomes, postings, decided_at.isoformat(), heads))


def _lines(
    outcomes: Iterable[Outcome], postings: Iterable[Posting], decided_at: str, heads: dict[int, bytes]
) -> Iterator[str]:
    for outcome, posting in zip(outcomes, postings, strict=False):
        line = line_of(outcome, decided_at)
        head = heads[posting.queue] = chain.link(heads[posting.queue], line)
        yield f"{line}\t\\\\x{head.hex()}"


def write_balances(conn: Connection, balances: Collection[Balance]) -> None:
    """Store new sums of balances that are locked."""
    driver(conn).execute(
        "UPDATE balances SET balance = c - d, credit_balance = c, debit_balance = d, inflight_credit_balance = ic, "
        "inflight_debit_balance = id_, version = v, last_credit_seq = s "
        "FROM unnest(%s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::bigint[], "
        "%s::bigint[]) AS new (key, c, d, ic, id_, v, s) WHERE balances.id = key",
        [array(column) for column in zip(*balances, strict=True)],
    )


def write_holds(conn: Connection, holds: Collection[Hold], settled_at: datetime) -> None:
    """Store new holds, and what was committed or voided of old ones."""
    driver(conn).execute(
        "INSERT INTO holds (seq, amount, committed, voided, settled_at) "
        "SELECT s, a, c, v, CASE WHEN c + v = a THEN %s::timestamptz END "
        "FROM unnest(%s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[]) AS new (s, a, c, v) "
        "ON CONFLICT (seq) DO UPDATE SET committed = excluded.committed, voided = excluded.voided, "
        "settled_at = excluded.settled_at",
        [settled_at, *(array(column) for column in zip(*holds, strict=True))],
    )


def write_refunds(conn: Connection, refunds: Collection[Refunded]) -> None:
    """Store how far things have been given back."""
    driver(conn).execute(
        "INSERT INTO refunds (seq, amount, refunded) SELECT * "
        "FROM unnest(%s::bigint[], %s::numeric[], %s::numeric[]) AS new (s, a, r) "
        "ON CONFLICT (seq) DO UPDATE SET refunded = excluded.refunded",
        [array(column) for column in zip(*refunds, strict=True)],
    )


def line_of(outcome: Outcome, decided_at: str) -> str:
    """A row but for its hash, in COPY's text format. All of it is numbers and JSON of numbers: nothing needs an escape.

    ``decided_at`` is an ISO 8601 time in UTC. The chain hashes this text.
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


def line_of_row(columns: Sequence[Any]) -> str:
    """The same text, of a row that is stored: its columns in that order, ``rejection`` as the text of its JSON."""
    *numbers, rejection, decided_at = columns
    return "\t".join(
        [
            *("\\N" if number is None else str(number) for number in numbers),
            "\\N" if rejection is None else _as_written(json.loads(rejection)),
            decided_at.isoformat(),
        ]
    )


def _as_written(rejection: Any) -> str:
    """The database puts the names in an order of its own."""
    if isinstance(rejection, dict):
        rejection = {name: rejection[name] for name in Rejection._fields if name in rejection} | rejection
    return json.dumps(rejection)


def _rejection_json(rejection: Rejection) -> str:
    values = rejection._asdict()
    del values["reason"]
    return json.dumps({name: value for name, value in values.items() if value is not None})
