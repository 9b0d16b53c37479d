"""`pacioli up` runs the whole service on one machine with one log, and restarts every part that dies."""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import click
from filelock import FileLock, Timeout

from core.base.environment import SettingsError, open_files, read, without_files
from core.base.lines import Lines
from core.base.logs import is_terminal
from core.base.secrets import remember
from core.base.setting_values import api_key, chain_key, notary_key, secrets
from core.base.settings import Settings
from core.base.variables import without_password
from core.doors import certificates
from core.doors.certificates import Certificate
from core.doors.loopback import is_loopback
from core.notary.seals import keypair
from ops.numbers import Whole
from ops.server import private, role_urls, secret_files
from ops.server.embedded import Child, Postgres
from ops.server.keys import (
    API_KEY_FILE,
    CHAIN_KEY_FILE,
    NOTARY_KEY_FILE,
    PEPPER_FILE,
    TOKENIZATION_FILE,
    kept,
    kept_api_key,
    new_chain_key,
    new_notary_key,
)
from ops.server.parts import Options, Parts, service_parts
from ops.server.private import StartError
from ops.server.private_redis import Redis, broker_fallback, find_redis
from ops.server.supervisor import Descendants, Pids, Stopped, Supervisor

MIGRATE = (sys.executable, "-m", "ops.cli", "migrate")

_COLOURS = {
    "postgres": "blue",
    "redis": "red",
    "web": "green",
    "beat": "magenta",
    "worker": "yellow",
    "notary": "cyan",
    "deliverer": "bright_yellow",
}
_BACKLOG = 1024
_OLD_WEB_GRACE_S = 10.0


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
    type=Whole(0, 65535),
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
    type=Whole(min=1),
    default=min(4, os.cpu_count() or 1),
    show_default=True,
    help="How many processes decide transactions.",
)
@click.option(
    "--insecure",
    is_flag=True,
    envvar="PACIOLI_INSECURE",
    help="Answer without a key, and listen on a loopback address alone. [env: PACIOLI_INSECURE]",
)
@click.option(
    "--cert", type=click.Path(path_type=Path), help="Speak HTTPS with this certificate and its chain, in PEM."
)
@click.option("--key-file", type=click.Path(path_type=Path), help="Its private key, in PEM and without a password.")
def up(host: str, port: int, data: Path, workers: int, **doors: Any) -> None:
    """Run everything here: Postgres, Redis, web, worker, beat, deliverer and notary.

    A server that DATABASE_URL, REDIS_URL or BROKER_URL names is used, and no private one is started for it. Ctrl-C stops
    everything; the data stays in the data folder, and the next `pacioli up` goes on from there.

    Requests need a key: PACIOLI_SECRET_KEY, or one that is made for the data folder. Commands on this machine find that one.

    \b
    Examples:
      pacioli up
      pacioli up --port 0 --data /var/lib/pacioli
      DATABASE_URL=postgresql://user:password@host/ledger pacioli up --host 0.0.0.0 --workers 8
      pacioli up --host 0.0.0.0 --cert ledger.crt --key-file ledger.key
    """
    sys.exit(run(host=host, port=port, data=data, workers=workers, **doors))


def run(
    *,
    host: str = "127.0.0.1",
    port: int = 5001,
    data: Path = Path(".pacioli"),
    workers: int = 2,
    insecure: bool = False,
    cert: Path | None = None,
    key_file: Path | None = None,
    parts: Parts | None = None,
    migrate: Sequence[str] = MIGRATE,
) -> int:
    """Run the service until a signal ends it, and return the exit status.

    `parts` makes what runs beside Postgres and Redis, in the order in which it is started.
    """
    data = data.resolve()
    os.umask(private.UMASK)
    supervisor = Supervisor()  # From here on a signal is a stop.
    try:
        if insecure and not is_loopback(host):
            raise StartError(
                f"--insecure listens on a loopback address such as 127.0.0.1 alone, not on {host}: leave one out"
            )
        certificate = _certificate(cert, key_file)
        with _locked(data), _listening(host, port, data, supervisor) as listener:
            options = Options(host, listener.getsockname()[1], data, workers, listener, insecure, certificate)
            _supervise(supervisor, options, parts or service_parts, migrate)
    except Stopped:
        _print_line("pacioli", "stopped")
    except StartError as error:
        _output(sys.stdout).flush()  # The error may point to the lines above it.
        click.echo(f"pacioli up: {error}", err=True)
        return 1
    finally:
        supervisor.forget_signals()
    return 0


def _supervise(supervisor: Supervisor, options: Options, parts: Parts, migrate: Sequence[str]) -> None:
    try:
        settings = read(os.environ)
    except SettingsError as error:
        raise StartError(str(error)) from None
    env = {**without_files(os.environ), "PYTHONUNBUFFERED": "1"}
    for warning in open_files(os.environ):
        _print_line("pacioli", warning)
    env["PACIOLI_ALLOWED_HOSTS"] = ",".join([*(settings.allowed_hosts or ()), options.host])
    env["PACIOLI_LOG"] = settings.log_format or ("console" if is_terminal(sys.stdout) else "json")
    env["PACIOLI_SECRET_KEY"] = _api_key(options, settings) or ""
    remember(env["PACIOLI_SECRET_KEY"])
    env["PACIOLI_INSECURE"] = "on" if options.insecure else "off"
    if not (options.insecure or settings.secret_key):
        options = replace(options, key_file=options.data / API_KEY_FILE)
    state = options.data / "state.json"
    supervisor.on_change = lambda pids, descendants: _write_state(state, options, env, pids, descendants)
    try:
        servers = _private_servers(options.data, env)
        supervisor.start(*servers.values())
        env |= {variable: server.url for variable, server in servers.items()}
        if role_urls.APP in servers:
            env |= role_urls.of_private(env[role_urls.APP])
        env["PACIOLI_CHAIN_KEY"] = _kept_key(
            options.data / CHAIN_KEY_FILE, "PACIOLI_CHAIN_KEY", env, new_chain_key, chain_key
        )
        env["PACIOLI_PEPPER"] = _kept_key(options.data / PEPPER_FILE, "PACIOLI_PEPPER", env, new_chain_key, api_key)
        env["PACIOLI_TOKENIZATION_SECRET"] = _kept_key(
            options.data / TOKENIZATION_FILE, "PACIOLI_TOKENIZATION_SECRET", env, new_chain_key, secrets
        )
        if not env.get("PACIOLI_NOTARY_PUBLIC_KEY"):
            env["PACIOLI_NOTARY_PUBLIC_KEY"] = _public_key(options.data, env)
        env["PROMETHEUS_MULTIPROC_DIR"] = _empty_folder(options.data / "metrics")
        handed = secret_files.moved(env, options.data / secret_files.FOLDER)
        if supervisor.finish(Child("migrate", migrate, env=handed, log=_print_line)) != 0:
            raise StartError("the migrations failed: see their lines above")
        supervisor.start(*parts(options, secret_files.without(handed, role_urls.OWNER), _print_line))
        for name, place in (
            ("data", str(options.data)),
            ("Postgres", env[role_urls.APP]),
            ("Redis" if env.get("REDIS_URL") else "broker", env.get("REDIS_URL") or env["BROKER_URL"]),
            ("web", options.web_url),
            ("browser", f"{options.web_url}/dashboard"),
            ("API", f"{options.web_url}/docs"),
            ("key", _how_to_send_key(options)),
            ("log", "the lines of this terminal"),
            ("next", _next_step(options.data, Path(settings.data))),
        ):
            _print(f"{name:<8} {without_password(place)}")
        _print(f"ready {options.web_url}")
        while True:
            supervisor.tick()
    except Stopped:
        _print_line("pacioli", "stopping")
    finally:
        options.listener.close()  # The web server still has it, and closes it when it stops.
        supervisor.stop()
        state.unlink(missing_ok=True)
        shutil.rmtree(options.data / secret_files.FOLDER, ignore_errors=True)


def _how_to_send_key(options: Options) -> str:
    """Write the line that gives curl the key without showing it."""
    if options.insecure:
        return "none: whoever can open a connection on this machine may do everything"
    if options.key_file is None:
        return "that of PACIOLI_SECRET_KEY"
    here = Path.cwd()
    path = options.key_file.relative_to(here) if options.key_file.is_relative_to(here) else options.key_file
    return f"export PACIOLI_KEY=$(cat {shlex.quote(str(path))})"


def _next_step(data: Path, usual: Path) -> str:
    """Suggest the next commands to a newcomer. They need ``--data`` only if the data folder is not the usual one."""
    where = "" if data == usual.resolve() else f" --data {shlex.quote(str(data))}"
    return (
        f"in another terminal, `pacioli demo{where}` plays a shop's day, `pacioli books{where}` shows what is there, and "
        "`pacioli docs` serves the book"
    )


def _private_servers(data: Path, env: dict[str, str]) -> dict[str, Redis | Postgres]:
    """The servers to start here, by the variable that is to have their URL.

    A variable that is set already says which one to use instead.
    """
    servers: dict[str, Redis | Postgres] = {}
    if not (env.get("REDIS_URL") or env.get("BROKER_URL")):
        if find_redis():
            servers["REDIS_URL"] = Redis(data, log=_print_line)
        else:
            env |= broker_fallback(data)
            _print_line("pacioli", "no Redis or Valkey found: files in the data folder carry the messages, more slowly")
    if not role_urls.check(env):
        servers[role_urls.APP] = Postgres(data, log=_print_line)
    return servers


def _empty_folder(path: Path) -> str:
    """Make a folder anew. Counters of an earlier run have no place in this one."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(exist_ok=True)
    return str(path)


def _kept_key(
    path: Path, variable: str, env: Mapping[str, str], make: Callable[[], str], check: Callable[[str], object]
) -> str:
    """Find a key of the service: that of the environment, or else the data folder's own, made once."""
    where, text = variable, env.get(variable)
    try:
        if not text:
            where = str(path)
            text = kept(path, make)
        check(text)
        remember(text)
    except (OSError, ValueError) as error:
        raise StartError(f"{where}: {error}") from None
    return text


def _public_key(data: Path, env: Mapping[str, str]) -> str:
    """Find the public key of the notary, by which the other parts check its seals. A key is made if there is none."""
    text = _kept_key(data / NOTARY_KEY_FILE, "PACIOLI_NOTARY_KEY", env, new_notary_key, notary_key)
    return keypair(notary_key(text)).public


def _certificate(file: Path | None, key: Path | None) -> Certificate | None:
    try:
        return certificates.given(file, key)
    except ValueError as error:
        raise StartError(str(error)) from None


def _api_key(options: Options, settings: Settings) -> str | None:
    """Find the key that requests need: that of the environment, or else the data folder's own, made once."""
    if options.insecure and settings.secret_key:
        raise StartError("PACIOLI_SECRET_KEY is set, and --insecure is for a service without a key: leave one out")
    if options.insecure or settings.secret_key:
        return settings.secret_key.reveal() if settings.secret_key else None
    path = options.data / API_KEY_FILE
    try:
        return kept_api_key(path)
    except (OSError, ValueError) as error:
        raise StartError(f"{path}: {error}") from None


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
        if private.close(data):
            _print_line("pacioli", f"closed {data} to other users of this machine")
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


@contextmanager
def _listening(host: str, port: int, data: Path, supervisor: Supervisor) -> Iterator[socket.socket]:
    """Listen on the port, or on a free one for port 0. The socket stays open while web servers come and go."""
    # Only a supervisor that was killed leaves its state behind, and then its web server may still be on its way out.
    deadline = time.monotonic() + (_OLD_WEB_GRACE_S if (data / "state.json").exists() else 0.0)
    while True:
        supervisor.check()
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
            break
        except (OSError, OverflowError) as error:
            if time.monotonic() >= deadline:
                raise StartError(
                    f"cannot listen on {host} port {port} ({error}): "
                    "stop what uses it, or choose another with --port or --host"
                ) from None
            time.sleep(0.1)
    with listener:
        yield listener


def _write_state(path: Path, options: Options, env: Mapping[str, str], pids: Pids, descendants: Descendants) -> None:
    """Write where everything is, for other commands. Only the owner may read it, because a URL can hold a password."""
    state = {
        "web_url": options.web_url,
        "database_url": env.get(role_urls.APP),
        "owner_url": env.get(role_urls.OWNER),
        "notary_url": env.get(role_urls.NOTARY),
        "redis_url": env.get("REDIS_URL"),
        "broker_url": env.get("BROKER_URL"),
        "key_file": options.key_file and str(options.key_file),
        "certificate": options.certificate and str(options.certificate.file),
        "pids": {"pacioli": os.getpid(), **pids},
        "descendants": descendants,
    }
    new = path.with_suffix(".new")
    try:
        new.touch(mode=0o600)
        new.write_text(json.dumps(state, indent=2) + "\n")
        new.replace(path)
    except OSError as error:  # A full disk must not end the service.
        _print_line("pacioli", f"cannot write {path} ({error.strerror})")


def _print_line(name: str, line: str) -> None:
    if not line.strip() or line.startswith("worker: Warm shutdown"):  # Celery says it without a stamp and a level.
        return
    _print(click.style(f"{name:<8} | ", fg=_COLOURS.get(name, "cyan")) + line)


def _print(line: str) -> None:
    # The service must neither stop nor wait because nobody reads the log.
    _output(sys.stdout).write(line if is_terminal(sys.stdout) else click.unstyle(line))


@functools.cache
def _output(stream: TextIO | None) -> Lines:
    return Lines(stream, lost=lambda count: f"pacioli  | {count} lines of the log were dropped")
