"""Requests that Pacioli takes otherwise than Blnk does, as the page on Blnk lists them."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.harness.api import Api, ok, refused
from tests.harness.pages import ROOT

PAGE = ROOT / "docs" / "explanation" / "blnk.md"
FUTURE = "2100-01-01T00:00:00Z"


def _says(api: Api, text: str, status: int = 400, **fields: Any) -> None:
    assert text in ok(api.post(**fields), status)["error"]


def _names(api: Api) -> None:
    _says(api, "Currency: unknown field; did you mean currency?", Currency="USD")


def _texts(api: Api) -> None:
    assert api.done(precise_amount=None, amount="12.50")["precise_amount"] == 1250
    _says(api, "amount: must be a number", precise_amount=None, amount="12_50")


def _digits(api: Api) -> None:
    assert api.done(precise_amount=None, amount=12345678901234567)["precise_amount"] == 1234567890123456700


def _no_currency(api: Api) -> None:
    assert api.done(currency=None, destination=api.new_balance())["currency"] == "USD"
    _says(api, "currency: cannot be blank", currency=None)


def _apply_overdraft(api: Api) -> None:
    assert api.done(allow_overdraft=None, apply_overdraft=True)["allow_overdraft"] is True


def _overdraft_limit(api: Api) -> None:
    assert api.done()["overdraft_limit"] is None
    refused(api.spend(allow_overdraft=True, overdraft_limit=0, precise_amount=5), 400, "TXN_VALIDATION_ERROR")


def _rate(api: Api) -> None:
    assert [api.done(rate=rate)["status"] for rate in (0, 1)] == ["APPLIED", "APPLIED"]
    _says(api, "rate: must be 1", rate=1.1)


def _scheduled(api: Api) -> None:
    _says(api, "skip_queue: cannot be answered now", scheduled_for=FUTURE, skip_queue=True)


def _expiry(api: Api) -> None:
    (warning,) = ok(api.post(inflight_expiry_date=FUTURE), 201)["warnings"]
    assert warning["field"] == "inflight_expiry_date"


def _clear(api: Api) -> None:
    _says(api, "reference: must not begin or end with a blank", reference=" r")
    _says(api, "source: must not contain", source="@A\u200b")


def _currency(api: Api) -> None:
    _says(api, "currency: must be a code", currency="us dollar")


def _metadata(api: Api) -> None:
    assert len(api.done(meta_data={"long": "x" * 60_000})["meta_data"]["long"]) == 60_000
    _says(api, "meta_data: has", meta_data={"long": "x" * 70_000})


def _identity(api: Api) -> None:
    asked = {"ledger_id": "general_ledger_id", "currency": "USD", "identity_id": "idt_unknown"}
    refused(api.client.post("/balances", json=asked), 404, "IDT_NOT_FOUND")


def _sorting(api: Api) -> None:
    for wrong in ({"sort_by": "beauty"}, {"sort_order": "up"}):
        refused(api.client.post("/transactions/filter", json={"filters": [], **wrong}), 400, "GEN_VALIDATION_ERROR")


def _parameters(api: Api) -> None:
    refused(api.client.get("/transactions?beauty=1"), 400, "GEN_BAD_REQUEST")
    assert api.get("/transactions", instance_id="x", org_id="y") == []


def _twice(api: Api) -> None:
    refused(api.bulk({"reference": "twice"}, {"reference": "twice"}), 409, "TXN_DUPLICATE_REFERENCE")
    assert api.get("/transactions") == []


def _part_of_a_refund(api: Api) -> None:
    moved = api.done(precise_amount=100)["transaction_id"]
    asked = {"precise_amount": 40, "skip_queue": True}
    assert ok(api.client.post(f"/refund-transaction/{moved}", json=asked), 201)["precise_amount"] == 40
    assert api.sums("@A")[0] == 60


CHECKS: dict[str, Callable[[Api], None]] = {
    "the name of a field": _names,
    "a number as a text": _texts,
    "an amount of more than 15 digits": _digits,
    "no `currency`": _no_currency,
    "`apply_overdraft`": _apply_overdraft,
    "`overdraft_limit`": _overdraft_limit,
    "`rate`": _rate,
    "`scheduled_for` in the future with `skip_queue`": _scheduled,
    "`inflight_expiry_date` without `inflight`": _expiry,
    "a reference or a new `@Name`": _clear,
    "a currency": _currency,
    "metadata": _metadata,
    "`identity_id` of a new balance that is unknown": _identity,
    "`sort_by` and `sort_order` that are wrong": _sorting,
    "a parameter that is unknown": _parameters,
    "a reference that a bulk has twice": _twice,
    "a part of a refund": _part_of_a_refund,
}


def test_every_line_of_the_page_on_requests_is_checked() -> None:
    section = PAGE.read_text().partition("## What a request may say\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in section.splitlines() if line.startswith("| ")]
    assert rows[1:] == list(CHECKS)


@pytest.mark.parametrize("topic", CHECKS)
def test_a_difference_is_as_the_page_says(api: Api, topic: str) -> None:
    CHECKS[topic](api)
