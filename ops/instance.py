"""The instance that ``pacioli up`` runs in a data folder, as other commands find it."""

import json
import os
from pathlib import Path

import click

from core import chain

KEY_FILE = "chain.key"
"""In the data folder: what signs the checkpoints, if PACIOLI_CHAIN_KEY does not say it."""


class Unavailable(click.ClickException):
    """The question could not be asked. Status 1 is left for a bad answer, such as a damaged ledger."""

    exit_code = 2


def running(data: Path, what: str) -> str:
    """An entry of the state that the instance keeps while it runs: ``web_url``, ``database_url``.

    Raises:
        Unavailable: nothing runs there.
    """
    path = data / "state.json"
    try:
        state = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise Unavailable(
            f"no instance runs in {data}, and DATABASE_URL is not set: start one with `pacioli up`, name its folder "
            "with --data, or set DATABASE_URL"
        ) from None
    except (OSError, ValueError) as error:
        raise Unavailable(f"cannot read {path} ({error}): start `pacioli up` again, or set DATABASE_URL") from None
    if not isinstance(state, dict) or not state.get(what):
        raise Unavailable(f"{path} does not say its {what}: start `pacioli up` again, or set DATABASE_URL")
    return str(state[what])


def chain_key(data: Path) -> bytes | None:
    """The key of PACIOLI_CHAIN_KEY or, when no other database is named, that of the data folder; None when there is none.

    Raises:
        Unavailable: it is not one, or cannot be read.
    """
    where, text = "PACIOLI_CHAIN_KEY", os.environ.get("PACIOLI_CHAIN_KEY")
    path = data / KEY_FILE
    try:
        if not text and not os.environ.get("DATABASE_URL") and path.exists():
            where, text = str(path), path.read_text().strip()
        return chain.key_of(text)
    except (OSError, ValueError) as error:
        raise Unavailable(f"{where}: {error}") from None
