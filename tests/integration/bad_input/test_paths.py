"""Odd paths, queries and headers are answered."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.harness.bad_input import assert_refused, counts, object_of, prepare, send
from tests.harness.junk import ODD, TARGETS
from web.service import Service


@pytest.mark.parametrize(
    "path",
    [
        "/transactions/{}",
        "/transactions/txn_{}",
        "/transactions/reference/{}",
        "/balances/{}",
        "/balances/bln_{}",
        "/balances/{}/entries",
        "/balances/indicator/{}/currency/USD",
        "/balances/indicator/@A/currency/{}",
        "/ledgers/{}",
        "/{}",
    ],
)
def test_an_odd_path_names_nothing(client: FlaskClient, path: str) -> None:
    for odd in ODD:
        response = client.get(path.format(odd))
        assert response.status_code == 404, odd
        if response.is_json:
            assert response.get_json()["error_detail"]["code"].endswith("_NOT_FOUND")
        assert "X-Bad" not in response.headers


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("/transactions", "limit offset after sort_by sort_order wait from unknown"),
        ("/transactions/{transaction}", "wait"),
        ("/transactions/reference/nothing", "wait"),
        ("/balances", "limit offset after"),
        ("/balances/{balance}", "with_queued"),
        ("/balances/{balance}/entries", "limit after from to"),
        ("/ledgers", "limit offset after"),
    ],
)
def test_an_odd_query_is_answered(client: FlaskClient, path: str, arguments: str) -> None:
    transaction = client.get("/transactions").get_json()[0]
    path = path.format(transaction=transaction["transaction_id"], balance=transaction["source"])
    for name in arguments.split():
        for odd in [*ODD, "", "&" + name, "1e3", "%EF%BC%91"]:
            response = client.get(f"{path}?{name}={odd}")
            assert response.status_code in (200, 400, 404), (name, odd)
            if response.status_code == 400:
                assert name in response.get_json()["error_detail"]["message"] or "NUL" in response.get_json()["error"]


@pytest.mark.parametrize("path", ["/transactions?wait={}", "/transactions/inflight/{{hold}}?wait={}"])
def test_a_wait_that_is_none_is_refused_before_anything_is_written(
    client: FlaskClient, service: Service, path: str
) -> None:
    target = TARGETS["settle" if "inflight" in path else "transaction"]
    hold, fields = prepare(client, target)
    before = counts(service)
    for odd in ("x", "-1", "1h", "", "NaN", "inf", "9" * 400):
        address = path.format(odd).replace("/transactions/inflight/{hold}", hold)
        response = send(client, target, address, object_of(fields))
        assert response.status_code == 400
        assert_refused(response, "wait")
    assert counts(service) == before


def test_odd_headers_are_answered(client: FlaskClient) -> None:
    odd = ["\x7f", "x" * 10_000, "\xff", "{}", "*/*;q=x", ";;;", "text/csv;q=1e9"]
    balance = client.get("/balances").get_json()[0]["balance_id"]
    for value in odd:
        headers = dict.fromkeys(("Accept", "X-Request-Id", "X-Blnk-Key", "Range", "If-None-Match", "Cookie"), value)
        response = client.get(f"/balances/{balance}/entries", headers=headers)
        assert response.status_code == 200
        assert response.headers["X-Request-Id"] != "\xff"


def test_a_nul_is_refused_by_every_route_wherever_it_is(app: Flask, client: FlaskClient, service: Service) -> None:
    before = counts(service)
    tried = 0
    for rule in app.url_map.iter_rules():
        places = re.findall(r"<[^>]*>", rule.rule)
        path = re.sub(r"<[^>]*>", "x", rule.rule)
        paths = [f"{path}?a=%00", f"{path}?%00=a", f"{path}?after=1%00&limit=1", f"{path}%00"]
        for place in places:
            paths.append(re.sub(r"<[^>]*>", "x", rule.rule.replace(place, "a%00b", 1)))
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            requests: list[tuple[str, bytes]] = [(each, b"{}") for each in paths]
            if app.view_functions[rule.endpoint].operation.body is not None:  # type: ignore[attr-defined]
                nul = [
                    rb'{"a\u0000": 1}',
                    rb'{"name": "\u0000", "description": "\u0000"}',
                    rb'{"meta_data": {"a": ["\u0000"]}}',
                ]
                requests += [(path, body) for body in nul]
            for each, body in requests:
                response = client.open(each, method=method, data=body, content_type="application/json")
                assert 400 <= response.status_code < 500, (method, each, body, response.text[:300])
                tried += 1
    assert tried > 200
    assert counts(service) == before
