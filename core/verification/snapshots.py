"""Checks the snapshots of balances, from which a balance at a time is answered, against the entries.

A snapshot has the sums of the entries up to its version that have no effective date, and was taken when all of them were
accepted. A balance that has spans is answered from these, and no snapshot of it is read, so none is checked.
"""

from sqlalchemy import Connection

from core.base.db import driver
from core.ledger.store.balances import BALANCE_PREFIX
from core.verification.report import LISTED, Report

# outcomes is read once for each side, and its entries are sorted by balance and version, on disk if they must. log_dated_idx has
# the few entries that have an effective date. Status 1 is APPLIED. The last entry was accepted last, by the order of the log.
_WRONG = """
    WITH kept AS MATERIALIZED (
        SELECT *
        FROM snapshots
        WHERE NOT EXISTS (SELECT FROM spans WHERE spans.balance = snapshots.balance)
    ),
    entries AS (
        SELECT source AS balance, source_version AS version, 0 AS credit, amount AS debit, seq
        FROM outcomes
        WHERE status = 1 AND source IN (SELECT balance FROM kept)
        UNION ALL
        SELECT destination, destination_version, amount, 0, seq
        FROM outcomes
        WHERE status = 1 AND destination IN (SELECT balance FROM kept)
    ),
    line AS (
        SELECT
            balance,
            version,
            taken_at,
            kept_credit,
            kept_debit,
            sum(credit) OVER line AS credit,
            sum(debit) OVER line AS debit,
            max(seq) OVER line AS last
        FROM (
            SELECT balance, version, NULL::timestamptz AS taken_at, NULL AS kept_credit, NULL AS kept_debit, credit, debit, seq
            FROM entries
            WHERE NOT EXISTS (SELECT FROM log WHERE log.seq = entries.seq AND effective_date IS NOT NULL)
            UNION ALL
            SELECT balance, version, taken_at, credit, debit, 0, 0, NULL
            FROM kept
        ) AS each
        WINDOW line AS (PARTITION BY balance ORDER BY version)
    )
    SELECT
        coalesce(%(prefix)s || balance_id, 'balance key ' || line.balance),
        line.version,
        balances.version,
        taken_at,
        accepted_at,
        line.credit,
        kept_credit,
        line.debit,
        kept_debit
    FROM line
    LEFT JOIN balances ON balances.id = line.balance
    LEFT JOIN log ON log.seq = last
    WHERE taken_at IS NOT NULL
      AND (
          (line.credit, line.debit) <> (kept_credit, kept_debit)
          OR line.version > coalesce(balances.version, 0)
          OR taken_at < accepted_at
      )
    ORDER BY line.balance, line.version
    LIMIT %(limit)s
"""


def check_snapshots(conn: Connection, report: Report) -> None:
    """Add up every snapshot that is read again."""
    for name, version, newest, taken_at, accepted_at, *sums in driver(conn).execute(
        _WRONG, {"limit": LISTED, "prefix": BALANCE_PREFIX}
    ):
        key = f"{name}, version {version}"
        if version > (newest or 0):
            report.add("snapshots", key, "version", expected=f"{newest or 0} or less, its version", found=version)
        if accepted_at is not None and taken_at < accepted_at:
            expected = f"{accepted_at} or later, when the last of it was accepted"
            report.add("snapshots", key, "taken_at", expected=expected, found=taken_at)
        credit, kept_credit, debit, kept_debit = sums
        report.compare(
            "snapshots", key, "by its entries", [("credit", credit, kept_credit), ("debit", debit, kept_debit)]
        )
