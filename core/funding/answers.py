"""Structs of the answers about funding jobs, runs and rows.

A field whose name has ``precise_`` in it is in minor units. The field of the same name without it is in major units.
``presenter.py`` makes these structs from what the stores return.
"""

from enum import StrEnum
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from core.base.answers import Major, Members, Time
from core.funding.files.found import FileRead
from core.funding.missed import Missed
from core.ledger.answers import RejectionAnswer
from core.ledger.balances import Balance
from core.ledger.explain import RejectionName
from core.lists.requests import FilterClause


class JobStatus(StrEnum):
    """The status of a funding job. FINISHED means that no run is under way, and no run is due later."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    CANCELLED = "CANCELLED"
    FINISHED = "FINISHED"
    WAITING_APPROVAL = "WAITING_APPROVAL"


class RunStatus(StrEnum):
    """The status of a run. A run is RUNNING until each of its transactions is decided."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    REFUSED = "REFUSED"
    CANCELLED = "CANCELLED"


class RowStatus(StrEnum):
    """The status of a row: UNPOSTED, or the status of its transaction."""

    UNPOSTED = "UNPOSTED"
    QUEUED = "QUEUED"
    INFLIGHT = "INFLIGHT"
    APPLIED = "APPLIED"
    VOID = "VOID"
    REJECTED = "REJECTED"


class Refusal(Struct, frozen=True, kw_only=True):
    """The reason why a run posts no row. Amounts are minor units."""

    reason: Literal[
        "LIMIT", "TOO_MANY_ROWS", "UNEXPECTED", "ALTERED", "NOT_APPROVED", "NOT_AS_APPROVED", "OUT_OF_REACH"
    ]
    message: str
    requested: int | UnsetType = UNSET
    """The amount that the run needs."""
    available: int | UnsetType = UNSET
    """The amount that the pool can pay."""
    short_by: int | UnsetType = UNSET
    """The amount that the pool is short by."""
    first_row: int | UnsetType = UNSET
    """The number of the first row that the pool cannot pay."""


class FundingRun(Struct, frozen=True, kw_only=True):
    """A run: one time that a job came due, or that somebody ran it."""

    run_id: str
    """The ID of the run. Each transaction of the run has it as parent_transaction."""
    job_id: str
    status: RunStatus
    due_at: Time
    occurrence: str
    """The name of the run in its job. The references of its transactions contain it."""
    retry_of: str
    """The ID of the run that this run retries. It is empty for none."""
    retried_by: str
    """The ID of the newest run that retries this run. It is empty for none."""
    rows_total: int | None
    """The number of rows. It is null until the run starts, and so are the other totals."""
    rows_accepted: int
    """The number of rows that are in the log."""
    amount_total: Major | None
    """The sum of all rows, in major units."""
    precise_amount_total: int | None
    """The sum of all rows, in minor units."""
    amount_accepted: Major
    """The sum of the rows that are in the log, in major units."""
    precise_amount_accepted: int
    """The sum of the rows that are in the log, in minor units."""
    limit_reached: bool
    """True when the run leaves out rows that the pool could not pay."""
    rows_applied: int | None
    """The number of rows that moved or hold money. A list has it for runs all of whose rows were posted and decided."""
    rows_rejected: int | None
    """The number of rows whose transaction was rejected. It is there when rows_applied is."""
    amount_applied: Major | None
    """The amount that was moved or is held, in major units. It is there when rows_applied is."""
    precise_amount_applied: int | None
    """The amount that was moved or is held, in minor units. It is there when rows_applied is."""
    refusal: Refusal | None
    """The reason why no row was posted. It is null when the run was not refused."""
    created_at: Time
    started_at: Time | None
    ended_at: Time | None


class FundingTry(Struct, frozen=True, kw_only=True):
    """A run that posts the rest of another run. ``retry_of`` makes the tries of a run a tree."""

    run_id: str
    retry_of: str
    """The ID of the run, or of the earlier try, for which it was asked."""
    status: RunStatus
    rows_total: int | None
    """The number of rows. It is null until the try starts."""
    rows_applied: int
    rows_rejected: int
    rows_unposted: int | None
    precise_amount_applied: int
    """The amount that was moved or is held, in minor units."""
    created_at: Time


class CountedRun(FundingRun, frozen=True, kw_only=True):
    """A run with the counts of its rows."""

    rejected_by_reason: dict[RejectionName, int]
    """The number of rejected rows by reason."""
    rows_queued: int
    """The number of rows that are accepted but not decided yet."""
    rows_unposted: int | None
    """The number of rows that are not accepted. It is null until the run starts."""
    progress: float | None
    """The share of rows that are decided, from 0 to 1."""
    rate_per_s: float
    """The number of rows that are accepted in a second."""
    left_s: float | None
    """The seconds until all rows are accepted at this rate. It is null when no row is left, or there is no rate yet."""
    rows_to_retry: int | None
    """The number of rows that a retry would post: those that this run or its tries rejected or did not post, and that no
    later try has. It is null until the run is over."""
    tries: list[FundingTry]
    """All tries of the run and of its tries, the oldest first."""


class PoolForecast(Struct, frozen=True, kw_only=True):
    """The forecast of a pool after the next run. Amounts are minor units, unless a field says otherwise."""

    balance: int
    """The balance of the pool now."""
    next_run_rows: int
    """The number of rows of the next run."""
    next_run_precise_amount: int
    """The amount that the next run needs."""
    balance_after_next_run: int
    """The balance of the pool after the next run."""
    runs_left: int | None
    """The number of whole runs that the pool can still pay. It is null when there is no limit."""
    amount_after_next_run: Major
    """The balance of the pool after the next run, in major units."""


class KeptRule(Struct, frozen=True, kw_only=True):
    """The rule that names the balances of a run. It is looked up again for each run."""

    filters: list[FilterClause]
    logical_operator: Literal["and", "or"]
    precise_amount: int | None
    """The amount that each balance gets, in minor units."""
    precise_top_up_to: int | None
    """The amount that each balance should have after the run, in minor units."""


class FundingJob(Struct, frozen=True, kw_only=True):
    """A funding job: its terms and its state."""

    job_id: str
    reference: str
    name: str
    status: JobStatus
    """The status. FINISHED means that no run is under way, and no run is due later."""
    source: str
    """The balance ID of the pool."""
    indicator: str
    """The @Name of the pool. It is empty when the pool has none."""
    currency: str
    precision: int
    """The number of minor units in a major unit."""
    description: str
    """The description of each transaction whose row has none."""
    allow_overdraft: bool
    overdraft_limit: Major | None
    """How far below zero the pool may go, in major units. It is null when no limit was given."""
    until_limit: bool
    """True when a run pays as many rows as the pool can, in order. Otherwise a run that needs too much is refused."""
    allow_duplicates: bool
    """True when a destination may be in the list more than once."""
    atomic: bool
    """True when all rows of a run are decided together: all apply or none does."""
    inflight: bool
    """True when a run holds the money, to be committed or voided later."""
    inflight_commit_date: Time | None
    """The time at which the holds are committed."""
    inflight_commit_after_s: int | None
    """The seconds after the run is due at which its holds are committed."""
    rows: int | None
    """The number of rows of the list. It is null when a rule names the balances."""
    amount: Major | None
    """The sum of the list, in major units."""
    precise_amount: int | None
    """The sum of the list, in minor units."""
    rule: KeptRule | None
    """The rule that names the balances. It is null when the job has a list."""
    at: Time | None
    """The time of the only run."""
    cron: str | None
    """The cron expression of the runs: minute, hour, day of month, month and day of week."""
    timezone: str
    """The IANA time zone in which cron is read."""
    ends_at: Time | None
    """The time after which no run is due."""
    count: int | None
    """The number of runs that the schedule makes in all. It is null when there is no such limit."""
    missed: Missed
    """The runs to make up for those that were missed: skip makes none that is late, once the latest, all each of them."""
    next_run_at: Time | None
    """The time of the next run. It is null when no run is due later, or the job is not active."""
    runs_made: int
    """The number of runs that the schedule made."""
    skipped: int
    """The number of due times without a run, because missed says so or the job was paused."""
    created_at: Time
    meta_data: Members | None
    """The metadata that POST /<id>/metadata has added. It changes nothing of the job."""


class NewFundingJob(FundingJob, frozen=True, kw_only=True):
    """A funding job that was just made."""

    run: FundingRun | None
    """The run of a job that runs now. It is null for a job that runs later."""
    file: FileRead | None
    """How the file of the recipients was read. It is null when there is none."""
    next_runs: list[Time]
    """The times of the next runs, at most ten."""


class ListedFundingJob(FundingJob, frozen=True, kw_only=True):
    """A funding job in a list, with its last run."""

    last_run: FundingRun | None
    """The newest run. It is null when there is none yet."""


class FundingApproval(Struct, frozen=True, kw_only=True):
    """The approval of a funding job by a key of another owner."""

    status: Literal["WAITING", "APPROVED", "REFUSED"]
    digest: str
    """The digest of what the job would post now, which is what somebody approves. Later it is the approved one."""
    covers_rows: bool
    """False when it is for the terms alone, as a rule that runs by cron finds other rows each time."""
    rows: int | None
    """The number of rows that the job would post now. It is null once it is decided, and so is the amount."""
    precise_amount: int | None
    """Their sum, in minor units."""
    asked_by: str
    """The ID of the key that asked for the job."""
    owner: str
    """The owner of that key. A key of another owner decides."""
    decided_by: str
    """The ID of the key that decided. It is empty while the job waits."""
    decided_at: Time | None
    reason: str
    """The reason of a refusal."""


class FundingJobRead(FundingJob, frozen=True, kw_only=True):
    """A funding job with its last run, its next runs and a forecast."""

    last_run: FundingRun | None
    """The newest run. It is null when there is none yet."""
    next_runs: list[Time]
    """The times of the next runs, at most ten."""
    pool: PoolForecast | None
    """The forecast of the pool. It is null when the job is cancelled, or the forecast takes too long."""
    approval: FundingApproval | None
    """The approval of the job. It is null when the job needs none."""


class FundingRow(Struct, frozen=True, kw_only=True):
    """A row of a run, with its transaction if it has one."""

    row: int
    """The number of the row: the line of a CSV, whose header is line 1, or the position in a list, from 1."""
    destination: str
    """The @Name or the balance ID that gets the amount."""
    amount: Major
    """The amount in major units."""
    precise_amount: int
    """The amount in minor units."""
    currency: str
    description: str
    status: RowStatus
    transaction_id: str
    """The ID of the transaction. It is empty while the row is not posted."""
    reference: str
    rejection: RejectionAnswer | None
    """The reason why the row is REJECTED. It is null for any other status."""
    first_transaction_id: str
    """The ID of the rejected transaction that a retry posts again. It is empty for none."""


class PoolWatch(Struct, frozen=True, kw_only=True):
    """The next funding job that will draw on a balance."""

    job_id: str
    next_run_at: Time
    balance_after_next_run: int | None
    """The balance after the next run, in minor units. It is null when the forecast takes too long."""
    runs_left: int | None
    """The number of whole runs that the balance can still pay. It is null when there is no limit."""


class FundedBalance(Balance, frozen=True, kw_only=True):
    """A balance with the next funding job that will draw on it."""

    funding: PoolWatch | UnsetType = UNSET
    """The next funding job that will draw on the balance. It is left out when there is none."""
