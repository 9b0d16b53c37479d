"""A funding job is checked whole before it is kept, and a repeated request makes it once."""

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec import Raw
from sqlalchemy import text

from core.base.db import begin
from core.base.errors import Conflict, NotFound
from core.base.ids import new_id
from core.funding import create, row_check
from core.funding.create import Created
from core.funding.files.rows import Given
from core.funding.requests import FundingRule, Recipient
from core.ledger.directory import Directory
from tests.harness.factories import Ledger
from tests.harness.funding import (
    HOURLY,
    LATER,
    NOW,
    SOON,
    TABLES,
    advance_all,
    bad_rows,
    balance_of,
    count_kept_rows,
    create_job,
    create_ledger,
    funding_request,
    give,
    make_job,
    many_rows,
    paid_pairs,
    refused,
)

pytestmark = pytest.mark.usefixtures("sound")


def test_every_kind_of_bad_row_is_named_with_its_row_and_field_in_one_answer(ledger: Ledger) -> None:
    _, (euros, dollars) = create_ledger(ledger, "EUR", "USD")
    give(ledger, Pool=1)
    pool = ledger.balance("@Pool").balance_id
    given_ = [
        Recipient(destination="@Good", amount=Decimal("1.25")),
        Recipient(destination=new_id("bln_"), amount=Decimal(1)),
        Recipient(destination=euros, amount=Decimal(1)),
        Recipient(destination="@A", amount=Decimal("1.005")),
        Recipient(destination="@B", amount=Decimal(0)),
        Recipient(destination="@C", precise_amount=-1),
        Recipient(destination="@D"),
        Recipient(destination="@E", amount=Decimal(1), precise_amount=100),
        Recipient(amount=Decimal(1)),
        Recipient(destination="@", amount=Decimal(1)),
        Recipient(destination="@Pool", amount=Decimal(1)),
        Recipient(destination=pool, amount=Decimal(1)),
        Recipient(destination="@F", amount=Decimal(1), description="a\x00b"),
        Recipient(destination="@G", amount=Decimal(1), meta_data=Raw(b"[]")),
        Recipient(destination="@H", precise_amount="1.5"),
        Recipient(destination="x\x00", amount=Decimal(1)),
        Recipient(destination="@I", amount=Decimal("NaN")),
        Recipient(destination=dollars, amount=Decimal(1)),
        Recipient(destination=dollars, amount=Decimal(1)),
        Recipient(destination="@Good", amount=Decimal(1)),
    ]
    assert bad_rows(refused(ledger, recipients=given_)) == [
        (2, "destination"),
        (3, "destination"),
        (4, "amount"),
        (5, "amount"),
        (6, "precise_amount"),
        (7, "amount"),
        (8, "amount"),
        (9, "destination"),
        (10, "destination"),
        (11, "destination"),
        (12, "destination"),
        (13, "description"),
        (14, "meta_data"),
        (15, "precise_amount"),
        (16, "destination"),
        (17, "amount"),
        (19, "destination"),
        (20, "destination"),
    ]


def test_all_that_is_wrong_with_one_row_is_named(ledger: Ledger) -> None:
    csv = "destination,amount,description\n@,x,\nbln_1,1.001,\n@A\n"
    assert bad_rows(refused(ledger, csv=csv)) == [
        (2, "amount"),
        (2, "destination"),
        (3, "amount"),
        (3, "destination"),
        (4, ""),
    ]


def test_a_repeated_destination_is_named_also_where_either_row_has_another_fault(ledger: Ledger) -> None:
    csv = "destination,amount\n@A,x\n@B,1\n@B,0\n@A,1\n"
    error = refused(ledger, csv=csv)
    assert bad_rows(error) == [(2, "amount"), (4, "amount"), (4, "destination"), (5, "destination")]
    assert "row 2" in error.details["problems"][3]["message"]


def test_one_balance_under_two_names_is_repeated(ledger: Ledger) -> None:
    give(ledger, A=1)
    rows = [("@A", 1), (ledger.balance("@A").balance_id, 1)]
    assert bad_rows(refused(ledger, *rows)) == [(2, "destination")]
    job = create_job(ledger, *rows, allow_duplicates=True)
    advance_all(ledger)
    assert paid_pairs(ledger, job) == [("@A", 1), ("@A", 1)]


@pytest.mark.parametrize("csv_row", ["@,1", "@A,1"], ids=["wrong", "repeated"])
def test_a_hundred_problems_are_listed_and_all_are_counted(ledger: Ledger, csv_row: str) -> None:
    error = refused(ledger, csv="destination,amount\n" + f"{csv_row}\n" * 2500)
    listed, count = error.details["problems"], error.details["problem_count"]
    assert (len(listed), count) == (100, 2500 if csv_row == "@,1" else 2499)
    assert [each["row"] for each in listed] == [*range(2, 102)] if csv_row == "@,1" else [*range(3, 103)]
    assert f"and {count - 1} more" in error.message


def test_the_pool_is_refused_as_a_destination_before_it_is_there(ledger: Ledger) -> None:
    assert bad_rows(refused(ledger, ("@A", 1), ("@Pool", 1))) == [(2, "destination")]


@pytest.mark.parametrize("csv", ["destination,amount\n", "destination,amount\n\n,\n"])
def test_a_file_without_rows_is_refused(ledger: Ledger, csv: str) -> None:
    assert "cannot be empty" in refused(ledger, csv=csv).message


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": " "}, "name"),
        ({"source": None}, "source"),
        ({"source": "@"}, "source"),
        ({"currency": None}, "currency"),
        ({"recipients": []}, "recipients"),
        ({"recipients": None}, "recipients"),
        ({"rule": FundingRule(ledger_id="x", amount=Decimal(1))}, "recipients"),
        ({"recipients": None, "rule": FundingRule(amount=Decimal(1))}, "rule"),
        ({"recipients": None, "rule": FundingRule(ledger_id="x", amount=Decimal(0))}, "rule.amount"),
        ({"recipients": None, "rule": FundingRule(ledger_id="x", precise_top_up_to="x")}, "rule.precise_top_up_to"),
        ({"recipients": None, "rule": FundingRule(ledger_id="x")}, "rule.amount"),
        ({"recipients": None, "rule": FundingRule(filters=[], amount=Decimal(1))}, "rule.filters"),
        ({"until_limit": True}, "until_limit"),
        ({"until_limit": True, "atomic": True, "overdraft_limit": Decimal(1)}, "until_limit"),
        ({"overdraft_limit": Decimal(-1)}, "overdraft_limit"),
        ({"overdraft_limit": Decimal("0.001")}, "overdraft_limit"),
        ({"precision": Decimal("1.5")}, "precision"),
        ({"at": (NOW - timedelta(hours=1))}, "at"),
        ({"at": SOON, "cron": HOURLY}, "cron"),
        ({"count": 2}, "count"),
        ({"cron": HOURLY, "count": 0}, "count"),
        ({"cron": HOURLY, "ends_at": NOW}, "ends_at"),
        ({"missed": "perhaps"}, "missed"),
        ({"inflight_commit_date": SOON}, "inflight_commit_date"),
        ({"inflight": True, "inflight_commit_after_s": 0}, "inflight_commit_after_s"),
        ({"reference": "a\n"}, "reference"),
    ],
)
def test_a_term_that_is_wrong_is_named_and_nothing_is_kept(ledger: Ledger, fields: dict[str, Any], named: str) -> None:
    error = refused(ledger, ("@A", 1), **fields)
    assert named in [field for field, _ in error.problems]


def test_a_rule_about_a_ledger_that_is_not_there_is_refused(ledger: Ledger) -> None:
    with pytest.raises(NotFound) as caught:
        create_job(ledger, rule=FundingRule(ledger_id="ldg_none", amount=Decimal(1)))
    assert caught.value.code == "LGR_NOT_FOUND"


def test_a_source_that_is_not_there_is_refused(ledger: Ledger) -> None:
    with pytest.raises(NotFound) as caught:
        create_job(ledger, ("@A", 1), source=new_id("bln_"))
    assert caught.value.code == "BAL_NOT_FOUND"


def test_a_precision_that_the_currency_does_not_have_is_refused(ledger: Ledger) -> None:
    give(ledger, Pool=1)
    assert refused(ledger, ("@A", 1), precision=Decimal(1000)).code == "TXN_PRECISION_MISMATCH"


def test_a_job_fixes_the_precision_of_a_new_currency_and_makes_its_pool(ledger: Ledger) -> None:
    job = create_job(ledger, ("@A", 1), currency="JPY", precision=Decimal(1))
    assert (job.indicator, job.precision) == ("@Pool", 1)
    advance_all(ledger)
    assert ledger.balance("@A", "JPY").balance == 1
    assert Directory(ledger.engine).precision("JPY") == 1


@pytest.mark.smoke
def test_a_new_name_is_made_once_for_many_rows(ledger: Ledger) -> None:
    before = count_kept_rows(ledger)[TABLES.index("balances")]
    rows = [(f"@N{number % 3}", 1) for number in range(2500)]
    job = create_job(ledger, *rows, allow_duplicates=True)
    assert count_kept_rows(ledger)[TABLES.index("balances")] == before + 4
    advance_all(ledger)
    assert paid_pairs(ledger, job) == rows
    assert [balance_of(ledger, f"@N{number}") for number in range(3)] == [834, 833, 833]


def test_a_list_makes_no_more_new_names_than_allowed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_check, "MAX_NEW_NAMES", 3)
    rows = [("@N1", 1), ("@N2", 1), ("@N3", 1), ("@N4", 1), ("@N1", 1), ("@N5", 1)]
    assert bad_rows(refused(ledger, *rows, allow_duplicates=True)) == [(4, "destination"), (6, "destination")]
    give(ledger, N4=1, N5=1)
    create_job(ledger, *rows, allow_duplicates=True)


def test_the_memory_does_not_grow_with_the_list(ledger: Ledger) -> None:
    rows = 20_000
    _, (balance,) = create_ledger(ledger, "USD")
    given_ = (Given(row, balance, Decimal(1), None, f"{row:0200}", None) for row in range(1, rows + 1))
    request = funding_request(allow_duplicates=True)
    refused(ledger, ("@", 1))  # What is made once is not to be measured.
    tracemalloc.start()
    create.create_job(ledger.engine, request, given_, ledger.directory, NOW)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows * 200 / 2
    with begin(ledger.engine) as conn:
        conn.execute(text("UPDATE funding_runs SET status = 'CANCELLED'"))


# The same request again


def test_a_repeated_job_is_answered_with_the_first(ledger: Ledger, threads: ThreadPoolExecutor) -> None:
    rows = [("@Old", 1), *many_rows(3)]
    together = threading.Barrier(4)

    def ask() -> Created:
        together.wait()
        return make_job(ledger, *rows, reference="mine", description="of the morning")

    asked = [threads.submit(ask) for _ in range(4)]
    answers = [future.result() for future in asked]
    assert sorted(made.replayed for made in answers) == [False, True, True, True]
    assert len({(made.job.id, made.run and made.run.id) for made in answers}) == 1
    assert count_kept_rows(ledger)[:2] == [1, 4]
    advance_all(ledger)
    assert paid_pairs(ledger, answers[0].job) == rows
    again = make_job(ledger, *rows, reference="mine", description="of the morning", now=LATER)
    assert again.replayed and again.run is not None and again.run.status == "COMPLETED"


def test_a_job_at_a_time_is_answered_again_when_that_has_passed(ledger: Ledger) -> None:
    fields = {"reference": "mine", "at": SOON}
    job = create_job(ledger, ("@A", 1), **fields)
    advance_all(ledger, SOON)
    again = make_job(ledger, ("@A", 1), now=LATER, **fields)
    assert (again.replayed, again.job.id, again.run) == (True, job.id, None)


@pytest.mark.parametrize(
    ("fields", "differing"),
    [
        ({"name": "others"}, "name"),
        ({"source": "@Other"}, "source"),
        ({"currency": "EUR"}, "currency"),
        ({"description": "x"}, "description"),
        ({"overdraft_limit": Decimal(1)}, "overdraft_limit"),
        ({"at": SOON}, "at"),
        ({"cron": HOURLY}, "cron"),
        ({"atomic": True}, "atomic"),
        ({"recipients": [Recipient(destination="@A", precise_amount=2)]}, "list of recipients"),
        ({"recipients": None, "rule": FundingRule(ledger_id="general_ledger_id", precise_amount=1)}, "filters"),
    ],
)
def test_a_reference_that_is_taken_by_another_job_says_what_differs(
    ledger: Ledger, fields: dict[str, Any], differing: str
) -> None:
    job = create_job(ledger, ("@A", 1), reference="mine")
    before = count_kept_rows(ledger)
    with pytest.raises(Conflict, match=f"whose {differing} differs") as caught:
        create_job(ledger, ("@A", 1), reference="mine", **fields)
    assert (caught.value.code, caught.value.details["job_id"]) == ("FND_DUPLICATE_REFERENCE", job.job_id)
    assert count_kept_rows(ledger) == before
