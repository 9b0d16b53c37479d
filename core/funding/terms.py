"""Check the terms of a funding job, and turn them into the form that is stored."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from core.base.problems import Problem
from core.base.sizes import MAX_NAME
from core.funding import schedule
from core.funding.files.terms import file_problems
from core.funding.job_store import JobRow
from core.funding.missed import Missed
from core.funding.requests import FundingRequest, FundingRule, FundingTerms
from core.funding.schedule import Schedule
from core.ledger.rules.pricing import minor_of
from core.ledger.rules.requests import NO_TIME_TEXT
from core.ledger.rules.validation import (
    MAX_REFERENCE,
    NO_TIME,
    Found,
    description_problems,
    in_utc,
    indicator_problems,
    new_name_problems,
    precision_problems,
    text_problems,
    used_currency_problems,
    whole,
)
from core.lists.requests import FilterClause

MAX_COUNT = 2**31 - 1

# A filter may compare with any number, and a float would change it.
_decode_terms = msgspec.json.Decoder(FundingTerms, float_hook=Decimal).decode


def job_terms(job: JobRow) -> FundingTerms:
    """Return the stored terms of a job."""
    return _decode_terms(job.terms)


def schedule_of(terms: FundingTerms) -> Schedule:
    """Return the schedule of a job. Terms without ``at`` and ``cron`` belong to a job that runs once, when it is made."""
    return Schedule(terms.at, terms.cron, terms.timezone, terms.ends_at, terms.count)


def terms_problems(request: FundingRequest, has_file: bool, now: datetime, *, is_new: bool = True) -> Found:
    """Return all problems of the terms that can be found without the database.

    A job that is there already keeps its name and reference, clear or not.
    """
    problems: Found = [*text_problems("name", request.name, MAX_NAME)]
    if request.reference is not None:
        problems += text_problems("reference", request.reference, MAX_REFERENCE)
    if is_new and not problems:
        problems += new_name_problems("name", request.name) + new_name_problems("reference", request.reference)
    problems += text_problems("source", request.source, MAX_NAME)
    if request.source and request.source.startswith("@"):
        problems += indicator_problems("source", request.source)
    if request.currency is not None:
        problems += used_currency_problems(request.currency)
    problems += precision_problems(request.precision)
    if request.description is not None:
        problems += description_problems(request.description)
    limit = request.overdraft_limit
    if limit is not None and (not limit.is_finite() or limit < 0):
        problems.append(("overdraft_limit", "cannot be negative"))
    if request.until_limit and request.atomic:
        text = "funds a part, and atomic all or nothing; leave one out"
        problems.append(Problem("until_limit", text, ("until_limit", "atomic")))
    if request.until_limit and (request.allow_overdraft or request.apply_overdraft) and limit is None:
        text = "needs an overdraft_limit, for with allow_overdraft alone there is no limit"
        problems.append(
            Problem("until_limit", text, ("until_limit", "overdraft_limit", "allow_overdraft", "apply_overdraft"))
        )
    if request.expect_rows is not None and request.expect_rows < 0:
        problems.append(("expect_rows", "cannot be negative"))
    if request.expect_amount is not None and (not request.expect_amount.is_finite() or request.expect_amount < 0):
        problems.append(("expect_amount", "cannot be negative"))
    problems += _recipients_problems(request, has_file)
    problems += file_problems(request.file, has_file)
    problems += _time_problems(request, now)
    return problems + _inflight_problems(request)


def _recipients_problems(request: FundingRequest, has_file: bool) -> Found:
    ways = [request.recipients is not None, request.rule is not None, has_file]
    if sum(ways) != 1:
        text = (
            "only one of recipients, rule and a file may say whom to fund"
            if any(ways)
            else "is required, unless a rule or a file says whom to fund"
        )
        return [Problem("recipients", text, ("recipients", "rule"))]
    if request.match is not None and (text := _match_problem(request)):
        return [Problem("match", text, ("match", "rule"))]
    if request.recipients is not None and not request.recipients:
        return [("recipients", "cannot be empty")]
    rule = request.rule
    if rule is None:
        return []
    problems: Found = []
    if rule.ledger_id is not None:
        problems += text_problems("rule.ledger_id", rule.ledger_id, MAX_NAME)
    if (rule.ledger_id is None) == (rule.filters is None):
        text = "either ledger_id or filters says whose balances"
        problems.append(Problem("rule", text, ("rule.ledger_id", "rule.filters")))
    if rule.filters is not None and not rule.filters:
        problems.append(("rule.filters", "cannot be empty"))
    amounts = [name for name in _RULE_AMOUNTS if getattr(rule, name) is not None]
    if len(amounts) != 1:
        text = f"exactly one of {', '.join(_RULE_AMOUNTS)} is required"
        problems.append(Problem("rule.amount", text, tuple(f"rule.{name}" for name in _RULE_AMOUNTS)))
    for name in amounts:
        value = getattr(rule, name)
        if not isinstance(value, Decimal):
            value = whole(value)
            if value is None:
                problems.append((f"rule.{name}", "must be an integer, or a string of its digits"))
                continue
        if not Decimal(value).is_finite() or value <= 0:
            problems.append((f"rule.{name}", "must be greater than zero"))
    return problems


def _match_problem(request: FundingRequest) -> str:
    """Describe what is wrong with the metadata that destinations name, or return an empty text."""
    if request.rule is not None:
        return "is for a list, and a rule finds the balances by its filters"
    steps = (request.match or "").split(".")
    if len(steps) < 2 or steps[0] != "meta_data" or not all(steps) or len(request.match or "") > MAX_NAME:
        return "must be a path in the metadata of balances, such as meta_data.customer_id"
    return (
        text_problems("match", request.match, MAX_NAME)[0][1] if text_problems("match", request.match, MAX_NAME) else ""
    )


_RULE_AMOUNTS = ("amount", "precise_amount", "top_up_to", "precise_top_up_to")


def _time_problems(request: FundingRequest, now: datetime) -> Found:
    problems: Found = []
    for name in ("at", "ends_at", "inflight_commit_date"):
        time = getattr(request, name)
        if time == NO_TIME:
            # A time of zero is refused instead of ignored: without a time, money would go out at once, or for ever.
            problems.append((name, NO_TIME_TEXT))
        elif time is not None:
            in_utc(name, time, problems)
    if request.at and request.cron is not None:
        problems.append(("cron", "is for many runs, and at for one; leave one out"))
    problems += schedule.schedule_problems(request.cron, request.timezone)
    if request.cron is None:
        for name in ("timezone", "ends_at", "count"):
            if getattr(request, name) is not None:
                problems.append(Problem(name, "is only of use with cron", (name, "cron")))
    if request.count is not None and not 1 <= request.count <= MAX_COUNT:
        problems.append(("count", f"must be from 1 to {MAX_COUNT}"))
    if request.missed is not None and request.missed not in set(Missed):
        problems.append(("missed", f"must be {', '.join(list(Missed)[:-1])} or {list(Missed)[-1]}"))
    if not problems and request.at is not None and request.at < now - schedule.GRACE:
        problems.append(("at", "is in the past; leave it out to run now"))
    return problems


def _inflight_problems(request: FundingRequest) -> Found:
    problems: Found = []
    after_s = request.inflight_commit_after_s
    for name in ("inflight_commit_date", "inflight_commit_after_s"):
        if getattr(request, name) is not None and not request.inflight:
            problems.append(Problem(name, "needs inflight: true, for there is no hold otherwise", (name, "inflight")))
    if request.inflight_commit_date and after_s is not None:
        problems.append(("inflight_commit_after_s", "and inflight_commit_date cannot both be given"))
    if after_s is not None and not 0 < after_s <= 10 * 366 * 86_400:
        problems.append(("inflight_commit_after_s", "must be a number of seconds, from 1 to those of ten years"))
    return problems


def terms_from(request: FundingRequest, precision: int) -> FundingTerms:
    """Return the terms of a request that ``terms_problems`` found right, in the form that is stored.

    Raises:
        InvalidRequest: an amount is not a whole number of minor units.
    """
    rule = request.rule
    limit = request.overdraft_limit
    terms = FundingTerms(
        description=request.description or request.name or "",
        allow_overdraft=bool(request.allow_overdraft or request.apply_overdraft),
        overdraft_limit=None if limit is None else minor_of("overdraft_limit", limit, precision),
        until_limit=bool(request.until_limit),
        allow_duplicates=bool(request.allow_duplicates),
        atomic=bool(request.atomic),
        inflight=bool(request.inflight),
        inflight_commit_date=_utc(request.inflight_commit_date),
        inflight_commit_after_s=request.inflight_commit_after_s,
        at=_utc(request.at),
        cron=None if request.cron is None else " ".join(request.cron.split()),
        timezone=request.timezone or "UTC",
        ends_at=_utc(request.ends_at),
        count=request.count,
        missed=request.missed or Missed.ONCE,
        match=request.match or "",
    )
    if rule is None:
        return terms
    return msgspec.structs.replace(
        terms,
        filters=rule.filters or [FilterClause("ledger_id", "eq", rule.ledger_id)],
        logical_operator=rule.logical_operator or "and",
        amount=_rule_amount(rule, "amount", precision),
        top_up_to=_rule_amount(rule, "top_up_to", precision),
        expect_rows=request.expect_rows,
        expect_amount=None
        if request.expect_amount is None
        else minor_of("expect_amount", request.expect_amount, precision),
    )


def _utc(time: datetime | None) -> datetime | None:
    return None if time is None else time.astimezone(UTC)


def _rule_amount(rule: FundingRule, name: str, precision: int) -> int | None:
    amount, precise = getattr(rule, name), getattr(rule, f"precise_{name}")
    if precise is not None:
        return whole(precise)
    return None if amount is None else minor_of(f"rule.{name}", amount, precision)
