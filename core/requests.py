"""What may be asked of the ledger, whoever asks. JSON decodes straight into these, exactly and without floats.

Everything is optional here, for ``intake`` says in one answer what is missing. A field that is not listed is refused, as
a misspelt ``allow_overdrft`` must not pass. Fields that Blnk's clients send for nothing are listed and ignored.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

Amount = Annotated[Decimal, Meta(description="Major units. A JSON number or its text; never rounded.")]
PreciseAmount = Annotated[
    int | str, Meta(description="Minor units: an integer of any size, or its digits as a string.")
]
Timestamp = Annotated[datetime, Meta(tz=True, description="RFC 3339 with a time zone.")]

NO_META_DATA = Raw(b"")


class Leg(Struct, forbid_unknown_fields=True):
    """One of several sources or destinations."""

    identifier: str
    distribution: str | None = None
    precise_distribution: int | str | None = None
    narration: str | None = None
    transaction_id: str | None = None


class TransactionRequest(Struct, forbid_unknown_fields=True):
    """``POST /transactions``, and one item of a bulk."""

    amount: Amount | None = None
    precise_amount: PreciseAmount | None = None
    precision: Annotated[Decimal, Meta(description="Minor units in a major unit: 100 for cents.")] | None = None
    currency: str | None = None
    reference: (
        Annotated[str, Meta(description="Yours, unique for ever; the same one again is answered, not repeated.")] | None
    ) = None
    description: str | None = None
    source: Annotated[str, Meta(description="Balance id, or the @Name of an internal balance.")] | None = None
    destination: str | None = None
    allow_overdraft: bool | None = None
    apply_overdraft: Annotated[bool, Meta(description="An alias of allow_overdraft.")] | None = None
    overdraft_limit: (
        Annotated[Decimal, Meta(description="Major units. How far below zero the source may go.")] | None
    ) = None
    inflight: Annotated[bool, Meta(description="Hold the money, to be committed or voided later.")] | None = None
    skip_queue: Annotated[bool, Meta(description="Answer with the outcome. It does not jump the line.")] | None = None
    effective_date: Timestamp | None = None
    meta_data: Raw = NO_META_DATA

    # Not available yet; a value other than none is refused, never ignored.
    sources: list[Leg] | None = None
    destinations: list[Leg] | None = None
    scheduled_for: str | None = None
    inflight_expiry_date: str | None = None
    inflight_commit_date: str | None = None
    dry_run: bool | None = None

    # Sent by Blnk's clients for nothing.
    atomic: bool | None = None
    status: str | None = None
    balance_id: str | None = None
    rate: Any = None


class BulkRequest(Struct, forbid_unknown_fields=True):
    """``POST /transactions/bulk``."""

    transactions: list[TransactionRequest | None] | None = None
    inflight: bool | None = None
    atomic: Annotated[bool, Meta(description="All or none, decided in one commit.")] | None = None
    run_async: bool | None = None
    skip_queue: bool | None = None
    dry_run: bool | None = None


class SettleRequest(Struct, forbid_unknown_fields=True):
    """``PUT /transactions/inflight/<id>``."""

    status: Annotated[str, Meta(description="commit or void")] | None = None
    amount: Amount | None = None
    precise_amount: PreciseAmount | None = None
    reference: Annotated[str, Meta(description="Makes a repeated request harmless.")] | None = None
    skip_queue: bool | None = None
    dry_run: bool | None = None

    # Sent by Blnk's clients for nothing.
    meta_data: Raw = NO_META_DATA


class LedgerRequest(Struct, forbid_unknown_fields=True):
    """``POST /ledgers`` and ``PUT /ledgers/<id>``."""

    name: str | None = None
    meta_data: Raw = NO_META_DATA


class BalanceRequest(Struct, forbid_unknown_fields=True):
    """``POST /balances``."""

    ledger_id: str | None = None
    currency: str | None = None
    indicator: Annotated[str, Meta(description="@Name, only in the General Ledger.")] | None = None
    meta_data: Raw = NO_META_DATA

    # Sent by Blnk's clients for nothing.
    identity_id: str | None = None
    allocation_strategy: str | None = None
    track_fund_lineage: bool | None = None
    precision: Any = None
