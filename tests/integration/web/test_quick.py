"""Requests that share one thread: one of them that waits gets a thread of its own, and is begun once as far as anybody sees."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from core.ledger.store import balances as balance_store
from tests.harness.api import close
from tests.harness.gateway import Door, serving
from tests.integration.web.test_later import ask, item
from web import gateway
from web.app import create_app
from web.gateway import Gateway
from web.http import access
from web.http.rates import Bucket
from web.places import Places

WITHIN_S = 30.0


@pytest.fixture
def door(app: Flask) -> Iterator[Door]:
    with serving(app) as door:
        yield door


def test_a_request_that_waits_for_the_database_holds_up_no_other(
    door: Door, monkeypatch: pytest.MonkeyPatch, app: Flask
) -> None:
    assert ask(door, "POST", "/transactions", item("first")).status == 201
    known = app.extensions["pacioli"].directory.know([("@A", "USD")])[("@A", "USD")]
    reached, go_on = threading.Event(), threading.Event()
    find = balance_store.find_indicators

    def slowly(conn: object, names: list[tuple[str, str]]) -> object:
        if ("@Slow", "USD") in names:
            reached.set()
            assert go_on.wait(WITHIN_S)
        return find(conn, names)  # type: ignore[arg-type]

    monkeypatch.setattr(balance_store, "find_indicators", slowly)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, door, "POST", "/transactions", item("slow", destination="@Slow"))
        assert reached.wait(WITHIN_S)
        assert ask(door, "GET", "/").status == 200
        assert ask(door, "POST", "/transactions", item("other")).status == 201
        assert ask(door, "GET", f"/balances/{known.balance_id}").status == 200
        assert not slow.done()
        go_on.set()
        assert slow.result().status == 201


def test_a_request_that_is_begun_twice_counts_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, tokens = [], []
    monkeypatch.setattr(Bucket, "wait_s", lambda bucket: tokens.append(1) or 0.0)
    monkeypatch.setattr(access, "log", lambda environ, **line: lines.append((environ["PATH_INFO"], line["status"][:3])))
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_RATE": "9/9", "PACIOLI_ACCESS_LOG": "on"})
    places: Places = app.extensions["places"]
    with serving(app) as door:
        made = ask(door, "POST", "/transactions", item("first", destination="@New"))
        assert ask(door, "GET", "/balances/none").status == 404
    assert made.status == 201
    assert lines == [("/transactions", "201"), ("/balances/none", "404")]
    assert len(tokens) == 2
    assert places._free.qsize() == 64
    close(app)


def test_a_thread_that_is_stuck_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "STUCK_S", 0.0)
    reached, go_on, seen = threading.Event(), threading.Event(), []

    def sticks(environ: object, start: object) -> list[bytes]:
        reached.set()
        assert go_on.wait(WITHIN_S)
        return []

    watched = Gateway(sticks, lambda environ: True)
    seen.append(watched.moves)
    thread = threading.Thread(target=watched._answer, args=({"PATH_INFO": "/"}, _Silent(), b""))
    thread.start()
    assert reached.wait(WITHIN_S)
    seen.append(watched.moves)
    go_on.set()
    thread.join()
    assert [*seen, watched.moves] == [True, False, True]


class _Silent:
    """The connection of a client that listens to nothing."""

    def response_bytes(self, *_: object) -> None: ...

    def response_str(self, *_: object) -> None: ...


def test_a_balance_is_the_same_by_its_name_and_by_its_id(door: Door, app: Flask) -> None:
    assert ask(door, "GET", "/balances/indicator/@A/currency/USD").status == 404
    assert ask(door, "POST", "/transactions", item("first", skip_queue=True)).status == 201
    for _ in range(2):  # The name is looked up once.
        named = ask(door, "GET", "/balances/indicator/@A/currency/USD")
        found = ask(door, "GET", f"/balances/{named.json['balance_id']}")
        whole = ask(door, "GET", "/balances/indicator/@A/currency/USD?with_queued=false")
        assert (named.status, named.body, named.body) == (200, found.body, whole.body)
        assert named.json["balance"] == 100
