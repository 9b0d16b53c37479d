"""The bodies of funding requests: a job, its recipients or its rule, and a run. ``terms.py`` checks them.

Every field is optional here, so that one answer can name all missing fields. Unknown fields are refused.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Raw, Struct

from core.ledger.rules.requests import NO_META_DATA, Amount, PreciseAmount, Timestamp
from core.lists.requests import FilterClause


class Recipient(Struct, forbid_unknown_fields=True):
    """One row of a funding job."""

    destination: Annotated[str, Meta(description="Balance id, or the @Name of an internal balance.")] | None = None
    amount: Amount | None = None
    precise_amount: PreciseAmount | None = None
    description: Annotated[str, Meta(description="The job's, unless told otherwise.")] | None = None
    meta_data: Raw = NO_META_DATA


class FundingRule(Struct, forbid_unknown_fields=True):
    """A rule that chooses the recipients: each run funds the balances that match when it starts."""

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
    """The body of ``POST /funding-jobs``. A job without ``at`` or ``cron`` runs once, at once."""

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
    inflight_commit_date: (
        Annotated[Timestamp, Meta(description="When to commit the holds: an RFC 3339 time.")] | None
    ) = None
    inflight_commit_after_s: (
        Annotated[int, Meta(description="When to commit the holds: so many seconds after the run is due.")] | None
    ) = None
    at: Annotated[Timestamp, Meta(description="When to run, once: an RFC 3339 time.")] | None = None
    cron: Annotated[str, Meta(description="When to run, again and again: minute hour day month weekday.")] | None = None
    timezone: Annotated[str, Meta(description="Of cron, such as Europe/Berlin; UTC unless told otherwise.")] | None = (
        None
    )
    ends_at: Annotated[Timestamp, Meta(description="Of cron: nothing is due after this RFC 3339 time.")] | None = None
    count: Annotated[int, Meta(description="Of cron: how many runs in all.")] | None = None
    missed: (
        Annotated[str, Meta(description="Runs that came while nothing ran: skip, once (the latest; default), or all.")]
        | None
    ) = None
    dry_run: Annotated[bool, Meta(description="Answer what a run would come to, and do nothing.")] | None = None


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
    """Only in a job with a rule: the conditions that a recipient meets."""
    logical_operator: str = "and"
    amount: int | None = None
    """Only in a job with a rule: the amount that each recipient gets."""
    top_up_to: int | None = None
    """Only in a job with a rule: the amount that each recipient should have after the run."""


class RunRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /funding-jobs/<id>/run``, which runs a job once more, beside its schedule."""

    reference: Annotated[str, Meta(description="Makes a repeated request harmless.")] | None = None
