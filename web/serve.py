"""``python -m web.serve`` serves the application: gunicorn keeps the processes, and granian speaks HTTP in each.

The main process holds the listening socket, which all web processes share. A connection is taken by a process that has time
for it, so one that is dead or frozen takes none, and those that come while it is replaced wait for nobody.
docs/decisions/0031-gunicorn-keeps-granian.md says what else was measured.
"""

import importlib
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import structlog
from granian._granian import RSGIWorker, SocketHolder, WorkerSignal
from granian.http import HTTP1Settings
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import AppImportError
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from core.base import logs
from core.base.environment import SettingsError, missing, read
from core.doors import certificates
from core.doors.certificates import Certificate
from core.doors.loopback import is_loopback
from web.gateway import LOOP, Gateway
from web.places import PROCESSES

BACKLOG = 1024
CONNECTIONS_MAX = 4096
"""The number of connections that one process holds, if it may open so many files. A slow client costs one of them."""

FROZEN_S = 4
"""A web process that has given no sign of life for so long is killed within two seconds more, and replaced."""

GRACE_S = 8
"""A web process that is asked to stop gets so long to answer what it has begun. ``pacioli up`` waits longer than this."""

QUIET_S = 0.2
"""A web process that is to stop has asked its busy clients to leave when no request has come for so long."""
LEAVE_S = 3.0
"""It waits so long for that, at most."""

ORPHAN_S = 15
"""Web processes whose main process has died go on for so long, when the socket is not its own: until there is another."""

HEADER_S = 3
"""The head of a request must be there within so long. A connection that is kept open for the next request is closed then too."""

_INTERNET = (socket.AF_INET, socket.AF_INET6)
_BEAT_S = 0.5
_SECOND_TRY_S = 1.0


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=5001, show_default=True, help="The port to listen on.")
@click.option("--fd", type=int, help="A listening socket that this process has inherited, in place of host and port.")
@click.option("--cert", type=click.Path(path_type=Path), help="The certificate for TLS with its chain, in PEM.")
@click.option("--key-file", type=click.Path(path_type=Path), help="Its private key, in PEM and without a password.")
@click.option("--app", default="web.app:create_app", show_default=True, help="What makes the application.")
def serve(host: str, port: int, fd: int | None, app: str, **tls: Path | None) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C; SIGHUP starts all web processes anew, one request after the other.

    With --cert and --key-file it speaks HTTPS alone, TLS 1.2 or newer. SIGHUP reads a renewed certificate.
    """
    try:
        settings = read(os.environ)
        logs.configure(settings.log_format)
        if settings.secret_key is None:
            _refuse_open_door(settings.insecure, host, fd)
        certificate = certificates.given(tls["cert"], tls["key_file"])
    except (SettingsError, ValueError) as error:
        raise SystemExit(str(error)) from None
    address = f"[{host}]" if ":" in host else host
    _Server(f"fd://{fd}" if fd is not None else f"{address}:{port}", app, certificate).run()


def _refuse_open_door(insecure: bool, host: str, fd: int | None) -> None:
    """Let a service without a key start only if that is wanted, and only this machine can reach it.

    Raises:
        SystemExit: it must not start. The message says why.
    """
    if not insecure:
        raise SystemExit(
            f"{missing('PACIOLI_SECRET_KEY')} Make a key with `openssl rand -hex 32`, or set PACIOLI_INSECURE=on to listen on "
            "loopback without one."
        )
    try:
        if fd is not None:
            with socket.socket(fileno=os.dup(fd)) as listener:
                host = str(listener.getsockname()[0]) if listener.family in _INTERNET else "localhost"
        if is_loopback(host):
            return
    except OSError as error:
        raise SystemExit(f"{host if fd is None else fd} cannot be listened on ({error.strerror})") from None
    raise SystemExit(
        f"PACIOLI_INSECURE is on, so the service listens on loopback alone, not on {host}: set PACIOLI_SECRET_KEY"
    )


class _Server(BaseApplication):  # type: ignore[misc]
    """The settings of gunicorn, and how a web process finds its application."""

    def __init__(self, address: str, target: str, certificate: Certificate | None) -> None:
        self._address = address
        self.certificate = certificate
        self._module, _, self._factory = target.partition(":")
        importlib.import_module(self._module)  # Once for all processes, so that a new one starts in a moment.
        super().__init__()

    def load_config(self) -> None:
        for name, value in {
            "bind": [self._address],
            "backlog": BACKLOG,
            "workers": PROCESSES,
            "worker_class": GranianWorker,
            "timeout": FROZEN_S,
            "graceful_timeout": GRACE_S,
            "logger_class": _Log,
            "loglevel": "warning",
            "control_socket_disable": True,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[..., Any]:
        factory = getattr(importlib.import_module(self._module), self._factory)
        application: Callable[..., Any] = factory()
        return application

    def run(self) -> None:
        _Keeper(self).run()


class _Keeper(Arbiter):  # type: ignore[misc]
    """Keeps the web processes. Ctrl-C ends them as SIGTERM does: what they have begun is answered."""

    def handle_int(self) -> None:
        self.handle_term()


class _Log(Logger):  # type: ignore[misc]
    """Writes gunicorn's lines as all others are written."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class GranianWorker(Worker):  # type: ignore[misc]
    """A web process: a granian that takes connections from the socket of the main process."""

    _orphaned_at: float | None = None

    def init_signals(self) -> None:
        super().init_signals()
        signal.signal(signal.SIGINT, self.handle_exit)
        signal.signal(signal.SIGQUIT, self.handle_exit)

    def load_wsgi(self) -> None:
        """Make the application. The first processes that cannot end the server; later ones are tried again.

        Raises:
            AppImportError: this is a first process. The message says why.
            SystemExit: the other processes go on, and this one is started anew.
        """
        try:
            super().load_wsgi()
        except (Exception, SystemExit) as error:
            structlog.get_logger().error("the web application cannot start", error=str(error))
            if self.age <= PROCESSES:
                raise AppImportError(str(error)) from error
            time.sleep(_SECOND_TRY_S)
            raise SystemExit(1) from error

    def run(self) -> None:
        connections = min(CONNECTIONS_MAX, _files_allowed(2 * CONNECTIONS_MAX) // 2)
        stopping, stopped = WorkerSignal(), threading.Event()
        stopping.add_cb(stopped.set)
        # The holder closes its descriptor at the end, so it gets one of its own.
        hold: Any = SocketHolder  # As RSGIWorker below: its types leave out some of its arguments.
        listening = os.dup(self.sockets[0].fileno())
        holder = hold(listening, False, BACKLOG)
        make: Any = RSGIWorker
        certificate: Certificate | None = self.app.certificate
        granian = make(
            worker_id=self.age,
            sock=(None, holder),
            ipc=None,
            py_threads=1,  # The gateway has threads for what waits.
            backpressure=connections,
            http_mode="1",
            http1_opts=HTTP1Settings(header_read_timeout=int(HEADER_S * 1000)),
            websockets_enabled=False,
            ssl_enabled=certificate is not None,
            ssl_cert=str(certificate.file) if certificate else None,
            ssl_key=str(certificate.key) if certificate else None,
            ssl_protocol_min="tls1.2",
            ssl_crl=[],
            metrics=(None, None),
        )
        gateway = Gateway(self.wsgi, getattr(self.wsgi, "is_quick", lambda environ: False))
        granian.serve_mtr(gateway.scheduler(), LOOP, stopping)
        places = getattr(self.wsgi, "extensions", {}).get("places")
        while self.alive and self._has_time():
            if gateway.moves and (places is None or places.moves):
                self.notify()
            self._sleep()
        ledger = getattr(self.wsgi, "extensions", {}).get("pacioli")
        if ledger is not None:
            ledger.prober.stop()  # Who asks over an open connection is told that this process is not ready any more.
        deadline = time.monotonic() + GRACE_S
        self._see_off(gateway, listening)
        stopping.set()
        while not stopped.wait(0.05) and time.monotonic() < deadline:
            self.notify()

    def _see_off(self, gateway: Gateway, listening: int) -> None:
        """Take no new connection, and let the clients of the open ones leave by themselves.

        When granian stops, it closes each connection whose next request it has not read, though that may be on its way or
        even there. Its client sees a reset, and cannot know whether the request counts.
        """
        with socket.create_server(("127.0.0.1", 0)) as silent:  # Nobody knows its port.
            silent.setblocking(False)
            os.dup2(silent.fileno(), listening, inheritable=False)
        for each in self.sockets:  # The last process that has the socket refuses connections by closing it.
            each.close()
        gateway.part()
        until = time.monotonic() + LEAVE_S
        while (now := time.monotonic()) < until and now < (gateway.quiet_since or now) + QUIET_S:
            self.notify()
            time.sleep(0.05)

    def _has_time(self) -> bool:
        """Tell whether to go on. Without a main process, the port is needed by the next one unless it inherits the socket."""
        if os.getppid() == self.ppid:
            return True
        if self._orphaned_at is None:
            self._orphaned_at = time.monotonic()
        return self.cfg.bind[0].startswith("fd://") and time.monotonic() - self._orphaned_at < ORPHAN_S

    def _sleep(self) -> None:
        """Sleep until the next sign of life, or a signal."""
        # Not the wait of an Event, for setting it in a signal handler can deadlock.
        if select.select([self.PIPE[0]], [], [], _BEAT_S)[0]:
            os.read(self.PIPE[0], 4096)


def _files_allowed(wanted: int) -> int:
    """Raise the soft limit of open files towards what is wanted, and return what is allowed then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (wanted if limit == resource.RLIM_INFINITY else limit for limit in (soft, hard))
    if soft < wanted and soft < hard:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return soft


if __name__ == "__main__":
    sys.argv[0] = "web.serve"
    serve()
