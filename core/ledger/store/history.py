"""Reads balances as they were at a time: sums over outcomes, and the snapshots that shorten the sums.

An entry counts from its transaction's effective date, or else from when it was accepted. Only outcomes that moved money
are entries. Their status is APPLIED, whose number is 1.
"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from core.ledger.rules.model import Balance
from core.ledger.store.outcomes import OPEN_HOLDS_HAVE_SIDES


class Snapshot(NamedTuple):
    """Sums of the entries without an effective date, up to a version of their balance. Minor units."""

    version: int
    credit: int
    debit: int


# Served by the primary key of snapshots.
_NEWEST_SNAPSHOT = text("""
SELECT version, credit, debit
FROM snapshots
WHERE balance = :key
  AND version <= :upto
  AND taken_at <= :at
ORDER BY version DESC
LIMIT 1
""")

# Entries without an effective date are found by the version of their balance, those with one by their date. Two bounds of
# the version also tell the planner how little lies between.
_SUMS = text("""
SELECT coalesce(sum(amount) FILTER (WHERE side = 'destination'), 0),
       coalesce(sum(amount) FILTER (WHERE side = 'source'), 0)
FROM (
    SELECT 'destination' AS side, o.amount
    FROM outcomes AS o
    JOIN log ON log.seq = o.seq
    WHERE o.destination = :key
      AND o.destination_version > :after
      AND o.destination_version <= :upto
      AND o.status = 1
      AND log.effective_date IS NULL
      AND log.accepted_at <= :at
    UNION ALL
    SELECT 'destination', o.amount
    FROM log
    JOIN outcomes AS o ON o.seq = log.seq
    WHERE log.destination = :key
      AND log.effective_date <= :at
      AND o.status = 1
      AND o.destination_version <= :upto
    UNION ALL
    SELECT 'source', o.amount
    FROM outcomes AS o
    JOIN log ON log.seq = o.seq
    WHERE o.source = :key
      AND o.source_version > :after
      AND o.source_version <= :upto
      AND o.status = 1
      AND log.effective_date IS NULL
      AND log.accepted_at <= :at
    UNION ALL
    SELECT 'source', o.amount
    FROM log
    JOIN outcomes AS o ON o.seq = log.seq
    WHERE log.source = :key
      AND log.effective_date <= :at
      AND o.status = 1
      AND o.source_version <= :upto
) AS entries
""")

# A hold (kind 2) reserves; a commit (3) or void (4) of it releases. A commit moves as well.
_RECOMPUTED = text("""
SELECT coalesce(sum(moved) FILTER (WHERE side = 'destination'), 0),
       coalesce(sum(moved) FILTER (WHERE side = 'source'), 0),
       coalesce(sum(held) FILTER (WHERE side = 'destination'), 0),
       coalesce(sum(held) FILTER (WHERE side = 'source'), 0),
       1 + count(*)
FROM (
    SELECT 'destination' AS side,
           CASE WHEN status = 1 THEN o.amount ELSE 0 END AS moved,
           CASE WHEN kind = 2 THEN o.amount WHEN kind IN (3, 4) THEN -o.amount ELSE 0 END AS held
    FROM outcomes AS o
    JOIN log ON log.seq = o.seq
    WHERE o.destination = :key
    UNION ALL
    SELECT 'source',
           CASE WHEN status = 1 THEN o.amount ELSE 0 END,
           CASE WHEN kind = 2 THEN o.amount WHEN kind IN (3, 4) THEN -o.amount ELSE 0 END
    FROM outcomes AS o
    JOIN log ON log.seq = o.seq
    WHERE o.source = :key
) AS entries
""")

# holds_source_idx and holds_destination_idx serve this, and the two indexes by version have the last version of a balance. The
# last branch looks up what migration 0032 has yet to fill in, and OFFSET keeps the planner from reading all of the log for that.
_HELD = text(f"""
SELECT coalesce(sum(rest) FILTER (WHERE destination = :key), 0),
       coalesce(sum(rest) FILTER (WHERE source = :key), 0),
       greatest(
           1,
           (SELECT max(destination_version) FROM outcomes WHERE destination = :key),
           (SELECT max(source_version) FROM outcomes WHERE source = :key)
       )
FROM (
    SELECT source, NULL AS destination, amount - committed - voided AS rest
    FROM holds
    WHERE source = :key
      AND settled_at IS NULL
    UNION ALL
    SELECT NULL, destination, amount - committed - voided
    FROM holds
    WHERE destination = :key
      AND settled_at IS NULL
    UNION ALL
    SELECT sides.source, sides.destination, h.amount - h.committed - h.voided
    FROM holds AS h
    CROSS JOIN LATERAL (
        SELECT source, destination
        FROM log
        WHERE log.seq = h.seq
        OFFSET 0
    ) AS sides
    WHERE h.source IS NULL
      AND h.settled_at IS NULL
      AND NOT {OPEN_HOLDS_HAVE_SIDES}
) AS open
""")

_LAST_OF_BATCH = text("""
SELECT max(id)
FROM (
    SELECT id
    FROM balances
    WHERE id > :after
    ORDER BY id
    LIMIT :size
) AS batch
""")

# The latest time of the log is that of its last row, or of a row before the clock was set back. A balance with spans needs no
# snapshot, and might have millions of entries with an effective date, which would all be added up.
_TAKE_SNAPSHOTS = text("""
INSERT INTO snapshots (balance, version, credit, debit, taken_at)
SELECT b.id,
       b.version,
       b.credit_balance - (
           SELECT coalesce(sum(o.amount), 0)
           FROM log
           JOIN outcomes AS o ON o.seq = log.seq
           WHERE log.destination = b.id
             AND log.effective_date IS NOT NULL
             AND o.status = 1
       ),
       b.debit_balance - (
           SELECT coalesce(sum(o.amount), 0)
           FROM log
           JOIN outcomes AS o ON o.seq = log.seq
           WHERE log.source = b.id
             AND log.effective_date IS NOT NULL
             AND o.status = 1
       ),
       greatest(
           clock_timestamp(),
           (
               SELECT max(accepted_at)
               FROM log
               WHERE seq IN (SELECT max(seq) FROM log UNION ALL SELECT seq - 1 FROM clock_falls)
           )
       )
FROM balances AS b
WHERE b.id > :after
  AND b.id <= :last
  AND b.version > 1
  AND NOT EXISTS (SELECT FROM snapshots AS s WHERE s.balance = b.id AND s.version = b.version)
  AND NOT EXISTS (SELECT FROM spans WHERE spans.balance = b.id)
ORDER BY b.id
ON CONFLICT DO NOTHING
""")


def newest_snapshot(conn: Connection, key: int, *, upto: int, at: datetime) -> Snapshot | None:
    """Find the last snapshot of a balance that was taken by ``at``, so that all in it had been accepted by then.

    ``upto`` is the version up to which the caller looks.
    """
    row = conn.execute(_NEWEST_SNAPSHOT, {"key": key, "upto": upto, "at": at}).one_or_none()
    return Snapshot(*row) if row is not None else None


def sums(conn: Connection, key: int, *, after: int, upto: int, at: datetime) -> tuple[int, int]:
    """Add up the credits and debits of a balance that count by ``at``, in minor units.

    An entry without an effective date counts with a version above ``after``, one with a date always. None counts with a
    version above ``upto``: everything up to a version that was once read is there for good, so it does not matter whether
    this statement sees more than the one that read it.
    """
    row = conn.execute(_SUMS, {"key": key, "after": after, "upto": upto, "at": at}).one()
    return row[0], row[1]


def recomputed(conn: Connection, key: int) -> Balance:
    """Make the sums and the version of a balance from its outcomes. ``last_credit_seq`` is not among them: it is 0.

    One statement, so it sees all that one commit wrote, or nothing of it.
    """
    credit, debit, inflight_credit, inflight_debit, version = conn.execute(_RECOMPUTED, {"key": key}).one()
    return Balance(key, credit, debit, inflight_credit, inflight_debit, version, 0)


def held(conn: Connection, key: int) -> Balance:
    """Make what a balance holds, and its version, from its open holds and its outcomes. The other sums are 0.

    One statement, so it sees all that one commit wrote, or nothing of it.
    """
    inflight_credit, inflight_debit, version = conn.execute(_HELD, {"key": key}).one()
    return Balance(key, 0, 0, inflight_credit, inflight_debit, version, 0)


def last_of_batch(conn: Connection, after: int, size: int) -> int | None:
    """Find the last of the next ``size`` balances beyond the key ``after``; None when there are none."""
    last: int | None = conn.execute(_LAST_OF_BATCH, {"after": after, "size": size}).scalar_one()
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
    return conn.execute(_TAKE_SNAPSHOTS, {"after": after, "last": last}).rowcount
