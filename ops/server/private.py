"""Keeps the private servers from other users of the machine: their folders, programs, environment, and who runs them.

The data folder belongs to who runs ``pacioli up``, and is closed to everybody else. Root runs no server: for root it runs as a
system user, who owns a folder inside the data folder. That user cannot walk down to it, and need not: the server is started
in it, and calls it by ``/proc/self/cwd``. So it needs no capability.
"""

import functools
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

SYSTEM_USER = "pgserver"

UMASK = 0o077

# The kernel's limit is 107 bytes on Linux and 103 on macOS.
_SOCKET_PATH_MAX_BYTES = 103

_PROGRAMS = Path("/var/lib/pacioli/programs")
"""Copies of programs that the system user cannot reach where they are."""

_ENVIRONMENT = ("PATH", "LANG", "LANGUAGE", "TZ")
"""All that a server gets of our environment, beside LC_*. The rest may hold keys and passwords."""


class StartError(Exception):
    """Something could not be started; the message says what to do about it."""


def owner() -> pwd.struct_passwd | None:
    """Return the system user who runs servers for root, or None for others, who run them themselves.

    Raises:
        StartError: the system user is missing, and cannot be created.
    """
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    try:
        useradd = ["useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
        subprocess.run(useradd, check=True, capture_output=True)
        return pwd.getpwnam(SYSTEM_USER)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise StartError(
            f"Postgres and Redis may not run as root, and the user {SYSTEM_USER} cannot be created ({error}): "
            "run as an ordinary user, or set DATABASE_URL and REDIS_URL"
        ) from None


def environment() -> dict[str, str]:
    """Return the environment of a server."""
    names = (name for name in os.environ if name in _ENVIRONMENT or name.startswith("LC_"))
    return {name: os.environ[name] for name in names}


def own_folder(folder: Path) -> Path:
    """Make a folder that the server owns, and nobody else may open. One that is there is taken over."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    if (user := owner()) is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    return folder


def own_file(path: Path, text: str) -> None:
    """Write a file that the server owns, and nobody else may read. The server must find nothing half-written.

    The folder is the server's, so root follows no link in it.
    """
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        if (user := owner()) is not None:
            os.fchown(file.fileno(), user.pw_uid, user.pw_gid)
        file.write(text)
    new.replace(path)


def within(folder: Path) -> str:
    """Return the name by which a server that was started in this folder finds it."""
    return str(folder) if owner() is None else "/proc/self/cwd"


def fits(folder: Path, socket: str) -> bool:
    """Tell whether a socket can be in this folder. Postgres takes a comma for the start of another folder."""
    path = os.fsencode(folder / socket)
    return len(path) <= _SOCKET_PATH_MAX_BYTES and b"," not in path


def short_folder() -> Path:
    """Make a folder with a short path for a socket."""
    return own_folder(Path(tempfile.mkdtemp(prefix="pacioli-")))


def close(folder: Path) -> bool:
    """Take from others what they may do with a folder of ours. Returns whether they could do something."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if not mode & 0o077:
        return False
    folder.chmod(mode & 0o700)
    return True


def reachable(program: Path, tree: Path | None = None) -> Path:
    """Return this program where the server's user can run it: itself, or a copy. ``tree`` is the folder that it needs."""
    real = program.resolve()
    everybody = stat.S_IROTH | stat.S_IXOTH
    closed = any(not parent.stat().st_mode & stat.S_IXOTH for parent in real.parents)
    if owner() is None or (not closed and real.stat().st_mode & everybody == everybody):
        return program
    found = real.stat()
    name = hashlib.sha256(f"{real} {found.st_mtime_ns} {found.st_size}".encode()).hexdigest()[:16]
    folder = _PROGRAMS / name
    source = tree.resolve() if tree is not None else real
    copied = folder / real.relative_to(source.parent)
    if not copied.exists():
        _copy(source, folder)
    return copied


def in_wheel(package: str, path: str) -> Path | None:
    """Find a program that an installed package carries, without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / path
    return program if os.access(program, os.X_OK) else None


def ending_with_us(orphan_signal: signal.Signals, *, for_server: bool = False) -> list[str]:
    """Return the words before a command that is to get this signal when we die. A server gets no new privileges either."""
    setpriv = _setpriv()
    if setpriv is None:
        return []
    walls = ["--no-new-privs", "--inh-caps=-all"] if for_server else []
    return [setpriv, "--pdeathsig", orphan_signal.name.removeprefix("SIG"), *walls, "--"]


def identity() -> Mapping[str, int | list[int]]:
    """Return the arguments of Popen that make the server's user of root. Capabilities end with the change."""
    user = owner()
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _copy(source: Path, folder: Path) -> None:
    """Copy a program, or the folder of one, for everybody to run, whole or not at all."""
    try:
        _PROGRAMS.mkdir(parents=True, exist_ok=True)
        for each in (_PROGRAMS, _PROGRAMS.parent):
            each.chmod(0o755)
        new = Path(tempfile.mkdtemp(dir=_PROGRAMS, prefix="new-"))
        if source.is_dir():
            shutil.copytree(source, new / source.name, symlinks=True)
        else:
            shutil.copy(source, new / source.name)
        for each in (new, *new.rglob("*")):
            if not each.is_symlink():
                runs = each.is_dir() or each.stat().st_mode & stat.S_IXUSR
                each.chmod(0o755 if runs else 0o644)
        try:
            new.rename(folder)
        except OSError:  # Somebody else was quicker.
            shutil.rmtree(new, ignore_errors=True)
            if not folder.exists():
                raise
    except OSError as error:
        raise StartError(
            f"the user {SYSTEM_USER} cannot reach {source}, and it cannot be copied to {folder} ({error.strerror}): "
            "install Pacioli where everybody can read it, or set DATABASE_URL and REDIS_URL"
        ) from None


@functools.cache
def _setpriv() -> str | None:
    """Find the setpriv of util-linux; not the one of busybox, which cannot do what we need."""
    found = shutil.which("setpriv")
    if found is None:
        return None
    probe = subprocess.run([found, "--pdeathsig", "TERM", "--", "true"], capture_output=True, check=False)
    return found if probe.returncode == 0 else None
