"""The parts of the service that ``pacioli up`` keeps beside Postgres and Redis: web, beat, worker, deliverer and notary."""

from __future__ import annotations

import http.client
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from core.doors.certificates import Certificate, pinned
from ops.server import role_urls, secret_files
from ops.server.embedded import Child, Log
from ops.server.keys import NOTARY_KEY_FILE, SEALS_FILE

_LIVED_S = 10.0


@dataclass(frozen=True)
class Options:
    """The options of the command line, with an absolute data folder, a real port, and the socket that listens on it."""

    host: str
    port: int
    data: Path
    workers: int
    listener: socket.socket
    insecure: bool = False
    certificate: Certificate | None = None
    key_file: Path | None = None
    """Where the key is that requests need. None means that there is none, or that the environment has it."""

    @property
    def web_url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # nosec B104
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"


Parts = Callable[[Options, Mapping[str, str], Log], Sequence[Child]]


def service_parts(options: Options, env: Mapping[str, str], log: Log) -> list[Child]:
    """Make all of them. Those that bring work end before the one that does it."""
    notary = Child("notary", notary_command(), env=env_of_notary(options, env), log=log)
    env = secret_files.without(env, NOTARY_KEY)
    of_others = secret_files.without(env, role_urls.NOTARY)  # Workers add checkpoints.
    of_beat = secret_files.without(of_others, TOKENIZATION, *WEBHOOKS)
    beat = Beat("beat", beat_command(), env=of_beat, log=log)
    of_worker = secret_files.without(env, TOKENIZATION, *WEBHOOKS)
    worker = Worker("worker", worker_command(options.workers), env=of_worker, log=log)
    # It talks to programs of others, so it has nothing that it does not need.
    of_deliverer = secret_files.without(of_others, TOKENIZATION, "PACIOLI_CHAIN_KEY", "PACIOLI_METRICS_PORT")
    deliverer = CeleryWorker("deliverer", deliverer_command(), env=of_deliverer, log=log)
    return [Web(options, env=of_others, log=log), beat, worker, deliverer, notary]


NOTARY_KEY = "PACIOLI_NOTARY_KEY"
TOKENIZATION = "PACIOLI_TOKENIZATION_SECRET"
"""Only web processes read what is tokenized."""
WEBHOOKS = ("BLNK_WEBHOOK_URL", "BLNK_WEBHOOK_HEADERS")
"""Only the deliverer sends, and the web processes test."""


def env_of_notary(options: Options, env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the notary, which alone has its key. A key in a file stays there, so it can be replaced."""
    name = f"{NOTARY_KEY}_FILE"
    file = os.environ.get(name) or env.get(name) or str(options.data / NOTARY_KEY_FILE)
    left = secret_files.without(
        env, NOTARY_KEY, "PACIOLI_SECRET_KEY", "PACIOLI_PEPPER", "PACIOLI_CHAIN_KEY", TOKENIZATION, *WEBHOOKS
    )
    return {"PACIOLI_NOTARY_FILE": str(options.data / SEALS_FILE), **left, name: file}


def web_command(listener: socket.socket, certificate: Certificate | None = None) -> list[str]:
    command = [sys.executable, "-m", "web.serve", "--fd", str(listener.fileno())]
    if certificate:
        command += ["--cert", str(certificate.file), "--key-file", str(certificate.key)]
    return command


def worker_command(workers: int, *options: str) -> list[str]:
    # Celery warns root. A container's only user is root, and all that root runs here is a child of its own.
    quiet = ["-W", "ignore:You're running the worker with superuser privileges"]
    celery = [sys.executable, *quiet, "-m", "celery", "--quiet", "-A", "worker.app", "worker", *options]
    return [*celery, "--loglevel", "INFO", "--concurrency", str(workers), "--without-mingle", "--without-gossip"]


def deliverer_command() -> list[str]:
    return worker_command(1, "--deliver", "-n", "deliverer@%h", "--pool", "threads")


def notary_command() -> list[str]:
    return [sys.executable, "-m", "ops.cli", "notary", "run"]


def beat_command() -> list[str]:
    celery = [sys.executable, "-m", "celery", "--quiet", "-A", "worker.app", "beat"]
    return [*celery, "--loglevel", "WARNING"]


class Web(Child):
    """The web server. It is ready when GET /health has an answer, whatever its status.

    The listening socket is the supervisor's, so clients that come while the server is started again wait a moment, and none is
    refused.
    """

    is_replaced_when_frozen = True

    def __init__(self, options: Options, *, env: Mapping[str, str], log: Log) -> None:
        super().__init__("web", web_command(options.listener, options.certificate), env=env, log=log)
        self.pass_fds = (options.listener.fileno(),)
        self._address = options.web_url.partition("//")[2]
        self._certificate = options.certificate
        self._left: list[psutil.Process] = []
        self._has_others = False

    def ready(self) -> bool:
        connection = http.client.HTTPConnection(self._address, timeout=2.0)
        try:
            if self._certificate:
                context = pinned(self._certificate.file)
                connection = http.client.HTTPSConnection(self._address, timeout=2.0, context=context)
            connection.request("GET", "/health")
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            return False
        else:
            return True
        finally:
            connection.close()

    def clear(self) -> None:
        """Let the web processes of a main process that died go on until there are others."""
        if self.process is None:
            return
        self._end_left()
        group = self.process.pid
        self._left = [each for each in psutil.process_iter() if _group(each.pid) == group]
        for each in self._left:
            with suppress(psutil.NoSuchProcess):
                each.resume()
        self._has_others = False
        self._reader = None

    def seen(self, descendants: Sequence[int]) -> None:
        """End the web processes of an earlier main process when its successor has had others for two looks."""
        if self._left and self._has_others:
            for each in self._left:
                with suppress(psutil.NoSuchProcess):
                    each.terminate()
        self._has_others = bool(descendants)

    def kill(self) -> None:
        super().kill()
        self._end_left()

    def _end_left(self) -> None:
        for each in self._left:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        self._left = []


class Beat(Child):
    """Celery beat."""

    is_replaced_when_frozen = True


class CeleryWorker(Child):
    """A Celery worker. It is ready when its log says so, or when it has lived for a while."""

    is_replaced_when_frozen = True
    grace_s = 20.0

    def ready(self) -> bool:
        said_so = any(" ready." in line for line in self.last_lines.copy())
        return self.running and (said_so or time.monotonic() - self.launched_at > _LIVED_S)


class Worker(CeleryWorker):
    """The worker that decides. Requests that wait for an outcome need it until the web server has answered them."""

    outlives = frozenset({"web", "beat"})


def _group(pid: int) -> int | None:
    with suppress(ProcessLookupError, PermissionError):
        return os.getpgid(pid)
    return None
