"""Places of requests at work: who has one, who gives it back, and what happens when there is none."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest

from core.base.errors import TransientError
from web import places as module
from web.places import Body, Places

WITHIN_S = 30.0


class Client:
    """The body of a client that sends when the test lets it."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.asked = threading.Event()
        self.comes = threading.Event()

    def read(self, size: int = -1) -> bytes:
        self.asked.set()
        assert self.comes.wait(WITHIN_S)
        return self.pieces.pop(0) if self.pieces else b""


def call(places: Places, path: str, **environ: Any) -> tuple[str, bytes]:
    statuses: list[str] = []
    given = {"PATH_INFO": path, "REQUEST_METHOD": "POST", "wsgi.input": BytesIO(), **environ}
    answer = places(given, lambda status, *_: statuses.append(status))
    return statuses[0], b"".join(answer)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    waits = environ.get("waits")
    if waits is not None:
        assert waits.wait(WITHIN_S)
    start_response("200 OK", [])
    return [environ["wsgi.input"].read(5) if environ["PATH_INFO"] == "/body" else b"answered"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PLACE_WAIT_S", 0.05)


def test_a_request_whose_body_is_on_its_way_has_no_place() -> None:
    places, client = Places(app, places=1), Client([b"12345"])
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(call, places, "/body", CONTENT_LENGTH="5", **{"wsgi.input": client})
        assert client.asked.wait(WITHIN_S)
        assert call(places, "/other") == ("200 OK", b"answered")
        client.comes.set()
        assert slow.result() == ("200 OK", b"12345")
    assert places._free.qsize() == 1


@pytest.mark.usefixtures("impatient")
def test_without_a_place_a_request_is_503_and_health_answers() -> None:
    places, goes_on = Places(app, places=1), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        at_work = pool.submit(call, places, "/other", waits=goes_on)
        while places._free.qsize():
            time.sleep(0.01)
        status, body = call(places, "/other")
        assert status.startswith("503")
        assert json.loads(body)["error_detail"]["code"] == "GEN_UNAVAILABLE"
        assert call(places, "/health") == ("200 OK", b"answered")
        assert call(places, "/health/live") == ("200 OK", b"answered")
        goes_on.set()
        at_work.result()
    assert places._free.qsize() == 1


@pytest.mark.usefixtures("impatient")
def test_a_body_that_comes_when_all_places_are_taken_is_a_transient_error_and_leaves_their_number() -> None:
    places, client = Places(app, places=1), Client([b"12345"])
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(call, places, "/body", CONTENT_LENGTH="5", **{"wsgi.input": client})
        assert client.asked.wait(WITHIN_S)
        assert places.take()
        client.comes.set()
        with pytest.raises(TransientError):
            slow.result()
    places.give()
    assert places._free.qsize() == 1


def test_more_bodies_than_threads_are_for_are_refused_at_once_and_the_others_come() -> None:
    places, client = Places(app, places=2, bodies=1), Client([b"12345"])
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(call, places, "/body", CONTENT_LENGTH="5", **{"wsgi.input": client})
        assert client.asked.wait(WITHIN_S)
        with pytest.raises(TransientError, match="on their way"):
            call(places, "/body", CONTENT_LENGTH="5", **{"wsgi.input": Client([b"other"])})
        assert call(places, "/other") == ("200 OK", b"answered")
        client.comes.set()
        assert slow.result() == ("200 OK", b"12345")
    assert (places._free.qsize(), places._bodies.qsize()) == (2, 1)


def test_bodies_places_and_drains_together_leave_threads_for_the_health() -> None:
    assert module.BODIES_MAX + module.PLACES + module.DRAINS_MAX <= module.THREADS_MAX - 32


def test_a_place_is_given_back_when_the_application_fails() -> None:
    def fails(*_: Any) -> list[bytes]:
        raise ZeroDivisionError

    places = Places(fails, places=1)
    with pytest.raises(ZeroDivisionError):
        call(places, "/other")
    assert places._free.qsize() == 1


def test_what_a_refused_upload_still_sends_is_read_after_the_answer() -> None:
    client = Client([b"x", b"xx", b"xx"])
    client.comes.set()
    places = Places(app)
    answer = places({"PATH_INFO": "/other", "CONTENT_LENGTH": "5", "wsgi.input": client}, lambda *_: None)
    assert isinstance(answer, Iterator)
    assert next(answer) == b"answered"
    assert len(client.pieces) == 3
    assert list(answer) == []
    assert client.pieces == []


def test_no_more_than_so_many_threads_read_what_was_refused() -> None:
    client = Client([b"x"])
    client.comes.set()
    places = Places(app, drains=0)
    assert call(places, "/other", CONTENT_LENGTH="5", **{"wsgi.input": client}) == ("200 OK", b"answered")
    assert client.pieces == [b"x"]


def test_a_refused_upload_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAIN_BYTES_MAX", 1000)

    class Endless:
        sent = 0

        def read(self, size: int = -1) -> bytes:
            self.sent += size
            return b"x" * size

    body = Body({"wsgi.input": (endless := Endless())}, None)
    body.drain()
    assert 1000 <= endless.sent <= 2000


def test_a_process_whose_places_are_all_taken_for_long_does_not_move(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(app, places=1)
    assert places.moves
    assert places.take()
    assert places.moves
    monkeypatch.setattr(module, "STUCK_S", 0.0)
    assert not places.moves
    places.give()
    assert places.moves


@pytest.mark.parametrize("pieces", [[b"a", b"b", b"\n", b"c"]])
def test_a_body_is_read_by_lines(pieces: list[bytes]) -> None:
    client = Client(pieces)
    client.comes.set()
    assert list(Body({"wsgi.input": client}, None)) == [b"ab\n", b"c"]
