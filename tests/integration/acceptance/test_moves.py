"""Blnk's acceptance cases of moving money, of references, balances and names."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from tests.harness.acceptance import case
from tests.harness.api import Api, ok, refused
from tests.harness.steps import UNKNOWN, balances_of, decide, give, is_empty

# Moving money


@case(20, 21)
@pytest.mark.parametrize("asked", [{"amount": 1.25}, {"precise_amount": 125}], ids=str)
def test_money_moves_at_once_and_is_found_by_its_reference(api: Api, asked: dict[str, Any]) -> None:
    give(api, "@A", 500)
    assert ok(api.spend(reference="R", **asked), 201)["status"] == "APPLIED"
    assert balances_of(api, "@A", "@B") == [375, 125]
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
    assert balances_of(api, "@World", "@A") == [-1999, 1999]


@case(25)
@pytest.mark.parametrize(
    ("amount", "precision", "minor"),
    [(0.29, 100, 29), (1.13, 100, 113), (4.35, 100, 435), (123456789.99, 100, 12345678999), (0.1, 10**8, 10**7)],
)
def test_an_amount_is_the_decimal_that_was_written(api: Api, amount: float, precision: int, minor: int) -> None:
    assert api.done(amount=amount, precision=precision)["precise_amount"] == minor
    assert balances_of(api, "@A") == [minor]


@case(26)
def test_an_amount_between_two_cents_is_refused(api: Api) -> None:
    # Blnk: rounded to 101.
    refused(api.post(amount=1.005), 400, "TXN_INVALID_AMOUNT")
    assert is_empty(api)


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
    assert is_empty(api)


@case(29)
def test_insufficient_funds_are_said_at_once_in_blnks_words(api: Api) -> None:
    give(api, "@A", 99)
    text = "failed to apply transaction to balances: insufficient funds in source balance"
    refused(api.spend(precise_amount=100), 400, "TXN_INSUFFICIENT_FUNDS", text)
    assert balances_of(api, "@A", "@B") == [99, 0]


@case(30)
def test_insufficient_funds_in_the_queue_reject_the_transaction(api: Api) -> None:
    # Blnk: the copy R_q is REJECTED, and the returned id stays QUEUED.
    rejected = decide(api, source="@A", destination="@B", allow_overdraft=None, reference="R")
    assert rejected["status"] == "REJECTED"
    assert rejected["meta_data"]["blnk_rejection_reason"] == "insufficient funds in source balance"
    assert api.get("/transactions/reference/R_q") == rejected
    assert balances_of(api, "@A", "@B") == [0, 0]


@case(31)
def test_exactly_sufficient_funds_are_enough_and_one_more_is_too_much(api: Api) -> None:
    give(api, "@A", 100)
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
    assert balances_of(api, "@A") == [-1000]


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
    give(api, "@A", 1000)
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
    assert balances_of(api, "@A") == [1]


@case(39)
def test_a_doorbell_that_rings_twice_credits_once(api: Api) -> None:
    ok(api.post(reference="R", precise_amount=5), 201)
    for _ in range(3):
        api.drain()
    assert balances_of(api, "@A", "@World") == [5, -5]
    assert len(api.get("/transactions")) == 1


@case(40)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_an_unknown_balance_is_said_at_once(api: Api, skip_queue: bool) -> None:
    # Blnk: TXN_NOT_FOUND with skip_queue; in the queue 201, and then nothing.
    unknown = UNKNOWN.replace("txn_", "bln_")
    response = api.post(destination=unknown, skip_queue=skip_queue)
    detail = refused(response, 404, "BAL_NOT_FOUND", f"Balance with ID '{unknown}' not found")
    assert detail["details"] == {}
    assert is_empty(api)


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
    assert balances_of(api, "@New", "@World") == [24, -24]
    assert len(api.get("/balances")) == 2


@case(43)
def test_looking_for_a_name_makes_none(api: Api) -> None:
    response = api.client.get("/balances/indicator/@Nobody/currency/USD")
    refused(response, 404, "BAL_NOT_FOUND", "balance with indicator '@Nobody' not found")
    assert is_empty(api)
