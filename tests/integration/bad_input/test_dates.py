"""Texts that are no dates are refused."""

from typing import Any

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
def test_a_date_of_a_hold_without_a_hold_is_ignored_with_a_warning(client: FlaskClient, field: str) -> None:
    done = {"inflight_expiry_date": "voided", "inflight_commit_date": "committed"}[field]
    warning = {"field": field, "message": f"has no effect without inflight: true, as there is no hold to be {done}"}
    dated = {**good_transaction(), field: "2999-01-01T00:00:00Z", "rate": 1}
    modes: list[dict[str, Any]] = [{}, {"inflight": False}, {"dry_run": True}, {"skip_queue": True}]
    for fields in modes:
        answer = post(client, {**dated, "reference": f"{field} {fields}", **fields}).get_json()
        assert answer["warnings"] == [warning]
        assert answer.get(field, NO_DATE) == NO_DATE
    again = post(client, {**dated, "reference": f"{field} {{}}"})
    assert (again.status_code, again.get_json()["warnings"]) == (200, [warning])
    for is_dry in (False, True):
        items = [{**good_transaction(), "reference": f"{field} a"}, {**dated, "reference": f"{field} b"}]
        answer = client.post("/transactions/bulk", json={"transactions": items, "dry_run": is_dry}).get_json()
        assert answer["warnings"] == [{**warning, "field": f"transactions[1].{field}"}]
    held = post(client, {**dated, "inflight": True, "skip_queue": True}).get_json()
    assert ("warnings" in held, held["status"], held[field]) == (False, "INFLIGHT", "2999-01-01T00:00:00Z")
    assert "warnings" not in post(client, {**good_transaction(), field: NO_DATE}).get_json()
    assert (
        client.post(
            "/transactions/bulk", json={"transactions": [{**dated, "reference": f"{field} c"}], "inflight": True}
        ).status_code
        == 201
    )


NO_DATE = "0001-01-01T00:00:00Z"


def test_what_waits_for_a_date_is_not_decided_now(client: FlaskClient, service: Service) -> None:
    before = counts(service)
    scheduled = {**good_transaction(), "scheduled_for": "2999-01-01T00:00:00Z", "reference": "one day"}
    assert_refused(post(client, {**scheduled, "skip_queue": True}), "skip_queue")
    for fields in ({"atomic": True}, {"skip_queue": True}):
        response = client.post("/transactions/bulk", json={"transactions": [scheduled], **fields})
        assert response.status_code == 400
        assert response.get_json()["error"].startswith("transactions[0].scheduled_for: ")
    assert counts(service) == before


@pytest.mark.parametrize("rate", [1.5, "2", -1, True, [1]])
def test_a_rate_is_refused_and_the_text_says_how_to_post_an_exchange(client: FlaskClient, rate: object) -> None:
    answer = post(client, {**good_transaction(), "rate": rate})
    assert answer.status_code == 400
    assert "rate: must be 1" in answer.get_json()["error"]
    assert "post an exchange as two transactions" in answer.get_json()["error"]


@pytest.mark.parametrize("rate", [0, 1, 1.0, "", "1", None])
def test_a_rate_that_changes_nothing_is_accepted(client: FlaskClient, rate: object) -> None:
    answer = post(client, {**good_transaction(), "reference": f"rate {rate!r}", "rate": rate})
    assert answer.status_code == 201
    assert "warnings" not in answer.get_json()
