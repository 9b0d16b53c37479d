"""The bodies of requests. A field that is left out is not sent. An ``amount`` is major units, ``precise_amount`` minor units."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct


class Share(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of several sources or destinations."""

    identifier: str
    distribution: str | None = None
    """A percentage of the total (``10%``), major units (``12.50``), or ``left``."""
    precise_distribution: int | str | None = None


class NewTransaction(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A transaction to create. Without a reference the client makes one."""

    reference: str | None = None
    source: str | None = None
    destination: str | None = None
    sources: list[Share] | None = None
    destinations: list[Share] | None = None
    amount: Decimal | None = None
    precise_amount: int | None = None
    precision: int | None = None
    currency: str | None = None
    description: str | None = None
    allow_overdraft: bool | None = None
    overdraft_limit: Decimal | None = None
    inflight: bool | None = None
    inflight_expiry_date: datetime | None = None
    inflight_commit_date: datetime | None = None
    atomic: bool | None = None
    skip_queue: bool | None = None
    effective_date: datetime | None = None
    scheduled_for: datetime | None = None
    meta_data: dict[str, Any] | None = None


class NewBatch(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A batch of transactions to create together. All are accepted, or none."""

    transactions: list[NewTransaction]
    atomic: bool | None = None
    """All are applied, or none."""
    inflight: bool | None = None
    skip_queue: bool | None = None
    run_async: bool | None = None


class Settlement(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A commit or void of a hold. Without an amount it takes all that is left of the hold."""

    amount: Decimal | None = None
    precise_amount: int | None = None
    reference: str | None = None
    """A repeated request with the same reference does nothing twice."""
    skip_queue: bool | None = None


class Refund(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A refund. Without an amount it gives back all. A partial refund without a reference gets one from the client."""

    amount: Decimal | None = None
    precise_amount: int | None = None
    reference: str | None = None
    description: str | None = None
    meta_data: dict[str, Any] | None = None
    skip_queue: bool | None = None


class NewLimits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The limits of a balance, in place of those that it has. A freeze, ``debits`` or ``all``, needs a reason."""

    floor: int | None = None
    frozen: str | None = None
    reason: str | None = None


class NewBalance(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A balance to create."""

    ledger_id: str
    currency: str
    indicator: str | None = None
    """An ``@Name``, which only a balance of the General Ledger can have."""
    meta_data: dict[str, Any] | None = None


class Recipient(Struct, frozen=True, kw_only=True):
    """One row of a funding job. It has an amount in major or in minor units."""

    destination: str
    amount: Decimal | None = None
    precise_amount: int | None = None
    description: str = ""


class Clause(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One condition of a filter."""

    field: str
    operator: str
    value: Any = None
    values: list[Any] | None = None


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rule that finds the balances that a funding job funds."""

    ledger_id: str | None = None
    filters: list[Clause] | None = None
    logical_operator: str | None = None
    amount: Decimal | None = None
    precise_amount: int | None = None
    top_up_to: Decimal | None = None
    precise_top_up_to: int | None = None


class File(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a file of recipients is read, where the file alone does not say it."""

    sheet: str | None = None
    """The sheet to read: its name, or its number from 1."""
    columns: dict[str, str] | None = None
    """The service's names of columns that have others, such as ``{"Wallet ID": "destination"}``. ``ignore`` leaves one out."""
    extra: str | None = None
    """The fate of all other columns: ``keep`` keeps them as metadata, ``ignore`` leaves them out."""
    decimal: str | None = None
    """The decimal mark of the amounts, a dot or a comma. Separators of thousands are read when it is given."""
    without_rows: list[int] | None = None
    """The rows to leave out, by number."""


class NewJob(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A funding job to create. Without ``at`` or ``cron`` it runs now, once. Without a reference the client makes one."""

    name: str
    source: str
    reference: str | None = None
    again: bool | None = None
    """Create the job even if the same was sent before. False refuses that, which is the default without a reference."""
    match: str | None = None
    """The metadata of balances that the destinations name, such as ``meta_data.customer_id``."""
    expect_rows: int | None = None
    """Refuse a list with another number of rows."""
    expect_amount: Decimal | None = None
    """Refuse a list with another sum, in major units."""
    new_names: bool | None = None
    """False refuses a job that would create balances for @Names."""
    currency: str | None = None
    precision: int | None = None
    description: str | None = None
    allow_overdraft: bool | None = None
    overdraft_limit: Decimal | None = None
    until_limit: bool | None = None
    allow_duplicates: bool | None = None
    atomic: bool | None = None
    inflight: bool | None = None
    inflight_commit_date: datetime | str | None = None
    inflight_commit_after_s: int | None = None
    rule: Rule | None = None
    file: File | None = None
    at: datetime | str | None = None
    cron: str | None = None
    timezone: str | None = None
    ends_at: datetime | str | None = None
    count: int | None = None
    missed: str | None = None
