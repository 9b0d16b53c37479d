"""What the endpoints answer. Numbers in brackets are Blnk's acceptance cases, with Pacioli's answer where it differs."""

import csv
import io
import itertools
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core.base.db import reading
from core.ledger import drain
from core.ledger.store import queues as queue_store
from web.accept.doorbell import Doorbell
from web.app import create_app
from web.service import Service

_references = itertools.count(1)
ZERO_TIME = "0001-01-01T00:00:00Z"


@dataclass
class Api:
    """The endpoints, and the worker's part on demand."""

    app: Flask
    client: FlaskClient

    def post(self, **fields: Any) -> TestResponse:
        """A transaction of one USD cent from @World to @A by overdraft, unless told otherwise. None leaves a field out."""
        return self.client.post("/transactions", json=_item(**fields))

    def done(self, **fields: Any) -> dict[str, Any]:
        """The same with ``skip_queue``, which must succeed."""
        applied: dict[str, Any] = _ok(self.post(skip_queue=True, **fields), 201)
        return applied

    def spend(self, **fields: Any) -> TestResponse:
        """From @A to @B without an overdraft, decided at once."""
        asked = {"source": "@A", "destination": "@B", "allow_overdraft": None, "skip_queue": True}
        return self.post(**{**asked, **fields})

    def settle(self, hold: str, status: str, **fields: Any) -> TestResponse:
        return self.client.put(f"/transactions/inflight/{hold}", json={"status": status, **fields})

    def bulk(self, *items: dict[str, Any], **fields: Any) -> TestResponse:
        transactions = [_item(**item) for item in items]
        return self.client.post("/transactions/bulk", json={"transactions": transactions, **fields})

    def get(self, path: str, **arguments: Any) -> Any:
        return _ok(self.client.get(path, query_string=arguments or None), 200)

    def transaction(self, transaction_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/transactions/{transaction_id}")
        return found

    def balance(self, name: str, currency: str = "USD", **arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/balances/indicator/{name}/currency/{currency}", **arguments)
        return found

    def sums(self, name: str) -> tuple[int, int, int, int]:
        """Balance, inflight balance, inflight credit and inflight debit."""
        found = self.balance(name)
        names = ("balance", "inflight_balance", "inflight_credit_balance", "inflight_debit_balance")
        return tuple(found[name] for name in names)

    def drain(self) -> None:
        """What workers do."""
        service: Service = self.app.extensions["pacioli"]
        with reading(service.engine) as conn:
            numbers = list(queue_store.cursors(conn))
        for number in numbers:
            drain.drain(service.engine, number)

    def new_balance(self, currency: str = "USD") -> str:
        asked = {"ledger_id": "general_ledger_id", "currency": currency}
        balance_id: str = _ok(self.client.post("/balances", json=asked), 201)["balance_id"]
        return balance_id


def _item(**fields: Any) -> dict[str, Any]:
    """One USD cent from @World to @A by overdraft, unless told otherwise."""
    return _given(
        {
            "precise_amount": None if "amount" in fields else 1,
            "precision": 100,
            "currency": "USD",
            "reference": f"ref {next(_references)}",
            "source": "@World",
            "destination": "@A",
            "description": "a test",
            "allow_overdraft": True,
            **fields,
        }
    )


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _ok(response: TestResponse, status: int) -> Any:
    assert response.status_code == status, response.text
    assert response.content_type == "application/json; charset=utf-8"
    return response.get_json()


def _refused(response: TestResponse, status: int, code: str, message: str | None = None) -> dict[str, Any]:
    """The detail of an error, which has the shape of all errors."""
    body = _ok(response, status)
    detail: dict[str, Any] = body["error_detail"]
    assert detail["code"] == code
    assert detail["message"] == body["error"]
    assert message is None or detail["message"] == message
    return detail


# Submitting


def test_the_funding_pool_example_works_as_printed(api: Api) -> None:  # [32]
    customer = api.new_balance()
    body = f"""{{
        "precise_amount": 12000023, "precision": 100, "reference": "ref_123abc", "source": "@FundingPool",
        "destination": "{customer}", "description": "Creating a starting balance", "apply_overdraft": true
    }}"""
    accepted = _ok(api.client.post("/transactions", data=body, content_type="application/json"), 201)
    assert accepted["status"] == "QUEUED"
    assert accepted["currency"] == "USD"
    assert accepted["allow_overdraft"] is True
    assert "apply_overdraft" not in accepted
    assert accepted["source"] == "@FundingPool"
    api.drain()
    assert api.transaction(accepted["transaction_id"])["status"] == "APPLIED"
    pool = api.balance("@FundingPool")
    assert (pool["balance"], pool["debit_balance"], pool["credit_balance"]) == (-12000023, 12000023, 0)
    assert pool["ledger_id"] == "general_ledger_id"
    balance = api.get(f"/balances/{customer}")
    assert (balance["balance"], balance["debit_balance"], balance["credit_balance"]) == (12000023, 0, 12000023)


def test_the_answer_to_a_submission_has_blnks_fields(api: Api) -> None:
    accepted = _ok(api.post(reference="r", precise_amount=75023), 201)
    assert {name: accepted[name] for name in accepted if not name.endswith("_at")} | {"hash": "", "timeline": []} == {
        "precise_amount": 75023,
        "amount": 750.23,  # [23]
        "amount_string": "750.23",
        "precision": 100,
        "overdraft_limit": None,
        "transaction_id": accepted["transaction_id"],
        "parent_transaction": "",
        "source": "@World",
        "destination": "@A",
        "reference": "r",
        "currency": "USD",
        "description": "a test",
        "status": "QUEUED",
        "hash": "",
        "allow_overdraft": True,
        "inflight": False,
        "skip_queue": False,
        "atomic": False,
        "effective_date": accepted["created_at"],
        "scheduled_for": ZERO_TIME,
        "inflight_expiry_date": ZERO_TIME,
        "inflight_commit_date": ZERO_TIME,
        "sequence": 1,
        "timeline": [],
    }
    assert len(accepted["hash"]) == 64
    assert accepted["timeline"] == [{"status": "QUEUED", "at": accepted["created_at"]}]
    assert accepted["transaction_id"].startswith("txn_")


@pytest.mark.parametrize(
    ("amount", "precision", "minor"),
    [
        ("922337203.6854", 10**10, 9223372036854000000),  # [1]
        ("100.68", 100, 10068),  # [2]
        ("1234567890123456", 100, 123456789012345600),  # [10] Blnk: at most 15 digits
        ("19.99", 100, 1999),  # [24]
        ("0.29", 100, 29),  # [25]
        ("1.13", 100, 113),
        ("4.35", 100, 435),
        ("123456789.99", 100, 12345678999),
        ("0.1", 10**8, 10**7),
        ("1e2", 100, 10000),
        ("2.50", 4, 10),
        ('"0.30"', 100, 30),
    ],
)
def test_an_amount_is_read_as_the_decimal_that_was_written(api: Api, amount: str, precision: int, minor: int) -> None:
    body = (
        f'{{"amount": {amount}, "precision": {precision}, "currency": "XXX", "reference": "r", "source": "@World", '
        '"destination": "@A", "description": "d", "allow_overdraft": true, "skip_queue": true}'
    )
    applied = _ok(api.client.post("/transactions", data=body, content_type="application/json"), 201)
    assert applied["precise_amount"] == minor
    assert applied["amount_string"] in amount or float(applied["amount_string"]) == float(amount.strip('"'))
    assert api.balance("@A", "XXX")["balance"] == minor
    assert api.balance("@World", "XXX")["balance"] == -minor


def test_minor_units_of_any_size_are_kept_exactly(api: Api) -> None:  # [27] [106]
    for precise in (189207535698279123, "189207535698279123", 922337203684775808, 10**60 + 1):
        accepted = api.done(precise_amount=precise, currency="BIG", precision=10**10)
        assert f'"precise_amount":{precise},' in api.client.get(f"/transactions/{accepted['transaction_id']}").text
    assert api.balance("@A", "BIG")["balance"] == 2 * 189207535698279123 + 922337203684775808 + 10**60 + 1
    page = api.get("/transactions", limit=2)
    assert page[1]["amount_string"] == "92233720.3684775808"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"precise_amount": None}, "amount: either amount or precise_amount is required."),  # [3]
        ({"reference": None}, "reference: cannot be blank."),  # [4]
        ({"currency": None}, "currency: cannot be blank."),  # [5] both sides are names
        ({"source": None}, "source: either source or sources is required, not both."),  # [6]
        ({"destination": None}, "destination: either destination or destinations is required, not both."),  # [7]
        ({"description": None}, "description: cannot be blank."),  # [8]
        (
            {"amount": 1, "precise_amount": 100},
            "amount: either amount or precise_amount should be provided, not both.",  # [9]
        ),
        ({"precision": 10.5}, "precision: precision must be an integer value."),  # [11]
        (
            {"amount": -25, "precision": -100},  # [13]
            "amount: amount cannot be negative; precision: precision cannot be negative.",
        ),
        ({"amount": -25}, "amount: amount cannot be negative."),  # [14]
        ({"precision": -100}, "precision: precision cannot be negative."),
        ({"precise_amount": -1}, "amount: precise_amount cannot be negative."),
        ({"destination": "@World"}, "destination: source and destination cannot be the same balance."),  # [15]
        (
            dict.fromkeys(("precise_amount", "currency", "reference", "source", "destination", "description")),
            "amount: either amount or precise_amount is required; description: cannot be blank; destination: either "
            "destination or destinations is required, not both; reference: cannot be blank; source: either source or "
            "sources is required, not both.",
        ),
    ],
)
def test_what_is_wrong_is_said_in_blnks_words(api: Api, fields: dict[str, Any], message: str) -> None:
    response = api.post(**fields)
    _refused(response, 400, "TXN_VALIDATION_ERROR", message)
    assert response.get_json()["errors"] == message
    assert api.get("/transactions") == []
    assert api.get("/balances") == []


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_balance_on_both_sides_is_refused(api: Api, side: str) -> None:  # [16]
    legs = [{"identifier": "@World", "distribution": "50%"}, {"identifier": "@A", "distribution": "left"}]
    _refused(api.post(**{side: None, f"{side}s": legs}), 400, "TXN_VALIDATION_ERROR")


def test_one_balance_by_id_and_by_name_is_refused(api: Api) -> None:
    world = api.done()["source"]
    response = api.post(source=world, destination="@World")
    _refused(response, 400, "TXN_VALIDATION_ERROR", "destination: source and destination cannot be the same balance.")


def test_a_body_that_ends_too_early_is_malformed(api: Api) -> None:  # [19]
    response = api.client.post("/transactions", data='{"amount":', content_type="application/json")
    _refused(response, 400, "GEN_MALFORMED_REQUEST", "Invalid input")


def test_an_unknown_field_is_refused_with_the_name_that_was_meant(api: Api) -> None:
    detail = _refused(
        api.post(allow_overdrft=True),
        400,
        "GEN_VALIDATION_ERROR",
        "allow_overdrft: unknown field; did you mean allow_overdraft?.",
    )
    assert detail["details"] == {"field": "allow_overdrft"}


def test_what_blnks_clients_send_for_nothing_is_taken(api: Api) -> None:
    accepted = api.done(
        rate=1.0,
        status="",
        balance_id="x",
        amount=0,
        precise_amount=5,
        scheduled_for=ZERO_TIME,
        atomic=False,
        dry_run=False,
    )
    assert accepted["precise_amount"] == 5


@pytest.mark.parametrize("skip_queue", [True, False])
def test_a_zero_amount_never_gets_into_the_log(api: Api, skip_queue: bool) -> None:  # [28]
    response = api.post(precise_amount=0, skip_queue=skip_queue)
    _refused(response, 400, "TXN_INVALID_AMOUNT", "amount: transaction precise amount must be positive.")
    assert api.get("/transactions") == []


def test_an_amount_between_two_minor_units_is_refused(api: Api) -> None:  # [26] Blnk rounds
    response = api.post(amount=1.005)
    _refused(response, 400, "TXN_INVALID_AMOUNT", "amount: is not a whole number of minor units at precision 100.")


@pytest.mark.parametrize("skip_queue", [True, False])
@pytest.mark.parametrize("side", ["source", "destination"])
def test_an_unknown_balance_is_404_at_once(api: Api, skip_queue: bool, side: str) -> None:  # [40]
    for unknown in ("bln_00000000-0000-0000-0000-000000000000", "nobody"):
        response = api.post(**{side: unknown}, skip_queue=skip_queue)
        detail = _refused(response, 404, "BAL_NOT_FOUND", f"Balance with ID '{unknown}' not found")
        assert detail["details"] == {}
    assert api.get("/balances") == []


def test_nine_kilobytes_of_metadata_are_kept(api: Api) -> None:  # [107]
    meta_data = {"text": "ä" * 9000, "number": 1.5, "list": [1, None, True, {"a": {}}]}
    accepted = _ok(api.post(meta_data=meta_data), 201)
    assert accepted["meta_data"] == meta_data
    assert api.transaction(accepted["transaction_id"])["meta_data"] == meta_data


def test_numbers_in_metadata_stay_as_they_were_written(api: Api) -> None:
    body = (
        '{"precise_amount": 1, "currency": "USD", "reference": "r", "source": "@World", "destination": "@A", '
        '"description": "d", "meta_data": {"a": 1.10, "b": 123456789012345678901234567890}}'
    )
    assert api.client.post("/transactions", data=body, content_type="application/json").status_code == 201
    text = api.client.get("/transactions/reference/r").text
    assert '"a": 1.10' in text
    assert '"b": 123456789012345678901234567890' in text


# Currency and precision


def test_a_missing_currency_is_that_of_the_one_balance_that_is_there(api: Api) -> None:
    euros = api.new_balance("EUR")
    assert api.done(currency=None, destination=euros)["currency"] == "EUR"
    assert api.done(currency=None, source=euros, destination="@Fees")["currency"] == "EUR"
    assert api.balance("@Fees", "EUR")["balance"] == 1
    other = api.new_balance("EUR")
    response = api.post(currency=None, source=euros, destination=other)
    _refused(response, 400, "TXN_VALIDATION_ERROR", "currency: cannot be blank.")
    unknown = "bln_00000000-0000-0000-0000-000000000000"
    _refused(api.post(currency=None, source=unknown), 404, "BAL_NOT_FOUND")


def test_the_currency_must_be_that_of_both_balances(api: Api) -> None:
    euros, dollars = api.new_balance("EUR"), api.new_balance("USD")
    for sides in ({"source": euros}, {"destination": euros}, {"source": euros, "destination": dollars}):
        detail = _refused(api.post(**sides), 400, "TXN_CURRENCY_MISMATCH")
        side = "source" if "source" in sides else "destination"
        assert detail["message"] == f"currency: is USD, but the {side} balance is in EUR."
    assert {balance["balance_id"] for balance in api.get("/balances")} == {euros, dollars}


def test_the_first_use_of_a_currency_fixes_its_precision(api: Api) -> None:
    before = api.done(precision=None, amount=3)
    assert before["precision"] == 1  # and that fixes nothing
    assert api.done(precision=100)["precision"] == 100
    assert api.done(precision=None, amount=0.5)["precise_amount"] == 50
    assert api.done(precision=0)["precision"] == 100  # [12] 0 is none
    detail = _refused(
        api.post(precision=1000), 400, "TXN_PRECISION_MISMATCH", "precision: is 1000, but USD has precision 100."
    )
    assert detail["details"] == {"precision": 100}
    assert api.done(precision=1000, currency="KWD")["precision"] == 1000
    assert api.done(precision=3, currency="Thirds", amount=2)["precise_amount"] == 6


def test_a_bulk_that_is_refused_fixes_no_precision(api: Api) -> None:
    response = api.bulk({"precision": 7}, {"precision": 7, "source": "nobody"})
    _refused(response, 404, "BAL_NOT_FOUND")
    assert api.done(precision=100)["precision"] == 100


def test_the_precision_check_can_be_turned_off(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_PRECISION_CHECK": "off"})
    api = Api(app, app.test_client())
    assert [api.done(amount=1, precision=precision)["precise_amount"] for precision in (100, 1000, 0)] == [100, 1000, 1]
    app.extensions["pacioli"].engine.dispose()


# Funds


def test_money_moves_and_is_found_by_its_reference(api: Api) -> None:  # [20] [21]
    api.done(amount=5)
    for asked in ({"amount": 1.25}, {"precise_amount": 125}):
        applied = _ok(api.spend(**asked, reference=f"by {asked}"), 201)
        assert applied["status"] == "APPLIED"
        assert api.get(f"/transactions/reference/by {asked}")["status"] == "APPLIED"
    assert [api.balance(name)["balance"] for name in ("@World", "@A", "@B")] == [-500, 250, 250]


def test_insufficient_funds_at_once_are_400_and_kept(api: Api) -> None:  # [29] Blnk keeps no row
    api.done(precise_amount=30)
    response = api.spend(reference="r", precise_amount=100, meta_data={"a": 1})
    text = "failed to apply transaction to balances: insufficient funds in source balance"
    detail = _refused(response, 400, "TXN_INSUFFICIENT_FUNDS", text)
    kept = api.get("/transactions/reference/r")
    assert kept["transaction_id"] == detail["details"]["transaction_id"]
    assert kept["status"] == "REJECTED"
    assert kept["meta_data"] == {"a": 1, "blnk_rejection_reason": "insufficient funds in source balance"}
    assert kept["rejection"] == detail["details"]["rejection"]
    assert kept["rejection"] == {
        "reason": "insufficient_funds",
        "message": "insufficient funds in source balance: available USD0.30, asked USD1.00, short by USD0.70",
        "available": 30,
        "requested": 100,
        "held": 0,
        "overdraft_limit": None,
        "short_by": 70,
    }
    assert [step["status"] for step in kept["timeline"]] == ["QUEUED", "REJECTED"]
    assert api.balance("@A")["balance"] == 30


def test_insufficient_funds_in_the_queue_move_the_same_id_to_rejected(api: Api) -> None:  # [30]
    accepted = _ok(api.spend(skip_queue=None, reference="R"), 201)
    assert accepted["status"] == "QUEUED"
    api.drain()
    for path in (accepted["transaction_id"], "reference/R", "reference/R_q"):
        read = api.get(f"/transactions/{path}")
        assert read["transaction_id"] == accepted["transaction_id"]
        assert read["status"] == "REJECTED"
        assert read["meta_data"]["blnk_rejection_reason"] == "insufficient funds in source balance"
    assert api.balance("@B")["balance"] == 0


def test_exactly_enough_is_enough(api: Api) -> None:  # [31]
    api.done(precise_amount=100)
    _refused(api.spend(precise_amount=101), 400, "TXN_INSUFFICIENT_FUNDS")
    assert _ok(api.spend(precise_amount=100), 201)["status"] == "APPLIED"
    assert api.balance("@A")["balance"] == 0


def test_an_overdraft_goes_to_its_limit(api: Api) -> None:  # [33]
    limited = {"allow_overdraft": True, "overdraft_limit": 10}
    detail = _refused(
        api.spend(precise_amount=1001, **limited),
        400,
        "TXN_VALIDATION_ERROR",
        "failed to apply transaction to balances: transaction exceeds overdraft limit",
    )
    assert detail["details"]["rejection"] == {
        "reason": "overdraft_limit",
        "message": "transaction exceeds overdraft limit: available USD0.00, overdraft limit USD10.00, asked USD10.01, "
        "short by USD0.01",
        "available": 0,
        "requested": 1001,
        "held": 0,
        "overdraft_limit": 1000,
        "short_by": 1,
    }
    applied = _ok(api.spend(precise_amount=1000, **limited), 201)
    assert applied["overdraft_limit"] == 10
    assert api.balance("@A")["balance"] == -1000


def test_a_limit_counts_without_the_flag_and_zero_is_a_limit(api: Api) -> None:
    assert _ok(api.spend(precise_amount=29, overdraft_limit=0.29), 201)["status"] == "APPLIED"  # [34]
    detail = _refused(api.spend(allow_overdraft=True, overdraft_limit=0), 400, "TXN_VALIDATION_ERROR")
    assert detail["details"]["rejection"]["overdraft_limit"] == 0
    assert _ok(api.spend(precise_amount=10**30, allow_overdraft=True), 201)["status"] == "APPLIED"  # [36]


def test_what_is_held_cannot_be_spent_again(api: Api) -> None:  # [35] [37]
    api.done(precise_amount=1000)
    _ok(api.spend(precise_amount=600, inflight=True), 201)
    detail = _refused(api.spend(precise_amount=500), 400, "TXN_INSUFFICIENT_FUNDS")
    assert detail["details"]["rejection"]["message"] == (
        "insufficient funds in source balance: available USD4.00, held USD6.00, asked USD5.00, short by USD1.00"
    )
    assert _ok(api.spend(precise_amount=400), 201)["status"] == "APPLIED"
    limited = {"currency": "CHF", "precision": 1, "allow_overdraft": True, "overdraft_limit": 500}
    api.done(currency="CHF", precision=1, precise_amount=500)
    _ok(api.spend(currency="CHF", precision=1, precise_amount=300, inflight=True), 201)
    _refused(api.spend(precise_amount=800, **limited), 400, "TXN_VALIDATION_ERROR")
    _ok(api.spend(precise_amount=600, **limited), 201)
    assert api.balance("@A", "CHF")["available_balance"] == -400


# References


def test_a_repeated_reference_is_answered_with_the_first_transaction(api: Api) -> None:
    first = _ok(api.post(reference="R", meta_data={"a": 1}), 201)
    response = api.post(reference="R", meta_data={"a": 1})
    again = _ok(response, 200)
    assert response.headers["Idempotent-Replayed"] == "true"
    assert again["transaction_id"] == first["transaction_id"]
    assert again["status"] == "QUEUED"
    api.drain()
    assert _ok(api.post(reference="R", meta_data={"a": 1}), 200)["status"] == "APPLIED"
    assert _ok(api.post(reference="R", meta_data={"a": 1}, skip_queue=True), 200)["status"] == "APPLIED"
    assert api.balance("@A")["balance"] == 1
    assert "Idempotent-Replayed" not in api.post().headers


@pytest.mark.parametrize("skip_queue", [True, False])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"precise_amount": 2}, "amount"),
        ({"destination": "@C"}, "destination"),
        ({"description": "other"}, "description"),
        ({"inflight": True}, "inflight"),
        ({"meta_data": {"a": 1}}, "meta_data"),
        ({"effective_date": "2020-01-01T00:00:00Z"}, "effective_date"),
        ({"overdraft_limit": 1}, "overdraft_limit"),
    ],
)
def test_a_reference_with_other_content_is_409_and_names_it(  # [38]
    api: Api, skip_queue: bool, change: dict[str, Any], named: str
) -> None:
    first = api.done(reference="R")
    detail = _refused(
        api.post(reference="R", skip_queue=skip_queue, **change),
        409,
        "TXN_DUPLICATE_REFERENCE",
        f"transaction validation failed: reference R has already been used by a transaction whose {named} differs",
    )
    assert detail["details"] == {"reference": "R", "field": named, "transaction_id": first["transaction_id"]}
    assert len(api.get("/transactions")) == 1


def test_a_reference_that_ends_like_blnks_queue_copies_is_its_own(api: Api) -> None:  # [102]
    first, second = _ok(api.post(reference="X"), 201), _ok(api.post(reference="X_q", precise_amount=2), 201)
    api.drain()
    assert api.get("/transactions/reference/X")["transaction_id"] == first["transaction_id"]
    assert api.get("/transactions/reference/X_q")["transaction_id"] == second["transaction_id"]
    assert api.balance("@A")["balance"] == 3


@pytest.mark.parametrize("reference", ["a/b", "/a", "a//b", "a/", "a?b=c#d", "ä 💸", "%41", "a+b", "queue/_q"])
def test_any_reference_is_found(api: Api, reference: str) -> None:
    accepted = _ok(api.post(reference=reference), 201)
    found = api.get("/transactions/reference/" + "".join(f"%{byte:02x}" for byte in reference.encode()))
    assert found["transaction_id"] == accepted["transaction_id"]


def test_what_is_not_there_is_404(api: Api) -> None:  # [43] [87]
    unknown = "txn_00000000-0000-0000-0000-000000000000"
    for path, code, message in (
        (f"/transactions/{unknown}", "TXN_NOT_FOUND", f"Transaction with ID '{unknown}' not found"),
        ("/transactions/reference/R", "TXN_NOT_FOUND", "Transaction with reference 'R' not found"),
        ("/balances/bln_1", "BAL_NOT_FOUND", "Balance with ID 'bln_1' not found"),
        ("/balances/bln_1/entries", "BAL_NOT_FOUND", "Balance with ID 'bln_1' not found"),
        ("/balances/indicator/@Nobody/currency/USD", "BAL_NOT_FOUND", "balance with indicator '@Nobody' not found"),
        ("/ledgers/ldg_1", "LGR_NOT_FOUND", "Ledger not found"),
    ):
        assert _refused(api.client.get(path), 404, code, message)["details"] == {}
    assert api.get("/balances") == []


# Internal balances


def test_a_name_is_one_balance_for_each_currency(api: Api) -> None:  # [41]
    for _ in range(2):
        api.done(destination="@Revenue")
    api.done(destination="@Revenue", currency="EUR")
    dollars, euros = api.balance("@Revenue"), api.balance("@Revenue", "EUR")
    assert (dollars["balance"], euros["balance"]) == (2, 1)
    assert dollars["balance_id"] != euros["balance_id"]
    assert dollars["ledger_id"] == euros["ledger_id"] == "general_ledger_id"
    assert dollars["indicator"] == "@Revenue"
    _refused(api.client.get("/balances/indicator/@revenue/currency/USD"), 404, "BAL_NOT_FOUND")


def test_24_first_uses_at_once_make_one_balance(api: Api, app: Flask) -> None:  # [42]
    ready = threading.Barrier(24)

    def post(number: int) -> int:
        mine = Api(app, app.test_client())
        ready.wait()
        return mine.post(destination="@New", reference=f"first {number}").status_code

    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(post, range(24))) == [201] * 24
    api.drain()
    assert api.balance("@New")["balance"] == 24
    assert sorted(balance["indicator"] for balance in api.get("/balances")) == ["@New", "@World"]


def test_a_name_with_a_space_is_refused_and_says_so(api: Api) -> None:
    detail = _refused(api.post(destination="@My Pool"), 400, "TXN_VALIDATION_ERROR")
    assert "without spaces" in detail["message"]
    _refused(api.post(destination="@" + "x" * 255), 400, "TXN_VALIDATION_ERROR")
    assert api.done(destination="@" + "x" * 254)["status"] == "APPLIED"


def test_an_internal_balance_can_be_made_beforehand_once(api: Api) -> None:
    asked = {"ledger_id": "general_ledger_id", "currency": "USD", "indicator": "@Fees", "meta_data": {"a": 1}}
    made = _ok(api.client.post("/balances", json=asked), 201)
    assert made["indicator"] == "@Fees"
    _refused(api.client.post("/balances", json=asked), 409, "GEN_CONFLICT")
    assert api.done(destination="@Fees")["destination"] == made["balance_id"]
    other = _ok(api.client.post("/ledgers", json={"name": "other"}), 201)["ledger_id"]
    response = api.client.post("/balances", json={**asked, "ledger_id": other})
    assert "general_ledger_id" in _refused(response, 400, "GEN_VALIDATION_ERROR")["message"]


# Holds


def test_a_hold_in_the_queue_becomes_inflight_under_its_id(api: Api) -> None:  # [44] [45]
    accepted = _ok(api.post(amount=100.50, inflight=True), 201)
    assert (accepted["status"], accepted["inflight"]) == ("QUEUED", True)
    api.drain()
    held = api.transaction(accepted["transaction_id"])
    assert (held["status"], held["inflight"], held["precise_amount"]) == ("INFLIGHT", True, 10050)
    assert held["inflight_amounts"] == {"committed": 0, "voided": 0, "remaining": 10050}
    assert api.sums("@World") == (0, -10050, 0, 10050)
    assert api.sums("@A") == (0, 10050, 10050, 0)  # [56]
    response = api.settle(accepted["transaction_id"], "commit", precise_amount=10050, skip_queue=True)
    child = _ok(response, 200)
    assert (child["status"], child["parent_transaction"]) == ("APPLIED", accepted["transaction_id"])
    assert api.sums("@World") == (-10050, 0, 0, 0)
    assert api.sums("@A") == (10050, 0, 0, 0)
    settled = api.transaction(accepted["transaction_id"])
    assert settled["status"] == "APPLIED"
    assert [step["status"] for step in settled["timeline"]] == ["QUEUED", "INFLIGHT", "APPLIED"]


def test_a_hold_is_committed_in_part_and_the_rest_voided(api: Api) -> None:  # [46] [48]
    api.done(precise_amount=200)
    hold = _ok(api.spend(precise_amount=100, inflight=True), 201)["transaction_id"]
    assert api.sums("@A") == (200, -100, 0, 100)
    _ok(api.settle(hold, "commit", precise_amount=40, skip_queue=True), 200)
    assert api.sums("@A") == (160, -60, 0, 60)
    assert api.transaction(hold)["inflight_amounts"] == {"committed": 40, "voided": 0, "remaining": 60}
    void = _ok(api.settle(hold, "void", skip_queue=True), 200)
    assert (void["status"], void["precise_amount"], void["parent_transaction"]) == ("VOID", 60, hold)
    assert api.sums("@A") == (160, 0, 0, 0)
    assert api.sums("@B") == (40, 0, 0, 0)
    settled = api.transaction(hold)
    assert settled["status"] == "APPLIED"  # some of it moved
    assert settled["inflight_amounts"] == {"committed": 40, "voided": 60, "remaining": 0}


def test_a_hold_that_is_voided_whole_reads_void(api: Api) -> None:
    hold = api.done(precise_amount=100, inflight=True)["transaction_id"]
    assert _ok(api.settle(hold, "void", skip_queue=True), 200)["precise_amount"] == 100
    assert api.transaction(hold)["status"] == "VOID"
    assert api.sums("@A") == (0, 0, 0, 0)


def test_an_empty_commit_takes_the_rest(api: Api) -> None:  # [47]
    hold = api.done(amount=300.50, inflight=True)["transaction_id"]
    first = _ok(api.settle(hold, "commit", amount=100.25, skip_queue=True), 200)
    rest = _ok(api.settle(hold, "commit", skip_queue=True), 200)
    assert (first["precise_amount"], rest["precise_amount"]) == (10025, 20025)
    assert api.sums("@A") == (30050, 0, 0, 0)


@pytest.mark.parametrize("status", ["commit", "void"])
@pytest.mark.parametrize("amount", [0, -100])
def test_a_precise_amount_to_settle_must_be_positive(api: Api, status: str, amount: int) -> None:  # [49]
    hold = api.done(inflight=True)["transaction_id"]
    response = api.settle(hold, status, precise_amount=amount, skip_queue=True)
    _refused(response, 400, "TXN_INVALID_AMOUNT", "precise_amount must be positive")
    assert api.transaction(hold)["status"] == "INFLIGHT"


def test_a_hold_is_committed_or_voided_and_nothing_else(api: Api) -> None:  # [50]
    hold = api.done(inflight=True)["transaction_id"]
    response = api.settle(hold, "settle")
    _refused(response, 400, "TXN_INVALID_STATUS_ACTION", "status not supported. use either commit or void")
    _refused(api.settle(hold, "commit", amount=-1), 400, "GEN_BAD_REQUEST", "commit amount cannot be negative")
    unknown = "txn_00000000-0000-0000-0000-000000000000"
    text = f"Transaction with ID '{unknown}' not found"
    _refused(api.settle(unknown, "commit"), 404, "TXN_NOT_FOUND", text)
    text = "transaction is not in inflight status"
    _refused(api.settle(api.done()["transaction_id"], "commit"), 400, "TXN_NOT_INFLIGHT", text)


def test_no_more_is_committed_than_is_held(api: Api) -> None:  # [51]
    hold = api.done(precise_amount=10000, inflight=True)["transaction_id"]
    text = "cannot commit more than the original transaction amount. Original: USD100.00, Requested: USD700.00"
    _refused(api.settle(hold, "commit", amount=700), 400, "TXN_COMMIT_AMOUNT_EXCEEDED", text)
    for _ in range(3):
        _ok(api.settle(hold, "commit", amount=30, skip_queue=True), 200)
    text = "cannot commit more than the remaining amount. Available: USD10.00, Requested: USD30.00"
    for skip_queue in (True, False):
        response = api.settle(hold, "commit", amount=30, skip_queue=skip_queue)
        _refused(response, 400, "TXN_COMMIT_AMOUNT_EXCEEDED", text)
    assert api.sums("@A") == (9000, 1000, 1000, 0)


def test_one_settlement_waits_at_a_time(api: Api) -> None:  # [52]
    hold = api.done(inflight=True)["transaction_id"]
    queued = _ok(api.settle(hold, "commit"), 200)
    assert (queued["transaction_id"], queued["status"], queued["queued"]) == (hold, "INFLIGHT", True)
    for status in ("commit", "void"):
        text = "a commit or void is already queued for this transaction"
        _refused(api.settle(hold, status), 409, "GEN_CONFLICT", text)
    api.drain()
    assert api.transaction(hold)["status"] == "APPLIED"
    child = api.transaction(queued["child_transaction"])
    assert (child["status"], child["parent_transaction"]) == ("APPLIED", hold)


def test_a_settlement_with_a_reference_happens_once(api: Api) -> None:
    hold = api.done(precise_amount=100, inflight=True)["transaction_id"]
    for status in (200, 200):
        response = api.settle(hold, "commit", precise_amount=30, reference="part one", skip_queue=True)
        assert _ok(response, status)["reference"] == "part one"
    assert response.headers["Idempotent-Replayed"] == "true"
    assert api.sums("@A") == (30, 70, 70, 0)


def test_what_is_settled_stays_settled(api: Api) -> None:  # [55]
    committed, voided = (api.done(inflight=True)["transaction_id"] for _ in range(2))
    _ok(api.settle(committed, "commit", skip_queue=True), 200)
    _ok(api.settle(voided, "void", skip_queue=True), 200)
    for status, skip_queue in itertools.product(("commit", "void"), (True, False)):
        response = api.settle(committed, status, skip_queue=skip_queue)
        _refused(response, 409, "TXN_ALREADY_COMMITTED", "cannot commit. Transaction already committed")
        response = api.settle(voided, status, skip_queue=skip_queue)
        _refused(response, 409, "TXN_ALREADY_VOIDED", "transaction has already been voided")
    assert api.sums("@A") == (1, 0, 0, 0)


def test_a_rejected_hold_holds_nothing(api: Api) -> None:  # [57]
    rejected = _ok(api.spend(inflight=True, skip_queue=None), 201)["transaction_id"]
    api.drain()
    assert api.transaction(rejected)["status"] == "REJECTED"
    _refused(api.settle(rejected, "commit"), 400, "TXN_NOT_INFLIGHT")
    assert api.sums("@A") == api.sums("@B") == (0, 0, 0, 0)


def test_a_commit_may_stand_in_line_behind_its_hold(api: Api) -> None:
    hold = _ok(api.post(precise_amount=10, inflight=True), 201)["transaction_id"]
    queued = _ok(api.settle(hold, "commit", precise_amount=4), 200)
    assert (queued["status"], queued["queued"]) == ("QUEUED", True)
    api.drain()
    assert api.transaction(hold)["inflight_amounts"] == {"committed": 4, "voided": 0, "remaining": 6}
    assert api.sums("@A") == (4, 6, 6, 0)


# Bulks


def test_a_bulk_is_empty_or_too_long_or_names_the_bad_item(api: Api) -> None:  # [63] [64]
    bodies: list[dict[str, Any]] = [{}, {"transactions": []}, {"transactions": None}]
    for body in bodies:
        response = api.client.post("/transactions/bulk", json=body)
        _refused(response, 400, "TXN_BULK_EMPTY", "transactions cannot be empty")
    response = api.bulk(*[{}] * 10_001)
    _refused(response, 400, "TXN_BULK_LIMIT_EXCEEDED", "too many transactions; max is 10000")
    detail = _refused(
        api.bulk({"precision": 10.5}, {}),
        400,
        "TXN_VALIDATION_ERROR",
        "transactions[0]: precision: precision must be an integer value.",
    )
    assert detail["details"] == {"index": 0}
    response = api.client.post("/transactions/bulk", json={"transactions": [None]})
    _refused(response, 400, "TXN_VALIDATION_ERROR", "transactions[0]: is required.")
    _refused(api.client.post("/transactions/bulk", json={"transactions": 1}), 400, "GEN_MALFORMED_REQUEST")
    detail = _refused(api.bulk({"reference": "R"}, {}, {"reference": "R"}), 409, "TXN_DUPLICATE_REFERENCE")
    assert detail["details"] == {"index": 2}
    assert api.get("/transactions") == []


@pytest.mark.parametrize(("inflight", "status"), [(False, "applied"), (True, "inflight")])
def test_a_bulk_with_skip_queue_is_decided_when_it_is_answered(api: Api, inflight: bool, status: str) -> None:  # [65]
    answer = _ok(api.bulk({}, {"precise_amount": 2}, skip_queue=True, inflight=inflight), 201)
    assert answer == {"batch_id": answer["batch_id"], "status": status, "transaction_count": 2}
    assert answer["batch_id"].startswith("bulk_")
    assert api.sums("@A") == ((0, 3, 3, 0) if inflight else (3, 0, 0, 0))
    assert {row["parent_transaction"] for row in api.get("/transactions")} == {answer["batch_id"]}


def test_a_bulk_in_the_queue_says_so(api: Api) -> None:
    assert _ok(api.bulk({}, {}), 201)["status"] == "queued"
    answer = _ok(api.bulk({}, {}, run_async=True), 202)
    assert (answer["status"], answer["message"]) == ("processing", "Bulk transaction processing started")
    assert {row["status"] for row in api.get("/transactions")} == {"QUEUED"}
    api.drain()
    assert api.balance("@A")["balance"] == 4


def test_a_bulk_that_is_not_atomic_keeps_what_went_well(api: Api) -> None:  # [66]
    api.done(source="@Poor", destination="@B")
    poor = {"source": "@Poor", "allow_overdraft": False, "reference": "short"}
    response = api.bulk({}, poor, {"precise_amount": 5}, skip_queue=True)
    detail = _refused(response, 400, "TXN_INSUFFICIENT_FUNDS")
    assert detail["message"].startswith("failed to queue transaction 2 (Reference: short, Source: bln_")
    assert detail["message"].endswith("Previous transactions were not rolled back.")
    assert response.get_json()["batch_id"] == detail["details"]["batch_id"]
    assert detail["details"]["rejected"] == 1
    assert api.balance("@A")["balance"] == 6


@pytest.mark.parametrize("inflight", [False, True])
def test_an_atomic_bulk_is_one_decision(api: Api, inflight: bool) -> None:  # [67] [68]
    poor = {"source": "@Poor", "allow_overdraft": False, "reference": "short"}
    response = api.bulk({}, poor, {"precise_amount": 5}, skip_queue=True, atomic=True, inflight=inflight)
    detail = _refused(response, 400, "TXN_INSUFFICIENT_FUNDS")
    assert "transaction 2 (Reference: short" in detail["message"]
    assert detail["message"].endswith("No transaction of this batch was applied.")
    assert detail["details"]["rejected"] == 3
    rows = api.get("/transactions", sort_order="asc")
    assert [row["rejection"]["reason"] for row in rows] == ["atomic_group", "insufficient_funds", "atomic_group"]
    assert all(row["atomic"] for row in rows)
    assert api.sums("@A") == api.sums("@World") == (0, 0, 0, 0)


def test_members_of_an_atomic_bulk_may_spend_what_earlier_ones_brought(api: Api) -> None:
    spend = {"source": "@A", "destination": "@B", "allow_overdraft": False}
    assert _ok(api.bulk({}, spend, atomic=True, skip_queue=True), 201)["status"] == "applied"
    response = api.bulk(spend, {}, atomic=True, skip_queue=True)
    _refused(response, 400, "TXN_INSUFFICIENT_FUNDS")
    assert api.balance("@B")["balance"] == 1


def test_a_repeated_bulk_is_answered_with_the_first(api: Api) -> None:
    items = [{"reference": "one"}, {"reference": "two"}]
    first = _ok(api.bulk(*items), 201)
    response = api.bulk(*items)
    assert _ok(response, 200)["batch_id"] == first["batch_id"]
    assert response.headers["Idempotent-Replayed"] == "true"
    response = api.bulk({"reference": "two", "precise_amount": 7}, {})
    detail = _refused(response, 409, "TXN_DUPLICATE_REFERENCE")
    assert detail["details"]["field"] == "amount"
    assert len(api.get("/transactions")) == 2


# Reading transactions


def test_a_queued_transaction_says_where_it_stands(api: Api) -> None:
    ids = [_ok(api.post(), 201)["transaction_id"] for _ in range(3)]
    read = api.transaction(ids[2])
    assert read["queue"] | {"oldest_age_s": 0, "number": 0} == {
        "number": 0,
        "position": 3,
        "ahead": 2,
        "oldest_age_s": 0,
        "waiting_for": f"the 2 ahead of it in queue {read['queue']['number']}",
    }
    assert read["queue"]["oldest_age_s"] > 0
    assert api.transaction(ids[0])["queue"]["waiting_for"] == "a worker"
    assert [step["status"] for step in read["timeline"]] == ["QUEUED"]
    api.drain()
    decided = api.transaction(ids[2])
    assert "queue" not in decided
    assert [step["status"] for step in decided["timeline"]] == ["QUEUED", "APPLIED"]
    assert decided["timeline"][0]["at"] < decided["timeline"][1]["at"]


def test_a_wait_ends_with_the_status_there_is(api: Api) -> None:
    accepted = _ok(api.client.post("/transactions?wait=50ms", json=json.loads(_body())), 201)
    assert accepted["status"] == "QUEUED"
    assert "queue" in accepted
    assert api.get(f"/transactions/{accepted['transaction_id']}", wait="0.05")["status"] == "QUEUED"
    waiting = threading.Thread(target=api.drain)
    waiting.start()
    assert api.get(f"/transactions/{accepted['transaction_id']}", wait="30s")["status"] == "APPLIED"
    waiting.join()
    detail = _refused(
        api.client.get(f"/transactions/{accepted['transaction_id']}?wait=soon"), 400, "GEN_VALIDATION_ERROR"
    )
    assert detail["message"] == "wait: must be a duration such as 500ms, 10s or 1m."


def _body() -> str:
    return json.dumps(
        {
            "precise_amount": 1,
            "currency": "USD",
            "reference": "waited for",
            "source": "@World",
            "destination": "@A",
            "description": "d",
            "allow_overdraft": True,
        }
    )


def test_pages_of_transactions_lead_to_each_other(api: Api) -> None:
    _ok(api.bulk(*[{"reference": f"r{number}"} for number in range(7)]), 201)
    walked = []
    address = "/transactions?sort_by=sequence&sort_order=asc&after=0&limit=3"
    while address:
        response = api.client.get(address)
        walked += [row["sequence"] for row in _ok(response, 200)]
        assert len(walked) <= 7
        link = response.headers.get("Link", "")
        assert not link or link.endswith('>; rel="next"')
        address = link[1:].partition(">")[0]
    assert walked == [1, 2, 3, 4, 5, 6, 7]
    assert [row["sequence"] for row in api.get("/transactions")] == [7, 6, 5, 4, 3, 2, 1]
    assert [row["sequence"] for row in api.get("/transactions", limit=2, offset=2)] == [5, 4]
    assert [row["sequence"] for row in api.get("/transactions", limit=2, after=5)] == [4, 3]
    assert api.get("/transactions", after=1) == []
    assert len(api.get("/transactions", limit="abc", offset="-5")) == 7  # [88]
    _refused(api.client.get("/transactions?after=x"), 400, "GEN_VALIDATION_ERROR")


@pytest.mark.parametrize("things", ["balances", "ledgers"])
def test_pages_of_balances_and_ledgers_lead_to_each_other(api: Api, things: str) -> None:
    key = things[:-1] + "_id"
    for number in range(4):
        if things == "balances":
            api.new_balance()
        else:
            _ok(api.client.post("/ledgers", json={"name": f"{number}"}), 201)
    expected = [thing[key] for thing in api.get(f"/{things}", limit=1000)]
    walked = []
    address = f"/{things}?limit=2&offset=0"
    while address:
        response = api.client.get(address)
        walked += [thing[key] for thing in _ok(response, 200)]
        assert len(walked) <= len(expected)
        address = response.headers.get("Link", "<>")[1:].partition(">")[0]
    assert walked == expected
    assert api.get(f"/{things}", limit=1, offset=1)[0][key] == expected[1]
    assert api.get(f"/{things}", offset=100) == []
    for wrong in ("limit=0", "limit=x", "offset=-1"):
        what = wrong.partition("=")[0]
        detail = _refused(api.client.get(f"/{things}?{wrong}"), 400, "GEN_VALIDATION_ERROR")
        assert detail["message"].lower() == f"invalid {what} value"


# Balances, statements, ledgers


def test_a_balance_that_is_new_has_blnks_fields(api: Api) -> None:
    ledger = _ok(api.client.post("/ledgers", json={"name": "L", "meta_data": {"a": 1}}), 201)
    assert ledger == {
        "ledger_id": ledger["ledger_id"],
        "name": "L",
        "created_at": ledger["created_at"],
        "meta_data": {"a": 1},
    }
    made = _ok(api.client.post("/balances", json={"ledger_id": ledger["ledger_id"], "currency": "USD"}), 201)
    assert made == api.get(f"/balances/{made['balance_id']}")
    assert {name: value for name, value in made.items() if name not in ("balance_id", "created_at")} == {
        "balance": 0,
        "version": 1,
        "inflight_balance": 0,
        "credit_balance": 0,
        "inflight_credit_balance": 0,
        "debit_balance": 0,
        "inflight_debit_balance": 0,
        "available_balance": 0,
        "ledger_id": ledger["ledger_id"],
        "identity_id": "",
        "indicator": "",
        "currency": "USD",
        "inflight_expires_at": ZERO_TIME,
        "meta_data": None,
        "track_fund_lineage": False,
        "allocation_strategy": "FIFO",
    }
    response = api.client.post("/balances", json={"ledger_id": "ldg_1", "currency": "USD"})
    _refused(response, 400, "GEN_BAD_REQUEST", "Invalid ledger ID")


def test_a_ledger_is_renamed_and_nothing_else(api: Api) -> None:
    ledger = _ok(api.client.post("/ledgers", json={"name": "L", "meta_data": {"a": 1}}), 201)
    path = f"/ledgers/{ledger['ledger_id']}"
    assert _ok(api.client.put(path, json={"name": "M", "meta_data": {"b": 2}}), 200) == {**ledger, "name": "M"}
    assert api.get(path)["name"] == "M"
    _refused(api.client.put("/ledgers/ldg_1", json={"name": "M"}), 404, "LGR_NOT_FOUND", "Ledger not found")
    _refused(api.client.post("/ledgers", json={}), 400, "GEN_VALIDATION_ERROR", "name: cannot be blank.")
    assert [found["ledger_id"] for found in api.get("/ledgers")] == [ledger["ledger_id"], "general_ledger_id"]


def test_what_is_queued_counts_where_it_is_asked_for(api: Api) -> None:
    api.done(precise_amount=100)
    _ok(api.spend(precise_amount=30, skip_queue=None), 201)
    _ok(api.post(precise_amount=7), 201)
    balance = api.balance("@A", with_queued="true")
    assert (balance["balance"], balance["available_balance"]) == (100, 70)
    assert (balance["queued_debit_balance"], balance["queued_credit_balance"]) == (30, 7)
    assert api.get(f"/balances/{balance['balance_id']}", with_queued="true") == balance
    assert "queued_debit_balance" not in api.balance("@A")
    api.drain()
    balance = api.balance("@A", with_queued="true")
    assert (balance["available_balance"], balance["queued_debit_balance"], balance["queued_credit_balance"]) == (
        77,
        0,
        0,
    )


def test_a_statement_adds_up_entry_by_entry(api: Api) -> None:
    api.done(precise_amount=100, reference="in", description="first")
    _ok(api.spend(precise_amount=30, reference="out"), 201)
    hold = _ok(api.spend(precise_amount=50, reference="hold", inflight=True), 201)["transaction_id"]
    commit = _ok(api.settle(hold, "commit", precise_amount=20, reference="commit", skip_queue=True), 200)
    _ok(api.settle(hold, "void", skip_queue=True), 200)
    balance = api.balance("@A")
    path = f"/balances/{balance['balance_id']}/entries"
    entries = api.get(path)
    assert [
        (entry["reference"], entry["direction"], entry["precise_amount"], entry["precise_balance_after"])
        for entry in entries
    ] == [("in", "credit", 100, 100), ("out", "debit", 30, 70), ("commit", "debit", 20, 50)]
    assert [entry["counterparty"] for entry in entries] == ["@World", "@B", "@B"]
    assert [entry["amount"] for entry in entries] == [1, 0.3, 0.2]
    assert entries[0] == {
        "version": 2,
        "at": entries[0]["at"],
        "effective_date": entries[0]["effective_date"],
        "direction": "credit",
        "amount": 1,
        "precise_amount": 100,
        "precise_balance_after": 100,
        "currency": "USD",
        "counterparty": "@World",
        "transaction_id": entries[0]["transaction_id"],
        "parent_transaction": "",
        "reference": "in",
        "description": "first",
        "sequence": 1,
    }
    assert (entries[2]["transaction_id"], entries[2]["parent_transaction"]) == (commit["transaction_id"], hold)
    assert entries[-1]["precise_balance_after"] == balance["balance"]

    response = api.client.get(path, query_string={"limit": 2})
    link = response.headers["Link"]
    assert response.get_json() + api.get(link[1:].partition(">")[0]) == entries
    assert api.get(path, **{"from": entries[1]["at"], "to": entries[2]["at"]}) == entries[1:2]
    assert api.get(path, to=entries[0]["at"]) == []


def test_a_statement_as_csv_has_the_same_columns_and_starts_no_formula(api: Api) -> None:
    api.done(precise_amount=12345, reference="=1+1", description='@SUM(A1), "x"\n')
    path = f"/balances/{api.balance('@World')['balance_id']}/entries"
    (entry,) = api.get(path)
    response = api.client.get(path, headers={"Accept": "text/csv"})
    assert response.content_type == "text/csv; charset=utf-8"
    (row,) = csv.DictReader(io.StringIO(response.text, newline=""))
    assert list(row) == list(entry)
    assert row["precise_balance_after"] == "-12345"
    assert row["amount"] == "123.45"
    assert (row["reference"], row["counterparty"]) == ("'=1+1", "@A")  # A plain name is no formula.
    assert row["description"] == '\'@SUM(A1), "x"\n'


# The door itself


def test_every_answer_has_a_request_id_and_the_careful_headers(api: Api) -> None:
    for path in ("/", "/health", "/transactions", "/transactions/nothing", "/nothing"):
        response = api.client.get(path, headers={"X-Request-Id": "mine-1"})
        assert response.headers["X-Request-Id"] == "mine-1"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
        assert response.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert response.headers["Cache-Control"] == "no-store"
    for odd in ("", "a b", "x" * 129, "ä"):
        response = api.client.get("/", headers={"X-Request-Id": odd})
        assert len(response.headers["X-Request-Id"]) == 36
    ids = {api.client.get("/").headers["X-Request-Id"] for _ in range(3)}
    assert len(ids) == 3


def test_an_unexpected_error_says_its_request_id_and_nothing_else(app: Flask) -> None:
    app.view_functions["queues.read_all"] = lambda: str(1 / 0)
    response = app.test_client().get("/queues")
    detail = _refused(response, 500, "GEN_INTERNAL", "internal server error")
    assert detail["details"] == {"request_id": response.headers["X-Request-Id"]}
    assert "division" not in response.text


def test_a_database_that_is_away_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    client = create_app({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}).test_client()
    response = client.get("/transactions")
    _refused(response, 503, "GEN_UNAVAILABLE", "the database is not available right now; try again")
    assert response.headers["Retry-After"] == "1"
    health = _ok(client.get("/health"), 503)
    assert health["status"] == "DOWN"
    assert _ok(client.get("/"), 200) == "server running..."


def test_a_key_opens_everything_and_none_only_what_is_open(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": "s3cret"})
    client = app.test_client()
    for path in ("/transactions", "/balances", "/ledgers", "/queues", "/nothing", "/docs", "/openapi.json"):
        text = "Authentication required. Use X-Blnk-Key header"
        _refused(client.get(path), 401, "AUTH_MISSING_API_KEY", text)
        for wrong in ("S3cret", "s3cre", "s3crets", "ä"):
            response = client.get(path, headers={"X-Blnk-Key": wrong})
            _refused(response, 401, "AUTH_INVALID_API_KEY", "Invalid API key")
    for path in ("/", "/health"):
        assert client.get(path).status_code == 200
    assert _ok(client.get("/transactions", headers={"X-Blnk-Key": "s3cret"}), 200) == []
    assert client.get("/nothing", headers={"X-Blnk-Key": "s3cret"}).status_code == 404
    app.extensions["pacioli"].engine.dispose()


def test_other_methods_and_paths_are_answered_as_blnk_does(api: Api) -> None:
    api.done()
    head = api.client.head("/transactions")
    assert (head.status_code, head.data) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(api.client.get("/transactions").data)
    options = api.client.options("/transactions")
    assert (options.status_code, options.data) == (200, b"")
    assert set(options.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
    for method, path in (
        ("GET", "/nothing"),
        ("DELETE", "/transactions"),
        ("PATCH", "/ledgers/x"),
        ("TRACE", "/health"),
    ):
        response = api.client.open(path, method=method)
        assert (response.status_code, response.text) == (404, "404 page not found")
        assert response.content_type == "text/plain; charset=utf-8"
    assert api.get("/ledgers/") == api.get("/ledgers")
    assert api.get("/ledgers", instance_id="instance_1") == api.get("/ledgers")


def test_queues_and_health_say_what_waits(api: Api) -> None:
    accepted = _ok(api.post(), 201)
    number = api.transaction(accepted["transaction_id"])["queue"]["number"]
    queues = api.get("/queues")
    assert [queue["number"] for queue in queues] == list(range(8))
    waiting = queues[number]
    assert (waiting["depth"], waiting["cursor"], waiting["last_drained_at"], waiting["decided"]) == (1, 0, None, 0)
    assert waiting["oldest_age_s"] >= 0
    health = api.get("/health")
    assert health["status"] == "UP"
    assert health["checks"]["database"] == "UP"
    assert health["checks"]["workers"] == "DOWN"
    assert health["checks"]["oldest_queued_age_s"] >= 0
    api.drain()
    drained = api.get("/queues")[number]
    assert (drained["depth"], drained["oldest_age_s"], drained["cursor"], drained["decided"]) == (0, None, 1, 1)
    assert api.get("/health")["checks"]["oldest_queued_age_s"] is None


def test_every_route_is_described(app: Flask) -> None:
    document = app.test_client().get("/openapi.json").get_json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    routes = {
        (method, rule.rule.replace("<rest:", "<").replace("<path:", "<").replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert described == routes
    schemas = document["components"]["schemas"]
    assert set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document))) <= schemas.keys()
    for name in ("TransactionRequest", "Transaction", "Balance", "Entry", "Ledger", "Queue", "Error"):
        assert schemas[name]["properties"], name
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path


def test_the_page_of_the_api_needs_nothing_from_elsewhere(app: Flask) -> None:
    client = app.test_client()
    response = client.get("/docs", headers={"Host": "a.example"})
    assert response.content_type == "text/html; charset=utf-8"
    (policy,) = response.headers.getlist("Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "<script" not in response.text
    assert "://" not in response.text.replace("http://a.example/", "")
    for path in client.get("/openapi.json").get_json()["paths"]:
        assert f"<code>{path}</code>" in response.text
