"""Finds the service and its key.

The address is the argument, else PACIOLI_URL, else that of the profile, else that of the instance that runs on this machine.
A key belongs to one address: that of the profile is sent to its address alone, and so is that of an instance.
"""

import json
import os
import ssl
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from pacioli_client import profiles
from pacioli_client.client import AsyncClient, Client
from pacioli_client.errors import NotConfigured
from pacioli_client.profiles import Profile

DATA = Path(".pacioli")
"""The default data folder of ``pacioli up``."""


class Found(NamedTuple):
    """Where the service is, and how to speak with it."""

    url: str
    key: str | None
    verify: ssl.SSLContext | None


def connect(
    url: str | None = None,
    key: str | None = None,
    *,
    profile: str | None = None,
    data: Path | None = None,
    transport: httpx.BaseTransport | None = None,
    verify: ssl.SSLContext | None = None,
) -> Client:
    """Return a client of the service at ``url``, else of the one that ``find`` finds.

    Raises:
        NotConfigured: nothing gives an address, or the address or the key cannot be used.
    """
    found = find(url, key, profile=profile, data=data)
    return Client(found.url, found.key, transport=transport, verify=verify or found.verify)


def connect_async(
    url: str | None = None,
    key: str | None = None,
    *,
    profile: str | None = None,
    data: Path | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    verify: ssl.SSLContext | None = None,
) -> AsyncClient:
    """Return an asynchronous client, as ``connect`` does.

    Raises:
        NotConfigured: as ``connect``.
    """
    found = find(url, key, profile=profile, data=data)
    return AsyncClient(found.url, found.key, transport=transport, verify=verify or found.verify)


def find(
    url: str | None = None, key: str | None = None, *, profile: str | None = None, data: Path | None = None
) -> Found:
    """Find the service: at ``url``, else that of ``profile``, else at PACIOLI_URL, else of the instance in ``data``.

    Where nothing of these is given, it is that of PACIOLI_PROFILE or of the default profile, else the instance in the folder of
    PACIOLI_DATA, or in ``.pacioli`` here or in a folder above. The key is ``key``, else that of PACIOLI_KEY or PACIOLI_KEY_FILE,
    else that of the profile or of the instance, if it is for this address, else that of PACIOLI_SECRET_KEY, the server's.

    Raises:
        NotConfigured: none of these gives an address, or something that is named cannot be read.
    """
    chosen = profiles.find(profile) if profile is not None else None
    if url is None and chosen is None:
        url = os.environ.get("PACIOLI_URL") or None
    if url is None and chosen is None and data is None:
        chosen = profiles.find()
    folder = data or data_folder()
    url = url or (chosen.url if chosen else None) or running(folder)
    if chosen is not None and chosen.url != url:
        chosen = None
    state = _state(folder)
    if state.get("web_url") != url.rstrip("/"):
        state = {}
    given = key or (chosen.key() if chosen is not None and profile is not None else None) or _named("PACIOLI_KEY")
    if given is None and chosen is not None:
        given = chosen.key()
    if given is None and isinstance(path := state.get("key_file"), str):
        given = _readable(Path(path))
    given = given or _named("PACIOLI_SECRET_KEY")
    return Found(url, given, _trust(chosen, state.get("certificate")))


def data_folder() -> Path:
    """Return the data folder of PACIOLI_DATA, else the nearest one in which an instance runs, here or above, else the default."""
    if given := os.environ.get("PACIOLI_DATA"):
        return Path(given)
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / DATA / "state.json").exists():
            return folder / DATA
    return DATA


def running(data: Path) -> str:
    """Return the address of the instance that runs in the data folder, from its ``state.json``.

    Raises:
        NotConfigured: nothing runs there, or it does not say where.
    """
    path = data / "state.json"
    try:
        state = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise NotConfigured(f"no instance runs in {data}, and PACIOLI_URL is not set") from None
    except (OSError, ValueError) as error:
        raise NotConfigured(f"cannot read {path} ({error}), and PACIOLI_URL is not set") from None
    if not isinstance(state, dict) or not isinstance(url := state.get("web_url"), str):
        raise NotConfigured(f"{path} does not say its web_url, and PACIOLI_URL is not set")
    return url


def _named(variable: str) -> str | None:
    """Return the value of a variable, else the text of the file that it names with ``_FILE`` at its end."""
    file = os.environ.get(f"{variable}_FILE")
    if os.environ.get(variable) or not file:
        return os.environ.get(variable) or None
    return profiles.text_of_file(Path(file), f"{variable}_FILE")


def _readable(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except (OSError, ValueError):  # Without a key the service says itself that it wants one.
        return None


def _state(data: Path) -> dict[str, Any]:
    try:
        found = json.loads((data / "state.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _trust(profile: Profile | None, certificate: object) -> ssl.SSLContext | None:
    """Return what the certificate of the service is checked with: PACIOLI_CA, the profile's authorities, or its own file."""
    file = os.environ.get("PACIOLI_CA")
    name = "PACIOLI_CA"
    if not file and profile is not None and profile.ca is not None:
        file, name = str(Path(profile.ca).expanduser()), "the profile's ca"
    try:
        if file:
            return ssl.create_default_context(cafile=file)
    except OSError as error:
        raise NotConfigured(f"{name}: {file} cannot be read, or has no certificates ({error})") from None
    try:
        return _pinned(Path(certificate)) if isinstance(certificate, str) else None
    except (OSError, ValueError):
        return None


def _pinned(file: Path) -> ssl.SSLContext:
    """Make a context that trusts the one certificate of an instance on this machine, whoever signed it."""
    first, end, _ = file.read_text().partition("-----END CERTIFICATE-----")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=first + end)
    return context
