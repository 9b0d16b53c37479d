"""A load generator on one thread: many keep-alive connections, each with one request under way.

It shares the machine's cores with what it measures, so it does as little as it can: ready-made bytes out, a status and
a length in. A general-purpose tool costs several times as much for each request.
"""

import selectors
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Next = Callable[[], bytes | None]
"""A function that returns the bytes of the next request, or None when there are no more."""


@dataclass
class Load:
    """The answers to a load."""

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)


def request(url: str, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Make the bytes of a request, before the clock starts."""
    lines = {"Host": urlsplit(url).netloc, "Content-Type": "application/json", **headers}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return b"%sContent-Length: %d\r\n\r\n%s" % (head.encode(), len(body), body)


def send_all(url: str, following: Next, *, connections: int) -> Load:
    """Send every request that ``following`` gives, over this many connections at once. A lost one is not repaired.

    Raises:
        ConnectionError: the server closed a connection.
    """
    address = urlsplit(url)
    load, selector = Load(), selectors.DefaultSelector()
    started = time.perf_counter()
    for _ in range(connections):
        client = socket.create_connection((address.hostname, address.port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talk = _talk(client, following, load)
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


def _talk(client: socket.socket, following: Next, load: Load) -> Iterator[bool]:
    """One connection: sends, yields until there is something to read, and goes on until the requests are used up."""
    while (asked := following()) is not None:
        client.sendall(asked)
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
        status = int(answer[9:12])
        load.statuses[status] = load.statuses.get(status, 0) + 1
        load.bodies.append(answer[end + 4 :])
