"""Endpoints: what is refused, what is never shown again, who may, and what health says of them."""

import json
from typing import Any

import pytest
from sqlalchemy import Engine, text

from core.base.db import begin, reading
from core.upkeep import heartbeats
from core.upkeep.heartbeats import State
from core.webhooks import deliveries
from core.webhooks.deliveries import Health
from tests.harness.api import Api, close, ok, refused
from tests.harness.key_ring import later
from tests.harness.receiver import receiving, status
from web.app import create_app
from web.probing.facts import Facts, judge

URL = "https://hooks.invalid/x"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"url": None}, "url"), ({"url": "hooks.invalid"}, "url"), ({"url": "http://u:p@hooks.invalid/"}, "url"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "url"), ({"url": "http://[fe80::1]/"}, "url"),
        ({"events": []}, "events"), ({"events": ["transaction.aplied"]}, "events"), ({"events": ["x.*"]}, "events"),
        ({"events": ["*"] * 51}, "events"), ({"secret": "short"}, "secret"), ({"after": "yesterday"}, "after"),
        ({"headers": {"Host": "other"}}, "headers.Host"), ({"headers": {"Content-Length": "5"}}, "headers.Content-Length"),
        ({"headers": {"webhook-id": "x"}}, "headers.webhook-id"), ({"headers": {"a b": "x"}}, "headers.a b"),
        ({"headers": {"X-A": "x\r\nX-B: y"}}, "headers.X-A"), ({"headers": {"X-A": "\u00e4"}}, "headers.X-A"),
        ({"description": "\0"}, "description"), ({"url_": URL}, "url_"), ({"ordered": "yes"}, "ordered"),
    ],
)  # fmt: skip
def test_a_wrong_endpoint_is_refused_with_the_field(api: Api, wrong: dict[str, Any], field: str) -> None:
    answer = api.client.post("/webhooks", json={"url": URL, **wrong})
    assert answer.status_code == 400
    assert field in answer.get_json()["error"]
    assert api.get("/webhooks") == []


def test_a_private_address_is_refused_unless_a_setting_allows_it(api: Api, database_url: str) -> None:
    for url in ("http://localhost/", "http://10.0.0.1/", "http://2130706433/", "http://[::ffff:127.0.0.1]/"):
        made = ok(api.client.post("/webhooks", json={"url": url}), 201)
        strict = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": "k3y-" * 2 + "9f27ab61"})
        client = strict.test_client()
        client.environ_base["HTTP_X_BLNK_KEY"] = "k3y-" * 2 + "9f27ab61"
        refused(client.post("/webhooks", json={"url": url}), 400, "GEN_VALIDATION_ERROR")
        assert not client.post(f"/webhooks/{made['webhook_id']}/test").get_json()["delivered"]
        close(strict)


def test_a_secret_and_the_values_of_headers_are_shown_once_and_stored_sealed(api: Api, engine: Engine) -> None:
    headers = {"Authorization": "Bearer 8c1f52", "X-Team": "blue"}
    made = ok(api.client.post("/webhooks", json={"url": URL, "headers": headers}), 201)
    path = f"/webhooks/{made['webhook_id']}"
    kept = ok(api.client.put(path, json={"headers": {"Authorization": "***", "X-Team": "red"}}), 200)
    rotated = ok(api.client.post(f"{path}/rotate"), 201)
    assert rotated["secret"] != made["secret"] and rotated["overlap_until"]
    shown = json.dumps([kept, api.get(path), api.get("/webhooks"), api.get("/audit", limit=50)])
    with reading(engine) as conn:
        (row,) = conn.execute(text("SELECT webhooks::text FROM webhooks")).scalars()
    for hidden in ("8c1f52", "blue", made["secret"], made["secret"][6:], rotated["secret"][6:]):
        assert hidden not in shown and hidden not in row
        assert hidden.encode().hex() not in row
    assert kept["headers"] == {"Authorization": "***", "X-Team": "***"} and kept["secret"] == ""


def test_the_header_that_was_hidden_is_sent_as_it_was(api: Api) -> None:
    with receiving() as receiver:
        headers = {"Authorization": "Bearer 8c1f52"}
        made = ok(api.client.post("/webhooks", json={"url": receiver.url, "headers": headers}), 201)
        path = f"/webhooks/{made['webhook_id']}"
        ok(api.client.put(path, json={"headers": {"Authorization": "***", "X-Team": "red"}}), 200)
        assert ok(api.client.post(f"{path}/test"), 200)["delivered"]
        (got,) = receiver.got
        got.verify(made["secret"])
        assert (got.headers["authorization"], got.headers["x-team"]) == ("Bearer 8c1f52", "red")
        receiver.answer = status(503)
        tested = ok(api.client.post(f"{path}/test"), 200)
        assert (tested["delivered"], tested["response_status"]) == (False, 503)


@pytest.mark.parametrize("place", ["http://elsewhere.example:8080/hook", "https://example.com:8443/hook"])
def test_hidden_headers_do_not_go_where_somebody_else_leads_them(api: Api, place: str) -> None:
    url, headers = "https://example.com/hook", {"Authorization": "Bearer 8c1f52", "X-Team": "blue"}
    path = f"/webhooks/{ok(api.client.post('/webhooks', json={'url': url, 'headers': headers}), 201)['webhook_id']}"
    for more in (
        {},
        {"headers": {"Authorization": "***"}},
        {"headers": {"Authorization": "Bearer 1", "X-Team": "***"}},
    ):
        detail = refused(api.client.put(path, json={"url": place, **more}), 400, "GEN_VALIDATION_ERROR")
        assert "headers" in detail["message"] and "again" in detail["message"]
    assert api.get(path)["url"] == url
    ok(api.client.put(path, json={"url": "https://EXAMPLE.com:443/other"}), 200)
    assert api.get(path)["headers"].keys() == headers.keys()
    moved = ok(api.client.put(path, json={"url": place, "headers": {"Authorization": "Bearer 2"}}), 200)
    assert (moved["url"], moved["headers"]) == (place, {"Authorization": "***"})
    ok(api.client.put(path, json={"url": url, "headers": None}), 200)
    assert ok(api.client.put(path, json={"url": place}), 200)["url"] == place


def test_another_pepper_cannot_read_a_secret_and_says_so(api: Api, database_url: str) -> None:
    made = ok(api.client.post("/webhooks", json={"url": URL}), 201)
    key = "k3y-" * 2 + "9f27ab61"
    other = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": key, "PACIOLI_PEPPER": "e71b0c55d2a94f38"})
    client = other.test_client()
    client.environ_base["HTTP_X_BLNK_KEY"] = key
    tested = client.post(f"/webhooks/{made['webhook_id']}/test").get_json()
    assert not tested["delivered"] and "another PACIOLI_PEPPER; rotate it" in tested["error"]
    close(other)


def test_without_a_key_nothing_can_be_kept_so_no_endpoint_is_made(database_url: str) -> None:
    app = create_app({"DATABASE_URL": database_url})
    refused(app.test_client().post("/webhooks", json={"url": URL}), 403, "WEBHOOK_DISABLED")
    close(app)


def test_a_key_needs_the_right_and_one_that_is_bound_to_ledgers_has_none(api: Api) -> None:
    asked = {"name": "k", "owner": "o", "expires_at": later(days=90)}

    def get(**fields: Any) -> int:
        key = ok(api.client.post("/api-keys", json={**asked, **fields}), 201)["key"]
        return api.client.get("/webhooks", headers={"X-Blnk-Key": key}).status_code

    assert get(scopes=["webhooks:read"]) == 200
    assert get(scopes=["transactions:read"]) == 403
    assert get(scopes=["webhooks:read"], reach={"ledgers": ["general_ledger_id"]}) == 403


def test_a_replay_must_begin_before_the_cursor(api: Api) -> None:
    api.done()
    made = ok(api.client.post("/webhooks", json={"url": URL}), 201)
    path = f"/webhooks/{made['webhook_id']}/replay"
    for wrong in ({}, {"from": made["cursor"]}, {"from": "9999.0"}, {"from": "0.0", "to": "0.0"}, {"from": "x"}):
        refused(api.client.post(path, json=wrong), 400, "GEN_VALIDATION_ERROR")
    ok(api.client.post(path, json={"from": "0.0"}), 202)
    refused(api.client.post(path, json={"from": "0.0"}), 409, "GEN_CONFLICT")
    refused(api.client.post("/webhooks/whk_x/replay", json={"from": "0.0"}), 404, "WEBHOOK_NOT_FOUND")


def test_health_names_endpoints_that_fail_or_are_inactive_and_misses_the_deliverer(api: Api, engine: Engine) -> None:
    made = ok(api.client.post("/webhooks", json={"url": URL}), 201)
    with begin(engine) as conn:
        conn.execute(
            text("UPDATE webhooks SET failing_since = clock_timestamp() - interval '1 min', last_error = 'why'")
        )
        heartbeats.record(conn, "deliverer@a:1", "deliverer", State(pid=1, up_s=1.0))
        (found,) = deliveries.health(conn)
        beats = heartbeats.every(conn)
    assert found.webhook_id == made["webhook_id"] and found.failing_s is not None and found.failing_s > 59

    def troubles(*webhooks: Health, alive: bool = True) -> list[str]:
        facts = Facts(
            heartbeats=beats if alive else [], ticks=[], oldest_age_s=None, verified=None, webhooks=list(webhooks)
        )
        return [each.what for each in judge(facts, 0.0) if each.part == "webhooks"]

    (what,) = troubles(found)
    assert made["webhook_id"] in what and what.endswith("why")
    assert troubles(found._replace(failing_s=5.0)) == []
    assert "410" in troubles(found._replace(disabled_why="the receiver answered 410 Gone"))[0]
    assert "no deliverer" in troubles(found._replace(failing_s=None), alive=False)[0]
    assert troubles(alive=False) == []
