"""The parts of Flask and werkzeug that ours stand in for: the same routes, the same context, the same answers."""

from typing import Any

from flask import Flask, Response
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.test import create_environ

from tests.harness.searching import search
from web.http.lean import Answer, Lean
from web.http.matching import Table

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", "TRACE", "")

OWN = Map(
    [
        Rule("/a/<x>", endpoint="one", methods=["GET"]),
        Rule("/a/<x>", endpoint="other method", methods=["PUT"]),
        Rule("/a/b", endpoint="whole", methods=["POST"]),
        Rule("/a/<x>/c", endpoint="before the last", methods=["GET"]),
        Rule("/a/d/<y>", endpoint="takes the same path", methods=["GET"]),
        Rule("/e/<path:x>", endpoint="rest", methods=["GET"]),
        Rule("/e/<x>", endpoint="a step of the rest", methods=["GET"]),
        Rule("/f/<int:x>", endpoint="number", methods=["GET"]),
        Rule("/f/<x>", endpoint="no number", methods=["GET"]),
        Rule("/g/<x>/<y>", endpoint="two", methods=["GET"]),
        Rule("/h/x<x>", endpoint="part of a step", methods=["GET"]),
        Rule("/i/", endpoint="slash", methods=["GET"]),
        Rule("/<x>", endpoint="first step", methods=["GET"]),
        Rule("/<x>/d", endpoint="last step", methods=["GET"]),
        Rule("/j/<x>", endpoint="default", methods=["GET"], defaults={"y": "1"}),
        Rule("/k/<x>", endpoint="any method"),
    ],
    strict_slashes=False,
    merge_slashes=False,
)


def by_werkzeug(routes: Map, method: str, path: str) -> Any:
    try:
        return routes.bind("", url_scheme="http").match(path, method, return_rule=True)
    except HTTPException as error:
        return type(error)


def paths(routes: Map) -> st.SearchStrategy[str]:
    """Paths near the rules: their steps in any order, ordinary parameters, and what might be taken for either."""
    steps = sorted({step for rule in routes.iter_rules() for step in rule.rule.split("/")[1:]})
    step = st.sampled_from([*steps, "txn_1", "", " ", ".", "..", "1", "x1", "a\nb", "\n", "%2F", "<x>"])
    near = st.lists(step, max_size=6).map(lambda found: "/" + "/".join(found))
    filled = st.sampled_from([rule.rule for rule in routes.iter_rules()]).flatmap(
        lambda rule: step.map(lambda given: "/".join(given if "<" in each else each for each in rule.split("/")))
    )
    return near | filled | filled.map(lambda path: f"{path}/")


@search(150)
@given(data=st.data())
def test_the_table_finds_what_werkzeug_finds(app: Flask, data: st.DataObject) -> None:
    assert isinstance(app, Lean)
    for routes in (app.url_map, OWN):
        method, path = data.draw(st.sampled_from(METHODS)), data.draw(paths(routes))
        found = Table(routes).find(method, path) if routes is OWN else app.find(_environ(method, path))
        if found is not None:
            assert found == by_werkzeug(routes, method, path), (method, path)


def test_the_table_finds_what_werkzeug_finds_where_rules_meet() -> None:
    table, found = Table(OWN), 0
    for rule in OWN.iter_rules():
        for step in ("1", "x1", "b", "c", "d", "a/b", "", "\n"):
            path = "/".join(step if "<" in each else each for each in rule.rule.split("/"))
            for method in METHODS:
                answer = table.find(method, path)
                assert answer in (None, by_werkzeug(OWN, method, path)), (method, path)
                found += answer is not None
    assert found > 50


def test_the_table_knows_the_busy_routes(app: Flask) -> None:
    assert isinstance(app, Lean)
    for method, path in (
        ("POST", "/transactions"),
        ("POST", "/transactions/bulk"),
        ("GET", "/transactions/txn_1"),
        ("PUT", "/transactions/inflight/txn_1"),
        ("GET", "/balances/bln_1"),
        ("GET", "/balances/bln_1/entries"),
        ("GET", "/health"),
    ):
        assert app.find(_environ(method, path)) is not None, path


def test_every_rule_is_found_by_the_table_or_left_to_werkzeug(app: Flask) -> None:
    assert isinstance(app, Lean)
    found = 0
    for rule in app.url_map.iter_rules():
        path = "/".join("x" if "<" in step else step for step in rule.rule.split("/"))
        for method in sorted(rule.methods or ()):
            answer = app.find(_environ(method, path))
            assert answer in (None, by_werkzeug(app.url_map, method, path))
            found += answer is not None
    assert found > 60


def test_a_url_is_built_as_werkzeug_builds_it(app: Flask) -> None:
    rules = [(rule.rule, rule.endpoint, rule.arguments) for rule in app.url_map.iter_rules()]
    plain = Map([Rule(rule, endpoint=endpoint) for rule, endpoint, _ in rules], converters=app.url_map.converters)
    ours, theirs = (routes.bind("here") for routes in (app.url_map, plain))
    for _, endpoint, arguments in rules:
        for values in (dict.fromkeys(arguments, "a b/é"), {**dict.fromkeys(arguments, "x"), "more": "1 2"}):
            for _ in range(2):
                assert ours.build(endpoint, values) == theirs.build(endpoint, values)


def test_a_request_has_the_context_that_flask_gives(app: Flask, client: FlaskClient) -> None:
    """A client that keeps the context makes Flask's own. Both see the same request and answer alike."""
    for method, path in (
        ("GET", "/ledgers"),
        ("GET", "/ledgers/none"),
        ("GET", "/nothing"),
        ("PATCH", "/ledgers"),
        ("OPTIONS", "/ledgers/x"),
        ("HEAD", "/ledgers"),
        ("GET", "/ledgers?unknown=1"),
        ("POST", "/transactions"),
    ):
        lean = client.open(path, method=method, json={} if method == "POST" else None)
        with app.test_client() as keeping:
            flask = keeping.open(path, method=method, json={} if method == "POST" else None)
        assert (lean.status, lean.data) == (flask.status, flask.data), (method, path)
        assert sorted(lean.headers.keys()) == sorted(flask.headers.keys()), (method, path)


def test_a_request_and_its_environment_do_not_keep_each_other(app: Flask) -> None:
    environ = {**create_environ("/ledgers"), "REMOTE_ADDR": "127.0.0.1"}
    statuses: list[str] = []
    list(app(environ, lambda status, *_: statuses.append(status)))
    assert statuses == ["200 OK"]
    assert "werkzeug.request" not in environ


def test_an_answer_is_the_response_that_werkzeug_makes() -> None:
    headers = [("Content-Type", "application/json"), ("Content-Length", "2")]
    for status in (200, 201, 202, 400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 500, 503):
        ours, theirs = Answer(b"{}", status, list(headers)), Response([b"{}"], status, headers)
        assert (ours.status, ours.status_code, ours.get_data()) == (
            theirs.status,
            theirs.status_code,
            theirs.get_data(),
        )
        assert list(ours.headers) == list(theirs.headers)


def _environ(method: str, path: str) -> dict[str, Any]:
    return {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.url_scheme": "http"}
