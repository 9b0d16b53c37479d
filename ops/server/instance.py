"""Finds the instance that ``pacioli up`` runs in a data folder, and the URL of its database.

Every command loads this module, and most only ask over HTTP. So nothing here loads the libraries of a database.
"""

import json
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import click
from pacioli_client import local

from core.base.environment import SettingsError, read
from core.base.setting_values import chain_key
from core.base.settings import Settings
from ops.server.keys import CHAIN_KEY_FILE

Command = TypeVar("Command", bound=Callable[..., Any])


class Unavailable(click.ClickException):
    """A command could not ask. Its status is 2, because 1 is for bad news such as a damaged ledger."""

    exit_code = 2


def running(data: Path, what: str, otherwise: str = "") -> str:
    """Read an entry of the state that the instance keeps while it runs, such as ``web_url``, or another if it has none.

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
    found = (state.get(what) or state.get(otherwise)) if isinstance(state, dict) else None
    if not found:
        raise Unavailable(f"{path} does not say its {otherwise or what}: start `pacioli up` again, or set DATABASE_URL")
    return str(found)


def reads_ledger(command: Command) -> Command:
    """Give a command the options of all that read the database."""
    command = click.option("--json", "as_json", is_flag=True, help="Print JSON with exact integers, for programs.")(
        command
    )
    return finds_database(command)


def finds_database(command: Command) -> Command:
    """Give a command the option of all that open the database."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path),
        default=data_folder,
        show_default=".pacioli",
        help="The data folder of the running instance. It counts when DATABASE_URL is not set.",
    )(command)


def data_folder() -> Path:
    """Return the --data that stands before a subcommand, else PACIOLI_DATA, else ``.pacioli`` here or in a folder above."""
    parent = click.get_current_context().parent
    given = parent.params.get("data") if parent is not None else None
    settings()
    return given or local.data_folder()


def settings() -> Settings:
    """Read the settings from the environment of this command.

    Raises:
        Unavailable: some settings cannot be used. The message names all of them.
    """
    try:
        return read(os.environ)
    except SettingsError as error:
        raise Unavailable(str(error)) from None


class As(StrEnum):
    """The roles that a command opens the database as. The values are the names of their URLs in the state."""

    APP = "database_url"
    OWNER = "owner_url"
    NOTARY = "notary_url"


def url_of(role: As, data: Path) -> str:
    """Return the URL of a role: that of its variable, else DATABASE_URL, else that of the instance in the data folder.

    Raises:
        Unavailable: there is none.
    """
    known = settings()
    of_role = {As.APP: None, As.OWNER: known.owner_url, As.NOTARY: known.notary_url}[role]
    found = of_role or known.database_url
    return found.reveal() if found else running(data, role, "database_url")


def chain_key_of(data: Path) -> bytes | None:
    """Return the key of PACIOLI_CHAIN_KEY, else the data folder's unless DATABASE_URL is set, else None.

    Raises:
        Unavailable: the key is malformed, or cannot be read.
    """
    known = settings()
    path = data / CHAIN_KEY_FILE
    try:
        if known.chain_key is None and known.database_url is None and path.exists():
            text = path.read_text().strip()
            return chain_key(text) if text else None
    except (OSError, ValueError) as error:
        raise Unavailable(f"{path}: {error}") from None
    return known.chain_key.reveal() if known.chain_key else None
