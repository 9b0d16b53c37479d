"""What balances held at a time: sums over outcomes, and the snapshots that shorten them.

An entry counts from its transaction's effective date; without one, from when it was accepted. Only what moved money is
an entry: outcomes with the status APPLIED, whose number is 1.
"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from core.ledger.rules.model import Balance


class Snapshot(NamedTuple):
    """Sums of the entries without an effective date, up to a version of their balance. Minor units."""

    version: int
    credit: int
    debit: int


def newest_snapshot(conn: Connection, key: int, *, upto: int, at: datetime) -> Snapshot | None:
    """The last one of a balance that was taken by ``at``, so that all in it had been accepted by then.

    ``upto`` is the version up to which the caller looks.
    """
    row = conn.execute(
        text(
            "SELECT version, credit, debit FROM snapshots "
            "WHERE balance = :key AND version <= :upto AND taken_at <= :at ORDER BY version DESC LIMIT 1"
        ),
        {"key": key, "upto": upto, "at": at},
    ).one_or_none()
    return Snapshot(*row) if row is not None else None


def sums(conn: Connection, key: int, *, after: int, upto: int, at: datetime) -> tuple[int, int]:
    """Credits and debits of a balance that count by ``at``, in minor units.

    Of the entries without an effective date, those with a version above ``after``; of those with one, all. None with a
    version above ``upto``: everything up to a version that was once read is there for good, so it does not matter
    whether this statement sees more than the one that read it. Two bounds also tell the planner how little lies between.
    """
    sides = " UNION ALL ".join(
        f"SELECT '{side}' AS side, o.amount FROM outcomes o JOIN log ON log.seq = o.seq "
        f"WHERE o.{side} = :key AND o.{side}_version > :after AND o.{side}_version <= :upto AND o.status = 1 "
        "AND log.effective_date IS NULL AND log.accepted_at <= :at "
        f"UNION ALL SELECT '{side}', o.amount FROM log JOIN outcomes o ON o.seq = log.seq "
        f"WHERE log.{side} = :key AND log.effective_date <= :at AND o.status = 1 AND o.{side}_version <= :upto"
        for side in ("destination", "source")
    )
    row = conn.execute(
        text(
            "SELECT coalesce(sum(amount) FILTER (WHERE side = 'destination'), 0), "
            f"coalesce(sum(amount) FILTER (WHERE side = 'source'), 0) FROM ({sides}) AS entries"
        ),
        {"key": key, "after": after, "upto": upto, "at": at},
    ).one()
    return row[0], row[1]


def recomputed(conn: Connection, key: int) -> Balance:
    """The sums and the version of a balance as its outcomes make them. ``last_credit_seq`` is not among them: it is 0.

    One statement, so it sees all that one commit wrote, or nothing of it.
    """
    # A hold (kind 2) reserves; a commit (3) or void (4) of it releases. A commit moves as well.
    sides = " UNION ALL ".join(
        f"SELECT '{side}' AS side, CASE WHEN status = 1 THEN o.amount ELSE 0 END AS moved, "
        "CASE WHEN kind = 2 THEN o.amount WHEN kind IN (3, 4) THEN -o.amount ELSE 0 END AS held "
        f"FROM outcomes o JOIN log ON log.seq = o.seq WHERE o.{side} = :key"
        for side in ("destination", "source")
    )
    row = conn.execute(
        text(
            "SELECT coalesce(sum(moved) FILTER (WHERE side = 'destination'), 0), "
            "coalesce(sum(moved) FILTER (WHERE side = 'source'), 0), "
            "coalesce(sum(held) FILTER (WHERE side = 'destination'), 0), "
            f"coalesce(sum(held) FILTER (WHERE side = 'source'), 0), 1 + count(*) FROM ({sides}) AS entries"
        ),
        {"key": key},
    ).one()
    credit, debit, inflight_credit, inflight_debit, version = row
    return Balance(key, credit, debit, inflight_credit, inflight_debit, version, 0)


def last_of_batch(conn: Connection, after: int, size: int) -> int | None:
    """The last of the next ``size`` balances beyond the key ``after``; None when there are none."""
    last: int | None = conn.execute(
        text("SELECT max(id) FROM (SELECT id FROM balances WHERE id > :after ORDER BY id LIMIT :size) AS batch"),
        {"after": after, "size": size},
    ).scalar_one()
    return last


def take_snapshots(conn: Connection, *, after: int, last: int) -> int:
    """Take snapshots of the balances in (after, last] that changed since their last one, and return how many.

    It is one statement, and a drain writes balances and outcomes in one commit: so the entries that are taken from a
    balance's sums, because they have an effective date, are exactly those that are in them. Nothing is locked. Two
    callers at once write the same rows in the same order, and the second leaves out what the first has written.

    ``taken_at`` is no earlier than any entry was accepted, even if the clock was set back since.
    """
    # A snapshot must not be stopped by the size of a ledger that has never had one.
    conn.execute(text("SET LOCAL statement_timeout = 0"))
    done = conn.execute(
        text(
            "INSERT INTO snapshots (balance, version, credit, debit, taken_at) "
            "SELECT b.id, b.version, b.credit_balance - (SELECT coalesce(sum(o.amount), 0) FROM log "
            "JOIN outcomes o ON o.seq = log.seq "
            "WHERE log.destination = b.id AND log.effective_date IS NOT NULL AND o.status = 1), "
            "b.debit_balance - (SELECT coalesce(sum(o.amount), 0) FROM log JOIN outcomes o ON o.seq = log.seq "
            "WHERE log.source = b.id AND log.effective_date IS NOT NULL AND o.status = 1), "
            "greatest(clock_timestamp(), (SELECT max(accepted_at) FROM log)) FROM balances b "
            "WHERE b.id > :after AND b.id <= :last AND b.version > 1 "
            "AND NOT EXISTS (SELECT FROM snapshots s WHERE s.balance = b.id AND s.version = b.version) "
            "ORDER BY b.id ON CONFLICT DO NOTHING"
        ),
        {"after": after, "last": last},
    )
    return done.rowcount
