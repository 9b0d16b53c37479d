"""How a transaction is submitted: what is taken, and what is refused in which words.

Numbers in brackets are Blnk's acceptance cases, with Pacioli's answer where it differs.
"""

from typing import Any

import pytest

from tests.harness.api import ZERO_TIME, Api, ok, refused


@pytest.mark.smoke
def test_the_funding_pool_example_works_as_printed(api: Api) -> None:  # [32]
    customer = api.new_balance()
    body = f"""{{
        "precise_amount": 12000023, "precision": 100, "reference": "ref_123abc", "source": "@FundingPool",
        "destination": "{customer}", "description": "Creating a starting balance", "apply_overdraft": true
    }}"""
    accepted = ok(api.client.post("/transactions", data=body, content_type="application/json"), 201)
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
    accepted = ok(api.post(reference="r", precise_amount=75023), 201)
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
        "created_by": "anonymous",
        "created_through": "web",
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
    applied = ok(api.client.post("/transactions", data=body, content_type="application/json"), 201)
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
        ({"source": None}, "source: either source or sources is required."),  # [6] without Blnk's "not both"
        ({"destination": None}, "destination: either destination or destinations is required."),  # [7]
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
            "destination or destinations is required; reference: cannot be blank; source: either source or sources is required.",
        ),
    ],
)
def test_what_is_wrong_is_said_in_blnks_words(api: Api, fields: dict[str, Any], message: str) -> None:
    response = api.post(**fields)
    refused(response, 400, "TXN_VALIDATION_ERROR", message)
    assert response.get_json()["errors"] == message
    assert api.get("/transactions") == []
    assert api.get("/balances") == []


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_balance_on_both_sides_is_refused(api: Api, side: str) -> None:  # [16]
    legs = [{"identifier": "@World", "distribution": "50%"}, {"identifier": "@A", "distribution": "left"}]
    refused(api.post(**{side: None, f"{side}s": legs}), 400, "TXN_VALIDATION_ERROR")


def test_one_balance_by_id_and_by_name_is_refused(api: Api) -> None:
    world = api.done()["source"]
    response = api.post(source=world, destination="@World")
    refused(response, 400, "TXN_VALIDATION_ERROR", "destination: source and destination cannot be the same balance.")


def test_a_body_that_ends_too_early_is_malformed(api: Api) -> None:  # [19]
    response = api.client.post("/transactions", data='{"amount":', content_type="application/json")
    text = 'Invalid input: the JSON ends too early, at byte 10 of 10, after {"amount":'
    refused(response, 400, "GEN_MALFORMED_REQUEST", text)


def test_a_field_that_cannot_be_read_is_named_beside_all_else_that_is_wrong(api: Api) -> None:
    response = api.post(precise_amount=1.5, description="", allow_overdrft=True, inflight_expiry_date="noon")
    detail = refused(response, 400, "GEN_MALFORMED_REQUEST")
    assert detail["message"] == (
        "Invalid input: allow_overdrft: unknown field; did you mean allow_overdraft?; description: cannot be blank; "
        "inflight_expiry_date: please format the scheduled date as 'YYYY-MM-DDTHH:MM:SS+00:00' (e.g., "
        '2024-04-22T15:28:03+00:00); precise_amount: must be a whole number of minor units, such as 1250 or "1250", '
        "not 1.5; amount takes major units, such as 12.50"
    )
    assert detail["details"]["problem_count"] == 4
    named = ["allow_overdrft", "description", "inflight_expiry_date", "precise_amount"]
    assert sorted(each["field"] for each in detail["details"]["problems"]) == named


def test_an_unknown_field_is_refused_with_the_name_that_was_meant(api: Api) -> None:
    detail = refused(
        api.post(allow_overdrft=True),
        400,
        "GEN_VALIDATION_ERROR",
        "allow_overdrft: unknown field; did you mean allow_overdraft?",
    )
    listed = [{"field": "allow_overdrft", "message": "unknown field; did you mean allow_overdraft?"}]
    assert detail["details"] == {"field": "allow_overdrft", "problems": listed, "problem_count": 1}


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
    refused(response, 400, "TXN_INVALID_AMOUNT", "amount: transaction precise amount must be positive.")
    assert api.get("/transactions") == []


def test_an_amount_between_two_minor_units_is_refused(api: Api) -> None:  # [26] Blnk rounds
    response = api.post(amount=1.005)
    refused(response, 400, "TXN_INVALID_AMOUNT", "amount: is not a whole number of minor units at precision 100.")


@pytest.mark.parametrize("skip_queue", [True, False])
@pytest.mark.parametrize("side", ["source", "destination"])
def test_an_unknown_balance_is_404_at_once(api: Api, skip_queue: bool, side: str) -> None:  # [40]
    for unknown in ("bln_00000000-0000-0000-0000-000000000000", "nobody"):
        response = api.post(**{side: unknown}, skip_queue=skip_queue)
        detail = refused(response, 404, "BAL_NOT_FOUND")
        hint = (
            ""
            if unknown != "nobody"
            else "; did you mean @nobody? A balance is named by its id, bln_..., or by its @Name"
        )
        assert (detail["message"], detail["details"]) == (f"Balance with ID '{unknown}' not found{hint}", {})
    assert api.get("/balances") == []


def test_nine_kilobytes_of_metadata_are_kept(api: Api) -> None:  # [107]
    meta_data = {"text": "ä" * 9000, "number": 1.5, "list": [1, None, True, {"a": {}}]}
    accepted = ok(api.post(meta_data=meta_data), 201)
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
