"""Parts that every request meets: keys, headers, errors, health, and the description of the API."""

import gzip
import json
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ops.cli.docs import docs
from tests.harness.api import Api, close, ok, refused
from tests.harness.keys import KEY
from web.accept.doorbell import Doorbell
from web.app import create_app


def test_every_answer_has_a_request_id_and_the_careful_headers(api: Api) -> None:
    for path in ("/", "/health", "/transactions", "/transactions/nothing", "/nothing"):
        response = api.client.get(path, headers={"X-Request-Id": "mine-1"})
        assert response.headers["X-Request-Id"] == "mine-1"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
        assert response.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert response.headers["Cache-Control"] == "no-store"
    for odd in ("", "a b", "x" * 129, "ä"):
        response = api.client.get("/", headers={"X-Request-Id": odd})
        assert len(response.headers["X-Request-Id"]) == 36
    ids = {api.client.get("/").headers["X-Request-Id"] for _ in range(3)}
    assert len(ids) == 3


def test_an_unexpected_error_says_its_request_id_and_nothing_else(app: Flask) -> None:
    app.view_functions["queues.read_all"] = lambda: str(1 / 0)
    response = app.test_client().get("/queues")
    detail = refused(response, 500, "GEN_INTERNAL", "internal server error")
    assert detail["details"] == {"request_id": response.headers["X-Request-Id"]}
    assert "division" not in response.text


def test_a_database_that_is_away_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    client = create_app({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}).test_client()
    response = client.get("/transactions")
    refused(response, 503, "GEN_UNAVAILABLE", "the database is not available right now; try again")
    assert response.headers["Retry-After"] == "1"
    health = ok(client.get("/health"), 503)
    assert health["status"] == "DOWN"
    assert ok(client.get("/"), 200) == "server running..."


def test_a_key_opens_everything_and_none_only_what_is_open(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    client = app.test_client()
    for path in ("/transactions", "/balances", "/ledgers", "/queues", "/nothing", "/docs/nothing"):
        text = "Authentication required. Use X-Blnk-Key header"
        refused(client.get(path), 401, "AUTH_MISSING_API_KEY", text)
        for wrong in (KEY.upper(), KEY[:-1], KEY + "s", "ä"):
            response = client.get(path, headers={"X-Blnk-Key": wrong}, environ_overrides={"REMOTE_ADDR": path})
            refused(response, 401, "AUTH_INVALID_API_KEY", "Invalid API key")
    for path in ("/", "/health", "/docs", "/docs/scalar.js", "/docs/start.js", "/openapi.json"):
        assert client.get(path).status_code == 200
    assert ok(client.get("/transactions", headers={"X-Blnk-Key": KEY}), 200) == []
    assert client.get("/nothing", headers={"X-Blnk-Key": KEY}).status_code == 404
    close(app)


def test_a_browser_is_told_to_stay_with_tls_only_over_tls(client: FlaskClient) -> None:
    assert "Strict-Transport-Security" not in client.get("/").headers
    assert "Strict-Transport-Security" not in client.get("/", headers={"X-Forwarded-Proto": "https"}).headers
    assert client.get("/", base_url="https://localhost").headers["Strict-Transport-Security"] == "max-age=31536000"


def test_without_a_key_no_other_machine_is_answered(client: FlaskClient) -> None:
    for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
        assert client.get("/transactions", environ_overrides={"REMOTE_ADDR": address}).status_code == 200
    for address in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7", "", "unknown"):
        response = client.get("/transactions", environ_overrides={"REMOTE_ADDR": address})
        refused(response, 401, "AUTH_MISSING_API_KEY")


def test_other_methods_and_paths_are_answered_as_blnk_does(api: Api) -> None:
    api.done()
    head = api.client.head("/transactions")
    assert (head.status_code, head.data) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(api.client.get("/transactions").data)
    options = api.client.options("/transactions")
    assert (options.status_code, options.data) == (200, b"")
    assert set(options.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
    assert api.get("/ledgers/") == api.get("/ledgers")
    assert api.get("/ledgers", instance_id="instance_1") == api.get("/ledgers")


def test_a_path_that_is_no_route_is_answered_with_the_nearest_one(api: Api) -> None:
    for method, path, near in (
        ("POST", "/transaction", "POST /transactions"),
        ("GET", "/balance/bln_1/entries", "GET /balances/{balance_id}/entries"),
        ("GET", "/balances/bln_1/entrys", "GET /balances/{balance_id}/entries"),
        ("POST", "/transactions/bulks/now", "POST /transactions/bulk"),
        ("POST", "/funding-job", "POST /funding-jobs"),
        ("GET", "/helth", "GET /health"),
        ("POST", "/txn_1/metadatas", "POST /{entity_id}/metadata"),
        ("GET", "/nothing", None),
        ("POST", "/multi-search", None),
        ("POST", "/reconciliation/start", None),
    ):
        response = api.client.open(path, method=method)
        detail = response.get_json()["error_detail"]
        assert (response.status_code, detail["code"]) == (404, "GEN_NOT_FOUND")
        assert response.get_json()["error"] == detail["message"]
        assert detail["message"].startswith(f"no route {method} {path}; ")
        if near is not None:
            assert detail["message"].endswith(f"did you mean {near}?"), detail["message"]
            assert detail["details"] == {"nearest": near}
        else:
            assert "did you mean" not in detail["message"], detail["message"]


def test_a_method_that_a_path_does_not_have_is_answered_with_those_it_has(api: Api) -> None:
    for method, path, allowed in (
        ("DELETE", "/transactions", ["GET", "HEAD", "POST"]),
        ("PATCH", "/ledgers/x", ["GET", "HEAD", "PUT"]),
        ("TRACE", "/health", ["GET", "HEAD"]),
    ):
        response = api.client.open(path, method=method)
        detail = response.get_json()["error_detail"]
        assert (response.status_code, detail["code"]) == (405, "GEN_METHOD_NOT_ALLOWED")
        assert response.headers["Allow"] == ", ".join(allowed)
        assert detail["details"] == {"allowed": allowed}
        assert detail["message"] == f"no route {method} {path}; this path takes {', '.join(allowed)}"


@pytest.mark.smoke
def test_queues_and_health_say_what_waits(api: Api) -> None:
    accepted = ok(api.post(), 201)
    number = api.transaction(accepted["transaction_id"])["queue"]["number"]
    queues = api.get("/queues")
    assert [queue["number"] for queue in queues] == list(range(8))
    waiting = queues[number]
    assert (waiting["depth"], waiting["cursor"], waiting["last_drained_at"], waiting["decided"]) == (1, 0, None, 0)
    assert waiting["oldest_age_s"] >= 0
    health = api.get("/health")
    assert health["status"] == "DEGRADED"
    assert health["checks"]["database"] == "UP"
    assert health["checks"]["workers"] == "DEGRADED"
    assert health["checks"]["oldest_queued_age_s"] >= 0
    api.drain()
    drained = api.get("/queues")[number]
    assert (drained["depth"], drained["oldest_age_s"], drained["cursor"], drained["decided"]) == (0, None, 1, 1)
    assert api.get("/health")["checks"]["oldest_queued_age_s"] is None


def test_every_route_is_described(app: Flask) -> None:
    document = app.test_client().get("/openapi.json").get_json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    routes = {
        (method, rule.rule.replace("<rest:", "<").replace("<path:", "<").replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert described == routes
    schemas = document["components"]["schemas"]
    assert set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document))) <= schemas.keys()
    for name in ("TransactionRequest", "Transaction", "Balance", "Entry", "Ledger", "Queue", "Error"):
        assert schemas[name]["properties"], name
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path


def test_the_page_of_the_api_needs_nothing_from_elsewhere(app: Flask) -> None:
    client = app.test_client()
    response = client.get("/docs")
    assert response.content_type == "text/html; charset=utf-8"
    (policy,) = response.headers.getlist("Content-Security-Policy")
    assert "default-src 'none'; script-src 'self';" in policy and "connect-src 'self'" in policy
    assert "://" not in response.text
    scripts = re.findall(r'<script src="([^"]+)"></script>', response.text)
    assert response.text.count("<script") == len(scripts) == 2
    for path in scripts:
        script = client.get(path)
        assert (script.status_code, script.mimetype) == (200, "text/javascript"), path
    assert 'url: "/openapi.json"' in client.get("/docs/start.js").text


def test_a_browser_that_opens_the_address_is_told_where_to_go(app: Flask) -> None:
    client = app.test_client()
    for accept in (None, "*/*", "application/json", "application/json, text/html;q=0.5"):
        headers = {"Accept": accept} if accept else {}
        assert client.get("/", headers=headers).get_json() == "server running..."
    page = client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.mimetype == "text/html"
    for path in re.findall(r'href="([^"]+)"', page.text):
        assert client.get(path).status_code in (200, 503), path


def test_the_page_of_the_api_links_to_the_book(app: Flask) -> None:
    document = app.test_client().get("/openapi.json").get_json()
    (port,) = (each for each in docs.params if each.name == "port")
    assert document["externalDocs"]["url"] == f"http://127.0.0.1:{port.default}"


def test_the_viewer_goes_out_packed_to_whoever_takes_that(app: Flask) -> None:
    client = app.test_client()
    packed = client.get("/docs/scalar.js", headers={"Accept-Encoding": "gzip, br"})
    plain = client.get("/docs/scalar.js")
    assert packed.headers["Content-Encoding"] == "gzip" and "Content-Encoding" not in plain.headers
    assert gzip.decompress(packed.data) == plain.data
