"""The load generator against servers that end connections."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ops.proving.load import NO_ANSWER, request, send_all


@contextmanager
def _server(answer: bytes, *, requests_each: int) -> Iterator[tuple[str, list[int]]]:
    """A server that answers so many requests on each connection, and then closes it. Gives its URL, and what it took on each."""
    taken: list[int] = []  # A connection that brings nothing is not among them.

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                for number in range(requests_each):
                    if not client.recv(65536):
                        break
                    if not number:
                        taken.append(0)
                    taken[-1] += 1
                    client.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", taken
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@pytest.mark.parametrize(
    "head",
    [
        "Connection: close\r\nContent-Length: 2",
        "Content-Length: 2\r\nconnection:Close",
        "Transfer-Encoding: chunked\r\nConnection: x-other, close",
    ],
)
def test_a_connection_that_the_server_says_it_closes_carries_no_other_request(head: str) -> None:
    body = "2\r\n{}\r\n0\r\n\r\n" if "chunked" in head else "{}"
    with _server(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}".encode(), requests_each=1) as (url, taken):
        load = send_all(url, [request(url, "GET", "/", {})] * 5, connections=1)
    assert load.statuses == [200] * 5
    assert load.bodies == [b"{}"] * 5
    assert taken == [1] * 5


def test_a_connection_that_the_server_keeps_carries_all_requests() -> None:
    answer = b"HTTP/1.1 200 OK\r\nX-Other: connection: close\r\nContent-Length: 2\r\n\r\n{}"
    with _server(answer, requests_each=10) as (url, taken):
        load = send_all(url, [request(url, "GET", "/", {})] * 5, connections=1)
    assert load.statuses == [200] * 5
    assert taken == [5]


def test_a_request_whose_connection_ends_without_an_answer_is_not_repeated() -> None:
    with _server(b"", requests_each=1) as (url, taken):
        load = send_all(url, [request(url, "GET", "/", {})] * 3, connections=1)
    assert load.statuses == [NO_ANSWER] * 3
    assert taken == [1] * 3
