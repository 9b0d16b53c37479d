"""Finds the instance that ``pacioli up`` runs in a data folder, and its database."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import click
from pacioli_client import local
from sqlalchemy import Engine

from core.base.db import LONG_S, connect
from core.base.setting_values import chain_key, notary_key
from core.base.settings import Settings, SettingsError, read
from core.doors import watches
from core.migrations.fitness import Unfit, refuse_unfit
from core.notary.published import read_lines
from core.notary.seals import keypair
from core.verification.sealed import Known
from ops.server.keys import CHAIN_KEY_FILE, NOTARY_KEY_FILE, SEALS_FILE

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


@contextmanager
def database(data: Path, role: As = As.APP, *, to_migrate: bool = False) -> Iterator[Engine]:
    """Open an engine for the database of the environment, else of the instance that runs in the data folder.

    Raises:
        Unavailable: there is neither, or the database is unfit for what the command does.
    """
    watches.hand_in()  # Some commands decide transactions.
    engine = connect(url_of(role, data), connections=6, within_s=LONG_S, pooler=settings().pooler)
    try:
        if role is not As.NOTARY:  # It may not read enough for the check, and the command has opened it as app before.
            refuse_unfit(engine, to_migrate=to_migrate)
        yield engine
    except Unfit as error:
        raise Unavailable(str(error)) from None
    finally:
        engine.dispose()


_PUBLISHED = 1_000
"""So many of the newest seals in the data folder are compared without being asked for."""


def known_of(data: Path, against: Path | None) -> Known:
    """Return what is known of the notary's seals outside the database: its public key, and what it has published.

    They come from the setting and from a file, else from the data folder unless DATABASE_URL is set.

    Raises:
        Unavailable: the key or the file cannot be read.
    """
    known = settings()
    keys = known.notary_public_key or frozenset()
    is_here = known.database_url is None
    key_path, seals_path = data / NOTARY_KEY_FILE, data / SEALS_FILE
    path = against or seals_path
    try:
        if not keys and is_here and key_path.exists():
            earlier = key_path.with_name(f"{key_path.name}.earlier")
            known_before = earlier.read_text().split() if earlier.exists() else []
            keys = frozenset([keypair(notary_key(key_path.read_text().strip())).public, *known_before])
        if against is None and not (is_here and seals_path.exists()):
            return Known(keys=keys)
        with path.open(errors="replace") as file:
            lines = list(file) if against else list(deque(file, _PUBLISHED))
            return Known(keys=keys, published=list(read_lines(lines)))
    except (OSError, ValueError) as error:
        raise Unavailable(f"{path}: {error}") from None


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
