"""Turn a request into a draft of a job: check its terms, then check and keep its rows."""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from core.base import actors
from core.base.actors import reach_of_request
from core.base.errors import ErrorCode, InvalidRequest, NotFound
from core.base.ids import new_key
from core.base.money import grouped
from core.base.problems import refusal
from core.funding import reach, reach_store, recipients, row_check, row_store, schedule
from core.funding.files.rows import Given
from core.funding.job_store import JobRow
from core.funding.jobs import INVALID
from core.funding.plan import listing_of
from core.funding.repeats import content_of
from core.funding.requests import MAX_ATOMIC, FundingRequest, FundingTerms
from core.funding.row_check import Pool
from core.funding.terms import schedule_of, terms_from, terms_problems
from core.journal.actions import Event
from core.ledger.changes import create_indicators, fix_precision
from core.ledger.directory import Directory
from core.ledger.permission import goes_below_zero, require_new, require_overdraft
from core.ledger.price import is_checked
from core.ledger.reach import reaches, require_amount
from core.ledger.resolve import unknown_balance
from core.ledger.rules.model import GENERAL_LEDGER
from core.ledger.rules.pricing import check_precision, minor_of
from core.ledger.rules.validation import new_currency_problems, new_indicator_problems
from core.ledger.store import balances as balance_store
from core.ledger.store import ledgers as ledger_store
from core.ledger.store.reach import reaches_ledger

NAMES_LISTED = 5
"""A message lists so many names. The details of the error have a hundred."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


class JobDraft(NamedTuple):
    """A job whose terms are checked, but whose rows are not."""

    name: str
    reference: str
    """Empty when the request has none."""
    source: str
    currency: str
    precision: int
    fix_precision: bool
    """True when this job fixes the precision of its currency."""
    terms: FundingTerms
    ledger_id: str | None
    """The ledger whose balances the rule funds; None when there is none."""
    given: Iterable[Given] | None
    next_due: datetime | None
    runs_now: bool
    description: str | None
    expected: tuple[int | None, int | None]
    """The rows and the minor units that the list must have."""
    new_names: bool
    """False when no balance may be created."""


class Kept(NamedTuple):
    """A job whose rows are stored, and what was created for them."""

    job: JobRow
    new_names: set[str]
    """The ``@Names`` of the balances that did not exist."""
    events: list[Event]


def draft_job(
    request: FundingRequest, given: Iterable[Given] | None, directory: Directory, now: datetime, *, is_new: bool = True
) -> JobDraft:
    """Check the terms of a request, look up its pool and precision, and return the draft.

    ``is_new`` is false for a request that repeats an earlier one.

    Raises:
        InvalidRequest: the terms have problems, and all are listed.
        NotFound: there is no such source (BAL_NOT_FOUND).
        Forbidden: the job may take its pool below zero, and the key has not the right to that.
        BeyondKey: the overdraft or the amount is too large for the key.
    """
    if problems := terms_problems(request, given is not None, now, is_new=is_new):
        raise refusal((), problems, INVALID)
    source = request.source or ""
    if source[0] != "@":
        directory.know([source])
        ref = directory.balance(source)
        if ref is None or not reaches(reach_of_request(), ref.ledger_id, ref.indicator):
            raise NotFound(ErrorCode.BAL_NOT_FOUND, unknown_balance(source))
        if request.currency not in (None, ref.currency):
            text = f"is {request.currency}, but the source balance is in {ref.currency}"
            raise InvalidRequest([("currency", text)], ErrorCode.TXN_CURRENCY_MISMATCH)
        currency = ref.currency
    elif not reaches(reach_of_request(), GENERAL_LEDGER, source):
        raise NotFound(ErrorCode.BAL_NOT_FOUND, unknown_balance(source))
    elif request.currency is None:
        raise InvalidRequest([("currency", "cannot be blank, as an @Name may have several")], INVALID)
    else:
        currency = request.currency
        if not directory.know([(source, currency)]):
            wrong = new_indicator_problems("source", source)
            if not directory.uses(currency):
                wrong += new_currency_problems(currency)
            if wrong:
                raise InvalidRequest(wrong, INVALID)
    asked = int(request.precision) if request.precision else None
    fixed = directory.precision(currency) if is_checked(directory, currency) else None
    if fixed is not None:
        check_precision(currency, asked=asked, fixed=fixed)
    elif asked is None and directory.check_precision:
        # A transaction may leave the precision open. A job may repeat for years, so its amounts must keep their meaning.
        text = f"is required, as nothing has fixed that of {currency} yet: 100 for cents"
        raise InvalidRequest([("precision", text)], INVALID)
    precision = fixed or asked or 1
    terms = msgspec.structs.replace(terms_from(request, precision), reach=reach.of_new_job())
    if goes_below_zero(terms.allow_overdraft, terms.overdraft_limit):
        require_overdraft()
    reach.require_terms(terms, currency, precision)
    if terms.filters is not None:
        listing_of(terms.filters, terms.logical_operator)
    runs_now = terms.at is None and terms.cron is None
    next_due = None if runs_now else next(schedule.occurrences(schedule_of(terms), after=_before(terms, now)), None)
    if next_due is None and not runs_now:
        raise InvalidRequest(
            [("ends_at" if terms.ends_at else "cron", "leaves no time at which the job would run")], INVALID
        )
    rows = recipients.of_list(request.recipients) if request.recipients is not None else given
    sum_asked = request.expect_amount
    expected = None if sum_asked is None else minor_of("expect_amount", sum_asked, precision)
    fix = fixed is None and asked is not None and directory.check_precision
    return JobDraft(
        name=request.name or "",
        reference=request.reference or "",
        source=source,
        currency=currency,
        precision=precision,
        fix_precision=fix,
        terms=terms,
        ledger_id=None if request.rule is None else request.rule.ledger_id,
        given=rows,
        next_due=next_due,
        runs_now=runs_now,
        description=request.description,
        expected=(request.expect_rows, expected),
        new_names=request.new_names is not False,
    )


def _before(terms: FundingTerms, now: datetime) -> datetime:
    """Return the moment after which the first occurrence lies. A single time may be up to ``GRACE`` in the past."""
    return now if terms.at is None else now - schedule.GRACE - timedelta(microseconds=1)


def keep_rows(conn: Connection, draft: JobDraft, directory: Directory, now: datetime) -> Kept:
    """Check and store the rows, and create the balances that they name.

    The caller stores the job, makes a reference for it if it has none, and then records what was created for it.

    Raises:
        InvalidRequest: a row is wrong (FND_INVALID_RECIPIENTS), or an atomic job has too many rows.
        NotFound: there is no such ledger (LGR_NOT_FOUND).
        Forbidden: a name is new, and the key has not the right to create its balance.
        BeyondKey: an amount is too large for the key.
    """
    id, terms = new_key(), draft.terms
    if draft.ledger_id is not None and not (
        reaches_ledger(draft.ledger_id) and ledger_store.find(conn, draft.ledger_id)
    ):
        raise NotFound(ErrorCode.LGR_NOT_FOUND, "Ledger not found")
    digest = hashlib.sha256(_fingerprint(draft))
    rows = amount = None
    events: list[Event] = []
    new_names: dict[str, int] = {}
    if draft.given is not None:
        pool = Pool(draft.source, draft.currency, draft.precision, terms.match)
        stored = row_check.check_and_store(conn, id, draft.given, pool, allow_duplicates=terms.allow_duplicates)
        rows, amount, new_names = stored.rows, stored.amount, stored.new_names
        digest.update(stored.digest)
        if reach_of_request().bounds_money:
            require_amount(reach_store.largest(conn, id), draft.currency, draft.precision)
        _check_expected(draft, rows, amount)
        if terms.atomic and rows > MAX_ATOMIC:
            raise InvalidRequest([("atomic", f"is possible for {MAX_ATOMIC} rows, and there are {rows}")], INVALID)
    if draft.fix_precision:
        fixed, events = fix_precision(conn, draft.currency, draft.precision)
        check_precision(draft.currency, asked=draft.precision, fixed=fixed)
    source, names, created = _create_balances(conn, draft, new_names, id, directory)
    if names and not draft.new_names:
        raise _refused_names(draft, names)
    balance = balance_store.find_keys(conn, [source])[source]
    job = JobRow(
        id,
        draft.reference,
        draft.name,
        source,
        balance.balance_id,
        balance.indicator,
        draft.currency,
        draft.precision,
        _encode(terms).decode(),
        digest.digest(),
        rows,
        amount,
        "ACTIVE",
        draft.next_due,
        0,
        0,
        now,
        0,
        actor=actors.current().key_id,
    )
    job = job._replace(content=content_of(conn, job, draft.description))
    return Kept(job, names, [*events, *created])


def _check_expected(draft: JobDraft, rows: int, amount: int) -> None:
    """Refuse a list that is not what the request expects.

    Raises:
        InvalidRequest: it has other rows or another sum.
    """
    expected_rows, expected_amount = draft.expected
    problems: list[tuple[str, str]] = []
    if expected_rows not in (None, rows):
        problems.append(("expect_rows", f"is {expected_rows}, and there are {rows} rows"))
    if expected_amount is not None and expected_amount != amount:
        expected, found = grouped(expected_amount, draft.precision), grouped(amount, draft.precision)
        problems.append(("expect_amount", f"is {expected}, and the rows add up to {found} {draft.currency}"))
    if problems:
        raise InvalidRequest(problems, INVALID)


def _refused_names(draft: JobDraft, created: set[str]) -> InvalidRequest:
    names = sorted(created)
    more = f" and {len(names) - NAMES_LISTED} more" if len(names) > NAMES_LISTED else ""
    text = f"is false, and there is no {', '.join(names[:NAMES_LISTED])}{more} in {draft.currency}"
    return InvalidRequest([("new_names", text)], INVALID, {"names": names[:100]})


def _create_balances(
    conn: Connection, draft: JobDraft, new_names: dict[str, int], list_id: UUID, directory: Directory
) -> tuple[int, set[str], list[Event]]:
    """Create the named balances that do not exist yet. Returns the key of the pool, their names, and what was created."""
    names, events = set(new_names), list[Event]()
    ref = directory.named(draft.source, draft.currency)
    if ref is None:
        names.add(draft.source)
    require_new(names)
    if names:
        pairs = [(name, draft.currency) for name in names]
        events = create_indicators(conn, pairs)
        refs = balance_store.find_indicators(conn, pairs)
        keys = {stood: refs[name, draft.currency].key for name, stood in new_names.items()}
        if keys:
            row_store.rename_destinations(conn, list_id, keys)
        ref = ref or refs[draft.source, draft.currency]
    assert ref is not None
    return ref.key, names, events


def _fingerprint(draft: JobDraft) -> bytes:
    """Return the bytes that two requests for the same job share. The rows are not part of them."""
    return _encode([draft.name, draft.source, draft.currency, draft.precision, draft.terms])
