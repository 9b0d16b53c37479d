"""Answers about balances and their statements."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType


class NextRun(Struct, frozen=True, kw_only=True):
    """The next run of a funding job that draws on a balance. A field is None where it takes too long to compute."""

    job_id: str
    next_run_at: datetime | None
    balance_after_next_run: int | None
    runs_left: int | None


class Limits(Struct, frozen=True, kw_only=True):
    """The limits of a balance, which no request lifts. The floor is in minor units."""

    floor: int | None
    frozen: Literal["debits", "all"] | None
    reason: str
    set_by: str
    set_at: datetime
    after_sequence: int


class BalanceLimits(Struct, frozen=True, kw_only=True):
    """The limits of a balance, and what was set before, the latest first."""

    balance_id: str
    limits: Limits | UnsetType = UNSET
    changes: list[Limits]


class Balance(Struct, frozen=True, kw_only=True):
    """A balance, in minor units."""

    balance: int
    version: int
    inflight_balance: int
    credit_balance: int
    inflight_credit_balance: int
    debit_balance: int
    inflight_debit_balance: int
    available_balance: int
    ledger_id: str
    identity_id: str
    balance_id: str
    indicator: str
    currency: str
    created_at: datetime
    inflight_expires_at: datetime
    meta_data: dict[str, Any] | None
    track_fund_lineage: bool
    allocation_strategy: str
    queued_debit_balance: int | UnsetType = UNSET
    queued_credit_balance: int | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    funding: NextRun | UnsetType = UNSET


class Entry(Struct, frozen=True, kw_only=True):
    """One line of a statement."""

    version: int
    at: datetime
    effective_date: datetime
    direction: str
    """``debit`` or ``credit``."""
    amount: Decimal
    precise_amount: int
    precise_balance_after: int
    currency: str
    counterparty: str
    transaction_id: str
    parent_transaction: str
    reference: str
    description: str
    sequence: int


class Sums(Struct, frozen=True, kw_only=True):
    """The sums of a balance at a time, in minor units."""

    balance: int
    debit_balance: int
    credit_balance: int
    currency: str
    balance_id: str


class BalanceAt(Struct, frozen=True, kw_only=True):
    """A balance as it was at a time."""

    balance: Sums
    timestamp: datetime
    from_source: bool


class Statement(Struct, frozen=True, kw_only=True, rename={"since": "from", "until": "to"}):
    """A page of a statement. Sums are minor units, and those of the whole period."""

    balance_id: str
    indicator: str
    currency: str
    precision: int | None
    basis: str
    since: datetime | None
    until: datetime | None
    opening_balance: int
    debits: int
    credits: int
    closing_balance: int
    entry_count: int
    entries: list[Entry]


class BooksLine(Struct, frozen=True, kw_only=True):
    """The balances of one ``@Name``, or all others of a ledger, in one currency. Amounts are minor units."""

    indicator: str
    ledger_id: str
    ledger: str
    balances: int
    credits: int
    debits: int
    balance: int
    held: int


class CurrencyBooks(Struct, frozen=True, kw_only=True):
    """All balances in one currency, which add up to zero."""

    currency: str
    precision: int | None
    lines: list[BooksLine]
    balances: int
    credits: int
    debits: int
    balance: int


class Currency(Struct, frozen=True, kw_only=True):
    """A currency, with the number of minor units in a major unit."""

    currency: str
    precision: int
