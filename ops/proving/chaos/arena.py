"""A whole service whose every part can be hit: Postgres and Redis stand behind proxies, and its log can be left unread."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from ops.proving.chaos.proxy import Proxy
from ops.server.embedded import DATABASE, POSTGRES_SETTINGS, Child, Postgres
from ops.server.private import StartError
from ops.server.private_redis import find_redis
from ops.server.temporary import Running, running

CONNECTIONS_MAX = 60
"""The number of connections that Postgres takes. The fault that uses them up must be quick about it."""

RECOVERED_S = 30.0
"""Postgres takes connections again so long after it was killed."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TcpRedis(Child):
    """A Redis that listens on a port of this machine, and can be told to do what a private one may not."""

    def __init__(self, folder: Path) -> None:
        program = find_redis()
        if program is None:
            raise StartError("there is no redis-server here: install Redis or Valkey")
        self.port = _free_port()
        folder.mkdir(parents=True, exist_ok=True)
        network = ["--bind", "127.0.0.1", "--port", str(self.port)]
        no_disk = ["--save", "", "--appendonly", "no", "--dir", str(folder)]
        super().__init__("redis", [str(program), *network, *no_disk, "--loglevel", "warning"])

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class TcpPostgres(Postgres):
    """A Postgres of the ordinary kind, with all its durability, that listens on a port of this machine and trusts all of it."""

    access = Postgres.access + "host all all 127.0.0.1/32 trust\n"

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self.port = _free_port()
        self.settings = POSTGRES_SETTINGS | {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "max_connections": str(CONNECTIONS_MAX),
        }

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{DATABASE}"

    def _end_survivors(self) -> None:
        super()._end_survivors()
        (self.socket_folder / f".s.PGSQL.{self.port}.lock").unlink(missing_ok=True)


class Keeper(threading.Thread):
    """Starts servers again when they die, unless they are held down. They live as long as this thread."""

    def __init__(self, *servers: Child) -> None:
        super().__init__(name="keeper", daemon=True)
        self._servers = servers
        self._held: set[str] = set()
        self._stopping = threading.Event()
        self._up = threading.Event()
        self._error: Exception | None = None

    def __enter__(self) -> "Keeper":
        self.start()
        self._up.wait()
        if self._error:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        was_running = self.is_alive()
        self._stopping.set()
        self.join()
        if self._error or not was_running:
            raise StartError(f"the servers were not kept up to the end: {self._error!r}") from self._error

    @contextmanager
    def holding(self, server: Child) -> Iterator[None]:
        """Keep a server dead until the end of the block."""
        self._held.add(server.name)
        try:
            yield
        finally:
            self._held.discard(server.name)

    def run(self) -> None:
        try:
            for server in self._servers:
                server.start()
            self._up.set()
            while not self._stopping.wait(0.05):
                for server in self._servers:
                    if not server.running and server.name not in self._held:
                        server.clear()
                        server.launch()
        except Exception as error:
            self._error = error
            self._up.set()
        finally:
            for server in reversed(self._servers):
                server.stop()


class Log(threading.Thread):
    """Copies what the service prints to a file, but while nobody reads it."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="log", daemon=True)
        self._path = path
        self._from, self.descriptor = os.pipe()
        self._is_read = threading.Event()
        self._is_read.set()

    def __enter__(self) -> "Log":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_read.set()
        os.close(self.descriptor)
        self.join()

    @contextmanager
    def unread(self) -> Iterator[None]:
        """Let the pipe fill until the end of the block."""
        self._is_read.clear()
        try:
            yield
        finally:
            self._is_read.set()

    def run(self) -> None:
        with os.fdopen(self._from, "rb", buffering=0) as source, self._path.open("ab", buffering=0) as copy:
            while piece := source.read(65536):
                copy.write(piece)
                self._is_read.wait()


@dataclass
class Arena:
    """A running service, its servers, the proxies in front of them, and what reads its log."""

    service: Running
    postgres: TcpPostgres
    redis: TcpRedis
    keeper: Keeper
    database: Proxy
    broker: Proxy
    log: Log
    settings: dict[str, str]
    """The variables that lead other processes to the same servers, through the proxies."""

    @property
    def url(self) -> str:
        return self.service.url

    def connect(self, *, autocommit: bool = True, within_s: float = RECOVERED_S) -> "psycopg.Connection[Any]":
        """Connect to Postgres past the proxy, when it has recovered from the blow before.

        Raises:
            psycopg.OperationalError: it took no connection in time.
        """
        deadline = time.monotonic() + within_s
        while True:
            try:
                return psycopg.connect(
                    self.postgres.url, autocommit=autocommit, connect_timeout=3, application_name="torture"
                )
            except psycopg.OperationalError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(0.1)

    def supervisor(self) -> psutil.Process:
        return psutil.Process(self.service.process.pid)

    def main(self, part: str) -> psutil.Process:
        """Find the main process of web, worker or beat.

        Raises:
            psutil.NoSuchProcess, OSError, KeyError, ValueError: it is being started just now.
        """
        return self.service.main(part)

    def children(self, part: str) -> list[psutil.Process]:
        """Find the processes that the main process of a part has started. It raises what ``main`` does."""
        found: list[psutil.Process] = self.main(part).children(recursive=True)
        return found


@contextmanager
def arena(folder: Path) -> Iterator[Arena]:
    """Start everything under a folder, and stop it at the end.

    Raises:
        click.ClickException: the service did not start, or did not stop cleanly.
        StartError: Postgres or Redis did not start.
    """
    postgres, redis = TcpPostgres(folder / "servers"), TcpRedis(folder / "servers" / "redis")
    with (
        Keeper(redis, postgres) as keeper,
        Proxy(postgres.port) as database,
        Proxy(redis.port) as broker,
        Log(folder / "log") as log,
    ):
        settings = {
            "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{database.port}/{DATABASE}",
            "REDIS_URL": f"redis://127.0.0.1:{broker.port}/0",
            "PACIOLI_WEBHOOK_ALLOW_PRIVATE": "on",
            "PACIOLI_LOG_LEVEL": "debug",  # A line for each request fills an unread pipe soon.
        }
        with running(folder, settings=settings, output=log.descriptor) as service:
            found = Arena(service, postgres, redis, keeper, database, broker, log, settings)
            try:
                yield found
            finally:
                with suppress(psutil.NoSuchProcess):
                    found.supervisor().resume()
