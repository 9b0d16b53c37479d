"""Before money moves: what is expected is checked, new names are refused where asked, and odd rows are pointed at."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from core.base.errors import Conflict, InvalidRequest
from core.funding import dry_run, jobs, tries
from core.funding.requests import FundingRule
from core.lists.requests import FilterClause
from tests.harness.cli import Run, failed, ok
from tests.harness.factories import Ledger
from tests.harness.funding import (
    NOW,
    SOON,
    advance_all,
    create_job,
    funding_request,
    give,
    make_job,
    many_rows,
    read_run,
    read_runs,
)

ROWS = [("@Ana", 100), ("@Ben", 250)]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"expect_rows": 3}, "expect_rows: is 3, and there are 2 rows"),
        ({"expect_amount": Decimal("3.51")}, "expect_amount: is 3.51, and the rows add up to 3.5"),
        ({"new_names": False}, "there is no @Ana, @Ben, @Pool in USD"),
    ],
)
def test_a_list_that_is_not_as_expected_is_refused_and_nothing_is_kept(
    ledger: Ledger, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        make_job(ledger, *ROWS, **fields)
    with pytest.raises(InvalidRequest, match="there is no @Ana"):  # The refused job has created no balance.
        make_job(ledger, *ROWS, new_names=False)


def test_a_list_that_is_as_expected_is_taken(ledger: Ledger) -> None:
    make_job(ledger, *ROWS, expect_rows=2, expect_amount=Decimal("3.50"), new_names=True)
    make_job(ledger, *ROWS, new_names=False)


@pytest.mark.parametrize("fields", [{"expect_rows": 1}, {"expect_amount": Decimal("0.11")}])
def test_a_run_of_a_rule_that_is_not_as_expected_is_refused(ledger: Ledger, fields: dict[str, Any]) -> None:
    give(ledger, Ana=1, Ben=1)
    rule = FundingRule(filters=[FilterClause("indicator", "in", values=["@Ana", "@Ben"])], precise_amount=5)
    job = create_job(ledger, rule=rule, **fields)
    advance_all(ledger)
    assert (read_run(ledger, job).status, "the job expects" in (read_run(ledger, job).refusal or "")) == (
        "REFUSED",
        True,
    )
    with pytest.raises(Conflict, match=r"the job expects .*; make a new job"):
        tries.retry(ledger.engine, job.job_id, read_run(ledger, job).run_id, NOW)
    jobs.run_now(ledger.engine, job.job_id, None, SOON)  # Which looks the rows up anew, and compares them.
    advance_all(ledger, SOON)
    assert [each.status for each in read_runs(ledger, job)] == ["REFUSED", "REFUSED"]
    good = create_job(ledger, rule=rule, expect_rows=2, expect_amount=Decimal("0.10"))
    advance_all(ledger)
    assert read_run(ledger, good).status == "COMPLETED"


def look(ledger: Ledger, *rows: tuple[str, int], **fields: Any) -> dry_run.DryRun:
    asked = funding_request(*rows, **fields)
    return dry_run.dry_run_job(ledger.engine, asked, None, ledger.directory, NOW)


def odd(found: dry_run.DryRun) -> dict[str, list[int]]:
    return {str(kind): [row.row for row in rows] for kind, rows in found.odd.items()}


def test_a_dry_run_shows_the_first_and_the_largest_rows(ledger: Ledger) -> None:
    found = look(ledger, *[(f"@W{number}", 10 + number % 4) for number in range(8)])
    assert [(row.row, row.destination) for row in found.first_rows] == [(1, "@W0"), (2, "@W1"), (3, "@W2")]
    assert [(row.row, row.amount) for row in found.largest_rows] == [(4, 13), (8, 13), (3, 12)]
    assert found.odd == {}


def test_a_dry_run_points_at_rows_that_are_odd(ledger: Ledger) -> None:
    assert odd(look(ledger, *many_rows(20, 10), ("@Big", 99))) == {}
    assert odd(look(ledger, *many_rows(20, 10), ("@Big", 100))) == {"LARGE": [21]}
    assert odd(look(ledger, *many_rows(20, 10), ("@Total", 200))) == {"TOTAL": [21], "LARGE": [21]}
    twice = [("@W1", 10), ("@W2", 11), ("@W3", 12), ("@W1", 10), ("@W2", 12)]
    assert odd(look(ledger, *twice, allow_duplicates=True)) == {"TWICE": [1, 4]}


# At the command line


@pytest.fixture
def file(tmp_path: Any) -> Callable[..., str]:
    def file(*rows: str) -> str:
        path = tmp_path / "wallets.csv"
        path.write_text("\n".join(["destination,amount", *rows]))
        return str(path)

    return file


POOL = ("--source", "@Pool", "--currency", "USD", "--detach")


def test_where_nobody_can_be_asked_money_moves_only_with_a_yes(
    ledger: Ledger, run: Run, file: Callable[..., str]
) -> None:
    give(ledger, Pool=1000, Ana=1)
    failed(run("fund", file("@Ana,1"), *POOL), 2, "nobody can be asked here, so nothing was done: --yes says")
    for more in (("--expect-rows", "2"), ("--expect-total", "2")):
        said = f"nothing was done: {more[0]} is 2"
        failed(run("fund", file("@Ana,1"), *POOL, "--yes", *more), 2, said)
    failed(run("fund", file("@Anna,1"), *POOL, "--yes"), 2, "there is no @Anna yet", "create them with --new-names")
    wrong = ("--source", "@Pol", "--currency", "USD", "--allow-overdraft", "--detach", "--yes")
    failed(run("fund", file("@Ana,1"), *wrong), 2, "there is no @Pol yet")
    ok(run("fund", file("@Ana,1"), *POOL, "--yes", "--expect-rows", "1", "--expect-total", "1"))
    ok(run("fund", file("@Anna,1"), *POOL, "--yes", "--new-names"))
