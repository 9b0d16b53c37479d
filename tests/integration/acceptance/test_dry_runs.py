"""Blnk's acceptance cases of dry runs."""

from typing import Any

import pytest

from tests.harness.acceptance import case
from tests.harness.api import Api, ok, refused
from tests.harness.steps import UNKNOWN, balances_of, bulk_commit, bulk_void, give, is_empty, make_hold


@pytest.mark.smoke
@case(91)
def test_a_dry_run_shows_both_balances_and_writes_nothing(api: Api) -> None:
    give(api, "@A", 50000)
    api.done(destination="@B")
    before = api.get("/transactions"), api.get("/balances")
    preview = ok(api.spend(amount=100, reference="R", dry_run=True), 200)
    assert (preview["dry_run"], preview["would_apply"], preview["status"]) == (True, True, "APPLIED")
    assert (preview["amount"], preview["precise_amount"], preview["reference"]) == (100, "10000", "R")
    source, destination = preview["balances"]
    assert (source["role"], source["current_balance"], source["resulting_balance"]) == ("source", "50000", "40000")
    assert (destination["role"], destination["current_balance"]) == ("destination", "1")
    assert destination["resulting_balance"] == "10001"
    assert (api.get("/transactions"), api.get("/balances")) == before
    assert ok(api.spend(amount=100, reference="R"), 201)["status"] == "APPLIED"


@case(92)
def test_a_dry_run_says_why_not(api: Api) -> None:
    give(api, "@A", 500)
    preview = ok(api.spend(precise_amount=9999, dry_run=True), 200)
    assert preview["would_apply"] is False
    rejection = preview["rejection"]
    assert (rejection["code"], rejection["reason"]) == ("TXN_INSUFFICIENT_FUNDS", "insufficient_funds")
    assert "status" not in preview
    assert {one["resulting_balance"] for one in preview["balances"] if one["role"] == "source"} == {"500"}


@case(93)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_a_dry_run_of_a_bulk_is_cumulative(api: Api, skip_queue: bool) -> None:
    # Blnk: only with skip_queue; a queued one is shown item by item, and both would pass.
    give(api, "@A", 500)
    spend = {"source": "@A", "destination": "@B", "allow_overdraft": False}
    items = [{**spend, "precise_amount": 450}, {**spend, "precise_amount": 100, "reference": "second"}]
    preview = ok(api.bulk(*items, dry_run=True, skip_queue=skip_queue), 200)
    assert (preview["cumulative"], preview["would_apply"]) == (True, False)
    assert [one["would_apply"] for one in preview["results"]] == [True, False]
    failure = preview["first_failure"]
    assert (failure["index"], failure["reference"]) == (1, "second")
    assert failure["rejection"]["reason"] == "insufficient_funds"
    assert balances_of(api, "@A") == [500]


@case(94)
def test_a_dry_run_of_a_settlement_leaves_the_hold(api: Api) -> None:
    hold = make_hold(api, 100)

    def preview(status: str, **fields: Any) -> dict[str, Any]:
        answer: dict[str, Any] = ok(api.settle(hold, status, dry_run=True, **fields), 200)
        assert answer["operation"] == status
        return answer

    for status, decided, fields in (("commit", "APPLIED", {}), ("void", "VOID", {}), ("void", "VOID", {"amount": 1})):
        answer = preview(status, **fields)
        assert (answer["would_apply"], answer["status"], answer["precise_amount"]) == (True, decided, "100")
        note = "amount is ignored when voiding; a void always releases the full remaining hold"
        assert answer.get("notes") == ([note] if fields else None)
    assert preview("commit", amount=0.25)["precise_amount"] == "25"
    over = preview("commit", precise_amount=999999)
    assert (over["would_apply"], over["rejection"]["code"]) == (False, "TXN_COMMIT_AMOUNT_EXCEEDED")
    assert over["rejection"]["message"].startswith("cannot commit more than the original transaction amount.")
    assert "status" not in over
    assert api.transaction(hold)["inflight_amounts"] == {"committed": 0, "voided": 0, "remaining": 100}
    assert len(api.get("/transactions")) == 1


@case(95)
@pytest.mark.parametrize("path", ["commit", "void"])
def test_a_dry_run_of_many_settlements_settles_none(api: Api, path: str) -> None:
    holds = [make_hold(api, amount) for amount in (100, 50)]
    ids = [*holds, holds[0], UNKNOWN]
    if path == "commit":
        preview = ok(bulk_commit(api, [{"transaction_id": id} for id in ids], dry_run=True), 200)
    else:
        preview = ok(bulk_void(api, ids, dry_run=True), 200)
    assert [one["would_apply"] for one in preview["results"]] == [True, True, True, False]
    assert [one["precise_amount"] for one in preview["results"]][:2] == ["100", "50"]
    assert preview["results"][3]["rejection"]["code"] == "TXN_NOT_FOUND"
    assert any("appears more than once" in note for note in preview["notes"])
    assert {api.transaction(hold)["status"] for hold in holds} == {"INFLIGHT"}
    assert api.sums("@A")[:2] == (0, 150)


@case(96)
def test_a_dry_run_makes_no_balance(api: Api) -> None:
    preview = ok(api.post(destination="@x", dry_run=True), 200)
    assert [(one["role"], one["virtual"]) for one in preview["balances"]] == [("source", True), ("destination", True)]
    assert preview["balances"][1]["balance_id"] == "@x"
    assert (preview["balances"][1]["current_balance"], preview["balances"][1]["resulting_balance"]) == ("0", "1")
    assert is_empty(api)


@case(97)
@pytest.mark.parametrize("mode", [{"dry_run": True}, {"skip_queue": True}, {}], ids=str)
def test_another_currency_than_the_balances_is_refused(api: Api, mode: dict[str, bool]) -> None:
    # Blnk: a dry run notes it, and the transaction is applied.
    euros = api.new_balance("EUR")
    detail = refused(api.post(destination=euros, **mode), 400, "TXN_CURRENCY_MISMATCH")
    assert detail["message"] == "currency: is USD, but the destination balance is in EUR."
    assert api.get("/transactions") == []
