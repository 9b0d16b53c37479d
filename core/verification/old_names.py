"""Warns of names from before ``core/base/names.py``, which people cannot see or tell apart.

The database picks out the few that may be meant: whatever is not printable ASCII, or has a blank at an end. The rule itself
is the one that refuses new names.
"""

from sqlalchemy import Connection

from core.base.db import driver
from core.base.names import unclear
from core.verification.report import Report

_CLEAR = "^[!-~]([ -~]*[!-~])?$"

_BALANCES = """
SELECT 'bln_' || balance_id, indicator, NULL
FROM balances
WHERE indicator IS NOT NULL AND indicator !~ %(clear)s
ORDER BY id
"""

_LEDGERS = """
SELECT ledger_id, name, NULL
FROM ledgers
WHERE name !~ %(clear)s
ORDER BY id
"""

_JOBS = """
SELECT 'fund_' || id, name, reference
FROM funding_jobs
WHERE name !~ %(clear)s OR reference !~ %(clear)s
ORDER BY id
"""

_REFERENCES = """
SELECT 'seq ' || seq, reference, NULL
FROM log
WHERE seq > %(after)s AND seq <= %(upto)s AND reference !~ %(clear)s
ORDER BY seq
"""

_TABLES = (
    ("balances", _BALANCES, ("indicator",)),
    ("ledgers", _LEDGERS, ("name",)),
    ("funding_jobs", _JOBS, ("name", "reference")),
    ("log", _REFERENCES, ("reference",)),
)


def warn_of_old_names(conn: Connection, report: Report, *, after: int = 0) -> None:
    """Warn of names that a request may not use for something new.

    Of the log, the rows after ``after`` are read, as far as the report has come.
    """
    values = {"clear": _CLEAR, "after": after, "upto": report.to_sequence}
    for table, sql, columns in _TABLES:
        with driver(conn).cursor(f"old_names_{table}") as cursor:
            cursor.execute(sql, values)
            for key, *texts in cursor:
                for column, text in zip(columns, texts, strict=False):
                    if (message := unclear(text)) is not None:
                        report.warn(table, key, column, message)
