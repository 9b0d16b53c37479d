"""Blnk's 107 acceptance cases over HTTP, with Pacioli's answer where it decided otherwise (then Blnk's is in a comment).

Workers and beat are called as functions. Cases that need processes killed are in ``tests/e2e/test_kill.py``.
"""

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from core.base.db import begin
from core.ledger import due, intake
from core.ledger.rules import chain
from core.ledger.store import log as log_store
from tests.harness import acceptance
from tests.harness.acceptance import case
from tests.harness.api import Api, ok, refused
from tests.harness.factories import transaction
from web.accept.doorbell import Doorbell
from web.app import create_app

UNKNOWN = "txn_00000000-0000-0000-0000-000000000000"


def _fund(api: Api, name: str, amount: int) -> None:
    """Minor units of USD from @World."""
    api.done(destination=name, precise_amount=amount)


def _raw(api: Api, body: str) -> TestResponse:
    return api.client.post("/transactions", data=body, content_type="application/json")


def _decided(api: Api, **fields: Any) -> dict[str, Any]:
    """Posted through the queue, and read once workers have been at it."""
    accepted = ok(api.post(**fields), 201)
    api.drain()
    return api.transaction(accepted["transaction_id"])


def _held(api: Api, amount: int = 10000, **fields: Any) -> str:
    """The id of a hold from @World to @A."""
    transaction_id: str = api.done(precise_amount=amount, inflight=True, **fields)["transaction_id"]
    return transaction_id


def _commit(api: Api, hold: str, **fields: Any) -> dict[str, Any]:
    committed: dict[str, Any] = ok(api.settle(hold, "commit", skip_queue=True, **fields), 200)
    return committed


def _void(api: Api, hold: str, **fields: Any) -> dict[str, Any]:
    voided: dict[str, Any] = ok(api.settle(hold, "void", skip_queue=True, **fields), 200)
    return voided


def _bulk_commit(api: Api, items: Any, **fields: Any) -> TestResponse:
    return api.client.post("/transactions/inflight/bulk/commit", json={"transactions": items, **fields})


def _bulk_void(api: Api, ids: Any, **fields: Any) -> TestResponse:
    return api.client.post("/transactions/inflight/bulk/void", json={"transaction_ids": ids, **fields})


def _refund(api: Api, transaction_id: str, **fields: Any) -> TestResponse:
    return api.client.post(f"/refund-transaction/{transaction_id}", json=fields)


def _legs(*shares: tuple[str, str]) -> list[dict[str, str]]:
    return [{"identifier": name, "distribution": share} for name, share in shares]


def _split(api: Api, amount: int, *shares: tuple[str, str], **fields: Any) -> TestResponse:
    """From @World to several, at once."""
    asked = {"precise_amount": amount, "destination": None, "destinations": _legs(*shares), "skip_queue": True}
    return api.post(**{**asked, **fields})


def _leg_amounts(split: dict[str, Any]) -> list[int]:
    return [leg["precise_amount"] for leg in split["legs"]]


def _ahead(seconds: float) -> tuple[datetime, str]:
    at = (datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0)
    return at, at.isoformat()


def _beat(api: Api, now: datetime) -> None:
    """What beat and the workers do at that time."""
    due.accept_due(api.app.extensions["pacioli"].engine, now)
    api.drain()


def _balances(api: Api, *names: str) -> list[int]:
    return [api.balance(name)["balance"] for name in names]


def _is_empty(api: Api) -> bool:
    """Whether no transaction and no balance was ever made."""
    return not api.get("/transactions") and not api.get("/balances")


# Amounts, and what is required


@case(1)
def test_an_amount_of_ten_places_is_queued_exactly_and_echoed(api: Api) -> None:
    body = (
        '{"amount": 922337203.6854, "precision": 1e10, "reference": "R", "description": "d", "currency": "NGN", '
        '"source": "@World", "destination": "@A", "allow_overdraft": true}'
    )
    accepted = ok(_raw(api, body), 201)
    assert (accepted["status"], accepted["precise_amount"]) == ("QUEUED", 9223372036854000000)
    echoed = {name: accepted[name] for name in ("reference", "description", "currency", "source", "destination")}
    assert echoed == {"reference": "R", "description": "d", "currency": "NGN", "source": "@World", "destination": "@A"}


@case(2)
def test_an_amount_in_cents_is_queued_in_minor_units(api: Api) -> None:
    accepted = ok(api.post(amount=100.68), 201)
    assert (accepted["status"], accepted["precise_amount"], accepted["amount"]) == ("QUEUED", 10068, 100.68)


@case(3)
def test_a_transaction_without_an_amount_is_refused(api: Api) -> None:
    response = api.post(precise_amount=None)
    message = "amount: either amount or precise_amount is required."
    refused(response, 400, "TXN_VALIDATION_ERROR", message)
    assert response.get_json()["errors"] == message


@case(4, 5, 6, 7)
@pytest.mark.parametrize("field", ["reference", "currency", "source", "destination"])
def test_what_is_required_is_named_when_it_is_missing(api: Api, field: str) -> None:
    # A missing currency is an error only where no balance that is there tells it.
    detail = refused(api.post(**{field: None}), 400, "TXN_VALIDATION_ERROR")
    assert detail["message"].startswith(f"{field}: ")
    assert _is_empty(api)


@case(8)
def test_a_description_is_required(api: Api) -> None:
    refused(api.post(description=None), 400, "TXN_VALIDATION_ERROR", "description: cannot be blank.")


@case(9)
def test_amount_and_precise_amount_exclude_each_other(api: Api) -> None:
    text = "amount: either amount or precise_amount should be provided, not both."
    refused(api.post(amount=1, precise_amount=100), 400, "TXN_VALIDATION_ERROR", text)


@case(10)
def test_an_amount_of_sixteen_digits_is_exact(api: Api) -> None:
    # Blnk: 400, at most 15 digits, for it is a float there.
    accepted = ok(api.post(amount=1234567890123456), 201)
    assert accepted["precise_amount"] == 123456789012345600


@case(11)
def test_a_fractional_precision_is_refused_and_writes_nothing(api: Api) -> None:
    response = api.post(amount=1, precision=10.5)
    message = "precision: precision must be an integer value."
    refused(response, 400, "TXN_VALIDATION_ERROR", message)
    assert response.get_json()["errors"] == message
    assert _is_empty(api)


@case(12)
def test_precision_zero_is_none(api: Api) -> None:
    applied = api.done(amount=7, precision=0)
    assert (applied["precise_amount"], applied["precision"]) == (7, 1)
    api.done(precision=100)
    # Blnk: 1 for ever. Here it is the currency's own, once that has one.
    assert api.done(amount=7, precision=0)["precise_amount"] == 700


@case(13)
def test_two_negative_signs_make_no_amount(api: Api) -> None:
    refused(api.post(amount=-25, precision=-100), 400, "TXN_VALIDATION_ERROR")
    assert _is_empty(api)


@case(14)
@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("amount", "amount: amount cannot be negative."),
        ("precise_amount", "amount: precise_amount cannot be negative."),
        ("precision", "precision: precision cannot be negative."),
    ],
)
def test_each_negative_number_is_refused(api: Api, field: str, message: str) -> None:
    refused(api.post(**{field: -25}), 400, "TXN_VALIDATION_ERROR", message)
    assert _is_empty(api)


@case(15)
def test_a_balance_cannot_pay_itself(api: Api) -> None:
    text = "destination: source and destination cannot be the same balance."
    refused(api.post(source="@A", destination="@A"), 400, "TXN_VALIDATION_ERROR", text)


@case(16)
@pytest.mark.parametrize(("side", "name"), [("destination", "@World"), ("source", "@A")])
def test_a_balance_cannot_pay_itself_by_way_of_a_split(api: Api, side: str, name: str) -> None:
    legs = _legs(("@B", "50%"), (name, "left"))
    text = "destination: source and destination cannot be the same balance."
    refused(api.post(**{side: None, f"{side}s": legs}), 400, "TXN_VALIDATION_ERROR", text)
    assert _is_empty(api)


@case(17)
@pytest.mark.parametrize("field", ["scheduled_for", "inflight_commit_date", "inflight_expiry_date"])
def test_a_date_that_is_none_is_refused_by_name(api: Api, field: str) -> None:
    detail = refused(api.post(inflight=True, **{field: "invalid-date"}), 400, "TXN_VALIDATION_ERROR")
    assert detail["message"].startswith(f"{field}: please format the scheduled date as 'YYYY-MM-DDTHH:MM:SS+00:00'")


@case(18)
def test_a_date_with_a_zone_is_taken(api: Api) -> None:
    held = _decided(api, inflight=True, inflight_commit_date="2024-04-22T15:28:03+00:00")
    assert (held["status"], held["inflight_commit_date"]) == ("INFLIGHT", "2024-04-22T15:28:03Z")


@case(19)
def test_a_body_that_ends_too_early_is_malformed(api: Api) -> None:
    refused(_raw(api, '{"amount":'), 400, "GEN_MALFORMED_REQUEST", "Invalid input")


# Moving money


@case(20, 21)
@pytest.mark.parametrize("asked", [{"amount": 1.25}, {"precise_amount": 125}], ids=str)
def test_money_moves_at_once_and_is_found_by_its_reference(api: Api, asked: dict[str, Any]) -> None:
    _fund(api, "@A", 500)
    assert ok(api.spend(reference="R", **asked), 201)["status"] == "APPLIED"
    assert _balances(api, "@A", "@B") == [375, 125]
    assert api.get("/transactions/reference/R")["status"] == "APPLIED"


@case(22)
def test_a_queued_transaction_is_applied_under_its_own_id(api: Api) -> None:
    # Blnk: the id stays QUEUED for ever, and a copy with reference R_q is applied.
    accepted = ok(api.post(reference="R"), 201)
    assert accepted["status"] == "QUEUED"
    api.drain()
    for path in (accepted["transaction_id"], "reference/R", "reference/R_q"):
        found = api.get(f"/transactions/{path}")
        assert (found["transaction_id"], found["status"]) == (accepted["transaction_id"], "APPLIED")


@case(23)
def test_minor_units_are_shown_in_major_units(api: Api) -> None:
    applied = api.done(precise_amount=75023)
    assert (applied["amount"], applied["amount_string"]) == (750.23, "750.23")


@case(24)
def test_what_one_side_loses_the_other_gains(api: Api) -> None:
    api.done(amount=19.99)
    assert _balances(api, "@World", "@A") == [-1999, 1999]


@case(25)
@pytest.mark.parametrize(
    ("amount", "precision", "minor"),
    [(0.29, 100, 29), (1.13, 100, 113), (4.35, 100, 435), (123456789.99, 100, 12345678999), (0.1, 10**8, 10**7)],
)
def test_an_amount_is_the_decimal_that_was_written(api: Api, amount: float, precision: int, minor: int) -> None:
    assert api.done(amount=amount, precision=precision)["precise_amount"] == minor
    assert _balances(api, "@A") == [minor]


@case(26)
def test_an_amount_between_two_cents_is_refused(api: Api) -> None:
    # Blnk: rounded to 101.
    refused(api.post(amount=1.005), 400, "TXN_INVALID_AMOUNT")
    assert _is_empty(api)


@case(27)
def test_the_text_of_an_amount_is_exact(api: Api) -> None:
    accepted = ok(api.post(precise_amount=922337203684775808, precision=10**10), 201)
    assert accepted["amount_string"] == "92233720.3684775808"


@case(28)
@pytest.mark.parametrize("mode", [{"skip_queue": True}, {}, {"dry_run": True}], ids=str)
def test_zero_never_moves(api: Api, mode: dict[str, bool]) -> None:
    # Blnk: queued, 201 and then nothing.
    detail = refused(api.post(precise_amount=0, **mode), 400, "TXN_INVALID_AMOUNT")
    assert "transaction precise amount must be positive" in detail["message"]
    assert _is_empty(api)


@case(29)
def test_insufficient_funds_are_said_at_once_in_blnks_words(api: Api) -> None:
    _fund(api, "@A", 99)
    text = "failed to apply transaction to balances: insufficient funds in source balance"
    refused(api.spend(precise_amount=100), 400, "TXN_INSUFFICIENT_FUNDS", text)
    assert _balances(api, "@A", "@B") == [99, 0]


@case(30)
def test_insufficient_funds_in_the_queue_reject_the_transaction(api: Api) -> None:
    # Blnk: the copy R_q is REJECTED, and the returned id stays QUEUED.
    rejected = _decided(api, source="@A", destination="@B", allow_overdraft=None, reference="R")
    assert rejected["status"] == "REJECTED"
    assert rejected["meta_data"]["blnk_rejection_reason"] == "insufficient funds in source balance"
    assert api.get("/transactions/reference/R_q") == rejected
    assert _balances(api, "@A", "@B") == [0, 0]


@case(31)
def test_exactly_sufficient_funds_are_enough_and_one_more_is_too_much(api: Api) -> None:
    _fund(api, "@A", 100)
    refused(api.spend(precise_amount=101), 400, "TXN_INSUFFICIENT_FUNDS")
    assert ok(api.spend(precise_amount=100), 201)["status"] == "APPLIED"


@case(32)
@pytest.mark.parametrize("flag", ["allow_overdraft", "apply_overdraft"])
def test_only_the_funding_pool_goes_negative(api: Api, flag: str) -> None:
    customer = api.new_balance()
    body = {
        "precise_amount": 12000023,
        "precision": 100,
        "reference": "ref_123abc",
        "source": "@FundingPool",
        "destination": customer,
        "description": "Creating a starting balance",
        flag: True,
    }
    applied = ok(api.client.post("/transactions", json={**body, "skip_queue": True}), 201)
    assert (applied["status"], applied["allow_overdraft"], applied["currency"]) == ("APPLIED", True, "USD")
    assert api.balance("@FundingPool")["balance"] == -12000023
    assert api.get(f"/balances/{customer}")["balance"] == 12000023


@case(33)
def test_an_overdraft_goes_to_its_limit_and_no_further(api: Api) -> None:
    limited = {"allow_overdraft": True, "overdraft_limit": 10.00}
    text = "failed to apply transaction to balances: transaction exceeds overdraft limit"
    refused(api.spend(precise_amount=1001, **limited), 400, "TXN_VALIDATION_ERROR", text)
    assert ok(api.spend(precise_amount=1000, **limited), 201)["status"] == "APPLIED"
    assert _balances(api, "@A") == [-1000]


@case(34)
def test_a_limit_is_the_decimal_that_was_written(api: Api) -> None:
    limited = {"allow_overdraft": True, "overdraft_limit": 0.29}
    refused(api.spend(precise_amount=30, **limited), 400, "TXN_VALIDATION_ERROR")
    assert ok(api.spend(precise_amount=29, **limited), 201)["status"] == "APPLIED"


@case(35)
@pytest.mark.parametrize(("amount", "is_applied"), [(600, True), (800, False)])
def test_what_is_held_counts_towards_the_limit(api: Api, amount: int, is_applied: bool) -> None:
    yen = {"currency": "JPY", "precision": 1}
    api.done(precise_amount=500, **yen)
    ok(api.spend(precise_amount=300, inflight=True, **yen), 201)
    response = api.spend(precise_amount=amount, allow_overdraft=True, overdraft_limit=500, **yen)
    assert response.status_code == (201 if is_applied else 400)
    assert api.balance("@A", "JPY")["balance"] == (-100 if is_applied else 500)


@case(36)
def test_an_overdraft_without_a_limit_has_none(api: Api) -> None:
    # Blnk: a limit of 0 is none too. Here 0 is a limit.
    assert ok(api.spend(precise_amount=10**30, allow_overdraft=True), 201)["status"] == "APPLIED"
    refused(api.spend(allow_overdraft=True, overdraft_limit=0), 400, "TXN_VALIDATION_ERROR")


@case(37)
def test_what_is_held_cannot_be_spent(api: Api) -> None:
    _fund(api, "@A", 1000)
    ok(api.spend(precise_amount=600, inflight=True), 201)
    refused(api.spend(precise_amount=500), 400, "TXN_INSUFFICIENT_FUNDS")
    assert ok(api.spend(precise_amount=400), 201)["status"] == "APPLIED"


# References, balances, names


@case(38)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_a_reference_is_used_once(api: Api, skip_queue: bool) -> None:
    first = api.done(reference="R")
    # Blnk: skip_queue 409 for the same content too; in the queue 201, and dropped.
    again = api.post(reference="R", skip_queue=skip_queue)
    assert ok(again, 200)["transaction_id"] == first["transaction_id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    other = api.post(reference="R", precise_amount=2, skip_queue=skip_queue)
    detail = refused(other, 409, "TXN_DUPLICATE_REFERENCE")
    assert detail["message"].startswith("transaction validation failed: reference R has already been used")
    assert _balances(api, "@A") == [1]


@case(39)
def test_a_doorbell_that_rings_twice_credits_once(api: Api) -> None:
    ok(api.post(reference="R", precise_amount=5), 201)
    for _ in range(3):
        api.drain()
    assert _balances(api, "@A", "@World") == [5, -5]
    assert len(api.get("/transactions")) == 1


@case(40)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_an_unknown_balance_is_said_at_once(api: Api, skip_queue: bool) -> None:
    # Blnk: TXN_NOT_FOUND with skip_queue; in the queue 201, and then nothing.
    unknown = UNKNOWN.replace("txn_", "bln_")
    response = api.post(destination=unknown, skip_queue=skip_queue)
    detail = refused(response, 404, "BAL_NOT_FOUND", f"Balance with ID '{unknown}' not found")
    assert detail["details"] == {}
    assert _is_empty(api)


@case(41)
def test_an_internal_balance_is_made_on_first_use_once_for_each_currency(api: Api) -> None:
    first, again = api.done(destination="@Revenue"), api.done(destination="@Revenue")
    euros = api.done(destination="@Revenue", currency="EUR")
    assert first["destination"] == again["destination"] != euros["destination"]
    for made, currency in ((first, "USD"), (euros, "EUR")):
        balance = api.get(f"/balances/{made['destination']}")
        named = (balance["ledger_id"], balance["indicator"], balance["currency"])
        assert named == ("general_ledger_id", "@Revenue", currency)


@case(42)
def test_24_first_uses_at_once_make_one_balance(api: Api, app: Flask) -> None:
    ready = threading.Barrier(24)

    def post(number: int) -> str:
        mine = Api(app, app.test_client())
        ready.wait()
        return str(mine.done(destination="@New", reference=f"first {number}")["status"])

    with ThreadPoolExecutor(24) as pool:
        assert set(pool.map(post, range(24))) == {"APPLIED"}
    assert _balances(api, "@New", "@World") == [24, -24]
    assert len(api.get("/balances")) == 2


@case(43)
def test_looking_for_a_name_makes_none(api: Api) -> None:
    response = api.client.get("/balances/indicator/@Nobody/currency/USD")
    refused(response, 404, "BAL_NOT_FOUND", "balance with indicator '@Nobody' not found")
    assert _is_empty(api)


# Holds


@case(44)
def test_a_queued_hold_becomes_inflight_and_moves_nothing(api: Api) -> None:
    # Blnk: the returned id stays QUEUED, and R_q is INFLIGHT.
    accepted = ok(api.post(amount=100.50, inflight=True), 201)
    assert (accepted["status"], accepted["inflight"]) == ("QUEUED", True)
    api.drain()
    held = api.transaction(accepted["transaction_id"])
    assert (held["status"], held["inflight"]) == ("INFLIGHT", True)
    assert api.sums("@World")[:2] == (0, -10050)
    assert api.sums("@A")[:2] == (0, 10050)


@case(45)
def test_a_queued_hold_is_committed_whole_by_its_own_id(api: Api) -> None:
    hold = _decided(api, amount=100.50, inflight=True)["transaction_id"]
    committed = _commit(api, hold, precise_amount=10050)
    assert (committed["status"], committed["parent_transaction"]) == ("APPLIED", hold)
    assert (api.sums("@World")[:2], api.sums("@A")[:2]) == ((-10050, 0), (10050, 0))


@case(46)
def test_a_hold_leaves_the_balance_until_it_is_committed(api: Api) -> None:
    _fund(api, "@A", 400)
    whole, parts = (ok(api.spend(precise_amount=100, inflight=True), 201)["transaction_id"] for _ in range(2))
    assert api.sums("@A") == (400, -200, 0, 200)
    _commit(api, whole)
    assert api.sums("@A") == (300, -100, 0, 100)
    _commit(api, parts, precise_amount=40)
    assert api.sums("@A") == (260, -60, 0, 60)
    _void(api, parts)
    assert api.sums("@A") == (260, 0, 0, 0)
    assert api.sums("@B") == (140, 0, 0, 0)


@case(47)
def test_an_empty_commit_takes_the_rest(api: Api) -> None:
    hold = api.done(amount=300.50, inflight=True)["transaction_id"]
    amounts = [_commit(api, hold, amount=100.25)["precise_amount"], _commit(api, hold)["precise_amount"]]
    assert amounts == [10025, 20025]
    assert api.sums("@A") == (30050, 0, 0, 0)


@case(48)
def test_a_void_releases_what_is_left(api: Api) -> None:
    hold = _held(api, 100)
    _commit(api, hold, precise_amount=30)
    voided = _void(api, hold)
    assert (voided["status"], voided["precise_amount"]) == ("VOID", 70)
    assert api.sums("@A") == (30, 0, 0, 0)


@case(49)
@pytest.mark.parametrize("status", ["commit", "void"])
@pytest.mark.parametrize("amount", [0, -100])
def test_a_precise_amount_to_settle_must_be_positive(api: Api, status: str, amount: int) -> None:
    hold = _held(api)
    response = api.settle(hold, status, precise_amount=amount, skip_queue=True)
    refused(response, 400, "TXN_INVALID_AMOUNT", "precise_amount must be positive")
    assert api.transaction(hold)["status"] == "INFLIGHT"


@case(50)
def test_a_hold_is_committed_or_voided_and_nothing_else(api: Api) -> None:
    text = "status not supported. use either commit or void"
    for status in ("settle", "COMMIT", ""):
        refused(api.settle(_held(api), status), 400, "TXN_INVALID_STATUS_ACTION", text)


@case(51)
def test_a_fourth_commit_of_thirty_of_a_hundred_is_too_much(api: Api) -> None:
    hold = _held(api, 100)
    for _ in range(3):
        _commit(api, hold, precise_amount=30)
    text = "cannot commit more than the remaining amount. Available: USD0.10, Requested: USD0.30"
    response = api.settle(hold, "commit", precise_amount=30, skip_queue=True)
    refused(response, 400, "TXN_COMMIT_AMOUNT_EXCEEDED", text)
    assert api.sums("@A")[:2] == (90, 10)


@case(52)
def test_one_queued_settlement_waits_at_a_time(api: Api) -> None:
    hold = _held(api)
    queued = ok(api.settle(hold, "commit"), 200)
    assert (queued["queued"], queued["status"], queued["transaction_id"]) == (True, "INFLIGHT", hold)
    text = "a commit or void is already queued for this transaction"
    refused(api.settle(hold, "void"), 409, "GEN_CONFLICT", text)
    api.drain()
    assert api.sums("@A")[:2] == (10000, 0)


@case(53)
def test_a_partial_commit_that_is_sent_again_moves_money_once(api: Api) -> None:
    # Blnk's action ids are its own. Here the client's reference makes a commit repeatable.
    hold = _held(api, 100)
    first = ok(api.settle(hold, "commit", precise_amount=30, reference="part"), 200)
    api.drain()
    for skip_queue in (False, True):
        again = api.settle(hold, "commit", precise_amount=30, reference="part", skip_queue=skip_queue)
        assert again.status_code == 200
        api.drain()
    assert api.transaction(first["child_transaction"])["precise_amount"] == 30
    assert api.sums("@A")[:2] == (30, 70)


@case(54)
@pytest.mark.parametrize("of", ["sources", "destinations", "batch"])
def test_a_queued_commit_takes_all_holds_of_a_split_or_batch(api: Api, of: str) -> None:
    shares = _legs(("@B", "40%"), ("@C", "left"))
    if of == "batch":
        parent = ok(api.bulk({"precise_amount": 40}, {"precise_amount": 60}, inflight=True), 201)["batch_id"]
    elif of == "sources":
        fields = {"source": None, "sources": shares}
        parent = ok(api.post(precise_amount=100, inflight=True, **fields), 201)["transaction_id"]
    else:
        response = _split(api, 100, ("@A", "40%"), ("@C", "left"), inflight=True, skip_queue=None)
        parent = ok(response, 201)["transaction_id"]
    api.drain()
    assert api.transaction(parent)["status"] == "INFLIGHT"
    answer = ok(api.settle(parent, "commit"), 200)
    assert (answer["queued"], answer["transaction_id"], answer["status"]) == (True, parent, "INFLIGHT")
    api.drain()
    assert api.transaction(parent)["status"] == "APPLIED"
    if of == "destinations":
        assert (api.sums("@World")[:2], api.sums("@A")[:2], api.sums("@C")[:2]) == ((-100, 0), (40, 0), (60, 0))
    else:
        assert api.sums("@A")[:2] == (100, 0)


@case(55)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_what_is_settled_stays_settled(api: Api, skip_queue: bool) -> None:
    committed, voided = _held(api), _held(api)
    _commit(api, committed)
    _void(api, voided)
    response = api.settle(committed, "void", skip_queue=skip_queue)
    refused(response, 409, "TXN_ALREADY_COMMITTED", "cannot commit. Transaction already committed")
    response = api.settle(voided, "commit", skip_queue=skip_queue)
    refused(response, 409, "TXN_ALREADY_VOIDED", "transaction has already been voided")
    assert api.sums("@A")[:2] == (10000, 0)


@case(56)
def test_a_hold_is_as_much_on_both_sides_and_leaves_nothing(api: Api) -> None:
    hold = _held(api, 77)
    assert (api.sums("@World"), api.sums("@A")) == ((0, -77, 0, 77), (0, 77, 77, 0))
    _commit(api, hold)
    assert (api.sums("@World"), api.sums("@A")) == ((-77, 0, 0, 0), (77, 0, 0, 0))


@case(57)
def test_a_rejected_hold_cannot_be_committed(api: Api) -> None:
    # Blnk: the returned id stays QUEUED.
    hold = _decided(api, source="@A", destination="@B", allow_overdraft=None, inflight=True)
    assert hold["status"] == "REJECTED"
    for skip_queue in (True, False):
        response = api.settle(hold["transaction_id"], "commit", skip_queue=skip_queue)
        refused(response, 400, "TXN_NOT_INFLIGHT", "transaction is not in inflight status")
    assert api.sums("@A") == api.sums("@B") == (0, 0, 0, 0)


@case(58)
def test_a_hold_that_expires_is_voided(api: Api) -> None:
    at, expiry = _ahead(3600)
    hold = _held(api, 100, inflight_expiry_date=expiry)
    _commit(api, hold, precise_amount=30)
    _beat(api, at - timedelta(seconds=1))
    assert api.sums("@A")[:2] == (30, 70)
    _beat(api, at)
    assert api.sums("@A")[:2] == (30, 0)
    (child,) = [row for row in api.get("/transactions") if row["status"] == "VOID"]
    assert (child["parent_transaction"], child["precise_amount"]) == (hold, 70)
    refused(api.settle(hold, "void"), 409, "TXN_ALREADY_VOIDED")


@case(59)
def test_a_hold_is_committed_when_its_date_comes(api: Api) -> None:
    at, commit = _ahead(3600)
    hold = _held(api, 100, inflight_commit_date=commit)
    _beat(api, at - timedelta(seconds=1))
    assert api.transaction(hold)["status"] == "INFLIGHT"
    _beat(api, at)
    assert api.transaction(hold)["status"] == "APPLIED"
    (child,) = [row for row in api.get("/transactions") if row["parent_transaction"] == hold]
    assert (child["status"], child["precise_amount"]) == ("APPLIED", 100)
    assert api.sums("@A")[:2] == (100, 0)


@case(60)
def test_an_expiry_takes_nothing_from_another_hold(api: Api) -> None:
    # Blnk: a VOID row appears, and takes the money of the other hold.
    at, expiry = _ahead(3600)
    settled = _decided(api, precise_amount=50, inflight=True, inflight_expiry_date=expiry)["transaction_id"]
    other = _decided(api, precise_amount=50, inflight=True)["transaction_id"]
    _commit(api, settled)
    _beat(api, at)
    assert api.sums("@A")[:2] == (50, 50)
    assert len(api.get("/transactions")) == 3  # The holds and the commit, and not even a rejected void.
    _commit(api, other)
    assert api.sums("@A")[:2] == (100, 0)


# Many holds at once


@case(61)
def test_many_holds_are_voided_at_once_and_once(api: Api) -> None:
    holds = [_held(api) for _ in range(3)]
    answer = ok(_bulk_void(api, holds, skip_queue=True), 200)
    assert (answer["succeeded"], answer["failed"]) == (3, 0)
    assert answer["results"] == [{"transaction_id": hold, "status": "succeeded"} for hold in holds]
    assert api.sums("@A")[:2] == (0, 0)
    again = ok(_bulk_void(api, holds, skip_queue=True), 200)
    assert (again["succeeded"], again["failed"]) == (0, 3)
    assert [(one["transaction_id"], one["code"]) for one in again["results"]] == [(h, "ALREADY_VOIDED") for h in holds]


@case(62)
def test_an_unknown_hold_among_many_fails_alone(api: Api) -> None:
    holds = [_held(api) for _ in range(2)]
    answer = ok(_bulk_commit(api, [{"transaction_id": id} for id in (*holds, UNKNOWN)], skip_queue=True), 200)
    assert (answer["succeeded"], answer["failed"]) == (2, 1)
    assert [one["status"] for one in answer["results"]] == ["succeeded", "succeeded", "failed"]
    assert (answer["results"][2]["transaction_id"], answer["results"][2]["code"]) == (UNKNOWN, "NOT_FOUND")
    assert api.sums("@A")[:2] == (20000, 0)


@case(63)
@pytest.mark.parametrize(
    ("what", "path"), [("transactions", "commit"), ("transaction_ids", "void")], ids=["commit", "void"]
)
def test_many_holds_are_one_to_a_hundred(api: Api, what: str, path: str) -> None:
    def post(items: Any) -> TestResponse:
        return api.client.post(f"/transactions/inflight/bulk/{path}", json={} if items is None else {what: items})

    nothing: list[Any] = [None, []]
    for none in nothing:
        refused(post(none), 400, "TXN_BULK_EMPTY", f"{what} cannot be empty")
    item: Any = {"transaction_id": "a"} if path == "commit" else "a"
    refused(post([item] * 101), 400, "TXN_BULK_LIMIT_EXCEEDED", f"too many {what}; max is 100")
    # Blnk: TXN_BULK_EMPTY.
    assert what in refused(post("a"), 400, "GEN_MALFORMED_REQUEST")["message"]


# Bulks


@case(64)
def test_a_bulk_is_one_to_ten_thousand_and_names_the_bad_item(api: Api) -> None:
    refused(api.bulk(), 400, "TXN_BULK_EMPTY", "transactions cannot be empty")
    response = api.bulk(*[{}] * 10_001)
    refused(response, 400, "TXN_BULK_LIMIT_EXCEEDED", "too many transactions; max is 10000")
    detail = refused(api.bulk({"precision": 10.5}, {}), 400, "TXN_VALIDATION_ERROR")
    assert "transactions[0]" in detail["message"]
    assert "precision must be an integer value" in detail["message"]
    assert _is_empty(api)


@case(65)
def test_a_bulk_is_applied_when_it_is_answered(api: Api) -> None:
    answer = ok(api.bulk({}, {"precise_amount": 2}, skip_queue=True), 201)
    assert (answer["status"], answer["transaction_count"]) == ("applied", 2)
    assert _balances(api, "@A", "@World") == [3, -3]


@case(66)
def test_a_bulk_that_is_not_atomic_keeps_what_went_well(api: Api) -> None:
    poor = {"source": "@Poor", "allow_overdraft": False}
    response = api.bulk({"precise_amount": 5}, poor, skip_queue=True)
    detail = refused(response, 400, "TXN_INSUFFICIENT_FUNDS")
    assert detail["message"].startswith("failed to queue transaction 2 ")
    assert detail["message"].endswith("Previous transactions were not rolled back.")
    assert response.get_json()["batch_id"].startswith("bulk_")
    assert _balances(api, "@A") == [5]


@case(67)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_an_atomic_bulk_that_fails_moves_nothing(api: Api, skip_queue: bool) -> None:
    # Blnk: applies, then refunds; and in the queue not even that.
    poor = {"source": "@Poor", "allow_overdraft": False}
    response = api.bulk({}, {}, poor, skip_queue=skip_queue, atomic=True)
    if skip_queue:
        detail = refused(response, 400, "TXN_INSUFFICIENT_FUNDS")
        assert detail["message"].endswith("No transaction of this batch was applied.")
    api.drain()
    assert [row["status"] for row in api.get("/transactions")] == ["REJECTED"] * 3
    assert [(sums["balance"], sums["version"]) for sums in api.get("/balances")] == [(0, 1)] * 3


@case(68)
def test_an_atomic_bulk_of_holds_that_fails_holds_nothing(api: Api) -> None:
    poor = {"source": "@Poor", "allow_overdraft": False}
    response = api.bulk({}, {}, poor, skip_queue=True, atomic=True, inflight=True)
    refused(response, 400, "TXN_INSUFFICIENT_FUNDS")
    assert api.sums("@A") == api.sums("@World") == (0, 0, 0, 0)


@case(69)
def test_an_asynchronous_bulk_is_taken_and_processing(api: Api) -> None:
    # Blnk: 429 while more than a hundred are under way. Here it is in the log, and there is no such bound.
    for _ in range(101):
        answer = ok(api.bulk({}, run_async=True), 202)
    assert (answer["status"], answer["message"]) == ("processing", "Bulk transaction processing started")
    api.drain()
    assert _balances(api, "@A") == [101]


@case(70)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_what_is_in_a_bulk_knows_its_batch(api: Api, skip_queue: bool) -> None:
    # Blnk: in the queue only by meta_data.QUEUED_PARENT_TRANSACTION.
    batch_id = ok(api.bulk({}, {}, skip_queue=skip_queue), 201)["batch_id"]
    assert [row["parent_transaction"] for row in api.get("/transactions")] == [batch_id] * 2
    api.drain()
    batch = api.transaction(batch_id)
    assert (batch["status"], batch["counts"]["APPLIED"], batch["progress"]) == ("APPLIED", 2, 1)


# Refunds


@case(71)
def test_a_refund_is_queued_under_the_originals_id(api: Api) -> None:
    original = api.done(precise_amount=10)["transaction_id"]
    response = api.client.post(f"/refund-transaction/{original}")
    refund = ok(response, 201)
    named = (refund["status"], refund["parent_transaction"], refund["reference"])
    assert named == ("QUEUED", original, f"{original}_refund")
    api.drain()
    assert api.transaction(refund["transaction_id"])["status"] == "APPLIED"
    assert _balances(api, "@A", "@World") == [0, 0]


@case(72)
def test_a_refund_at_once_puts_both_balances_back(api: Api) -> None:
    original = api.done(precise_amount=10)["transaction_id"]
    response = api.client.post(f"/refund-transaction/{original}", data="{", content_type="application/json")
    refused(response, 400, "GEN_MALFORMED_REQUEST")
    refund = ok(_refund(api, original, skip_queue=True), 201)
    assert (refund["status"], refund["precise_amount"]) == ("APPLIED", 10)
    assert _balances(api, "@A", "@World") == [0, 0]


@case(73)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_a_second_refund_moves_nothing(api: Api, skip_queue: bool) -> None:
    # Blnk: 409 GEN_CONFLICT, and with skip_queue it refunds the refund.
    original = api.done(precise_amount=10)["transaction_id"]
    first = ok(_refund(api, original, skip_queue=skip_queue), 201)
    text = f"transaction {original} has already been refunded"
    for _ in range(2):
        detail = refused(_refund(api, original, skip_queue=skip_queue), 409, "TXN_ALREADY_REFUNDED", text)
        assert detail["details"] == {"refund_transaction_id": first["transaction_id"]}
        api.drain()
    assert _balances(api, "@A", "@World") == [0, 0]
    assert len(api.get("/transactions")) == 2


@case(74)
def test_five_refunds_at_once_are_one(api: Api, app: Flask) -> None:
    original = api.done(precise_amount=10)["transaction_id"]
    ready = threading.Barrier(5)

    def refund(number: int) -> int:
        mine = Api(app, app.test_client())
        ready.wait()
        return _refund(mine, original, skip_queue=number % 2 == 0).status_code

    with ThreadPoolExecutor(5) as pool:
        assert sorted(pool.map(refund, range(5))) == [201, 409, 409, 409, 409]
    api.drain()
    assert _balances(api, "@A", "@World") == [0, 0]


@case(75)
def test_a_refund_is_refunded_by_its_own_id(api: Api) -> None:
    original = api.done(precise_amount=10)["transaction_id"]
    refund = ok(_refund(api, original, skip_queue=True), 201)["transaction_id"]
    again = ok(_refund(api, refund, skip_queue=True), 201)
    assert (again["status"], again["parent_transaction"]) == ("APPLIED", refund)
    assert _balances(api, "@A", "@World") == [10, -10]


@case(76)
@pytest.mark.parametrize("state", ["unknown", "QUEUED", "INFLIGHT", "SCHEDULED", "REJECTED", "VOID"])
def test_what_moved_nothing_cannot_be_refunded(api: Api, state: str) -> None:
    if state == "unknown":
        transaction_id = UNKNOWN
    elif state == "QUEUED":
        transaction_id = ok(api.post(), 201)["transaction_id"]
    elif state == "SCHEDULED":
        transaction_id = ok(api.post(scheduled_for=_ahead(3600)[1]), 201)["transaction_id"]
    elif state == "REJECTED":
        short = {"source": "@A", "destination": "@B", "allow_overdraft": None}
        transaction_id = _decided(api, **short)["transaction_id"]
    else:
        transaction_id = _held(api)
        if state == "VOID":
            _void(api, transaction_id)
    if state != "unknown":
        assert api.transaction(transaction_id)["status"] == state
    refused(_refund(api, transaction_id), 404, "TXN_NOT_FOUND", "no transaction to refund")


@case(77)
def test_a_refund_may_have_words_of_its_own(api: Api) -> None:
    original = api.done(meta_data={"a": 1, "b": 2}, description="the first")["transaction_id"]
    refund = ok(_refund(api, original, description="sorry", meta_data={"b": 3, "c": 4}), 201)
    assert (refund["description"], refund["meta_data"]) == ("sorry", {"a": 1, "b": 3, "c": 4})
    other = api.done(meta_data={"a": 1}, description="the second")["transaction_id"]
    # Empty is none, as Blnk's clients have it.
    kept = ok(_refund(api, other, description=""), 201)
    assert (kept["description"], kept["meta_data"]) == ("the second", {"a": 1})


# Splits


@case(78)
def test_one_source_pays_several_destinations(api: Api) -> None:
    split = ok(_split(api, 3_000_000, ("@A", "20%"), ("@B", "10000"), ("@C", "left")), 201)
    assert (split["status"], _leg_amounts(split)) == ("APPLIED", [600_000, 1_000_000, 1_400_000])
    assert _balances(api, "@World", "@A", "@B", "@C") == [-3_000_000, 600_000, 1_000_000, 1_400_000]


@case(79)
def test_several_sources_pay_one_destination(api: Api) -> None:
    sources = _legs(("@X", "2.00"), ("@Y", "50%"), ("@Z", "left"))
    split = api.done(source=None, sources=sources, destination="@A", precise_amount=1000)
    assert _leg_amounts(split) == [200, 500, 300]
    assert _balances(api, "@X", "@Y", "@Z", "@A") == [-200, -500, -300, 1000]


HOSTILE = [
    (150, ["50%", "45%", "left"], [75, 67, 8]),
    (10001, ["33.33%", "33.33%", "33.34%"], [3333, 3333, 3335]),
    (123456, ["500", "25%", "10%", "left"], [50000, 30864, 12345, 30247]),
    (1001, ["50%", "50%"], [500, 501]),
    (7, ["33.33%", "33.33%", "left"], [2, 2, 3]),
    (100, ["0.01%", "left"], [100]),
    (10**30 + 1, ["14.2857%"] * 6 + ["left"], [142857 * 10**24] * 6 + [142858 * 10**24 + 1]),
]


@case(80)
@pytest.mark.parametrize(("total", "shares", "amounts"), HOSTILE, ids=str)
@pytest.mark.parametrize("side", ["sources", "destinations"])
def test_legs_add_up_whatever_the_shares(
    api: Api, total: int, shares: list[str], amounts: list[int], side: str
) -> None:
    # Blnk gives the remainder to the largest leg, be it a fixed one.
    legs = _legs(*[(f"@P{place}", share) for place, share in enumerate(shares)])
    split = api.done(precise_amount=total, reference="R", **{side[:-1]: None, side: legs})
    assert _leg_amounts(split) == amounts
    assert sum(amounts) == total
    assert [leg["reference"] for leg in split["legs"]] == [f"R_{n}" for n in range(1, len(amounts) + 1)]
    assert _balances(api, "@A" if side == "sources" else "@World") == [total if side == "sources" else -total]


@case(81)
@pytest.mark.parametrize("shares", [("60%", "60%"), ("6.00", "5.00"), ("6.00", "50%"), ("10.01", "left")], ids=str)
def test_shares_of_more_than_there_is_are_refused(api: Api, shares: tuple[str, str]) -> None:
    detail = refused(_split(api, 1000, ("@A", shares[0]), ("@B", shares[1])), 400, "TXN_INVALID_DISTRIBUTION")
    text = "failed to split transaction: total distributions exceed 100% or total amount"
    assert text in detail["message"]
    assert _is_empty(api)


@case(82)
def test_shares_of_exactly_all_are_enough(api: Api) -> None:
    assert _leg_amounts(ok(_split(api, 1000, ("@A", "60%"), ("@B", "40%")), 201)) == [600, 400]
    assert _leg_amounts(ok(_split(api, 1000, ("@A", "7.00"), ("@B", "3.00")), 201)) == [700, 300]
    # Blnk: the first gets it. Here the remainder goes to the last percentage, and a leg of 0 takes no part.
    single = ok(_split(api, 1, ("@C", "50%"), ("@D", "50%")), 201)
    assert _leg_amounts(single) == [1]
    assert _balances(api, "@C", "@D") == [0, 1]


@case(83)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_legs_are_numbered_in_the_order_of_the_list(api: Api, skip_queue: bool) -> None:
    # Blnk: with skip_queue, in random order.
    shares = [("@A", "10%"), ("@B", "20%"), ("@C", "left")]
    split = ok(_split(api, 100, *shares, reference="R", skip_queue=skip_queue), 201)
    api.drain()
    for number, (name, amount) in enumerate([("@A", 10), ("@B", 20), ("@C", 70)], 1):
        leg = api.get(f"/transactions/reference/R_{number}")
        named = (leg["precise_amount"], leg["destination"], leg["parent_transaction"], leg["status"])
        assert named == (amount, api.balance(name)["balance_id"], split["transaction_id"], "APPLIED")
    assert api.transaction(split["transaction_id"])["status"] == "APPLIED"


@case(84)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_an_atomic_split_with_a_leg_that_is_short_moves_nothing(api: Api, skip_queue: bool) -> None:
    _fund(api, "@Rich", 1000)
    sources = _legs(("@Rich", "60%"), ("@Poor", "40%"))
    fields = {"source": None, "sources": sources, "allow_overdraft": None, "atomic": True, "reference": "R"}
    response = api.post(precise_amount=100, skip_queue=skip_queue, **fields)
    if skip_queue:
        refused(response, 400, "TXN_INSUFFICIENT_FUNDS")
    api.drain()
    split = api.get("/transactions/reference/R")
    assert split["status"] == "REJECTED"
    assert [leg["rejection"]["reason"] for leg in split["legs"]] == ["atomic_group", "insufficient_funds"]
    assert _balances(api, "@Rich", "@Poor", "@A") == [1000, 0, 0]


# Dates


@case(85)
def test_a_scheduled_transaction_is_applied_when_due_and_never_before(api: Api) -> None:
    # Blnk: the id stays SCHEDULED for ever.
    at, date = _ahead(3600)
    accepted = ok(api.post(reference="R", scheduled_for=date), 201)
    assert (accepted["status"], accepted["sequence"]) == ("SCHEDULED", 0)
    _beat(api, at - timedelta(seconds=1))
    assert api.get("/transactions/reference/R")["status"] == "SCHEDULED"
    for _ in range(2):
        _beat(api, at)
    applied = api.transaction(accepted["transaction_id"])
    assert [step["status"] for step in applied["timeline"]] == ["SCHEDULED", "QUEUED", "APPLIED"]
    assert datetime.fromisoformat(applied["scheduled_for"]) == at
    assert _balances(api, "@A") == [1]


@case(86)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_a_backdated_transaction_changes_the_balance_now(api: Api, skip_queue: bool) -> None:
    dated = {"effective_date": "2020-01-01T00:00:00Z", "skip_queue": skip_queue}
    ids = [ok(api.post(**dated), 201)["transaction_id"] for _ in range(3)]
    api.drain()
    assert _balances(api, "@A") == [3]
    assert {api.transaction(id)["effective_date"] for id in ids} == {"2020-01-01T00:00:00Z"}


@case(86)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_a_backdated_transaction_was_there_already_then(api: Api, skip_queue: bool) -> None:
    for dates in ({"effective_date": "2020-01-01T00:00:00Z"}, {}):
        ok(api.post(**dates, skip_queue=skip_queue), 201)
    api.drain()
    path = f"/balances/{api.balance('@A')['balance_id']}/at"
    for from_source in ("false", "true"):
        for at, balance in (("2021-01-01T00:00:00Z", 1), ("2999-01-01T00:00:00Z", 2)):
            found = api.get(path, timestamp=at, from_source=from_source)
            assert (found["balance"]["balance"], found["balance"]["debit_balance"]) == (balance, 0)


# Reading


@case(87)
def test_a_transaction_is_read_by_id_and_by_reference(api: Api) -> None:
    done = api.done(reference="R")
    assert api.transaction(done["transaction_id"]) == api.get("/transactions/reference/R") == done
    response = api.client.get(f"/transactions/{UNKNOWN}")
    refused(response, 404, "TXN_NOT_FOUND", f"Transaction with ID '{UNKNOWN}' not found")
    response = api.client.get("/transactions/reference/nothing")
    refused(response, 404, "TXN_NOT_FOUND", "Transaction with reference 'nothing' not found")


@case(88)
def test_a_page_that_is_none_is_the_first(api: Api) -> None:
    api.done()
    assert len(api.get("/transactions", limit="abc", offset="-5")) == 1


@case(88)
def test_a_list_is_filtered_by_its_query(api: Api) -> None:
    for reference in ("R", "S"):
        api.done(reference=reference)
    assert [row["reference"] for row in api.get("/transactions", reference_eq="R")] == ["R"]
    response = api.client.get("/transactions?reference_eq=R&logical_operator=xor")
    refused(response, 400, "GEN_VALIDATION_ERROR")


@case(89)
def test_transactions_are_filtered_and_counted(api: Api) -> None:
    def filtered(operator: str = "eq", **fields: Any) -> TestResponse:
        condition = {"field": "reference", "operator": operator, "value": "R"}
        return api.client.post("/transactions/filter", json={"filters": [condition], **fields})

    for reference in ("R", "S"):
        api.done(reference=reference)
    assert [row["reference"] for row in ok(filtered(), 200)] == ["R"]
    counted = ok(filtered(include_count=True), 200)
    assert (len(counted["data"]), counted["total_count"]) == (1, 1)
    response = api.client.post("/transactions/filter", data="{", content_type="application/json")
    assert ok(response, 400)["error_detail"]["code"].startswith("GEN_")
    refused(filtered("resembles"), 400, "GEN_BAD_REQUEST")


@case(90)
def test_what_waits_too_long_is_recovered_and_counted(api: Api) -> None:
    response = api.client.post("/transactions/recover?threshold=abc")
    message = 'invalid threshold duration: time: invalid duration "abc"'
    refused(response, 400, "GEN_VALIDATION_ERROR", message)

    def recover(**threshold: str) -> tuple[int, str]:
        answer = ok(api.client.post("/transactions/recover", query_string=threshold), 200)
        return answer["recovered"], answer["threshold"]

    _fund(api, "@A", 10)
    old = [ok(api.post(source=f"@S{number % 2}"), 201)["transaction_id"] for number in range(5)]
    old.append(ok(api.spend(precise_amount=16, skip_queue=None), 201)["transaction_id"])
    _age(api, "9 minutes")
    young = [ok(api.post(source=f"@Y{number}"), 201)["transaction_id"] for number in range(20)]
    _age(api, "1 minute")
    assert recover(threshold="24h") == (0, "24h0m0s")
    assert recover(threshold="11m") == (0, "11m0s")
    assert api.transaction(old[0])["status"] == "QUEUED"
    assert recover(threshold="5m") == (6, "5m0s")
    # A rejection is an outcome too.
    assert [api.transaction(id)["status"] for id in old] == ["APPLIED"] * 5 + ["REJECTED"]
    assert "QUEUED" in {api.transaction(id)["status"] for id in young}
    assert recover() == (0, "2m0s")
    # Two minutes at least, though it says what was asked.
    assert recover(threshold="1s") == (0, "1s")
    assert "QUEUED" in {api.transaction(id)["status"] for id in young}


def _age(api: Api, interval: str) -> None:
    """As if everything had been accepted so much earlier."""
    with begin(api.app.extensions["pacioli"].engine) as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))  # Else history refuses.
        conn.execute(text("UPDATE log SET accepted_at = accepted_at - CAST(:by AS interval)"), {"by": interval})


@case(90)
def test_a_recovery_takes_what_is_due(api: Api) -> None:
    accepted = ok(api.post(scheduled_for=_ahead(3600)[1]), 201)
    with begin(api.app.extensions["pacioli"].engine) as conn:
        conn.execute(text("UPDATE scheduled SET due_at = clock_timestamp()"))
    assert ok(api.client.post("/transactions/recover"), 200)["recovered"] == 0
    assert api.transaction(accepted["transaction_id"])["status"] == "APPLIED"


# Dry runs


@case(91)
def test_a_dry_run_shows_both_balances_and_writes_nothing(api: Api) -> None:
    _fund(api, "@A", 50000)
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
    _fund(api, "@A", 500)
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
    _fund(api, "@A", 500)
    spend = {"source": "@A", "destination": "@B", "allow_overdraft": False}
    items = [{**spend, "precise_amount": 450}, {**spend, "precise_amount": 100, "reference": "second"}]
    preview = ok(api.bulk(*items, dry_run=True, skip_queue=skip_queue), 200)
    assert (preview["cumulative"], preview["would_apply"]) == (True, False)
    assert [one["would_apply"] for one in preview["results"]] == [True, False]
    failure = preview["first_failure"]
    assert (failure["index"], failure["reference"]) == (1, "second")
    assert failure["rejection"]["reason"] == "insufficient_funds"
    assert _balances(api, "@A") == [500]


@case(94)
def test_a_dry_run_of_a_settlement_leaves_the_hold(api: Api) -> None:
    hold = _held(api, 100)

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
    holds = [_held(api, amount) for amount in (100, 50)]
    ids = [*holds, holds[0], UNKNOWN]
    if path == "commit":
        preview = ok(_bulk_commit(api, [{"transaction_id": id} for id in ids], dry_run=True), 200)
    else:
        preview = ok(_bulk_void(api, ids, dry_run=True), 200)
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
    assert _is_empty(api)


@case(97)
@pytest.mark.parametrize("mode", [{"dry_run": True}, {"skip_queue": True}, {}], ids=str)
def test_another_currency_than_the_balances_is_refused(api: Api, mode: dict[str, bool]) -> None:
    # Blnk: a dry run notes it, and the transaction is applied.
    euros = api.new_balance("EUR")
    detail = refused(api.post(destination=euros, **mode), 400, "TXN_CURRENCY_MISMATCH")
    assert detail["message"] == "currency: is USD, but the destination balance is in EUR."
    assert api.get("/transactions") == []


# The hash


@case(98)
def test_a_hash_covers_what_was_accepted_and_not_what_became_of_it(api: Api) -> None:
    accepted = ok(api.post(inflight=True, meta_data={"a": 1}), 201)
    assert re.fullmatch("[0-9a-f]{64}", accepted["hash"])
    api.drain()
    held = api.transaction(accepted["transaction_id"])
    _commit(api, held["transaction_id"])
    settled = api.transaction(accepted["transaction_id"])
    assert [one["status"] for one in (accepted, held, settled)] == ["QUEUED", "INFLIGHT", "APPLIED"]
    assert {one["hash"] for one in (accepted, held, settled)} == {accepted["hash"]}


@case(98)
@pytest.mark.parametrize(
    "change",
    [
        {"amount": Decimal("1.00000004")},
        {"reference": "S"},
        {"currency": "EUR"},
        {"source": "@B"},
        {"destination": "@B"},
        {"meta_data": b'{"a": 2}'},  # Blnk: metadata changes nothing.
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_hash_changes_with_each_field(api: Api, change: dict[str, Any]) -> None:
    directory = api.app.extensions["pacioli"].directory
    at = datetime(2026, 1, 1, tzinfo=UTC)

    def digest(**fields: Any) -> bytes:
        asked = transaction(reference="R", amount=Decimal("1.00000001"), precision=10**8)
        for name, value in fields.items():
            setattr(asked, name, value)
        (draft,) = intake.draft_all([asked], directory)
        draft = draft._replace(transaction_id="txn_one")
        row = log_store.row_of(draft, seq=1, queue=1, group=None, accepted_at=at, before=chain.START)
        assert isinstance(row[-1], bytes)
        return row[-1]

    assert digest() == digest() != digest(**change)


# What Blnk fails


@case(100)
def test_what_was_funded_before_can_be_spent_after(api: Api) -> None:
    # Blnk: 16 of 40 are rejected.
    ids = []
    for number in range(40):
        fund = {"source": f"@Pool{number}", "destination": f"@C{number}", "precise_amount": 10}
        spend = {"source": f"@C{number}", "destination": "@Shop", "precise_amount": 10, "allow_overdraft": None}
        ids += [ok(api.post(**fields), 201)["transaction_id"] for fields in (fund, spend)]
    api.drain()
    assert {api.transaction(id)["status"] for id in ids} == {"APPLIED"}
    assert _balances(api, "@Shop") == [400]


@case(101)
def test_a_backlog_keeps_to_the_limit_of_each(api: Api) -> None:
    # Blnk: -400200.
    limited = {"source": "@A", "destination": "@B", "allow_overdraft": True, "overdraft_limit": 1.00}
    ok(api.bulk(*[{**limited, "precise_amount": 7} for _ in range(200)]), 201)
    api.drain()
    entries = api.get(f"/balances/{api.balance('@A')['balance_id']}/entries", limit=1000)
    assert [entry["precise_balance_after"] for entry in entries] == list(range(-7, -100, -7))


@case(102)
def test_a_reference_that_ends_in_q_is_its_own(api: Api) -> None:
    # Blnk: the money of X never moves.
    ids = [ok(api.post(reference=reference), 201)["transaction_id"] for reference in ("X", "X_q")]
    api.drain()
    for reference, id in zip(("X", "X_q"), ids, strict=True):
        found = api.get(f"/transactions/reference/{reference}")
        assert (found["transaction_id"], found["status"]) == (id, "APPLIED")
    assert _balances(api, "@A") == [2]


@case(103)
def test_a_split_is_applied_once_however_it_is_sent(api: Api) -> None:
    # Blnk: twice.
    shares = [("@A", "30%"), ("@B", "left")]
    first = ok(_split(api, 100, *shares, reference="R", skip_queue=None), 201)
    again = _split(api, 100, *shares, reference="R")
    assert ok(again, 200)["transaction_id"] == first["transaction_id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.get_json()["status"] == "APPLIED"
    other = _split(api, 100, ("@A", "40%"), ("@B", "left"), reference="R")
    assert refused(other, 409, "TXN_DUPLICATE_REFERENCE")["details"]["field"] == "destinations"
    assert _balances(api, "@A", "@B", "@World") == [30, 70, -100]


@case(105)
def test_a_commit_of_a_hold_that_is_still_queued_takes_no_other(api: Api) -> None:
    # Blnk: it takes the money of the other hold.
    other = _held(api, 50)
    queued = ok(api.post(precise_amount=50, inflight=True), 201)["transaction_id"]
    ok(api.settle(queued, "commit"), 200)
    assert api.transaction(other)["status"] == "INFLIGHT"
    api.drain()
    assert [api.transaction(id)["status"] for id in (other, queued)] == ["INFLIGHT", "APPLIED"]
    assert api.sums("@A")[:2] == (50, 50)
    _commit(api, other)
    assert api.sums("@A")[:2] == (100, 0)


@case(106)
@pytest.mark.parametrize("precise", [189207535698279123, "189207535698279123"])
def test_big_minor_units_are_exact_with_a_key(
    database_url: str, monkeypatch: pytest.MonkeyPatch, precise: int | str
) -> None:
    # Blnk: 189207535698279140 with an API key, and 400 for a string.
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": "s3cret"})
    client = app.test_client()
    client.environ_base["HTTP_X_BLNK_KEY"] = "s3cret"
    accepted = Api(app, client).done(precise_amount=precise)
    response = client.get(f"/transactions/{accepted['transaction_id']}")
    assert '"precise_amount":189207535698279123,' in response.text
    app.extensions["pacioli"].engine.dispose()


@case(107)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_nine_kilobytes_of_metadata_are_kept(api: Api, skip_queue: bool) -> None:
    # Blnk: 500, or lost in silence.
    meta_data = {"text": "x" * 9000}
    accepted = ok(api.post(meta_data=meta_data, skip_queue=skip_queue), 201)
    api.drain()
    found = api.transaction(accepted["transaction_id"])
    assert (found["status"], found["meta_data"]) == ("APPLIED", meta_data)
    assert len(json.dumps(found)) > 9000


def test_every_case_is_shown_by_a_test() -> None:
    import tests.e2e.test_kill  # noqa: F401

    assert [number for number in acceptance.CASES if number not in acceptance.shown] == []
