"""A load generator on one thread: many keep-alive connections, each with one request under way.

It shares the machine's cores with what it measures, so it does as little as it can: ready-made bytes out, a status and
a length in. A general-purpose tool costs several times as much for each request.
"""

import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

NO_ANSWER = 0
"""The status of a request whose connection ended before its answer."""


@dataclass
class Load:
    """The answers to a load, each at the place of its request."""

    statuses: list[int]
    bodies: list[bytes]
    waits_s: list[float]
    seconds: float = 0.0
    counts: Counter[int] = field(default_factory=Counter)
    """How many answers have each status."""


def request(url: str, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Make the bytes of a request, before the clock starts."""
    lines = {"Host": urlsplit(url).netloc, "Content-Type": "application/json", **headers}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return b"%sContent-Length: %d\r\n\r\n%s" % (head.encode(), len(body), body)


def send_all(url: str, requests: Sequence[bytes], *, connections: int) -> Load:
    """Send every request once, over this many connections at a time.

    A connection that the server ends is opened again. If it carried a request without an answer, that has the status
    `NO_ANSWER`, and is not repeated: nobody knows whether it was taken.

    Raises:
        OSError: the server does not take connections.
    """
    count = len(requests)
    load, selector = Load([NO_ANSWER] * count, [b""] * count, [0.0] * count), selectors.DefaultSelector()
    address, left = urlsplit(url), iter(enumerate(requests))
    started = time.perf_counter()

    def open_one() -> None:
        client = socket.create_connection((address.hostname, address.port or 80))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talk = _talk(client, left, load)
        if next(talk, None) is not None:
            selector.register(client, selectors.EVENT_READ, talk)
        else:
            client.close()

    for _ in range(min(connections, count)):
        open_one()
    while selector.get_map():
        for key, _ in selector.select():
            try:
                over, broken = next(key.data, None) is None, False
            except ConnectionError:
                over = broken = True
            if over:
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
            if broken:
                open_one()
    load.seconds = time.perf_counter() - started
    load.counts = Counter(load.statuses)
    return load


def _talk(client: socket.socket, left: Iterator[tuple[int, bytes]], load: Load) -> Iterator[bool]:
    """One connection: sends, yields until there is something to read, and goes on until the requests are used up."""
    for place, asked in left:
        sent_at = time.perf_counter()
        client.sendall(asked)
        answer, end, whole = b"", -1, 0
        while not (whole and len(answer) >= whole):
            yield True
            piece = client.recv(65536)
            if not piece:
                raise ConnectionError("the server closed the connection")
            answer += piece
            if end < 0 and (end := answer.find(b"\r\n\r\n")) >= 0:
                head = answer[:end].lower()
                length = head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
                whole = end + 4 + int(length) if length else 0
            if end >= 0 and not length and answer.endswith(b"0\r\n\r\n"):
                whole = len(answer)  # It came in chunks, and this is the last of them.
        load.statuses[place] = int(answer[9:12])
        load.bodies[place] = answer[end + 4 :] if length else _joined(answer[end + 4 :])
        load.waits_s[place] = time.perf_counter() - sent_at
        if b"\r\nconnection:" in head and _ends(head):
            raise ConnectionError("the server said that it closes the connection")


def _ends(head: bytes) -> bool:
    """Tell whether a head, in small letters, says that its connection ends with this answer: RFC 9112, section 9.6."""
    values = head.partition(b"\r\nconnection:")[2].partition(b"\r\n")[0]
    return b"close" in (value.strip() for value in values.split(b","))


def _joined(chunks: bytes) -> bytes:
    """Join a body that came in chunks: RFC 9112, section 7.1."""
    body = b""
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        body, chunks = body + rest[:length], rest[length + 2 :] if length else b""
    return body
