"""Dry runs, beside the acceptance cases."""

from typing import Any

import pytest

from tests.harness.api import Api, ok, refused


def _legs(*shares: tuple[str, str]) -> list[dict[str, str]]:
    return [{"identifier": name, "distribution": share} for name, share in shares]


def _shown(answer: dict[str, Any], what: str) -> dict[str, str]:
    """Return one sum of each balance, by its name or id."""
    return {one["balance_id"]: one[what] for one in answer["balances"]}


@pytest.mark.parametrize("side", ["source", "destination"])
def test_the_legs_are_those_of_the_side_that_is_split(api: Api, side: str) -> None:
    legs = _legs(("@X", "60%"), ("@Y", "left"))
    asked = {side: None, f"{side}s": legs, "inflight": True}
    answer = ok(api.post(precise_amount=100, dry_run=True, **asked), 200)
    assert answer["status"] == "INFLIGHT"
    assert answer["legs"] == [
        {"identifier": "@X", "role": side, "amount": 0.6, "precise_amount": "60"},
        {"identifier": "@Y", "role": side, "amount": 0.4, "precise_amount": "40"},
    ]
    name = "inflight_debit_balance" if side == "source" else "inflight_credit_balance"
    other = "@A" if side == "source" else "@World"
    assert _shown(answer, f"resulting_{name}") == {"@X": "60", "@Y": "40", other: "0"}
    assert api.get("/balances") == []


def test_both_sides_show_their_legs_when_both_are_split(api: Api) -> None:
    asked = {"source": None, "destination": None, "precise_amount": 100, "dry_run": True}
    sides = {"sources": _legs(("@W", "50%"), ("@X", "left")), "destinations": _legs(("@Y", "70%"), ("@Z", "left"))}
    answer = ok(api.post(**asked, **sides), 200)
    legs = [(one["role"], one["identifier"], one["precise_amount"]) for one in answer["legs"]]
    assert legs == [
        *(("source", name, amount) for name, amount in (("@W", "50"), ("@X", "20"), ("@X", "30"))),
        *(("destination", name, amount) for name, amount in (("@Y", "50"), ("@Y", "20"), ("@Z", "30"))),
    ]
    assert _shown(answer, "resulting_balance") == {"@W": "-50", "@X": "-50", "@Y": "70", "@Z": "30"}


@pytest.mark.parametrize(("atomic", "left"), [(True, "100"), (False, "40")])
def test_a_split_that_is_short_shows_what_its_other_legs_would_do(api: Api, atomic: bool, left: str) -> None:
    rich = api.done(destination="@Rich", precise_amount=100)["destination"]
    sources = _legs(("@Rich", "60%"), ("@Poor", "left"))
    asked = {"source": None, "sources": sources, "allow_overdraft": None, "atomic": atomic}
    answer = ok(api.post(precise_amount=100, dry_run=True, **asked), 200)
    assert answer["would_apply"] is False
    assert answer["rejection"]["check"] == "insufficient_funds"
    assert _shown(answer, "resulting_balance")[rich] == left


def test_a_commit_of_a_split_shows_the_share_of_each_hold(api: Api) -> None:
    asked = {"destination": None, "destinations": _legs(("@A", "0.10"), ("@B", "left")), "inflight": True}
    split = api.done(precise_amount=30, **asked)
    answer = ok(api.settle(split["transaction_id"], "commit", precise_amount=9, dry_run=True), 200)
    assert (answer["would_apply"], answer["precise_amount"], answer["amount"]) == (True, "9", 0.09)
    holds = [leg["transaction_id"] for leg in split["legs"]]
    assert [(one["identifier"], one["precise_amount"]) for one in answer["legs"]] == list(zip(holds, "36", strict=True))
    over = ok(api.settle(split["transaction_id"], "commit", precise_amount=31, dry_run=True), 200)
    assert over["rejection"]["code"] == "TXN_COMMIT_AMOUNT_EXCEEDED"
    assert {leg["status"] for leg in api.transaction(split["transaction_id"])["legs"]} == {"INFLIGHT"}


def test_what_the_state_forbids_is_shown_and_what_is_malformed_is_refused(api: Api) -> None:
    hold, applied = api.done(inflight=True)["transaction_id"], api.done()["transaction_id"]
    ok(api.settle(hold, "void", skip_queue=True), 200)
    for status in ("commit", "void"):
        answer = ok(api.settle(hold, status, dry_run=True), 200)
        assert (answer["would_apply"], answer["operation"]) == (False, status)
        assert answer["rejection"]["code"] == "TXN_ALREADY_VOIDED"
        answer = ok(api.settle(applied, status, dry_run=True), 200)
        assert answer["rejection"]["code"] == "TXN_NOT_INFLIGHT"
    refused(api.settle(hold, "settle", dry_run=True), 400, "TXN_INVALID_STATUS_ACTION")
    refused(api.settle(hold, "commit", precise_amount=0, dry_run=True), 400, "TXN_INVALID_AMOUNT")
    unknown = "txn_00000000-0000-0000-0000-000000000000"
    refused(api.settle(unknown, "commit", dry_run=True), 404, "TXN_NOT_FOUND")


def test_what_the_state_forbids_is_shown_with_its_currency_and_amount(api: Api) -> None:
    hold = api.done(inflight=True, precise_amount=500)["transaction_id"]
    too_much = {"precise_amount": 701}
    refund = api.done(precise_amount=500)["transaction_id"]
    ok(api.client.post(f"/refund-transaction/{refund}", json={"skip_queue": True}), 201)
    bulk = {"transactions": [{"transaction_id": hold, **too_much}], "dry_run": True}
    for answer, amount in (
        (ok(api.settle(hold, "commit", dry_run=True, **too_much), 200), 701),
        (ok(api.settle(hold, "commit", dry_run=True, amount=7.01), 200), 701),
        (ok(api.client.post("/transactions/inflight/bulk/commit", json=bulk), 200)["results"][0], 701),
        (ok(api.client.post(f"/refund-transaction/{refund}", json={"dry_run": True}), 200), 0),
    ):
        assert answer["would_apply"] is False
        priced = (answer["currency"], answer["precision"], answer["precise_amount"], answer["amount"])
        assert priced == ("USD", 100, str(amount), amount / 100)
    unknown = {"transactions": [{"transaction_id": "txn_x"}], "dry_run": True}
    (answer,) = ok(api.client.post("/transactions/inflight/bulk/commit", json=unknown), 200)["results"]
    assert (answer["currency"], answer["precise_amount"]) == ("", "0")


def test_a_refund_shows_the_other_direction_and_refunds_nothing(api: Api) -> None:
    original = api.done(precise_amount=10)
    path = f"/refund-transaction/{original['transaction_id']}"
    answer = ok(api.client.post(path, json={"dry_run": True, "precise_amount": 4}), 200)
    assert (answer["would_apply"], answer["status"], answer["precise_amount"]) == (True, "APPLIED", "4")
    after = _shown(answer, "resulting_balance")
    assert after == {original["source"]: "-6", original["destination"]: "6"}
    assert ok(api.client.post(path, json={"dry_run": True}), 200)["precise_amount"] == "10"
    assert len(api.get("/transactions")) == 1
    refund = ok(api.client.post(path, json={"skip_queue": True}), 201)
    assert refund["reference"] == f"{original['transaction_id']}_refund"
    answer = ok(api.client.post(path, json={"dry_run": True}), 200)
    assert (answer["would_apply"], answer["rejection"]["code"]) == (False, "TXN_ALREADY_REFUNDED")


def test_a_reference_that_is_taken_is_shown_and_stays_as_it_is(api: Api) -> None:
    api.done(reference="R")
    answer = ok(api.post(reference="R", precise_amount=2, dry_run=True), 200)
    assert (answer["would_apply"], answer["rejection"]["code"]) == (False, "TXN_DUPLICATE_REFERENCE")
    assert api.balance("@A")["balance"] == 1


def test_an_atomic_bulk_that_fails_shows_what_fails_first_and_moves_nothing(api: Api) -> None:
    source = api.done(source="@Bank", destination="@Rich", precise_amount=10)["destination"]
    spend = {"source": "@Rich", "destination": "@B", "allow_overdraft": False, "precise_amount": 6}
    answer = ok(api.bulk(spend, {**spend, "reference": "second"}, dry_run=True, atomic=True), 200)
    assert [one["would_apply"] for one in answer["results"]] == [False, False]
    assert (answer["first_failure"]["index"], answer["first_failure"]["reference"]) == (1, "second")
    assert _shown(answer, "resulting_balance")[source] == "10"
    assert (answer["atomic"], answer["cumulative"]) == (True, True)


def test_a_scheduled_transaction_is_shown_as_of_now_with_a_note(api: Api) -> None:
    answer = ok(api.post(scheduled_for="2999-01-01T00:00:00Z", dry_run=True), 200)
    assert (answer["would_apply"], answer["status"]) == (True, "APPLIED")
    assert "scheduled" in answer["notes"][0]
