"""Where the service is, and with which key to ask: arguments, else the environment, else the instance on this machine."""

import json
import os
from pathlib import Path

import httpx

from pacioli_client.client import Client
from pacioli_client.errors import NotConfigured

DATA = Path(".pacioli")
"""The data folder of ``pacioli up``, unless told otherwise."""


def connect(
    url: str | None = None,
    key: str | None = None,
    *,
    data: Path = DATA,
    transport: httpx.BaseTransport | None = None,
) -> Client:
    """A client of the service at ``url``, of the one that PACIOLI_URL names, or of the one that runs in the data folder.

    The key is ``key``, or that of PACIOLI_KEY, or of PACIOLI_SECRET_KEY, which is what the server itself reads.

    Raises:
        NotConfigured: there is none of them.
    """
    url = url or os.environ.get("PACIOLI_URL") or running(data)
    key = key or os.environ.get("PACIOLI_KEY") or os.environ.get("PACIOLI_SECRET_KEY")
    return Client(url, key, transport=transport)


def running(data: Path) -> str:
    """The address of the instance that runs in the data folder, as its ``state.json`` says.

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
