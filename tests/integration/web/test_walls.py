"""Foreign web pages are refused: hosts, origins, and bodies without a type."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.harness import walls_cpu
from tests.harness.api import Api, close, refused
from web.accept.doorbell import Doorbell
from web.app import create_app
from web.http import wire

BODY = {
    "precise_amount": 1, "precision": 100, "currency": "USD", "reference": "r", "source": "@A", "destination": "@B",
    "allow_overdraft": True, "description": "d",
}  # fmt: skip
JSON = {"Content-Type": "application/json"}

LOOPBACK = ["localhost", "LOCALHOST:5001", "127.0.0.1", "127.0.0.1:5001", "127.8.9.1", "[::1]:5001", "localhost.:80"]
FOREIGN = [
    "evil.example", "evil.example:5001", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "0.0.0.0", "[::2]",
    "xlocalhost", "localhost@evil.example", "127.1", "2130706433", "", "é", "a" * 5000,
]  # fmt: skip
ORIGINS = [
    "http://evil.example",
    "https://localhost",
    "http://localhost:3000",
    "null",
    "",
    "http://127.0.0.1:5001",
    "file://",
]


def post(client: FlaskClient, headers: dict[str, str]) -> Any:
    return client.post("/transactions", data=json.dumps(BODY), headers=headers)


def test_loopback_names_are_answered(client: FlaskClient) -> None:
    for host in LOOPBACK:
        response = post(client, {"Host": host, **JSON})
        assert response.status_code in (200, 201), (host, response.text)


@pytest.mark.parametrize("path", ["/transactions", "/", "/docs", "/openapi.json", "/nothing"])
def test_another_host_reads_and_writes_nothing(api: Api, path: str) -> None:
    for host in FOREIGN:
        detail = refused(api.client.get(path, headers={"Host": host}), 421, "GEN_FOREIGN_HOST")
        assert "PACIOLI_ALLOWED_HOSTS" in detail["message"] and len(detail["message"]) < 300
        refused(post(api.client, {"Host": host, **JSON}), 421, "GEN_FOREIGN_HOST")
    assert api.get("/transactions") == []


@pytest.fixture
def named(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    app = create_app(
        {"DATABASE_URL": database_url, "PACIOLI_ALLOWED_HOSTS": "Ledger.example.com, .corp.example,fd00::1"}
    )
    yield app
    close(app)


def test_named_hosts_are_answered_and_none_beside_them(named: Flask) -> None:
    client = named.test_client()
    for host in ("ledger.example.com", "LEDGER.example.com:443", "a.corp.example", "b.a.corp.example:1", "[fd00::1]:5"):
        assert client.get("/transactions", headers={"Host": host}).status_code == 200, host
    for host in ("x.ledger.example.com", "example.com", "corp.example.evil", "xcorp.example"):
        refused(client.get("/transactions", headers={"Host": host}), 421, "GEN_FOREIGN_HOST")


def test_a_page_of_another_origin_posts_nothing(api: Api) -> None:
    for origin in ORIGINS:
        headers = {"Host": "localhost:5001", "Origin": origin, **JSON}
        refused(post(api.client, headers), 403, "GEN_FOREIGN_ORIGIN")
        refused(api.client.get("/transactions", headers=headers), 403, "GEN_FOREIGN_ORIGIN")
    assert api.get("/transactions") == []


def test_the_pages_of_the_service_may_call_it(api: Api) -> None:
    headers = {"Host": "localhost:5001", "Origin": "http://localhost:5001", "Sec-Fetch-Site": "same-origin", **JSON}
    assert post(api.client, headers).status_code == 201
    assert api.client.get("/transactions", headers={"Sec-Fetch-Site": "none"}).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_gets_nothing_but_opens_a_page(api: Api, site: str) -> None:
    """Without an Origin: a GET for a picture or a script, a form in an old browser, a link."""
    opens = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for path in ("/", "/docs"):
        assert api.client.get(path, headers=opens).status_code == 200
        for part in ({"Sec-Fetch-Dest": "iframe"}, {"Sec-Fetch-Mode": "no-cors"}):
            refused(api.client.get(path, headers=opens | part), 403, "GEN_FOREIGN_ORIGIN")
        refused(api.client.post(path, headers=opens), 403, "GEN_FOREIGN_ORIGIN")
    for path in ("/transactions", "/openapi.json", "/nothing", "/docs/scalar.js"):
        refused(api.client.get(path, headers=opens), 403, "GEN_FOREIGN_ORIGIN")
    refused(post(api.client, {"Sec-Fetch-Site": site, **JSON}), 403, "GEN_FOREIGN_ORIGIN")
    assert api.get("/transactions") == []


@pytest.mark.parametrize(
    "path", ["/transactions", "/transactions/bulk", "/ledgers", "/balances", "/transactions/filter"]
)
def test_a_body_is_json_and_says_so(api: Api, path: str) -> None:
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json"):
        for headers in ({}, {"Transfer-Encoding": "chunked"}):
            typed = headers | ({"Content-Type": kind} if kind else {})
            alone = {"CONTENT_LENGTH": ""} if headers else {}  # The server takes the length out beside chunks.
            response = api.client.post(path, data=json.dumps(BODY), headers=typed, environ_overrides=alone)
            assert "application/json" in refused(response, 415, "GEN_UNSUPPORTED_MEDIA_TYPE")["message"]
    assert api.get("/transactions") == []


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"HTTP_CONTENT_LENGTH": "3"}, "Content-Length"),
        ({"HTTP_CONTENT_TYPE": "application/json"}, "Content-Type"),
        ({"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "5"}, "Transfer-Encoding"),
        ({"HTTP_TRANSFER_ENCODING": "gzip,chunked"}, "Transfer-Encoding"),
        ({"HTTP_HOST": "localhost:80,evil.example"}, "Host"),
    ],
)
def test_a_header_that_can_be_read_in_two_ways_is_refused(api: Api, environ: dict[str, str], name: str) -> None:
    """The gateway joins repeated headers in this way, and drops those with an underscore (test_gateway.py). Others keep both."""
    detail = refused(api.client.get("/transactions", environ_overrides=environ), 400, "GEN_BAD_REQUEST")
    assert detail["message"].startswith(f"{name} is there twice")


@pytest.mark.parametrize("name", ["Forwarded", "Idempotency-Key", "Origin", "Sec-Fetch-Site", "X-Forwarded-For"])
def test_a_header_that_cannot_be_read_and_that_something_rests_on_is_refused(api: Api, name: str) -> None:
    """The gateway names those that it could not read (test_gateway.py). Without the header the request would mean another."""
    environ = {wire.UNREADABLE: ("user-agent", name.lower())}
    for path in ("/transactions", "/dashboard"):
        detail = refused(api.client.get(path, environ_overrides=environ), 400, "GEN_BAD_REQUEST")
        assert detail["message"].startswith(f"{name} has a byte that is not ASCII")


def test_other_headers_may_have_any_bytes(api: Api) -> None:
    assert api.client.get("/transactions", environ_overrides={wire.UNREADABLE: ("user-agent",)}).status_code == 200


def test_two_answers_about_the_site_are_foreign(api: Api) -> None:
    for site in ("none,cross-site", "same-origin,cross-site", "cross-site", "anything"):
        refused(api.client.get("/transactions", headers={"Sec-Fetch-Site": site}), 403, "GEN_FOREIGN_ORIGIN")


def test_the_walls_together_cost_a_request_a_few_microseconds(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``python -m tests.harness.walls_cpu`` has the figures. The bound here is ten times the limit."""
    monkeypatch.setattr(walls_cpu, "ROUNDS", 5)
    monkeypatch.setattr(walls_cpu, "CALLS", 300)
    found = walls_cpu.measure(database_url)
    assert {"web.http.walls.wall.check", "web.app._key_check.check"} <= found.keys()
    assert sum(found.values()) < 10 * walls_cpu.LIMIT_US, found
