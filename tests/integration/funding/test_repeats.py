"""The same list is not paid twice by mistake: it is refused for a time, and nothing else is."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

import msgspec
import pytest

from core.base.errors import Conflict, ErrorCode
from core.funding import create, repeats
from core.funding import jobs as funding_jobs
from core.funding.create import Created
from core.funding.files.reader import FileReader
from core.funding.requests import FundingRule
from tests.harness.factories import Ledger
from tests.harness.funding import NOW, advance_all, balance_of, funding_request, give, make_job, read_job

pytestmark = pytest.mark.usefixtures("sound")

ROWS = [("@Ana", 10), ("@Ben", 20)]


def send(ledger: Ledger, *rows: tuple[str, int], now: Any = NOW, **fields: Any) -> Created:
    return make_job(ledger, *(rows or ROWS), now=now, **({"again": None} | fields))


def refused(call: Callable[[], Any]) -> Any:
    with pytest.raises(Conflict) as caught:
        call()
    assert caught.value.code == ErrorCode.FND_REPEATED
    return caught.value.details


def test_the_same_list_is_refused_and_names_the_first_job_and_what_it_did(ledger: Ledger) -> None:
    first = send(ledger).job
    details = refused(lambda: send(ledger))
    assert (details["job_id"], details["rows"], details["precise_amount"]) == (first.job_id, 2, 30)
    assert (details["created_at"], details["rows_applied"]) == (first.created_at, 0)
    advance_all(ledger)
    details = refused(lambda: send(ledger, now=NOW + timedelta(hours=19)))
    assert (details["rows_applied"], details["precise_amount_applied"]) == (2, 30)
    assert first.reference.startswith(repeats.CONTENT_PREFIX)
    assert balance_of(ledger, "@Ana") == 10


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "wallets (1)"},
        {"allow_overdraft": None, "overdraft_limit": Decimal(100)},
        {"allow_duplicates": True},
        {"again": False, "reference": "another"},
        {},
    ],
)
def test_a_new_name_another_limit_and_another_order_are_the_same_list(ledger: Ledger, fields: Any) -> None:
    first = send(ledger).job
    assert refused(lambda: send(ledger, *reversed(ROWS), **fields))["job_id"] == first.job_id


@pytest.mark.parametrize(
    "fields",
    [
        {"again": True},
        {"reference": "mine"},
        {"description": "June"},
        {"currency": "EUR"},
        {"source": "@Other"},
        {"cron": "0 8 * * *"},
        {"inflight": True},
    ],
)
def test_what_says_that_it_is_meant_or_is_something_else_is_taken(ledger: Ledger, fields: Any) -> None:
    send(ledger)
    assert not send(ledger, **fields).replayed


@pytest.mark.parametrize(
    "rows", [[*ROWS, ("@Cleo", 1)], ROWS[:1], [("@Ana", 20), ("@Ben", 10)], [("@Ana", 11), ROWS[1]]]
)
def test_another_list_is_taken(ledger: Ledger, rows: list[tuple[str, int]]) -> None:
    send(ledger)
    assert not send(ledger, *rows).replayed


def test_the_time_ends_but_not_while_the_first_is_not_over(ledger: Ledger) -> None:
    later = NOW + repeats.WITHIN + timedelta(seconds=1)
    first = send(ledger).job
    refused(lambda: send(ledger, now=later))
    advance_all(ledger)
    second = send(ledger, now=later).job
    assert second.reference == f"{first.reference}_2"
    assert refused(lambda: send(ledger, now=later))["job_id"] == second.job_id
    scheduled = {"at": NOW + timedelta(days=9)}
    send(ledger, **scheduled)
    refused(lambda: send(ledger, now=NOW + timedelta(days=8), **scheduled))


def test_a_job_that_paid_nothing_is_not_in_the_way(ledger: Ledger) -> None:
    give(ledger, Pool=10)
    short = send(ledger, allow_overdraft=None).job
    advance_all(ledger)
    cancelled = send(ledger, allow_overdraft=None).job
    funding_jobs.cancel(ledger.engine, cancelled.job_id, NOW)
    third = send(ledger).job
    assert len({short.job_id, cancelled.job_id, third.job_id}) == 3
    assert [read_job(ledger, job).repetition for job in (short, cancelled, third)] == [0, 1, 2]


@pytest.mark.parametrize(
    "fields",
    [{}, {"again": False, "reference": None}, {"rule": True}, {"file": True}],
    ids=["rows", "own", "rule", "file"],
)
def test_of_equal_requests_at_one_moment_one_wins(
    ledger: Ledger, threads: ThreadPoolExecutor, fields: dict[str, Any]
) -> None:
    give(ledger, Ana=10, Ben=10)

    def one(number: int) -> str:
        named = {"reference": f"mine {number}", "again": False} if "again" in fields else {"again": None}
        try:
            if "rule" in fields:
                rule = {"filters": [{"field": "currency", "operator": "eq", "value": "USD"}], "precise_amount": 5}
                return _by_rule(ledger, rule, named)
            if "file" in fields:
                asked = funding_request(**named)
                rows = FileReader(BytesIO(b"destination,amount\n@Ana,1\n@Ben,2\n"))
                return create.create_job(ledger.engine, asked, rows, ledger.directory, NOW).job.job_id
            return send(ledger, **named).job.job_id
        except Conflict as error:  # Its details have no ID of a job if it is another conflict.
            return str(error.details["job_id"])

    answers = [each.result() for each in [threads.submit(one, number) for number in range(4)]]
    assert len(set(answers)) == 1


def _by_rule(ledger: Ledger, rule: dict[str, Any], named: dict[str, Any]) -> str:
    asked = funding_request(rule=msgspec.convert(rule, FundingRule), **named)
    return create.create_job(ledger.engine, asked, None, ledger.directory, NOW).job.job_id


def test_equal_requests_that_are_meant_all_win(ledger: Ledger, threads: ThreadPoolExecutor) -> None:
    sent = [threads.submit(send, ledger, again=True) for _ in range(4)]
    assert len({each.result().job.job_id for each in sent}) == 4
    assert sorted(each.result().job.repetition for each in sent) == [0, 1, 2, 3]


def test_a_repeated_reference_gets_its_job_even_where_the_same_would_be_refused(ledger: Ledger) -> None:
    first = send(ledger, reference="mine", again=False)
    second = send(ledger, reference="mine", again=False)
    assert (second.job.job_id, second.replayed) == (first.job.job_id, True)
