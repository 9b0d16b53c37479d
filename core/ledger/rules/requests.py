"""What may be asked of the ledger, whoever asks. JSON decodes straight into these, exactly and without floats.

Everything is optional here, for ``intake`` says in one answer what is missing. A field that is not listed is refused, as
a misspelt ``allow_overdrft`` must not pass. Fields that Blnk's clients send for nothing are listed and ignored.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from msgspec import Meta, Raw, Struct, json

from core.base.decoding import BLANK_IS_NONE, UNREADABLE

Amount = Annotated[Decimal, Meta(description="Major units. A JSON number or its text; never rounded.")]
PreciseAmount = Annotated[
    int | str, Meta(description="Minor units: an integer of any size, or its digits as a string.")
]
_NO_TIME_TEXT = "please format the scheduled date as 'YYYY-MM-DDTHH:MM:SS+00:00' (e.g., 2024-04-22T15:28:03+00:00)"

Timestamp = Annotated[
    datetime, Meta(tz=True, description="RFC 3339 with a time zone.", extra={UNREADABLE: _NO_TIME_TEXT})
]
DueDate = Annotated[
    datetime,
    Meta(
        tz=True, extra={UNREADABLE: _NO_TIME_TEXT, BLANK_IS_NONE: True}, extra_json_schema={"format": "time or blank"}
    ),
]
"""An RFC 3339 time. Blnk's clients write none as an empty text, or as the year 1."""

NO_META_DATA = Raw(b"")


class Leg(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One of several sources or destinations."""

    identifier: Annotated[str, Meta(description="Balance id, or the @Name of an internal balance.")]
    distribution: (
        Annotated[str, Meta(description='A percentage of the total ("10%"), major units ("12.50"), or "left".')] | None
    ) = None
    precise_distribution: (
        Annotated[int | str, Meta(description='Minor units, or "left". Wins over distribution.')] | None
    ) = None

    # Sent by Blnk's clients for nothing.
    narration: str | None = None
    transaction_id: str | None = None


class Terms(Struct, omit_defaults=True):
    """What was agreed on beside the movement itself. Stored with the transaction, as JSON."""

    sources: list[Leg] | None = None
    destinations: list[Leg] | None = None
    atomic: bool = False
    inflight: bool = False
    """Of a split: its legs are holds."""
    refund: bool = False
    """Of a split: its legs are refunds."""
    scheduled_for: datetime | None = None
    scheduled_at: datetime | None = None
    """When it was asked for, of one that waited for its date."""
    inflight_expiry_date: datetime | None = None
    inflight_commit_date: datetime | None = None


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

    sources: Annotated[list[Leg], Meta(description="Several, in place of source.")] | None = None
    destinations: Annotated[list[Leg], Meta(description="Several, in place of destination.")] | None = None
    atomic: Annotated[bool, Meta(description="Of a split: all legs or none.")] | None = None
    scheduled_for: Annotated[DueDate, Meta(description="When to accept it: an RFC 3339 time.")] | None = None
    inflight_expiry_date: Annotated[DueDate, Meta(description="When to void what is left of the hold.")] | None = None
    inflight_commit_date: Annotated[DueDate, Meta(description="When to commit what is left of the hold.")] | None = None
    dry_run: Annotated[bool, Meta(description="Answer what would happen, and do nothing.")] | None = None

    # Sent by Blnk's clients for nothing.
    status: str | None = None
    balance_id: str | None = None
    rate: Any = None


_decode_terms = json.Decoder(Terms).decode


def terms_of(text: str | None) -> Terms:
    """Terms as they are stored."""
    return _decode_terms(text) if text else Terms()


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


class BulkSettlement(Struct, forbid_unknown_fields=True):
    """One item of ``POST /transactions/inflight/bulk/commit``."""

    transaction_id: str
    amount: Amount | None = None
    precise_amount: PreciseAmount | None = None


class BulkCommitRequest(Struct, forbid_unknown_fields=True):
    """``POST /transactions/inflight/bulk/commit``."""

    transactions: list[BulkSettlement] | None = None
    skip_queue: bool | None = None
    dry_run: bool | None = None


class BulkVoidRequest(Struct, forbid_unknown_fields=True):
    """``POST /transactions/inflight/bulk/void``."""

    transaction_ids: list[str] | None = None
    skip_queue: bool | None = None
    dry_run: bool | None = None


class RefundRequest(Struct, forbid_unknown_fields=True):
    """``POST /refund-transaction/<id>``."""

    amount: Amount | None = None
    precise_amount: PreciseAmount | None = None
    reference: Annotated[str, Meta(description="Makes a repeated partial refund harmless.")] | None = None
    description: str | None = None
    meta_data: Raw = NO_META_DATA
    skip_queue: bool | None = None
    dry_run: bool | None = None


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


class IdentityLinkRequest(Struct, forbid_unknown_fields=True):
    """``PUT /balances/<id>/identity``."""

    identity_id: str | None = None


class MetaDataRequest(Struct, forbid_unknown_fields=True):
    """``POST /<id>/metadata``."""

    meta_data: Annotated[Raw, Meta(description="Members to add, or to replace.")] = NO_META_DATA
