"""Blnk's acceptance cases of amounts, and of required fields."""

import pytest

from tests.harness.acceptance import case
from tests.harness.api import Api, ok, refused
from tests.harness.steps import decide, is_empty, legs_of, post_raw


@case(1)
def test_an_amount_of_ten_places_is_queued_exactly_and_echoed(api: Api) -> None:
    body = (
        '{"amount": 922337203.6854, "precision": 1e10, "reference": "R", "description": "d", "currency": "NGN", '
        '"source": "@World", "destination": "@A", "allow_overdraft": true}'
    )
    accepted = ok(post_raw(api, body), 201)
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
    assert is_empty(api)


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
    assert is_empty(api)


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
    assert is_empty(api)


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
    assert is_empty(api)


@case(15)
def test_a_balance_cannot_pay_itself(api: Api) -> None:
    text = "destination: source and destination cannot be the same balance."
    refused(api.post(source="@A", destination="@A"), 400, "TXN_VALIDATION_ERROR", text)


@case(16)
@pytest.mark.parametrize(("side", "name"), [("destination", "@World"), ("source", "@A")])
def test_a_balance_cannot_pay_itself_by_way_of_a_split(api: Api, side: str, name: str) -> None:
    legs = legs_of(("@B", "50%"), (name, "left"))
    text = "destination: source and destination cannot be the same balance."
    refused(api.post(**{side: None, f"{side}s": legs}), 400, "TXN_VALIDATION_ERROR", text)
    assert is_empty(api)


@case(17)
@pytest.mark.parametrize("field", ["scheduled_for", "inflight_commit_date", "inflight_expiry_date"])
def test_a_date_that_is_none_is_refused_by_name(api: Api, field: str) -> None:
    detail = refused(api.post(inflight=True, **{field: "invalid-date"}), 400, "TXN_VALIDATION_ERROR")
    assert detail["message"].startswith(f"{field}: please format the scheduled date as 'YYYY-MM-DDTHH:MM:SS+00:00'")


@case(18)
def test_a_date_with_a_zone_is_taken(api: Api) -> None:
    held = decide(api, inflight=True, inflight_commit_date="2024-04-22T15:28:03+00:00")
    assert (held["status"], held["inflight_commit_date"]) == ("INFLIGHT", "2024-04-22T15:28:03Z")


@case(19)
def test_a_body_that_ends_too_early_is_malformed(api: Api) -> None:
    detail = refused(post_raw(api, '{"amount":'), 400, "GEN_MALFORMED_REQUEST")
    assert detail["message"].startswith("Invalid input")
