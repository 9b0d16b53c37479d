"""Profiles: named services in a file of the user, so that a command needs no address and no key.

The file is ``pacioli/profiles.toml`` in the user's config folder, which is ``~/.config`` unless XDG_CONFIG_HOME says another:

    default = "shop"

    [shop]
    url = "https://ledger.example"
    key_file = "~/.config/pacioli/shop.key"
"""

import os
import stat
import tomllib
from pathlib import Path

import msgspec

from pacioli_client.errors import NotConfigured

FILE = "~/.config/pacioli/profiles.toml"
"""The usual place of the file, for texts."""


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service of the file. The key stands in a file of its own."""

    url: str
    key_file: str | None = None
    ca: str | None = None
    """A file with the authorities that the certificate of the service is checked with."""

    def key(self) -> str | None:
        """Read the key.

        Raises:
            NotConfigured: the file cannot be read, is empty, or is open to other users.
        """
        return None if self.key_file is None else read_key(Path(self.key_file).expanduser())


def folder() -> Path:
    """Return the folder of the user's configuration of Pacioli."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "pacioli"


def file() -> Path:
    return folder() / "profiles.toml"


def find(name: str | None = None) -> Profile | None:
    """Return the profile of a name, else that of PACIOLI_PROFILE, else the default one; None when no name is given.

    Raises:
        NotConfigured: there is no such profile, or the file cannot be understood.
    """
    wanted = name or os.environ.get("PACIOLI_PROFILE")
    known = _read()
    default = known.pop("default", None)
    wanted = wanted or (default if isinstance(default, str) else None)
    if wanted is None:
        return None
    if wanted not in known:
        there = ", ".join(sorted(known)) or "none"
        raise NotConfigured(f"{file()} has no profile {wanted!r}: it has {there}")
    try:
        return msgspec.convert(known[wanted], Profile)
    except msgspec.ValidationError as error:
        raise NotConfigured(f"{file()}, profile {wanted!r}: {error}") from None


def names() -> list[str]:
    """Return the names of all profiles."""
    return sorted(name for name, value in _read().items() if isinstance(value, dict))


def read_key(path: Path) -> str:
    """Read a key from a file of the user's own.

    Raises:
        NotConfigured: it cannot be read, is empty, or is open to other users.
    """
    text = text_of_file(path, "key_file")
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise NotConfigured(f"other users can read the key file {path}: close it with `chmod 600 {path}`")
    return text


def text_of_file(path: Path, name: str) -> str:
    """Read the secret in a file. ``name`` is what says where it is, for the message of an error.

    Raises:
        NotConfigured: it cannot be read, or is empty.
    """
    try:
        text = path.read_text().rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise NotConfigured(f"{name}: {path} cannot be read ({reason})") from None
    if not text:
        raise NotConfigured(f"{name}: {path} is empty")
    return text


def _read() -> dict[str, object]:
    try:
        return tomllib.loads(file().read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise NotConfigured(f"{file()} cannot be read ({error})") from None
