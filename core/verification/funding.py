"""Checks funding: each job and list is as it was accepted, each run has the figures of its rows, and each try has its lineage."""

from sqlalchemy import Connection

from core.base.db import driver
from core.funding import job_store, pledged
from core.funding.job_store import JobRow
from core.verification.report import LISTED, Report, seq_key

# Lists that were made for a run, with their jobs.
_LISTS = """
SELECT DISTINCT list, job
FROM funding_runs
WHERE list IS NOT NULL AND list <> job
ORDER BY list
"""

# Three faults of postings: a posted row whose transaction is missing or differs, a transaction of a run without a row, and
# a row that the run left out, though it has gone past the row or says that all rows are posted. The row is null where a
# transaction has none, and the seq where a row has no transaction.
_MISPOSTED = """
SELECT 'run_' || p.run, p.row, log.seq
FROM funding_postings AS p
LEFT JOIN funding_runs AS r ON r.id = p.run
LEFT JOIN funding_jobs AS j ON j.id = r.job
LEFT JOIN funding_rows AS f ON f.list = r.list AND f.row = p.row
LEFT JOIN log ON log.seq = p.seq
WHERE (log.parent, log.source, log.destination, log.amount)
      IS DISTINCT FROM ('run_' || r.id, j.source, f.destination, f.amount::numeric)

UNION ALL
SELECT log.parent, NULL, log.seq
FROM funding_runs AS r
JOIN log ON log.parent = 'run_' || r.id AND kind IN (1, 2)
WHERE NOT EXISTS (SELECT FROM funding_postings AS p WHERE p.run = r.id AND p.seq = log.seq)

UNION ALL
SELECT 'run_' || r.id, f.row, NULL
FROM funding_runs AS r
JOIN funding_rows AS f
  ON f.list = r.list
 AND f.row <= CASE WHEN r.status IN ('POSTED', 'COMPLETED') THEN coalesce(r.last_row, f.row) ELSE r.posted_row END
WHERE NOT EXISTS (SELECT FROM funding_postings AS p WHERE p.run = r.id AND p.row = f.row)

ORDER BY 1, 2, 3
LIMIT %(limit)s
"""

# Rows, lists and transactions are read once. Status 4 is REJECTED. A run of an older release may not know how its rows ended.
_FIGURES = """
SELECT
    'run_' || r.id,
    ARRAY[
        coalesce(rows.posted, 0),
        coalesce(rows.posted_amount, 0),
        coalesce(rows.posted_row, 0),
        CASE WHEN r.row_count IS NOT NULL THEN coalesce(whole.rows, 0) END,
        CASE WHEN r.amount IS NOT NULL THEN coalesce(whole.amount, 0) END,
        CASE WHEN r.applied IS NOT NULL THEN coalesce(rows.applied, 0) END,
        CASE WHEN r.applied_amount IS NOT NULL THEN coalesce(rows.applied_amount, 0) END,
        CASE WHEN r.rejected IS NOT NULL THEN coalesce(rows.rejected, 0) END
    ]::numeric[],
    ARRAY[r.posted, r.posted_amount, r.posted_row, r.row_count, r.amount, r.applied, r.applied_amount, r.rejected]::numeric[]
FROM funding_runs AS r
LEFT JOIN (
    SELECT
        p.run,
        count(*) AS posted,
        sum(log.amount) AS posted_amount,
        max(p.row) AS posted_row,
        count(*) FILTER (WHERE status <> 4) AS applied,
        sum(outcomes.amount) AS applied_amount,
        count(*) FILTER (WHERE status = 4) AS rejected
    FROM funding_postings AS p
    LEFT JOIN log ON log.seq = p.seq
    LEFT JOIN outcomes ON outcomes.seq = p.seq
    GROUP BY p.run
) AS rows ON rows.run = r.id
LEFT JOIN (
    SELECT list, count(*) AS rows, sum(amount) AS amount
    FROM funding_rows
    GROUP BY list
) AS whole ON whole.list = r.list
ORDER BY r.id
"""

_NAMES = ("posted", "posted_amount", "posted_row", "row_count", "amount", "applied", "applied_amount", "rejected")

# Each row of the list of a try, and what says from which run it was taken. A top-up may leave rows out, and cut others.
_LINEAGE = """
SELECT 'run_' || coalesce(f.list, g.retry), coalesce(f.row, g.row), g.run IS NULL
FROM (
    SELECT each.list, row, destination
    FROM funding_rows AS each
    JOIN funding_runs AS r ON r.id = each.list
    WHERE retry_of IS NOT NULL
) AS f
FULL JOIN funding_retries AS g ON g.retry = f.list AND g.row = f.row
LEFT JOIN funding_runs AS retry ON retry.id = g.retry
LEFT JOIN funding_runs AS run ON run.id = g.run
LEFT JOIN funding_rows AS before
    ON before.row = g.row
   AND before.list = coalesce(run.list, CASE WHEN run.retry_of IS NULL THEN run.job ELSE run.id END)
WHERE g.run IS NULL
   OR run.id IS NULL
   OR run.id >= retry.id
   OR retry.retry_of IS NULL
   OR retry.job <> run.job
   OR before.row IS NULL
   OR before.destination <> f.destination
ORDER BY 1, 2
LIMIT %(limit)s
"""


def check_jobs(conn: Connection, report: Report, *, all_of_them: bool) -> None:
    """Check that jobs are as they were accepted: those that have something left to do, or all, with the lists of their runs."""
    if not all_of_them:
        for job in job_store.unfinished_jobs(conn):
            _check_job(conn, report, job)
        return
    jobs = {job.id: job for job in job_store.every_job(conn)}
    for job in jobs.values():
        _check_job(conn, report, job)
    for list, key in driver(conn).execute(_LISTS).fetchall():
        if key in jobs and (wrong := pledged.altered_rows(conn, jobs[key], list)) is not None:
            _add_altered(report, f"{jobs[key].job_id}, list {list}", wrong)


def check_runs(conn: Connection, report: Report) -> None:
    """Check that each posted row has its transaction, what each run counts, and where the rows of a try come from."""
    _check_postings(conn, report)
    for run, expected, found in driver(conn).execute(_FIGURES):
        report.compare("funding_runs", run, "by its rows", zip(_NAMES, expected, found, strict=True))
    for run, row, is_missing in driver(conn).execute(_LINEAGE, {"limit": LISTED}):
        expected, found = "the run that it was taken from, which has the row", "none" if is_missing else "another"
        report.add("funding_retries", f"{run}, row {row}", "run", expected=expected, found=found)


def _check_job(conn: Connection, report: Report, job: JobRow) -> None:
    if (wrong := pledged.altered(conn, job)) is not None:
        _add_altered(report, job.job_id, wrong)


def _add_altered(report: Report, key: str, wrong: str) -> None:
    expected = "what was accepted, by its pledge; no run pays it"
    report.add("funding_jobs", key, "content", expected=expected, found=wrong)


def _check_postings(conn: Connection, report: Report) -> None:
    """Check that each row of a funding run has one transaction that agrees with it, and each transaction has a row."""
    for run, row, seq in driver(conn).execute(_MISPOSTED, {"limit": LISTED}):
        if row is None:
            expected = f"one, for {seq_key(seq or 0)} belongs to the run"
            report.add("funding_postings", run, "row", expected=expected, found="none")
        else:
            found = "none" if seq is None else f"another at {seq_key(seq)}"
            expected = "the one that the row of its list describes"
            report.add("funding_postings", f"{run}, row {row}", "transaction", expected=expected, found=found)
