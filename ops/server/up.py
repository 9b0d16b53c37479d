"""`pacioli up` runs the whole service on one machine with one log, and restarts every part that dies."""

from __future__ import annotations

import functools
import http.client
import json
import os
import re
import secrets
import shlex
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TextIO

import click
import psycopg
from filelock import FileLock, Timeout

from core.base.lines import Lines
from core.base.logs import is_terminal
from core.base.settings import SettingsError, chain_key, read, without_password
from ops.server.embedded import Child, Log, Postgres, Redis, StartError, broker_fallback, find_redis
from ops.server.instance import KEY_FILE

MIGRATE = (sys.executable, "-m", "ops.cli", "migrate")

_COLOURS = {
    "postgres": "blue",
    "redis": "red",
    "web": "green",
    "beat": "magenta",
    "worker": "yellow",
}
_LIVED_S = 10.0  # A part that lived so long has started well.
_LONGEST_DELAY_S = 5.0
_EARLY_DEATHS_MAX = 5
_READY_TIMEOUT_S = 120.0
_OLD_WEB_GRACE_S = 10.0
_WEB_KILL_TIMEOUT_S = 8  # Less than the grace of `Child.stop`, so that the server ends its workers itself.


@dataclass(frozen=True)
class Options:
    """The options of the command line, with an absolute data folder and a real port."""

    host: str
    port: int
    data: Path
    workers: int

    @property
    def web_url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


Parts = Callable[[Options, Mapping[str, str], Log], Sequence[Child]]


def _known_host(ctx: click.Context, param: click.Parameter, host: str) -> str:
    """Refuse a host that has no address, before anything is started for it."""
    try:
        socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise click.BadParameter(f"{host!a} has no address: give one such as 127.0.0.1 or 0.0.0.0") from None
    return host


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    callback=_known_host,
    help="The address that the web server listens on.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5001,
    show_default=True,
    help="The port that it listens on; 0 takes a free one.",
)
@click.option(
    "--data",
    envvar="PACIOLI_DATA",
    type=click.Path(file_okay=False, path_type=Path),
    default=".pacioli",
    show_default=True,
    help="The folder that keeps the database and the key; it is made when it is missing.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=min(4, os.cpu_count() or 1),
    show_default=True,
    help="How many processes decide transactions.",
)
def up(host: str, port: int, data: Path, workers: int) -> None:
    """Run everything here: Postgres, Redis, web, worker and beat.

    A server that DATABASE_URL, REDIS_URL or BROKER_URL names is used, and no private one is started for it. Ctrl-C stops
    everything; the data stays in the data folder, and the next `pacioli up` goes on from there.

    \b
    Examples:
      pacioli up
      pacioli up --port 0 --data /var/lib/pacioli
      DATABASE_URL=postgresql://user:password@host/ledger pacioli up --host 0.0.0.0 --workers 8
    """
    sys.exit(run(host=host, port=port, data=data, workers=workers))


def run(
    *,
    host: str = "127.0.0.1",
    port: int = 5001,
    data: Path = Path(".pacioli"),
    workers: int = 2,
    parts: Parts | None = None,
    migrate: Sequence[str] = MIGRATE,
) -> int:
    """Run the service until a signal ends it, and return the exit status.

    `parts` makes what runs beside Postgres and Redis, in the order in which it is started, and stopped.
    """
    data = data.resolve()
    try:
        with _locked(data):
            options = Options(host, _usable_port(host, port, data), data, workers)
            _supervise(options, parts or service_parts, migrate)
    except StartError as error:
        _output(sys.stdout).flush()  # The error may point to the lines above it.
        click.echo(f"pacioli up: {error}", err=True)
        return 1
    return 0


def service_parts(options: Options, env: Mapping[str, str], log: Log) -> list[Child]:
    """Make web, beat and worker, in the order of a stop: those that bring work end before the one that does it."""
    beat = Child("beat", beat_command(), env=env, log=log)
    worker = Worker("worker", worker_command(options.workers), env=env, log=log)
    return [Web(options, env=env, log=log), beat, worker]


def web_command(host: str, port: int) -> list[str]:
    # Many threads, because requests that wait together are appended in one commit; two processes, to share the work of Python.
    threads = ["--workers", "2", "--blocking-threads", "32", "--backlog", "1024"]
    # A web process can miss a stop while it starts, and can take too long while it answers a long poll.
    stopping = ["--workers-kill-timeout", str(_WEB_KILL_TIMEOUT_S)]
    protocol = ["--interface", "wsgi", "--http", "1", "--no-ws"]
    address = ["--host", host, "--port", str(port)]
    server = [sys.executable, "-m", "granian", *protocol, *address, *threads, *stopping]
    return [*server, "--factory", "web.app:create_app"]


def worker_command(workers: int) -> list[str]:
    # Celery warns root. A container's only user is root, and all that root runs here is a child of its own.
    quiet = ["-W", "ignore:You're running the worker with superuser privileges"]
    celery = [sys.executable, *quiet, "-m", "celery", "--quiet", "-A", "worker.app", "worker"]
    return [*celery, "--loglevel", "INFO", "--concurrency", str(workers), "--without-mingle", "--without-gossip"]


def beat_command() -> list[str]:
    celery = [sys.executable, "-m", "celery", "--quiet", "-A", "worker.app", "beat"]
    return [*celery, "--loglevel", "WARNING"]


class Web(Child):
    """The web server. It is ready when GET /health has an answer, whatever its status."""

    unlogged = ("Configuration allows spawning up to",)  # granian; `web_command` says why there are so many threads.

    def __init__(self, options: Options, *, env: Mapping[str, str], log: Log) -> None:
        super().__init__("web", web_command(options.host, options.port), env=env, log=log)
        self._address = options.web_url.removeprefix("http://")

    def ready(self) -> bool:
        connection = http.client.HTTPConnection(self._address, timeout=2.0)
        try:
            connection.request("GET", "/health")
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            return False
        else:
            return True
        finally:
            connection.close()


class Worker(Child):
    """The Celery worker. It is ready when its log says so, or when it has lived for a while."""

    grace_s = 20.0

    def ready(self) -> bool:
        said_so = any(" ready." in line for line in self.last_lines.copy())
        return self.running and (said_so or time.monotonic() - self.launched_at > _LIVED_S)


class _Stopped(Exception):
    """A signal asked us to stop."""


class Supervisor:
    """Keeps children running until a signal arrives; a second signal hurries the stop.

    It belongs in the main thread, which gets the signals, and lives as long as the children should. `on_change` is
    given the process IDs by name whenever one is new.
    """

    def __init__(self, on_change: Callable[[Mapping[str, int]], None] = lambda pids: None) -> None:
        self._on_change = on_change
        self._groups: list[Sequence[Child]] = []
        self._early_deaths: Counter[str] = Counter()
        self._due_at: dict[str, float] = {}
        self._signals = 0
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup makes a process ignore SIGHUP, and that stays so.
            if not (signum == signal.SIGHUP and signal.getsignal(signum) is signal.SIG_IGN):
                signal.signal(signum, self._count_signal)

    def start(self, *group: Child) -> None:
        """Launch a group of children and return when all of them are ready.

        Raises:
            StartError: one keeps dying, or is not ready in time.
            _Stopped: a signal arrived.
        """
        self._groups.append(group)
        for child in group:
            self._launch(child)
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while waiting := [child.name for child in group if not child.ready()]:
            self.tick()
            for name, deaths in self._early_deaths.items():
                if deaths >= _EARLY_DEATHS_MAX:
                    raise StartError(f"{name} ended {deaths} times in a row: see its lines above")
            if time.monotonic() > deadline:
                raise StartError(f"not ready within {_READY_TIMEOUT_S:g} s: {', '.join(waiting)}")

    def finish(self, child: Child) -> int:
        """Launch a child that ends by itself, and return its exit status.

        Raises:
            _Stopped: a signal arrived.
        """
        child.launch()
        try:
            while child.running:
                self.tick()
        finally:
            child.stop(self._hurried)
        assert child.process is not None
        return child.process.returncode

    def tick(self) -> None:
        """Start again what has died, and wait a moment.

        Raises:
            _Stopped: a signal arrived.
        """
        if self._signals:
            raise _Stopped
        for child in self._children():
            if not child.running:
                self._revive(child)
        # Not the wait of an Event, for setting it in a signal handler can deadlock.
        time.sleep(0.1)

    def stop(self) -> None:
        """Stop the last group first, each in its own order."""
        for group in reversed(self._groups):
            for child in group:
                child.stop(self._hurried)

    def _children(self) -> Iterator[Child]:
        return (child for group in self._groups for child in group)

    def _launch(self, child: Child) -> None:
        child.launch()
        self._on_change({child.name: child.process.pid for child in self._children() if child.process is not None})

    def _revive(self, child: Child) -> None:
        now = time.monotonic()
        if child.name not in self._due_at:
            child.kill()  # A process of its group might hold the port.
            assert child.process is not None
            if now - child.launched_at > _LIVED_S:
                self._early_deaths[child.name] = 0
            delay_s = min(0.5 * self._early_deaths[child.name], _LONGEST_DELAY_S)
            self._early_deaths[child.name] += 1
            self._due_at[child.name] = now + delay_s
            status = child.process.returncode
            how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            child.log("pacioli", f"{child.name} {how}, starting it again" + (f" in {delay_s:g} s" if delay_s else ""))
        if now >= self._due_at[child.name]:
            del self._due_at[child.name]
            self._launch(child)

    def _hurried(self) -> bool:
        return self._signals > 1

    def _count_signal(self, signum: int, frame: FrameType | None) -> None:
        self._signals += 1


def _supervise(options: Options, parts: Parts, migrate: Sequence[str]) -> None:
    try:
        settings = read(os.environ)
    except SettingsError as error:
        raise StartError(str(error)) from None
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    env["PACIOLI_ALLOWED_HOSTS"] = ",".join([*(settings.allowed_hosts or ()), options.host])
    env["PACIOLI_LOG"] = settings.log_format or ("console" if is_terminal(sys.stdout) else "json")
    state = options.data / "state.json"
    supervisor = Supervisor(on_change=lambda pids: _write_state(state, options, env, pids))
    try:
        servers = _private_servers(options.data, env)
        supervisor.start(*servers.values())
        env |= {variable: server.url for variable, server in servers.items()}
        env["PACIOLI_CHAIN_KEY"] = _chain_key(options.data, env)
        if supervisor.finish(Child("migrate", migrate, env=env, log=_print_line)) != 0:
            raise StartError("the migrations failed: see their lines above")
        supervisor.start(*parts(options, env, _print_line))
        for name, place in (
            ("data", str(options.data)),
            ("Postgres", env["DATABASE_URL"]),
            ("Redis" if env.get("REDIS_URL") else "broker", env.get("REDIS_URL") or env["BROKER_URL"]),
            ("web", options.web_url),
            ("API", f"{options.web_url}/docs"),
            ("log", "the lines of this terminal"),
            ("next", _next_step(options.data, Path(settings.data))),
        ):
            _print(f"{name:<8} {without_password(place)}")
        _print(f"ready {options.web_url}")
        while True:
            supervisor.tick()
    except _Stopped:
        _print_line("pacioli", "stopping")
    finally:
        supervisor.stop()
        state.unlink(missing_ok=True)


def _next_step(data: Path, usual: Path) -> str:
    """Suggest the next commands to a newcomer. They need ``--data`` only if the data folder is not the usual one."""
    where = "" if data == usual.resolve() else f" --data {shlex.quote(str(data))}"
    return f"`pacioli demo{where}` plays a shop's day, and `pacioli docs` serves the book, each in another terminal"


def _private_servers(data: Path, env: dict[str, str]) -> dict[str, Redis | Postgres]:
    """The servers to start here, by the variable that is to have their URL, in the order in which to stop them.

    A variable that is set already says which one to use instead.
    """
    servers: dict[str, Redis | Postgres] = {}
    if not (env.get("REDIS_URL") or env.get("BROKER_URL")):
        if find_redis():
            servers["REDIS_URL"] = Redis(data, log=_print_line)
        else:
            env |= broker_fallback(data)
            _print_line("pacioli", "no Redis or Valkey found: files in the data folder carry the messages, more slowly")
    if url := env.get("DATABASE_URL"):
        _check_database(url)
    else:
        servers["DATABASE_URL"] = Postgres(data, log=_print_line)
    return servers


def _chain_key(data: Path, env: Mapping[str, str]) -> str:
    """Find the key that signs checkpoints: that of the environment, or else the data folder's own, made once."""
    path = data / KEY_FILE
    where, text = "PACIOLI_CHAIN_KEY", env.get("PACIOLI_CHAIN_KEY")
    try:
        if not text:
            if not path.exists():
                new = path.with_suffix(".new")
                new.unlink(missing_ok=True)
                new.touch(mode=0o600)
                new.write_text(secrets.token_hex(32) + "\n")
                new.replace(path)
            where, text = str(path), path.read_text().strip()
        if not text:
            raise ValueError("is empty; without the key that was in it no checkpoint can be checked")
        chain_key(text)
    except (OSError, ValueError) as error:
        raise StartError(f"{where}: {error}") from None
    return text


def _check_database(url: str) -> None:
    try:
        # psycopg does not know the driver in a SQLAlchemy URL.
        psycopg.connect(re.sub(r"^(\w+)\+\w+:", r"\1:", url), connect_timeout=5).close()
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise StartError(
            f"DATABASE_URL does not answer ({reason}): start that Postgres, or unset DATABASE_URL to get a private one"
        ) from None


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    """Hold the data folder for ourselves; the kernel lets go of it even if we are killed.

    The file that is locked holds our process ID.
    """
    path = data / "lock"
    # Only a lock of the kernel will do, because a file that stays behind would keep us out after a crash.
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        path.write_text(str(os.getpid()))
    except Timeout:
        raise StartError(
            f"process {path.read_text() or '?'} runs in {data}: stop it, or choose another folder with --data"
        ) from None
    except OSError as error:
        raise StartError(f"cannot use the data folder {data} ({error.strerror}): choose another with --data") from None
    try:
        yield
    finally:
        lock.release()


def _usable_port(host: str, port: int, data: Path) -> int:
    """Return the port, or a free one for port 0, after a check that the web server can listen on it."""
    # Only a supervisor that was killed leaves its state behind, and then its web server may still be on its way out.
    deadline = time.monotonic() + (_OLD_WEB_GRACE_S if (data / "state.json").exists() else 0.0)
    while True:
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                return int(probe.getsockname()[1])
        except (OSError, OverflowError) as error:
            if time.monotonic() >= deadline:
                raise StartError(
                    f"cannot listen on {host} port {port} ({error}): "
                    "stop what uses it, or choose another with --port or --host"
                ) from None
            time.sleep(0.1)


def _write_state(path: Path, options: Options, env: Mapping[str, str], pids: Mapping[str, int]) -> None:
    """Write where everything is, for other commands. Only the owner may read it, because a URL can hold a password."""
    state = {
        "web_url": options.web_url,
        "database_url": env.get("DATABASE_URL"),
        "redis_url": env.get("REDIS_URL"),
        "broker_url": env.get("BROKER_URL"),
        "pids": {"pacioli": os.getpid(), **pids},
    }
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(state, indent=2) + "\n")
    new.replace(path)


def _print_line(name: str, line: str) -> None:
    _print(click.style(f"{name:<8} | ", fg=_COLOURS.get(name, "cyan")) + line)


def _print(line: str) -> None:
    # The service must neither stop nor wait because nobody reads the log.
    _output(sys.stdout).write(line if is_terminal(sys.stdout) else click.unstyle(line))


@functools.cache
def _output(stream: TextIO | None) -> Lines:
    return Lines(stream, lost=lambda count: f"pacioli  | {count} lines of the log were dropped")
