"""A TCP proxy that cuts, stalls, slows and refuses."""

import contextlib
import selectors
import socket
import threading
import time
from typing import Self


class Proxy:
    """Forwards connections of a free local port to a server, as its switches say."""

    def __init__(self, port: int) -> None:
        self.stalled = False
        """Bytes are kept back, and connections stay open."""
        self.refusing = False
        """New connections are closed at once."""
        self.delay_s = 0.0
        """Every piece is this late."""
        self.target = ("127.0.0.1", port)
        """Where new connections lead to."""
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._client_ports: dict[int, int] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def client_port(self, seen: int) -> int | None:
        """Return the port of the client whose connection the server sees as one from the port ``seen``."""
        return self._client_ports.get(seen)

    def cut(self) -> None:
        """End all connections."""
        for pair in self._pairs.copy():
            for each in pair:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.stalled = False
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, (_, port) = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._client_ports[server.getsockname()[1]] = port
            threading.Thread(target=self._forward, args=((client, server),), daemon=True).start()

    def _forward(self, pair: tuple[socket.socket, socket.socket]) -> None:
        client, server = pair
        other = {client: server, server: client}
        self._pairs.add(pair)
        try:
            with selectors.DefaultSelector() as selector, client, server:
                for each in other:
                    selector.register(each, selectors.EVENT_READ)
                while True:
                    for key, _ in selector.select():
                        while self.stalled:
                            time.sleep(0.02)
                        time.sleep(self.delay_s)
                        piece = key.fileobj.recv(65536)  # type: ignore[union-attr]
                        other[key.fileobj].sendall(piece)  # type: ignore[index]
                        if not piece:
                            return
        except OSError:
            return
        finally:
            self._pairs.discard(pair)
