"""Commits, voids and refunds are refused where they make no sense."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.harness.bad_input import assert_refused, counts, new_transaction, post
from tests.harness.junk import ODD, good_transaction
from web.service import Service


def test_only_what_is_scheduled_can_be_cancelled(client: FlaskClient, service: Service) -> None:
    scheduled = post(client, {**good_transaction(), "scheduled_for": "2999-01-01T00:00:00Z"}).get_json()
    path = f"/transactions/{scheduled['transaction_id']}"
    for _ in range(2):
        assert client.delete(path).get_json()["status"] == "VOID"
    before = counts(service)
    for made, status in (({}, "APPLIED"), ({"inflight": True}, "INFLIGHT")):
        response = client.delete(f"/transactions/{new_transaction(client, **made)}")
        assert response.status_code == 409
        text_ = f"only a SCHEDULED transaction can be cancelled, and this one is {status}"
        assert response.get_json()["error"] == text_
    assert counts(service)["scheduled"] == before["scheduled"]
    # The refused transaction keeps its reference.
    other = post(client, {**good_transaction(), "reference": scheduled["reference"], "precise_amount": 2})
    assert other.get_json()["error_detail"]["code"] == "TXN_DUPLICATE_REFERENCE"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/transactions/{}", None),
        ("PUT", "/transactions/inflight/{}", {"status": "commit"}),
        ("PUT", "/transactions/inflight/{}", {"status": "void", "dry_run": True}),
        ("POST", "/refund-transaction/{}", {}),
        ("POST", "/refund-transaction/{}", {"dry_run": True, "skip_queue": True}),
    ],
    ids=str,
)
def test_nothing_follows_what_is_not_there(
    client: FlaskClient, service: Service, method: str, path: str, body: Any
) -> None:
    before = counts(service)
    for odd in [
        *ODD,
        "txn_",
        "bulk_",
        "bulk_%25",
        "txn_00000000-0000-0000-0000-000000000000",
        "bln_1",
        "txn_" + "9" * 400,
    ]:
        response = client.open(path.format(odd), method=method, json=body)
        assert response.status_code == 404, odd
    assert counts(service) == before


@pytest.mark.parametrize("mode", [{}, {"skip_queue": True}, {"dry_run": True}], ids=str)
def test_a_bad_item_of_many_settlements_fails_alone(
    client: FlaskClient, service: Service, mode: dict[str, bool]
) -> None:
    hold, applied = new_transaction(client, inflight=True), new_transaction(client)
    before = counts(service)
    for amounts, code in (
        ({"precise_amount": 0}, "INVALID_AMOUNT"),
        ({"precise_amount": -1}, "INVALID_AMOUNT"),
        ({"precise_amount": "abc"}, "INVALID_AMOUNT"),
        ({"precise_amount": "9" * 1001}, "INVALID_AMOUNT"),
        ({"precise_amount": 10**6 + 1}, "INVALID_AMOUNT"),
        ({"amount": -1}, "INVALID_AMOUNT"),
        ({"amount": 0.001}, "INVALID_AMOUNT"),
        ({"amount": "1e999"}, "INVALID_AMOUNT"),
        ({"transaction_id": applied}, "NOT_INFLIGHT"),
        ({"transaction_id": ""}, "NOT_FOUND"),
        ({"transaction_id": "\x01" + "x" * 10_000}, "NOT_FOUND"),
        ({"transaction_id": "bulk_00000000-0000-0000-0000-000000000000"}, "NOT_FOUND"),
    ):
        items = [{"transaction_id": hold, **amounts}]
        response = client.post("/transactions/inflight/bulk/commit", json={"transactions": items, **mode})
        assert response.status_code == 200, amounts
        (result,) = response.get_json()["results"]
        if mode.get("dry_run"):
            assert (result["would_apply"], bool(result["rejection"]["message"])) == (False, True)
        else:
            assert (result["status"], result["code"]) == ("failed", code), amounts
        assert counts(service) == before, amounts


@pytest.mark.parametrize("path", ["commit", "void"])
def test_many_settlements_are_at_most_a_hundred(client: FlaskClient, service: Service, path: str) -> None:
    holds = [new_transaction(client, inflight=True) for _ in range(2)]
    name = "transactions" if path == "commit" else "transaction_ids"
    before = counts(service)
    for count in (0, 101, 10_000):
        items: list[Any] = [holds[0]] * count
        if path == "commit":
            items = [{"transaction_id": id} for id in items]
        response = client.post(f"/transactions/inflight/bulk/{path}", json={name: items})
        assert_refused(response, name)
    assert counts(service) == before
    # A hold that is named twice is settled once.
    ids = [holds[0], holds[1], holds[0]]
    items = [{"transaction_id": id} for id in ids] if path == "commit" else ids
    response = client.post(f"/transactions/inflight/bulk/{path}", json={name: items, "skip_queue": True})
    results = response.get_json()["results"]
    assert [one["status"] for one in results] == ["succeeded", "succeeded", "failed"]
    assert (results[2]["code"], counts(service)["log"]) == ("LOCKED", before["log"] + 2)


@pytest.mark.parametrize("mode", [{}, {"skip_queue": True}, {"dry_run": True}], ids=str)
def test_a_refund_that_makes_no_sense_moves_nothing(
    client: FlaskClient, service: Service, mode: dict[str, bool]
) -> None:
    applied = new_transaction(client)
    before = counts(service)
    for fields, named in (
        ({"precise_amount": 0}, "precise_amount"),
        ({"precise_amount": "x"}, "precise_amount"),
        ({"precise_amount": 10**6 + 1}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": 0.001}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"amount": "sNaN"}, "amount"),
        ({"amount": "Infinity"}, "amount"),
        ({"amount": "1e999999999"}, "amount"),
        ({"description": "  "}, "description"),
        ({"description": "\x00"}, "description"),
        ({"reference": ""}, "reference"),
        ({"reference": "x" * 513}, "reference"),
        ({"meta_data": []}, "meta_data"),
        ({"meta_data": {"\x00": 1}}, "meta_data"),
    ):
        response = client.post(f"/refund-transaction/{applied}", json={**fields, **mode})
        assert_refused(response, named)
        assert counts(service) == before, fields


@pytest.mark.parametrize("threshold", ["abc", "5", "5x", "-", " 5m", "NaN", "1e9h", "9" * 400 + "h", "5m5"])
def test_a_recovery_needs_a_duration(client: FlaskClient, threshold: str) -> None:
    response = client.post("/transactions/recover", query_string={"threshold": threshold})
    assert (response.status_code, "invalid threshold duration" in response.get_json()["error"]) == (400, True)


def test_an_odd_threshold_is_a_duration_too(client: FlaskClient) -> None:
    for threshold, printed in (("", "2m0s"), ("-5m", "-5m0s"), ("2562047h", "2562047h0m0s"), ("0", "0s")):
        response = client.post("/transactions/recover", query_string={"threshold": threshold})
        assert (response.status_code, response.get_json()["threshold"]) == (200, printed)
