"""Redis servers as they are in the field: with a socket, TLS, users, replicas and sentinels; and who talks to them."""

import itertools
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from celery import Celery
from redis import Redis
from redis.exceptions import RedisError

import celeryconfig
from core.base import redis_url
from core.doors import clients
from core.doors.names import Names, names_of
from ops.server.private_redis import find_redis
from tests.harness.programs import missing_program, needs_program

WITHIN_S = 30

_numbers = itertools.count(1)


@contextmanager
def redis_server(folder: Path, *arguments: str) -> Iterator[int]:
    """Run a server that keeps nothing, and yield its port. ``port 0`` among the arguments leaves it none."""
    program = find_redis()
    if program is None:
        missing_program("redis-server")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    base = [str(program), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), "--loglevel", "warning"]
    base += [] if "--port" in arguments else ["--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*base, *arguments], stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_ready(url: str) -> Redis:
    """Return our own client of a server, when the server answers it."""
    client = clients.connect(redis_url.parse(url))
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            client.ping()
        except (RedisError, OSError):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return client


def needs_redis_7(server: Redis) -> None:
    """Skip the test on an older server, whose rules for users cannot name what a connection needs."""
    if int(server.info("server")["redis_version"].partition(".")[0]) < 7:
        missing_program("redis-server 7 or newer")


def celery_of(url: str, names: Names, **options: Any) -> Celery:
    """Return Celery as web and worker have it, with the broker of this URL."""
    of_url = clients.celery_settings(redis_url.parse(url))
    named = celeryconfig.settings_of(names)
    app = Celery("test", set_as_current=False)
    app.config_from_object(celeryconfig)
    transport = named["broker_transport_options"] | of_url["broker_transport_options"] | options
    transport["client_name"] = f"test-{next(_numbers)}"  # Else Celery takes the connections of an application before.
    app.conf.update(named | of_url | {"broker_transport_options": transport})
    return app


def names(number: int = 1) -> Names:
    return names_of(UUID(int=number << 100), on_redis=True)


def take(app: Celery, queue: str) -> str | None:
    """Take a message from a queue as a worker does, and acknowledge it. Returns the name of its task."""
    found: list[str] = []

    def receive(message: Any) -> None:
        found.append(message.headers["task"])
        message.ack()

    with (
        app.connection_for_read() as connection,
        app.amqp.TaskConsumer(connection.default_channel, queues=[app.amqp.queues[queue]]) as consumer,
    ):
        consumer.on_message = receive
        deadline = time.monotonic() + 3
        while not found and time.monotonic() < deadline:
            try:
                connection.drain_events(timeout=1)
            except TimeoutError:
                break
    return found[0] if found else None


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Make a private authority, and a certificate of it for 127.0.0.1. Returns the authority's, the server's and its key."""
    openssl = needs_program("openssl")
    folder.mkdir(parents=True, exist_ok=True)
    ca, ca_key, cert, key, request = (folder / name for name in ("ca.crt", "ca.key", "s.crt", "s.key", "s.csr"))
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for arguments in (
        ["req", "-x509", *new, "-keyout", ca_key, "-out", ca, "-subj", "/CN=our authority", "-days", "2"],
        ["req", *new, "-keyout", key, "-out", request, "-subj", "/CN=redis"],
        ["x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-out", cert, "-days", "2",
         "-extfile", extensions],
    ):  # fmt: skip
        subprocess.run([openssl, *map(str, arguments)], check=True, capture_output=True)
    return ca, cert, key


@contextmanager
def sentinel(folder: Path, master: int, secret: str) -> Iterator[int]:
    """Run a sentinel that watches the master on this port as ``mymaster``, and yield its port. Its password is ``watch``."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "sentinel.conf"
    file.write_text(
        f"sentinel monitor mymaster 127.0.0.1 {master} 1\n"
        f"sentinel auth-pass mymaster {secret}\n"
        "sentinel down-after-milliseconds mymaster 1000\n"
        "requirepass watch\n"
    )
    port = free_port()
    program = find_redis()
    assert program is not None
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([str(program), str(file), "--sentinel", "--port", str(port)], stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.kill()
        process.wait()
