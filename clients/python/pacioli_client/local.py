"""Finds the service: by arguments, else by the environment, else by the data folder of an instance on this machine."""

import json
import os
import ssl
from pathlib import Path

import httpx

from pacioli_client.client import Client
from pacioli_client.errors import NotConfigured

DATA = Path(".pacioli")
"""The default data folder of ``pacioli up``."""


def connect(
    url: str | None = None,
    key: str | None = None,
    *,
    data: Path = DATA,
    transport: httpx.BaseTransport | None = None,
    verify: ssl.SSLContext | None = None,
) -> Client:
    """Return a client of the service at ``url``, else at PACIOLI_URL, else of the instance that runs in the data folder.

    The key is ``key``, else PACIOLI_KEY or the text of the file that PACIOLI_KEY_FILE names, else PACIOLI_SECRET_KEY or
    PACIOLI_SECRET_KEY_FILE, which the server itself reads. The certificate of the service is checked with ``verify``, else with
    the authorities in the file that PACIOLI_CA names, else with the usual ones.

    Raises:
        NotConfigured: none of these gives an address, or the address or the key cannot be used.
    """
    url = url or os.environ.get("PACIOLI_URL") or running(data)
    key = key or _named("PACIOLI_KEY") or _named("PACIOLI_SECRET_KEY")
    return Client(url, key, transport=transport, verify=verify or _authorities())


def _named(variable: str) -> str | None:
    """Return the value of a variable, else the text of the file that it names with ``_FILE`` at its end."""
    file = os.environ.get(f"{variable}_FILE")
    if os.environ.get(variable) or not file:
        return os.environ.get(variable)
    try:
        text = Path(file).read_text().rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise NotConfigured(f"{variable}_FILE: {file} cannot be read ({reason})") from None
    if not text:
        raise NotConfigured(f"{variable}_FILE: {file} is empty")
    return text


def _authorities() -> ssl.SSLContext | None:
    file = os.environ.get("PACIOLI_CA")
    try:
        return ssl.create_default_context(cafile=file) if file else None
    except OSError as error:
        raise NotConfigured(f"PACIOLI_CA: {file} cannot be read, or has no certificates ({error})") from None


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
