"""What may be asked of the ledger, whoever asks. JSON decodes straight into these, exactly and without floats.

Everything is optional here, for ``intake`` says in one answer what is missing. A field that is not listed is refused, as
a misspelt ``allow_overdrft`` must not pass. Fields that Blnk's clients send for nothing are listed and ignored.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from msgspec import Meta, Raw, Struct, json

Amount = Annotated[Decimal, Meta(description="Major units. A JSON number or its text; never rounded.")]
PreciseAmount = Annotated[
    int | str, Meta(description="Minor units: an integer of any size, or its digits as a string.")
]
Timestamp = Annotated[datetime, Meta(tz=True, description="RFC 3339 with a time zone.")]

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
    scheduled_for: Annotated[str, Meta(description="When to accept it: an RFC 3339 time.")] | None = None
    inflight_expiry_date: Annotated[str, Meta(description="When to void what is left of the hold.")] | None = None
    inflight_commit_date: Annotated[str, Meta(description="When to commit what is left of the hold.")] | None = None
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


class FilterClause(Struct, forbid_unknown_fields=True):
    """One condition of a filter."""

    field: Annotated[str, Meta(description="A field of what is listed, or meta_data.<key>.")]
    operator: Annotated[
        str, Meta(description="eq, ne, gt, gte, lt, lte, in, between, like, ilike, isnull or isnotnull.")
    ]
    value: Annotated[Any, Meta(description="What to compare with.")] = None
    values: Annotated[list[Any], Meta(description="Of in and between.")] | None = None


class FilterRequest(Struct, forbid_unknown_fields=True):
    """``POST /transactions/filter``, and the same of balances and ledgers."""

    filters: list[FilterClause] | None = None
    logical_operator: Annotated[str, Meta(description="and, unless told otherwise, or or.")] | None = None
    limit: int | None = None
    offset: int | None = None
    after: Annotated[str | int, Meta(description="Where the page before ended, as its Link header has it.")] | None = (
        None
    )
    sort_by: str | None = None
    sort_order: Annotated[str, Meta(description="desc, unless told otherwise, or asc.")] | None = None
    include_count: Annotated[bool, Meta(description="Answer with data and total_count.")] | None = None


class MetaDataRequest(Struct, forbid_unknown_fields=True):
    """``POST /<id>/metadata``."""

    meta_data: Annotated[Raw, Meta(description="Members to add, or to replace.")] = NO_META_DATA


class Recipient(Struct, forbid_unknown_fields=True):
    """One row of a funding job."""

    destination: Annotated[str, Meta(description="Balance id, or the @Name of an internal balance.")] | None = None
    amount: Amount | None = None
    precise_amount: PreciseAmount | None = None
    description: Annotated[str, Meta(description="The job's, unless told otherwise.")] | None = None
    meta_data: Raw = NO_META_DATA


class FundingRule(Struct, forbid_unknown_fields=True):
    """Whom to fund, said without naming them: it is looked up when a run starts."""

    ledger_id: Annotated[str, Meta(description="All balances of this ledger in the job's currency.")] | None = None
    filters: Annotated[list[FilterClause], Meta(description="As in POST /balances/filter.")] | None = None
    logical_operator: Annotated[str, Meta(description="Of the filters: and, unless told otherwise, or or.")] | None = (
        None
    )
    amount: Annotated[Decimal, Meta(description="Major units, for each.")] | None = None
    precise_amount: Annotated[int | str, Meta(description="Minor units, for each.")] | None = None
    top_up_to: Annotated[Decimal, Meta(description="Major units: what is missing to it, for each.")] | None = None
    precise_top_up_to: Annotated[int | str, Meta(description="The same in minor units.")] | None = None


class FundingRequest(Struct, forbid_unknown_fields=True):
    """``POST /funding-jobs``. Without ``at`` or ``cron`` it runs now, once."""

    name: str | None = None
    reference: (
        Annotated[str, Meta(description="Yours, unique for ever; the same one again is answered, not repeated.")] | None
    ) = None
    source: Annotated[str, Meta(description="The pool: a balance id, or the @Name of an internal balance.")] | None = (
        None
    )
    currency: str | None = None
    precision: Annotated[Decimal, Meta(description="Minor units in a major unit: 100 for cents.")] | None = None
    description: Annotated[str, Meta(description="Of each transaction; the name, unless told otherwise.")] | None = None
    allow_overdraft: bool | None = None
    apply_overdraft: Annotated[bool, Meta(description="An alias of allow_overdraft.")] | None = None
    overdraft_limit: Annotated[Decimal, Meta(description="Major units. How far below zero the pool may go.")] | None = (
        None
    )
    until_limit: (
        Annotated[bool, Meta(description="Fund in order as far as the money goes, and do not refuse the run.")] | None
    ) = None
    recipients: list[Recipient] | None = None
    rule: Annotated[FundingRule, Meta(description="In place of recipients.")] | None = None
    allow_duplicates: Annotated[bool, Meta(description="A destination may be in the list several times.")] | None = None
    atomic: Annotated[bool, Meta(description="All rows of a run or none, decided in one commit.")] | None = None
    inflight: Annotated[bool, Meta(description="Hold the money, to be committed or voided later.")] | None = None
    inflight_commit_date: Annotated[str, Meta(description="When to commit the holds: an RFC 3339 time.")] | None = None
    inflight_commit_after_s: (
        Annotated[int, Meta(description="When to commit the holds: so many seconds after the run is due.")] | None
    ) = None
    at: Annotated[str, Meta(description="When to run, once: an RFC 3339 time.")] | None = None
    cron: Annotated[str, Meta(description="When to run, again and again: minute hour day month weekday.")] | None = None
    timezone: Annotated[str, Meta(description="Of cron, such as Europe/Berlin; UTC unless told otherwise.")] | None = (
        None
    )
    ends_at: Annotated[str, Meta(description="Of cron: nothing is due after this RFC 3339 time.")] | None = None
    count: Annotated[int, Meta(description="Of cron: how many runs in all.")] | None = None
    missed: (
        Annotated[str, Meta(description="Runs that came while nothing ran: skip, once (the latest; default), or all.")]
        | None
    ) = None
    dry_run: Annotated[bool, Meta(description="Answer what a run would come to, and do nothing.")] | None = None


class FundingTerms(Struct, omit_defaults=True):
    """What was agreed on in a funding job beside its list. Stored with it, as JSON. Amounts are minor units."""

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
    """Of a rule."""
    logical_operator: str = "and"
    amount: int | None = None
    """Of a rule: for each."""
    top_up_to: int | None = None
    """Of a rule: what each should have then."""


class RunRequest(Struct, forbid_unknown_fields=True):
    """``POST /funding-jobs/<id>/run``."""

    reference: Annotated[str, Meta(description="Makes a repeated request harmless.")] | None = None
