"""``pacioli identities``: the keys of tokenized fields."""

from pathlib import Path

import click

from core.base.setting_values import secrets
from core.identities.tokenization import rotate
from core.identities.tokens import keyring_of
from ops.cli.show.text import print_json
from ops.server.instance import As, Unavailable, finds_database, settings
from ops.server.keys import TOKENIZATION_FILE
from ops.server.opened import database


@click.group()
def identities() -> None:
    """Look after the keys of tokenized fields of identities.

    \b
    Examples:
      pacioli identities rotate
    """


@identities.command("rotate")
@finds_database
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def rotate_keys(data: Path, as_json: bool) -> None:
    """Seal all tokens anew, under the newest secret.

    Put a new secret first in PACIOLI_TOKENIZATION_SECRET, with a comma before the old one, and start the web processes again.
    Then run this. It can be ended and run again at any time. When it is done, the old secret can go.

    \b
    Example:
      PACIOLI_TOKENIZATION_SECRET=new,old pacioli identities rotate
    """
    keyring = keyring_of(_secrets(data))
    with database(data, As.APP) as engine:
        done = rotate(engine, keyring)
    if as_json:
        print_json({"rotated": done, "key": keyring.newest})
    else:
        click.echo(f"{done} identities were sealed anew, and all are under the key {keyring.newest} now")


def _secrets(data: Path) -> str:
    """Return the secrets of the setting, else that of the data folder.

    Raises:
        Unavailable: there are none.
    """
    if (given := settings().tokenization_secret) is not None:
        return given.reveal()
    path = data / TOKENIZATION_FILE
    try:
        return secrets(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise Unavailable(f"PACIOLI_TOKENIZATION_SECRET is not set, and {path}: {error}") from None
