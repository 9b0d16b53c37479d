"""Reads balances with what a reader of one balance sees beside its sums: its limits and the next funding job that it pays for."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection

from core.funding import job_store
from core.funding.job_store import JobRow
from core.ledger.store import whole_balances
from core.ledger.store.balances import BalanceRow
from core.ledger.store.limits import LimitRow


class WholeRow(NamedTuple):
    """A balance with its limits and its next job."""

    balance: BalanceRow
    limits: LimitRow | None
    """The limits that were set last. None if none ever were."""
    jobs: list[JobRow]
    """The active job with the earliest next run, if there is one."""


def whole_rows(conn: Connection, balance_ids: Collection[str]) -> dict[str, WholeRow]:
    """Find balances by their IDs, in two statements. Unknown ones are left out."""
    found = whole_balances.find_many(conn, balance_ids)
    if not found:
        return {}
    jobs = job_store.next_jobs_of(conn, [row.key for row, _ in found.values()])
    return {
        id: WholeRow(row, limits, [jobs[row.key]] if row.key in jobs else []) for id, (row, limits) in found.items()
    }
