"""The terms of a funding job: whatever is wrong is named, and nothing is kept."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from core.base.db import begin, reading
from core.base.errors import Conflict, InvalidRequest, LedgerError, NotFound
from core.funding import create as funding_create
from core.funding import forecast
from core.funding import jobs as funding_jobs
from core.funding.requests import FundingRequest, FundingRule, FundingTerms, Recipient
from core.funding.terms import job_terms
from core.ledger.rules.validation import NO_TIME
from core.lists.requests import FilterClause
from tests.harness.factories import Ledger

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TO_A = [Recipient("@A", precise_amount=5)]


def _rule(**fields: Any) -> dict[str, Any]:
    return {"recipients": None, "rule": FundingRule(**{"ledger_id": "general_ledger_id", "precise_amount": 5} | fields)}


def _create(ledger: Ledger, now: datetime = NOW, **fields: Any) -> funding_create.Created:
    """Create a job that gives five cents to @A, or what the fields say."""
    given: dict[str, Any] = {"name": "a job", "source": "@Pool", "currency": "USD", "precision": Decimal(100)}
    asked = FundingRequest(**{**given, "allow_overdraft": True, "recipients": TO_A, **fields})
    return funding_create.create_job(ledger.engine, asked, None, ledger.directory, now)


_time = datetime.fromisoformat

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": None}, "name"),
    "a blank name": ({"name": " "}, "name"),
    "a name with NUL": ({"name": "a\0"}, "name"),
    "a blank reference": ({"reference": ""}, "reference"),
    "no source": ({"source": None}, "source"),
    "a source with a space": ({"source": "@a b"}, "source"),
    "no currency of an @Name": ({"currency": None}, "currency"),
    "no precision of a new currency": ({"precision": None}, "precision"),
    "half a precision": ({"precision": Decimal("0.5")}, "precision"),
    "a negative limit": ({"overdraft_limit": Decimal(-1)}, "overdraft_limit"),
    "an endless limit": ({"overdraft_limit": Decimal("Infinity")}, "overdraft_limit"),
    "an inexact limit": ({"overdraft_limit": Decimal("0.001")}, "overdraft_limit"),
    "until no limit": ({"until_limit": True}, "until_limit"),
    "a part of all or nothing": ({"until_limit": True, "atomic": True, "overdraft_limit": Decimal(1)}, "until_limit"),
    "nobody": ({"recipients": None}, "recipients"),
    "an empty list": ({"recipients": []}, "recipients"),
    "a list and a rule": (_rule() | {"recipients": TO_A}, "recipients"),
    "the source itself": ({"recipients": [Recipient("@Pool", precise_amount=1)]}, "recipients"),
    "amount zero": ({"recipients": [Recipient("@A", amount=Decimal(0))]}, "recipients"),
    "a rule for nobody": (_rule(ledger_id=None), "rule"),
    "a rule with no filters": (_rule(ledger_id=None, filters=[]), "rule.filters"),
    "a rule by ledger and filters": (_rule(filters=[FilterClause("currency", "eq", "USD")]), "rule"),
    "a rule with an unknown filter": (_rule(ledger_id=None, filters=[FilterClause("colour", "eq", "red")]), "colour"),
    "a rule with a bad operator": (_rule(logical_operator="nor"), "logical_operator"),
    "a rule for no amount": (_rule(precise_amount=None), "rule.amount"),
    "a rule for two amounts": (_rule(top_up_to=Decimal(1)), "rule.amount"),
    "a rule for zero": (_rule(precise_amount=0), "rule.precise_amount"),
    "a rule for text": (_rule(precise_amount="1.5"), "rule.precise_amount"),
    "a rule for an inexact amount": (_rule(precise_amount=None, amount=Decimal("0.001")), "rule.amount"),
    "a rule for nothing finite": (_rule(precise_amount=None, top_up_to=Decimal("NaN")), "rule.top_up_to"),
    "a zero time": ({"at": NO_TIME}, "at"),
    "the past": ({"at": _time("2026-11-21T11:00:00Z")}, "at"),
    "a bad cron": ({"cron": "61 * * * *"}, "cron"),
    "seconds in cron": ({"cron": "* * * * * *"}, "cron"),
    "a cron that never comes": ({"cron": "0 0 30 2 *"}, "cron"),
    "a blank cron": ({"cron": ""}, "cron"),
    "both times": ({"cron": "0 8 * * *", "at": _time("2027-01-01T00:00:00Z")}, "cron"),
    "an unknown zone": ({"cron": "0 8 * * *", "timezone": "Europe/Atlantis"}, "timezone"),
    "a zone without cron": ({"timezone": "Europe/Berlin"}, "timezone"),
    "an end without cron": ({"ends_at": _time("2027-01-01T00:00:00Z")}, "ends_at"),
    "an end before the first": ({"cron": "0 8 * * *", "ends_at": _time("2026-11-22T07:00:00Z")}, "ends_at"),
    "a count without cron": ({"count": 1}, "count"),
    "a count of none": ({"cron": "0 8 * * *", "count": 0}, "count"),
    "missed what": ({"cron": "0 8 * * *", "missed": "twice"}, "missed"),
    "a commit of no hold": ({"inflight_commit_date": _time("2027-01-01T00:00:00Z")}, "inflight_commit_date"),
    "a commit at once": ({"inflight": True, "inflight_commit_after_s": 0}, "inflight_commit_after_s"),
    "two commits": (
        {"inflight": True, "inflight_commit_after_s": 1, "inflight_commit_date": _time("2027-01-01T00:00:00Z")},
        "inflight_commit_after_s",
    ),
}  # fmt: skip
"""The terms, and the field that must be named."""


@pytest.mark.parametrize("what", BAD)
def test_bad_terms_are_named_and_nothing_is_kept(ledger: Ledger, what: str) -> None:
    fields, named = BAD[what]
    with pytest.raises(InvalidRequest) as caught:
        _create(ledger, **fields)
    assert named in [field for field, _ in caught.value.problems] or named in str(caught.value), caught.value.problems
    assert _kept(ledger) == [0, 0, 0, 0, 0]


def _kept(ledger: Ledger) -> list[int]:
    tables = ("funding_jobs", "funding_runs", "funding_rows", "balances", "currencies")
    with reading(ledger.engine) as conn:
        return [conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in tables]


def test_all_that_is_wrong_with_the_terms_is_said_at_once(ledger: Ledger) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _create(ledger, name="", cron="x", timezone="Mars", count=0, missed="never", inflight_commit_after_s=1)
    fields = {field for field, _ in caught.value.problems}
    assert fields == {"name", "cron", "timezone", "count", "missed", "inflight_commit_after_s"}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"source": "bln_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11", "currency": None}, "BAL_NOT_FOUND"),
        (_rule(ledger_id="ldg_none"), "LGR_NOT_FOUND"),
    ],
)
def test_what_is_not_there_is_not_found(ledger: Ledger, fields: dict[str, Any], code: str) -> None:
    with pytest.raises(NotFound) as caught:
        _create(ledger, **fields)
    assert caught.value.code == code
    assert _kept(ledger) == [0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"currency": "EUR"}, "TXN_CURRENCY_MISMATCH"), ({"precision": Decimal(1000)}, "TXN_PRECISION_MISMATCH")],
)
def test_currency_and_precision_must_be_those_of_the_pool(ledger: Ledger, fields: dict[str, Any], code: str) -> None:
    ledger.post()
    with pytest.raises(LedgerError) as caught:
        _create(ledger, source=ledger.balance("@World").balance_id, **fields)
    assert caught.value.code == code


def test_currency_and_precision_may_be_left_to_an_existing_pool(ledger: Ledger) -> None:
    ledger.post()
    job = _create(ledger, source=ledger.balance("@World").balance_id, currency=None, precision=None).job
    assert (job.currency, job.precision, job.indicator) == ("USD", 100, "@World")


def test_terms_are_kept_exactly(ledger: Ledger) -> None:
    limit = 10**30
    job = _create(
        ledger,
        description="Top up",
        overdraft_limit=Decimal(limit),
        until_limit=True,
        inflight=True,
        inflight_commit_after_s=60,
        cron=" 0  8 * * MON-FRI",
        timezone="Europe/Berlin",
        ends_at=datetime(2026, 12, 31, tzinfo=UTC),
        count=3,
        missed="all",
        **_rule(ledger_id=None, filters=[FilterClause("currency", "eq", "USD")], precise_amount="5"),
    ).job
    assert job_terms(job) == FundingTerms(
        description="Top up",
        allow_overdraft=True,
        overdraft_limit=limit * 100,
        until_limit=True,
        inflight=True,
        inflight_commit_after_s=60,
        cron="0 8 * * MON-FRI",
        timezone="Europe/Berlin",
        ends_at=datetime(2026, 12, 31, tzinfo=UTC),
        count=3,
        missed="all",
        filters=[FilterClause("currency", "eq", "USD")],
        amount=5,
    )
    assert forecast.next_occurrences(job) == [datetime(2026, 11, day, 7, tzinfo=UTC) for day in (23, 24, 25)]


def test_a_time_that_has_just_come_is_not_the_past(ledger: Ledger) -> None:
    at = NOW - timedelta(seconds=30)
    assert _create(ledger, at=at).job.next_due == at


def test_a_request_is_repeated_long_after_its_time_has_come(ledger: Ledger) -> None:
    at = NOW + timedelta(hours=1)
    first = _create(ledger, reference="mine", at=at)
    again = _create(ledger, NOW + timedelta(days=9), reference="mine", at=at)
    assert (first.replayed, again.replayed, again.job.job_id) == (False, True, first.job.job_id)


def test_a_job_whose_zone_is_known_no_more_can_be_read_and_says_so_when_resumed(ledger: Ledger) -> None:
    job = _create(ledger, cron="0 8 * * *", timezone="Europe/Berlin").job
    funding_jobs.pause(ledger.engine, job.job_id)
    with begin(ledger.engine) as conn:
        conn.execute(
            text("UPDATE funding_jobs SET terms = replace(terms::text, 'Europe/Berlin', 'Europe/Atlantis')::json")
        )
    with reading(ledger.engine) as conn:
        assert forecast.next_occurrences(funding_jobs.get_job(conn, job.job_id)) == []
    with pytest.raises(Conflict, match="Europe/Atlantis, which is not known"):
        funding_jobs.resume(ledger.engine, job.job_id, NOW + timedelta(days=2))
