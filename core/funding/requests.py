"""The bodies of funding requests: a job, its recipients or its rule, and a run. ``terms.py`` checks them.

Every field is optional here, so that one answer can name all missing fields. Unknown fields are refused.
"""

from datetime import datetime
from decimal import Decimal

from msgspec import Raw, Struct

from core.base.actors import Reach
from core.ledger.rules.requests import NO_META_DATA, Amount, PreciseAmount, Timestamp
from core.lists.requests import FilterClause

MAX_ATOMIC = 10_000
"""The number of rows that an atomic run may have."""


class Recipient(Struct, forbid_unknown_fields=True):
    """One row of a funding job."""

    destination: str | None = None
    """The balance ID, or the @Name of an internal balance, that gets the amount."""
    amount: Amount | None = None
    precise_amount: PreciseAmount | None = None
    description: str | None = None
    """The description of the transaction. The default is that of the job."""
    meta_data: Raw = NO_META_DATA


class FundingRule(Struct, forbid_unknown_fields=True):
    """A rule that chooses the recipients: each run funds the balances that match when it starts."""

    ledger_id: str | None = None
    """The ledger whose balances in the currency of the job are funded."""
    filters: list[FilterClause] | None = None
    """The filters that select the balances, as in POST /balances/filter."""
    logical_operator: str | None = None
    """How the filters combine: and (the default), or or."""
    amount: Decimal | None = None
    """The amount that each balance gets, in major units."""
    precise_amount: int | str | None = None
    """The amount that each balance gets, in minor units."""
    top_up_to: Decimal | None = None
    """The amount that each balance should have, in major units. A run pays what is missing."""
    precise_top_up_to: int | str | None = None
    """The amount that each balance should have, in minor units. A run pays what is missing."""


class FileTerms(Struct, forbid_unknown_fields=True):
    """How a file of recipients is read, where the file alone does not say it."""

    sheet: str | None = None
    """The sheet to read: its name, or its number from 1."""
    columns: dict[str, str] | None = None
    """Our names of columns that have others, such as {"Wallet ID": "destination"}. ignore leaves a column out."""
    extra: str | None = None
    """The fate of all other columns: keep keeps them as metadata, ignore leaves them out. Without it they are refused."""
    decimal: str | None = None
    """The decimal mark of the amounts, a dot or a comma. Separators of thousands are read when it is given."""
    without_rows: list[int] | None = None
    """The rows to leave out, by number: those that POST /funding-jobs/rejects has listed."""


class FundingRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /funding-jobs``. A job without ``at`` or ``cron`` runs once, at once."""

    name: str | None = None
    reference: str | None = None
    """A reference of your own. A repeated request with it gets the first job and makes no other. Without one, the job gets
    a reference from its content."""
    again: bool | None = None
    """True creates a job even if the same was sent before. False refuses that even with a reference of its own. The default
    is false without a reference, and true with one."""
    expect_rows: int | None = None
    """The number of rows that the list must have. With a rule, each run must have so many."""
    expect_amount: Decimal | None = None
    """The sum of the rows in major units. Another sum is refused, with a rule by each run."""
    new_names: bool | None = None
    """False refuses a job that would create a balance for an @Name, the pool's too. The default is true."""
    source: str | None = None
    """The pool that pays: a balance ID, or the @Name of an internal balance."""
    currency: str | None = None
    precision: Decimal | None = None
    """The number of minor units in a major unit: 100 for cents."""
    description: str | None = None
    """The description of each transaction. The default is the name of the job."""
    allow_overdraft: bool | None = None
    apply_overdraft: bool | None = None
    """An alias of allow_overdraft."""
    overdraft_limit: Decimal | None = None
    """How far below zero the pool may go, in major units."""
    until_limit: bool | None = None
    """Pay rows in order until the pool can pay no more, instead of refusing the run."""
    match: str | None = None
    """The metadata of balances that the destinations of the list name, such as meta_data.customer_id. Each must name one."""
    recipients: list[Recipient] | None = None
    file: FileTerms | None = None
    """How the file is read, when a file is sent in place of recipients."""
    rule: FundingRule | None = None
    """A rule that selects the balances, in place of recipients."""
    allow_duplicates: bool | None = None
    """Allow a destination to be in the list more than once."""
    atomic: bool | None = None
    """Decide all rows of a run together: all apply or none does."""
    inflight: bool | None = None
    """Hold the money, to be committed or voided later, instead of moving it."""
    inflight_commit_date: Timestamp | None = None
    """The RFC 3339 time at which the holds are committed."""
    inflight_commit_after_s: int | None = None
    """The number of seconds after the run is due at which its holds are committed."""
    at: Timestamp | None = None
    """The RFC 3339 time at which the job runs once."""
    cron: str | None = None
    """The cron expression of a job that runs again and again: minute hour day month weekday."""
    timezone: str | None = None
    """The time zone of cron, such as Europe/Berlin. The default is UTC."""
    ends_at: Timestamp | None = None
    """The RFC 3339 time after which a job with cron is no longer due."""
    count: int | None = None
    """The number of runs that a job with cron makes in all."""
    missed: str | None = None
    """The runs to make up for after downtime: skip (none), once (the latest, the default), or all."""
    dry_run: bool | None = None
    """Answer with the result of a dry run, and create nothing."""


class FundingTerms(Struct, omit_defaults=True):
    """The checked terms of a funding job, without its list. The job's row stores them as JSON. Amounts are minor units."""

    description: str = ""
    allow_overdraft: bool = False
    overdraft_limit: int | None = None
    until_limit: bool = False
    allow_duplicates: bool = False
    atomic: bool = False
    inflight: bool = False
    inflight_commit_date: datetime | None = None
    inflight_commit_after_s: int | None = None
    at: datetime | None = None
    cron: str | None = None
    timezone: str = "UTC"
    ends_at: datetime | None = None
    count: int | None = None
    missed: str = "once"
    filters: list[FilterClause] | None = None
    """The conditions that a recipient meets, in a job with a rule."""
    logical_operator: str = "and"
    amount: int | None = None
    """The amount that each recipient gets, in a job with a rule."""
    top_up_to: int | None = None
    """The amount that each recipient should have after the run, in a job with a rule."""
    expect_rows: int | None = None
    """The number of rows that each run must have, in a job with a rule."""
    expect_amount: int | None = None
    """The sum that each run must have, in a job with a rule."""
    match: str = ""
    """The metadata that the destinations of its list named; empty for IDs."""
    reach: Reach | None = None
    """The reach of the key that made the job, as far as it bounds recipients and amounts. None stands for everything."""


class RunRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /funding-jobs/<id>/run``, which runs a job once more, beside its schedule."""

    reference: str | None = None
    """A reference of your own. A repeated request with it gets the first run and makes no other."""
    again: bool | None = None
    """True pays all rows once more, even if the last run paid a part of them or was retried. The default is false without a
    reference, and true with one."""


class ApproveRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /funding-jobs/<id>/approve``."""

    digest: str = ""
    """The digest of the job's ``approval``, as you have seen it. Nothing else is approved."""


class RefuseRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /funding-jobs/<id>/refuse``. It may be left out."""

    reason: str | None = None
    """The reason, for whoever asked for the job."""


class RetryRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /funding-jobs/<id>/runs/<run>/retry``. It may be left out."""

    only: str | None = None
    """The rows to post: rejected, or unposted. The default is both."""
    again: bool | None = None
    """True pays the rows even if the job was run by hand since, which may have paid them."""
