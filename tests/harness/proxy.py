"""A TCP proxy that cuts, stalls, slows and refuses, for tests of outages."""

import contextlib
import selectors
import socket
import threading
import time


class Proxy:
    """Forwards connections of a free local port to a server, as its switches say."""

    def __init__(self, port: int) -> None:
        self.stalled = False
        """Bytes are kept back, and connections stay open."""
        self.refusing = False
        """New connections are closed at once."""
        self.delay_s = 0.0
        """Every piece is this late."""
        self._target = ("127.0.0.1", port)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections."""
        for pair in self._pairs:
            for each in pair:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            self._pairs.append((client, server))
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        with selectors.DefaultSelector() as selector, client, server:
            for each in other:
                selector.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    while self.stalled:
                        time.sleep(0.02)
                    time.sleep(self.delay_s)
                    try:
                        piece = key.fileobj.recv(65536)  # type: ignore[union-attr]
                        other[key.fileobj].sendall(piece)  # type: ignore[index]
                    except OSError:
                        return
                    if not piece:
                        return
