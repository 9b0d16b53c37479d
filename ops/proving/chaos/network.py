"""Faults of the network, which the proxies before Postgres and Redis bring about, and clients that hardly send."""

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

from ops.proving.chaos.arena import Arena
from ops.proving.chaos.fault import Blow
from ops.proving.chaos.proxy import Proxy

SLOW_S = 0.05
"""The delay of every piece on a slow network."""

SLOW_CLIENTS = 200

To = Callable[[Arena], Proxy]


def cut(to: To) -> Callable[[Blow], None]:
    """End all connections."""
    return lambda blow: to(blow.arena).cut()


def refuse(to: To) -> Callable[[Blow], None]:
    """End all connections, and let no new one through."""

    def strike(blow: Blow) -> None:
        proxy = to(blow.arena)
        proxy.refusing = True
        try:
            proxy.cut()
            time.sleep(blow.for_s)
        finally:
            proxy.refusing = False

    return strike


def stall(to: To) -> Callable[[Blow], None]:
    """Keep back what is sent. Connections stay open."""

    def strike(blow: Blow) -> None:
        proxy = to(blow.arena)
        proxy.stalled = True
        try:
            time.sleep(blow.for_s)
        finally:
            proxy.stalled = False

    return strike


def slow(to: To) -> Callable[[Blow], None]:
    """Bring every piece late."""

    def strike(blow: Blow) -> None:
        proxy = to(blow.arena)
        proxy.delay_s = SLOW_S
        try:
            time.sleep(blow.for_s)
        finally:
            proxy.delay_s = 0.0

    return strike


def slow_clients(blow: Blow) -> None:
    """Send a request from each of many clients, a byte a second. The service may cut them."""
    address = urlsplit(blow.arena.url)
    lines = {"Host": address.netloc, "Content-Type": "application/json", "Content-Length": "1000"}
    lines |= blow.arena.service.headers
    head = "POST /transactions HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    with ExitStack() as open_:
        clients = [
            open_.enter_context(socket.create_connection((address.hostname, address.port), timeout=5))
            for _ in range(SLOW_CLIENTS)
        ]
        for piece in (head.encode(), *(b" " for _ in range(round(blow.for_s)))):
            for each in clients:
                with suppress(OSError):
                    each.sendall(piece)
            time.sleep(1)
