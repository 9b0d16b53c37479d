"""Texts that are no dates are refused."""

import pytest
from flask.testing import FlaskClient

from tests.harness.bad_input import assert_refused, counts, post
from tests.harness.junk import good_transaction
from web.service import Service

_BAD_DATES = [
    *("invalid-date", " ", "now", "0", "1700000000", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01 00:00"),
    *("2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:01Z", "2026-01-01T00:60:00Z"),
    *("2016-12-31T23:59:60Z", "2026-01-01T00:00:00+99:00", "2026-01-01T00:00:00+00:00:01"),
    *(
        "2026-01-01T00:00:00.Z",
        "2026-1-1T00:00:00Z",
        "26-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "-001-01-01T00:00:00Z",
    ),
    *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "２０２６-01-01T00:00:00Z"),
    *("2026-01-01T00:00:00Z ", "2026-01-01T00:00:00Z\n", "2026-W01-1T00:00:00Z", "NaN", "@A", "\u0000", "x" * 100_000),
]


@pytest.mark.parametrize("mode", [{}, {"skip_queue": True}, {"dry_run": True}], ids=str)
@pytest.mark.parametrize("field", ["scheduled_for", "inflight_expiry_date", "inflight_commit_date", "effective_date"])
def test_a_date_that_is_none_is_refused_by_name(
    client: FlaskClient, service: Service, field: str, mode: dict[str, bool]
) -> None:
    before = counts(service)
    for date in _BAD_DATES:
        response = post(client, {**good_transaction(), **mode, "inflight": True, field: date})
        assert response.status_code == 400, date
        assert field in response.get_json()["error"], date
        assert counts(service) == before, date


@pytest.mark.parametrize(
    "date", ["2999-01-01t00:00:00z", "2999-01-01T00:00:00.123456789Z", "2999-01-01 00:00:00-23:59"]
)
def test_a_date_may_be_written_as_rfc_3339_allows(client: FlaskClient, date: str) -> None:
    asked = dict.fromkeys(("scheduled_for", "inflight_expiry_date", "inflight_commit_date"), date)
    accepted = post(client, {**good_transaction(), "inflight": True, **asked})
    assert (accepted.status_code, accepted.get_json()["status"]) == (201, "SCHEDULED")


@pytest.mark.parametrize("field", ["inflight_expiry_date", "inflight_commit_date"])
def test_a_date_of_a_hold_needs_a_hold(client: FlaskClient, service: Service, field: str) -> None:
    before = counts(service)
    dated = {**good_transaction(), field: "2999-01-01T00:00:00Z", "reference": f"dated {field}"}
    for fields in ({}, {"inflight": False}, {"dry_run": True}):
        response = post(client, {**dated, **fields})
        assert (response.status_code, "needs inflight: true" in response.get_json()["error"]) == (400, True)
        assert_refused(response, field)
    response = client.post(
        "/transactions/bulk", json={"transactions": [{**dated, "inflight": True}], "inflight": False}
    )
    assert_refused(response, field)
    assert counts(service) == before
    assert client.post("/transactions/bulk", json={"transactions": [dated], "inflight": True}).status_code == 201


def test_what_waits_for_a_date_is_not_decided_now(client: FlaskClient, service: Service) -> None:
    before = counts(service)
    scheduled = {**good_transaction(), "scheduled_for": "2999-01-01T00:00:00Z", "reference": "one day"}
    assert_refused(post(client, {**scheduled, "skip_queue": True}), "skip_queue")
    for fields in ({"atomic": True}, {"skip_queue": True}):
        response = client.post("/transactions/bulk", json={"transactions": [scheduled], **fields})
        assert response.status_code == 400
        assert response.get_json()["error"].startswith("transactions[0].scheduled_for: ")
    assert counts(service) == before
