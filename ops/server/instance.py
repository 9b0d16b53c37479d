"""The instance that ``pacioli up`` runs in a data folder, as other commands find it."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from sqlalchemy import Engine

from core.base.db import connect
from core.base.settings import Settings, SettingsError, chain_key, read

Command = TypeVar("Command", bound=Callable[..., Any])

KEY_FILE = "chain.key"
"""The file in the data folder with the key that signs checkpoints, unless PACIOLI_CHAIN_KEY has it."""


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


def reads_ledger(command: Command) -> Command:
    """The options of every command that reads the database."""
    command = click.option("--json", "as_json", is_flag=True, help="For programs: JSON, integers exact.")(command)
    return finds_database(command)


def finds_database(command: Command) -> Command:
    """The option of every command that opens the database."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path),
        default=data_folder,
        show_default=".pacioli",
        help="Data folder of the running instance; used when DATABASE_URL is not set.",
    )(command)


def data_folder() -> Path:
    """Take the option from before a subcommand, where it may stand too; else PACIOLI_DATA, else ``.pacioli``."""
    parent = click.get_current_context().parent
    given = parent.params.get("data") if parent is not None else None
    return given or Path(settings().data)


def settings() -> Settings:
    """Read the settings from the environment of this command.

    Raises:
        Unavailable: some of it cannot be used; it says all that is wrong.
    """
    try:
        return read(os.environ)
    except SettingsError as error:
        raise Unavailable(str(error)) from None


@contextmanager
def database(data: Path) -> Iterator[Engine]:
    """An engine for DATABASE_URL, or for the database of the instance that runs in the data folder.

    Raises:
        Unavailable: there is neither.
    """
    engine = connect(settings().database_url or running(data, "database_url"), pool_size=2)
    try:
        yield engine
    finally:
        engine.dispose()


def chain_key_of(data: Path) -> bytes | None:
    """The key of PACIOLI_CHAIN_KEY or, when no other database is named, that of the data folder; None when there is none.

    Raises:
        Unavailable: it is not one, or cannot be read.
    """
    known = settings()
    path = data / KEY_FILE
    try:
        if known.chain_key is None and known.database_url is None and path.exists():
            text = path.read_text().strip()
            return chain_key(text) if text else None
    except (OSError, ValueError) as error:
        raise Unavailable(f"{path}: {error}") from None
    return known.chain_key
