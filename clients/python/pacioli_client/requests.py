"""What is asked for. Fields that are left out are not sent. Amounts are major units, ``precise_`` ones minor units."""

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


class Bulk(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Transactions to create together: all are accepted, or none."""

    transactions: list[NewTransaction]
    atomic: bool | None = None
    """Decide them together too: all are applied, or none."""
    inflight: bool | None = None
    skip_queue: bool | None = None
    run_async: bool | None = None


class Settlement(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to commit or void a hold. Without an amount, all that is left of it."""

    amount: Decimal | None = None
    precise_amount: int | None = None
    reference: str | None = None
    """Makes a repeated request harmless."""
    skip_queue: bool | None = None


class Refund(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to refund. Without an amount, all of it. Without a reference the client makes one."""

    amount: Decimal | None = None
    precise_amount: int | None = None
    reference: str | None = None
    description: str | None = None
    meta_data: dict[str, Any] | None = None
    skip_queue: bool | None = None


class NewBalance(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A balance to create."""

    ledger_id: str
    currency: str
    indicator: str | None = None
    """``@Name``, only in the General Ledger."""
    meta_data: dict[str, Any] | None = None


class Recipient(Struct, frozen=True, kw_only=True):
    """One row of a funding job: an amount, or minor units."""

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
    """Whom a funding job funds, said without naming them."""

    ledger_id: str | None = None
    filters: list[Clause] | None = None
    logical_operator: str | None = None
    amount: Decimal | None = None
    precise_amount: int | None = None
    top_up_to: Decimal | None = None
    precise_top_up_to: int | None = None


class NewJob(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A funding job to create. Without ``at`` or ``cron`` it runs now, once. Without a reference the client makes one."""

    name: str
    source: str
    reference: str | None = None
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
    at: datetime | str | None = None
    cron: str | None = None
    timezone: str | None = None
    ends_at: datetime | str | None = None
    count: int | None = None
    missed: str | None = None
