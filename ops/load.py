"""A load generator on one thread: many keep-alive connections, each with one request under way.

It shares the machine's cores with what it measures, so it does as little as it can: ready-made bytes out, a status and
a length in. A general-purpose tool costs several times as much for each request.
"""

import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Make = Callable[[], bytes | None]
"""Gives the next body to post; None when there are no more."""


@dataclass
class Load:
    """What came back."""

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())


def post_all(url: str, path: str, make: Make, *, connections: int, keep_bodies: bool = False) -> Load:
    """Post every body that ``make`` gives, over this many connections at once. A lost connection is not repaired.

    Raises:
        ConnectionError: the server closed a connection.
    """
    address = urlsplit(url)
    head = f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\nContent-Length: "
    load, selector = Load(), selectors.DefaultSelector()
    started = time.perf_counter()
    for _ in range(connections):
        client = socket.create_connection((address.hostname, address.port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talk = _talk(client, head.encode(), make, load, keep_bodies)
        if next(talk, None) is not None:
            selector.register(client, selectors.EVENT_READ, talk)
        else:
            client.close()
    while selector.get_map():
        for key, _ in selector.select():
            if next(key.data, None) is None:
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
    load.seconds = time.perf_counter() - started
    return load


def _talk(client: socket.socket, head: bytes, make: Make, load: Load, keep_bodies: bool) -> Iterator[bool]:
    """One connection: sends, yields until there is something to read, and goes on until the bodies are used up."""
    while (body := make()) is not None:
        sent_at = time.perf_counter()
        client.sendall(b"%s%d\r\n\r\n%s" % (head, len(body), body))
        answer, whole = b"", 0
        while not whole or len(answer) < whole:
            yield True
            piece = client.recv(65536)
            if not piece:
                raise ConnectionError("the server closed the connection")
            answer += piece
            end = answer.find(b"\r\n\r\n")
            if end >= 0 and not whole:
                length = answer[:end].lower().partition(b"content-length: ")[2]
                whole = end + 4 + int(length.partition(b"\r\n")[0])
        load.latencies_s.append(time.perf_counter() - sent_at)
        status = int(answer[9:12])
        load.statuses[status] = load.statuses.get(status, 0) + 1
        if keep_bodies:
            load.bodies.append(answer[end + 4 :])
