"""Defines the requests of the ledger. JSON decodes into them exactly, without floats.

Most fields are optional, because ``intake`` says in one answer which ones are missing. An unknown field is refused, so
that a misspelt ``allow_overdrft`` does not pass. Fields that Blnk's clients send without effect are listed and ignored.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, json
from msgspec.structs import replace

from core.base.decoding import BLANK_IS_NONE, UNREADABLE
from core.base.unreadable import EXPECTED, HINT

Amount = Annotated[
    Decimal, Meta(description="The amount in major units, as a JSON number or its text. It is never rounded.")
]
MINOR_UNITS = 'a whole number of minor units, such as 1250 or "1250"'

PreciseAmount = Annotated[
    int | str,
    Meta(
        description="The amount in minor units, as an integer of any size or its digits in a string.",
        extra={EXPECTED: MINOR_UNITS, HINT: "amount takes major units, such as 12.50"},
    ),
]
NO_TIME_TEXT = "please format the scheduled date as 'YYYY-MM-DDTHH:MM:SS+00:00' (e.g., 2024-04-22T15:28:03+00:00)"
"""The problem that is reported for a text that is not a time."""

Timestamp = Annotated[
    datetime, Meta(tz=True, description="An RFC 3339 time with a time zone.", extra={UNREADABLE: NO_TIME_TEXT})
]
DueDate = Annotated[
    datetime,
    Meta(tz=True, extra={UNREADABLE: NO_TIME_TEXT, BLANK_IS_NONE: True}, extra_json_schema={"format": "time or blank"}),
]
"""An RFC 3339 time. Blnk's clients write an empty text or the year 1 when there is none."""

NO_META_DATA = Raw(b"")


class Leg(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One of several sources or destinations."""

    identifier: Annotated[str, Meta(description="A balance id, or the @Name of an internal balance.")]
    distribution: (
        Annotated[str, Meta(description='A percentage of the total ("10%"), major units ("12.50"), or "left".')] | None
    ) = None
    precise_distribution: (
        Annotated[
            int | str,
            Meta(
                description='Minor units, or "left". It wins over distribution.',
                extra={EXPECTED: f'{MINOR_UNITS}, or "left"'},
            ),
        ]
        | None
    ) = None

    # Blnk's clients send these without effect.
    narration: str | None = None
    transaction_id: str | None = None


def as_answered(legs: list[Leg] | None) -> list[Leg] | UnsetType:
    """Return sources or destinations as they are answered: a precise share is a text, because Blnk's Go client reads no other."""
    return [
        leg if leg.precise_distribution is None else replace(leg, precise_distribution=str(leg.precise_distribution))
        for leg in legs or ()
    ] or UNSET


class Terms(Struct, omit_defaults=True):
    """The terms of a transaction beside the movement itself. They are stored with it, as JSON."""

    sources: list[Leg] | None = None
    destinations: list[Leg] | None = None
    atomic: bool = False
    inflight: bool = False
    """Whether the legs of a split are holds."""
    refund: bool = False
    """Whether the legs of a split are refunds."""
    whole: bool | None = None
    """Whether such a split was to give back all that was left. None in those of a release that did not keep it."""
    scheduled_for: datetime | None = None
    scheduled_at: datetime | None = None
    """The time of the request, for a transaction that waits for its date."""
    inflight_expiry_date: datetime | None = None
    inflight_commit_date: datetime | None = None


class TransactionRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /transactions``, and one item of a batch."""

    amount: Amount | None = None
    precise_amount: PreciseAmount | None = None
    precision: (
        Annotated[Decimal, Meta(description="The number of minor units in a major unit, such as 100 for cents.")] | None
    ) = None
    currency: str | None = None
    reference: (
        Annotated[
            str, Meta(description="A unique text of yours. A repeated one gets the first transaction as its answer.")
        ]
        | None
    ) = None
    description: str | None = None
    source: Annotated[str, Meta(description="A balance id, or the @Name of an internal balance.")] | None = None
    destination: str | None = None
    allow_overdraft: bool | None = None
    apply_overdraft: Annotated[bool, Meta(description="An alias of allow_overdraft.")] | None = None
    overdraft_limit: (
        Annotated[Decimal, Meta(description="The amount by which the source may go below zero, in major units.")] | None
    ) = None
    inflight: Annotated[bool, Meta(description="Hold the money, to be committed or voided later.")] | None = None
    skip_queue: Annotated[bool, Meta(description="Answer with the outcome. It does not jump the line.")] | None = None
    effective_date: Timestamp | None = None
    meta_data: Raw = NO_META_DATA

    sources: Annotated[list[Leg], Meta(description="Several sources, in place of source.")] | None = None
    destinations: Annotated[list[Leg], Meta(description="Several destinations, in place of destination.")] | None = None
    atomic: Annotated[bool, Meta(description="Whether a split applies all its legs or none.")] | None = None
    scheduled_for: (
        Annotated[DueDate, Meta(description="The RFC 3339 time at which the transaction is accepted.")] | None
    ) = None
    inflight_expiry_date: (
        Annotated[DueDate, Meta(description="The time at which the rest of the hold is voided.")] | None
    ) = None
    inflight_commit_date: (
        Annotated[DueDate, Meta(description="The time at which the rest of the hold is committed.")] | None
    ) = None
    dry_run: Annotated[bool, Meta(description="Answer with what would happen, and change nothing.")] | None = None

    # Blnk's clients send these without effect.
    status: str | None = None
    balance_id: str | None = None
    rate: Any = None


_decode_terms = json.Decoder(Terms).decode


def terms_of(text: str | None) -> Terms:
    """Read the stored terms of a transaction. No text means the default terms."""
    return _decode_terms(text) if text else Terms()


class BulkRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /transactions/bulk``."""

    transactions: list[TransactionRequest | None] | None = None
    inflight: bool | None = None
    atomic: Annotated[bool, Meta(description="Whether all transactions are applied or none, in one commit.")] | None = (
        None
    )
    run_async: bool | None = None
    skip_queue: bool | None = None
    dry_run: bool | None = None


class SettleRequest(Struct, forbid_unknown_fields=True):
    """The body of ``PUT /transactions/inflight/<id>``."""

    status: Annotated[str, Meta(description="The operation: commit or void.")] | None = None
    amount: Amount | None = None
    precise_amount: PreciseAmount | None = None
    reference: (
        Annotated[str, Meta(description="A unique text of yours, which makes a repeated request harmless.")] | None
    ) = None
    skip_queue: bool | None = None
    dry_run: bool | None = None

    # Blnk's clients send these without effect.
    meta_data: Raw = NO_META_DATA


class BulkSettlement(Struct, forbid_unknown_fields=True):
    """One item of ``POST /transactions/inflight/bulk/commit``."""

    transaction_id: str
    amount: Amount | None = None
    precise_amount: PreciseAmount | None = None


class BulkCommitRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /transactions/inflight/bulk/commit``."""

    transactions: list[BulkSettlement] | None = None
    skip_queue: bool | None = None
    dry_run: bool | None = None


class BulkVoidRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /transactions/inflight/bulk/void``."""

    transaction_ids: list[str] | None = None
    skip_queue: bool | None = None
    dry_run: bool | None = None


class RefundRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /refund-transaction/<id>``."""

    amount: Amount | None = None
    precise_amount: PreciseAmount | None = None
    reference: (
        Annotated[str, Meta(description="A unique text of yours, which makes a repeated partial refund harmless.")]
        | None
    ) = None
    description: str | None = None
    meta_data: Raw = NO_META_DATA
    skip_queue: bool | None = None
    dry_run: bool | None = None


class LedgerRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /ledgers`` and ``PUT /ledgers/<id>``."""

    name: str | None = None
    meta_data: Raw = NO_META_DATA


class CurrencyRequest(Struct, forbid_unknown_fields=True):
    """The body of ``PUT /currencies/<currency>``."""

    precision: Annotated[int, Meta(description="The number of minor units in a major unit: 100 for cents.")]


class BalanceRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /balances``."""

    ledger_id: str | None = None
    currency: str | None = None
    indicator: Annotated[str, Meta(description="An @Name, which only a balance in the General Ledger has.")] | None = (
        None
    )
    meta_data: Raw = NO_META_DATA

    identity_id: Annotated[str, Meta(description="The identity that the balance belongs to.")] | None = None

    # Blnk's clients send these without effect.
    allocation_strategy: str | None = None
    track_fund_lineage: bool | None = None
    precision: Any = None


class MetaDataRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /<id>/metadata``."""

    meta_data: Annotated[Raw, Meta(description="The members to add or replace.")] = NO_META_DATA
