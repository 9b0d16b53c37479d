"""Balances at a time, over HTTP."""

from datetime import UTC, datetime

from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from core.base.db import begin
from tests.harness.dated import HOUR, id_of, post_dated, refusal_of


def test_a_balance_at_a_time_has_blnks_shape(client: FlaskClient) -> None:
    post_dated(client, precise_amount=10**30, skip_queue=True, effective_date="2020-01-01T10:00:00.5+02:00")
    balance_id = id_of(client, "@World")
    body = {
        "balance": {
            "balance": -(10**30),
            "debit_balance": 10**30,
            "credit_balance": 0,
            "currency": "USD",
            "balance_id": balance_id,
        },
        "timestamp": "2020-01-01T08:00:00Z",
        "from_source": False,
    }
    path = f"/balances/{balance_id}/at"
    assert client.get(f"{path}?timestamp=2020-01-01T08:00:00.5Z").get_json() == body
    assert client.get(f"{path}?timestamp=2020-01-01T09:00:00.5+01:00").get_json() == body
    for yes in ("true", "1"):
        found = client.get(f"{path}?timestamp=2020-01-01T08:00:00.5Z&from_source={yes}").get_json()
        assert found == {**body, "from_source": True}
    now = datetime.now(UTC).replace(microsecond=0)
    found = client.get(path).get_json()
    assert found["balance"] == body["balance"]
    assert abs(datetime.fromisoformat(found["timestamp"]) - now) < HOUR


def test_what_is_wrong_with_a_time_is_said(client: FlaskClient) -> None:
    post_dated(client, skip_queue=True)
    path = f"/balances/{id_of(client, '@A')}/at"
    for bad in ("yesterday", "2020-01-01", "2020-01-01T00:00:00", "0001-01-01T00:00:00%2B10:00", "1577836800"):
        code, message = refusal_of(client, "GET", f"{path}?timestamp={bad}", 400)
        assert code == "BAL_INVALID_TIMESTAMP"
        assert message.startswith("timestamp: must be a time such as 2026-04-22T15:28:03Z")
    assert refusal_of(client, "GET", "/balances/bln_1/at", 404) == (
        "BAL_NOT_FOUND",
        "Balance with ID 'bln_1' not found",
    )


def test_a_balance_that_is_new_or_is_not_there_yet_holds_nothing(client: FlaskClient) -> None:
    created = client.post("/balances", json={"ledger_id": "general_ledger_id", "currency": "USD"}).get_json()
    path = f"/balances/{created['balance_id']}/at"
    first_second = created["created_at"].partition(".")[0].removesuffix("Z") + "Z"
    for query in (
        "",
        f"?timestamp={first_second}",
        "?timestamp=2020-01-01T00:00:00Z",
        "?timestamp=0001-01-01T00:00:00Z",
    ):
        for from_source in ("false", "true"):
            response = client.get(f"{path}{query}{'&' if query else '?'}from_source={from_source}")
            found = response.get_json()["balance"]
            assert (response.status_code, found["currency"]) == (200, "USD")
            assert (found["balance"], found["credit_balance"], found["debit_balance"]) == (0, 0, 0)


def test_a_balance_from_source_is_recomputed_and_flat(client: FlaskClient, engine: Engine) -> None:
    post_dated(client, precise_amount=100, skip_queue=True)
    hold = post_dated(client, source="@A", destination="@B", precise_amount=40, inflight=True, skip_queue=True)
    path = f"/transactions/inflight/{hold['transaction_id']}"
    client.put(path, json={"status": "commit", "precise_amount": 15, "skip_queue": True})
    released = post_dated(client, source="@A", destination="@B", precise_amount=5, inflight=True, skip_queue=True)
    client.put(f"/transactions/inflight/{released['transaction_id']}", json={"status": "void", "skip_queue": True})
    post_dated(client, source="@B", precise_amount=7, inflight=True, skip_queue=True)
    stored = {name: client.get(f"/balances/{id_of(client, name)}").get_json() for name in ("@World", "@A", "@B")}
    assert stored["@A"]["balance"] == 85
    assert (stored["@A"]["inflight_debit_balance"], stored["@A"]["inflight_credit_balance"]) == (25, 7)
    with begin(engine) as conn:
        conn.execute(
            text(
                "UPDATE balances SET balance = 1, credit_balance = 2, debit_balance = 1, inflight_credit_balance = 3, "
                "inflight_debit_balance = 4, version = 99"
            )
        )
    for body in stored.values():
        path = f"/balances/{body['balance_id']}"
        assert client.get(path).get_json()["version"] == 99
        assert client.get(f"{path}?from_source=true").get_json() == body
