"""Bodies that are slow, silent, broken or large, and what the application sees of a request. Real sockets, in this process."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from flask import Flask, Response, request

from tests.harness.gateway import Door, read, serving
from web import gateway
from web.http import errors, wire
from web.places import Places

POST = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def sized(length: int) -> bytes:
    return POST + f"Content-Length: {length}\r\n\r\n".encode()


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    app = Flask(__name__)
    errors.install(app)

    @app.post("/body")
    def body() -> str:
        return str(len(request.get_data()))

    @app.route("/environ", methods=["GET", "POST"])
    def environ() -> dict[str, str]:
        return {name: value for name, value in request.environ.items() if isinstance(value, str)}

    @app.get("/unreadable")
    def unreadable() -> list[str]:
        return list(request.environ.get(wire.UNREADABLE, ()))

    @app.get("/stream")
    def stream() -> Response:
        return Response(f"{number}\n" for number in range(3))

    def fails(*_: object) -> list[bytes]:
        raise ZeroDivisionError

    places = Places(app.wsgi_app)
    with serving(
        lambda environ, start: (fails if environ["PATH_INFO"] == "/fails" else places)(environ, start)
    ) as door:
        yield door


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "BODY_S", 0.4)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("head", [sized(100), sized(100_000), CHUNKED, CHUNKED + b"5\r\nhe"])
@pytest.mark.parametrize("pause_s", [None, 0.1])
def test_a_body_that_does_not_come_in_time_is_answered_408_and_cut(
    door: Door, head: bytes, pause_s: float | None
) -> None:
    with door.connect(head) as client:
        over = threading.Event()

        def drip() -> None:
            try:
                while pause_s and not over.wait(pause_s):
                    client.sendall(b"x" if b"chunked" not in head else b"1\r\nx\r\n"[:1])
            except OSError:
                pass

        thread = threading.Thread(target=drip)
        thread.start()
        status, answer = read(client)
        over.set()
        thread.join()
        if status != 400:  # Bytes that are no chunk.
            assert (status, json.loads(answer)["error_detail"]["code"]) == (408, "GEN_BODY_TOO_SLOW")
        client.settimeout(10)
        assert client.recv(100) == b""


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_that_comes_at_a_good_rate_has_all_the_time_it_needs(door: Door, chunked: bool) -> None:
    pieces = [b"x" * 100_000] * 6
    with door.connect(CHUNKED if chunked else sized(600_000)) as client:
        for piece in pieces:  # The first one earns the others three seconds.
            client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            time.sleep(0.15)  # Together more than twice what is too slow for a body of which nothing comes.
        if chunked:
            client.sendall(b"0\r\n\r\n")
        assert read(client) == (200, b"600000")
        client.sendall(sized(3) + b"abc")
        assert read(client) == (200, b"3")


@pytest.mark.parametrize(
    ("start", "then"),
    [
        (sized(5) + b"he", b""),
        (sized(100_000) + b"he", b""),
        (CHUNKED + b"5\r\nhello\r\n", b""),
        (CHUNKED + b"5\r\nhello\r\n3\r\na", b""),
        (CHUNKED + b"5\r\nhello\r\n", b"zz\r\nabc\r\n0\r\n\r\n"),
        (CHUNKED + b"5\r\nhello\r\n", b"0\r\nTrailer: x\r\n\r\n"),
    ],
)
def test_a_body_that_is_not_whole_is_never_taken_for_a_whole_one(door: Door, start: bytes, then: bytes) -> None:
    with door.connect(start) as client:
        client.sendall(then)
        client.shutdown(socket.SHUT_WR)
        data = b""
        while part := client.recv(4096):
            data += part
    assert data == b"" or data.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("head", [sized(100), sized(100_000), CHUNKED])
def test_a_thousand_silent_bodies_leave_the_service_to_others(
    door: Door, head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "CROWDED_S", 0.5)
    with ExitStack() as stack:
        silent = [stack.enter_context(door.connect(head)) for _ in range(1000)]
        began = time.monotonic()
        for _ in range(20):
            assert door.ask(sized(5) + b"quick") == (200, b"5")
        assert time.monotonic() - began < 10
        assert {read(client)[0] for client in silent} <= {408, 503}  # In a crowd they have less time.


def test_whoever_asks_for_a_continue_gets_it(door: Door) -> None:
    with door.connect(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n") as client:
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"hello")
        assert read(client) == (200, b"5")


def test_a_header_with_an_underscore_is_dropped_and_repeated_ones_are_joined(door: Door) -> None:
    head = (
        b"POST /environ HTTP/1.1\r\nX_Blnk_Key: forged\r\nHost: a\r\nX-Blnk-Key: right\r\nx_blnk-key: forged\r\nHost: b\r\n"
        b"Content_Type: c\r\nContent_Length: 3\r\nTransfer_Encoding: chunked\r\nCookie: a=1\r\nCookie: b=2\r\n"
        b"Content-Length: 2\r\n\r\nok"
    )
    shown = json.loads(door.ask(head)[1])
    assert (shown["HTTP_X_BLNK_KEY"], shown["HTTP_HOST"], shown["HTTP_COOKIE"]) == ("right", "a,b", "a=1;b=2")
    assert shown["CONTENT_LENGTH"] == "2"
    assert not shown.keys() & {"CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"}
    alone = b"GET /environ HTTP/1.1\r\nHost: a\r\nX_Blnk_Key: forged\r\n\r\n"
    assert "HTTP_X_BLNK_KEY" not in json.loads(door.ask(alone)[1])


def test_a_header_whose_value_cannot_be_read_is_named(door: Door) -> None:
    """Granian leaves out each value that has a byte beside ASCII."""
    head = b"GET /unreadable HTTP/1.1\r\nHost: a\r\nAccept: b\r\nAccept: c\r\n"
    assert json.loads(door.ask(head + b"\r\n")[1]) == []
    for value in (b"203.0.113.7, \xff", "é".encode()):
        ask = head + b"X-Forwarded-For: " + value + b"\r\nCookie: " + value + b"\r\n\r\n"
        assert sorted(json.loads(door.ask(ask)[1])) == ["cookie", "x-forwarded-for"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"/environ?a=%00&b=%C3%A9", {"PATH_INFO": "/environ", "QUERY_STRING": "a=%00&b=%C3%A9"}),
        (b"http://elsewhere/environ", {"PATH_INFO": "/environ", "HTTP_HOST": "h"}),
    ],
)
def test_the_application_sees_the_request_line_as_wsgi_says(door: Door, line: bytes, shown: dict[str, str]) -> None:
    status, answer = door.ask(b"GET " + line + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    assert status == 200
    assert json.loads(answer).items() >= shown.items()


def test_a_path_of_other_letters_reaches_the_application_as_bytes() -> None:
    seen = []

    def app(environ: dict[str, object], start: object) -> list[bytes]:
        seen.append((environ["PATH_INFO"], environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]))
        start("204 No Content", [])  # type: ignore[operator]
        return []

    head = b"GET /%C3%A9%20a HTTP/1.1\r\nHost: h\r\n\r\n"
    with serving(app, family=socket.AF_INET6) as door, door.connect(head, host="::1") as client:
        assert read(client) == (204, b"")
    assert seen == [("/é a".encode().decode("latin-1"), "::1", "http")]


def test_an_answer_in_parts_and_one_that_fails(door: Door) -> None:
    assert door.ask(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n") == (200, b"0\n1\n2\n")
    assert door.ask(b"GET /fails HTTP/1.1\r\nHost: h\r\n\r\n") == (500, b"internal server error")
