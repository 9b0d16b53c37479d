"""A key makes so many new names in an hour, and has so many funding jobs that are not over."""

from typing import Any

import pytest

from core.base.actors import Caps
from tests.harness.api import ok, refused
from tests.harness.key_ring import Holder, Keys


@pytest.fixture
def capped(keys: Keys) -> Holder:
    keys.app.extensions["pacioli"].ring._caps = Caps(new_names=3, active_jobs=2)
    return keys.make("transactions:*", "balances:create_indicator", "funding:*")


def test_new_names_have_a_limit_in_an_hour(capped: Holder, keys: Keys) -> None:
    ok(capped.api.post(source="@One", destination="@Two"), 201)
    detail = refused(
        capped.api.bulk({"source": "@One", "destination": "@Three"}, {"source": "@One", "destination": "@Four"}),
        429,
        "GEN_RATE_LIMITED",
    )
    assert (detail["details"]["created"], detail["details"]["new"], detail["details"]["limit"]) == (2, 2, 3)
    refused(keys.master.ask("GET /balances/indicator/@Three/currency/USD"), 404, "BAL_NOT_FOUND")
    ok(capped.api.post(source="@One", destination="@Three"), 201)
    refused(capped.api.post(source="@One", destination="@Four"), 429, "GEN_RATE_LIMITED")
    refused(capped.ask("POST /funding-jobs", json=_job("@Four")), 429, "GEN_RATE_LIMITED")
    ok(capped.api.post(source="@One", destination="@Two"), 201)
    ok(keys.master.api.post(source="@One", destination="@Four"), 201)
    ok(keys.make("transactions:*", "balances:create_indicator").api.post(source="@One", destination="@Five"), 201)


def test_jobs_that_are_not_over_have_a_limit(capped: Holder, keys: Keys) -> None:
    first, _ = (ok(capped.ask("POST /funding-jobs", json=_job("@A", name)), 201) for name in ("a", "b"))
    detail = refused(capped.ask("POST /funding-jobs", json=_job("@A", "c")), 409, "GEN_CONFLICT")
    assert "2 funding jobs that are not over" in detail["message"]
    ok(capped.ask(f"POST /funding-jobs/{first['job_id']}/cancel"), 200)
    ok(capped.ask("POST /funding-jobs", json=_job("@A", "d")), 201)
    ok(keys.master.ask("POST /funding-jobs", json=_job("@A", "e")), 201)


def _job(destination: str, name: str = "a job") -> dict[str, Any]:
    recipients = [{"destination": destination, "amount": "1"}]
    terms = {"name": name, "source": "@Pool", "currency": "USD", "precision": 100, "allow_overdraft": True}
    return {**terms, "again": True, "at": "2030-01-01T00:00:00Z", "recipients": recipients}
