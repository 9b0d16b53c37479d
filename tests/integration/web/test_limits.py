"""Floors and freezes over HTTP: what is set, who is stopped by it, and what verify says."""

import pytest
from sqlalchemy import Engine, text

from core.base.db import begin
from core.verification.verify import verify_all
from tests.harness.api import Api, ok, refused


@pytest.fixture
def customer(api: Api) -> str:
    """A balance with 100.00."""
    customer = api.new_balance()
    api.done(source="@World", destination=customer, precise_amount=10_000, allow_overdraft=True)
    return customer


def put(api: Api, balance: str, **limits: object) -> dict[str, object]:
    answer: dict[str, object] = ok(api.client.put(f"/balances/{balance}/limits", json=limits), 200)
    return answer


def spend(api: Api, balance: str, amount: int, **fields: object) -> dict[str, object]:
    """Post with all the overdraft that a request can ask for, and return the transaction once it is decided."""
    posted = api.post(source=balance, destination="@Shop", precise_amount=amount, allow_overdraft=True, **fields)
    id = ok(posted, 201)["transaction_id"]
    api.drain()
    return api.transaction(id)


def test_a_floor_stops_what_any_flag_allows_and_says_the_sum(api: Api, customer: str) -> None:
    put(api, customer, floor=-500)
    assert spend(api, customer, 10_500)["status"] == "APPLIED"
    rejected = spend(api, customer, 1)
    assert rejected["rejection"] == {
        "reason": "floor",
        "message": "transaction takes the source below its floor: available USD-5.00, floor USD-5.00, asked USD0.01, "
        "short by USD0.01",
        "available": -500,
        "requested": 1,
        "held": 0,
        "overdraft_limit": None,
        "floor": -500,
        "short_by": 1,
    }
    put(api, customer)
    assert spend(api, customer, 1)["status"] == "APPLIED"


def test_a_frozen_balance_says_why_and_lets_money_in_or_not(api: Api, customer: str) -> None:
    shown = put(api, customer, frozen="debits", reason="court order 7")
    assert shown["limits"] == api.get(f"/balances/{customer}")["limits"]
    assert (shown["limits"]["frozen"], shown["limits"]["reason"]) == ("debits", "court order 7")  # type: ignore[index]
    assert spend(api, customer, 1)["rejection"]["reason"] == "source_frozen"  # type: ignore[index]
    back = {"source": "@World", "destination": customer, "precise_amount": 1, "allow_overdraft": True}
    assert api.done(**back)["status"] == "APPLIED"
    put(api, customer, frozen="all", reason="closed")
    posted = ok(api.post(**back), 201)
    api.drain()
    assert api.transaction(posted["transaction_id"])["rejection"]["reason"] == "destination_frozen"
    put(api, customer)
    assert "limits" not in api.get(f"/balances/{customer}")
    history = api.get(f"/balances/{customer}/limits")
    assert "limits" not in history
    assert [change["frozen"] for change in history["changes"]] == [None, "all", "debits"]


def test_limits_count_for_what_is_accepted_after_them_and_not_for_what_waits(api: Api, customer: str) -> None:
    before = ok(api.post(source=customer, destination="@Shop", precise_amount=1), 201)
    put(api, customer, frozen="all", reason="r")
    after = ok(api.post(source=customer, destination="@Shop", precise_amount=1), 201)
    put(api, customer)
    later = ok(api.post(source=customer, destination="@Shop", precise_amount=1), 201)
    api.drain()
    statuses = [api.transaction(each["transaction_id"])["status"] for each in (before, after, later)]
    assert statuses == ["APPLIED", "REJECTED", "APPLIED"]


def test_a_transaction_that_is_decided_at_once_and_a_dry_run_obey_the_limits(api: Api, customer: str) -> None:
    put(api, customer, frozen="debits", reason="r")
    spent = {"source": customer, "destination": "@Shop", "precise_amount": 1, "skip_queue": True}
    refused(api.post(**spent), 400, "BAL_FROZEN")
    put(api, customer, floor=10_000)
    refused(api.post(**spent), 400, "TXN_INSUFFICIENT_FUNDS")
    dry = api.post(source=customer, destination="@Shop", precise_amount=1, dry_run=True)
    assert "floor" in dry.text and api.balance("@Shop")["balance"] == 0


def test_wrong_limits_are_refused_together(api: Api, customer: str) -> None:
    for digits in (1_001, 10_000):
        data = '{"floor": -' + "9" * digits + "}"
        response = api.client.put(f"/balances/{customer}/limits", data=data, content_type="application/json")
        assert response.status_code == 400
    response = api.client.put(f"/balances/{customer}/limits", json={"frozen": "credits", "reason": "x" * 300})
    detail = refused(response, 400, "GEN_VALIDATION_ERROR")
    assert "frozen" in detail["message"] and "reason" in detail["message"]
    refused(api.client.put(f"/balances/{customer}/limits", json={"frozen": "all"}), 400, "GEN_VALIDATION_ERROR")
    refused(api.client.put(f"/balances/{customer}/limits", json={"flor": 1}), 400, "GEN_VALIDATION_ERROR")
    refused(api.client.put("/balances/bln_1/limits", json={}), 404, "BAL_NOT_FOUND")
    refused(api.client.get("/balances/bln_1/limits"), 404, "BAL_NOT_FOUND")
    assert api.get(f"/balances/{customer}/limits") == {"balance_id": customer, "changes": []}


def test_verify_decides_by_the_limits_of_each_time_and_sees_when_one_is_changed(
    api: Api, customer: str, engine: Engine
) -> None:
    spend(api, customer, 1)
    put(api, customer, floor=0)
    spend(api, customer, 20_000)
    put(api, customer)
    spend(api, customer, 20_000)
    assert len(verify_all(engine).problems) == 0
    with pytest.raises(Exception, match="append-only"), begin(engine) as conn:
        conn.execute(text("UPDATE balance_limits SET floor = -100000"))
    with begin(engine) as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        conn.execute(text("UPDATE balance_limits SET floor = -100000 WHERE floor = 0"))
    assert len(verify_all(engine).problems) > 0


def test_each_change_is_in_the_audit_log(api: Api, customer: str) -> None:
    put(api, customer, floor=7)
    put(api, customer, frozen="all", reason="r")
    put(api, customer)
    rows = [row for row in api.get("/audit") if row["action"].startswith("balance.") and row["subject"] == customer]
    assert {row["action"] for row in rows} >= {"balance.limited", "balance.frozen", "balance.released"}
