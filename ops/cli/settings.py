"""``pacioli settings`` shows every environment variable and its value here."""

import os

import click
from msgspec import Struct

from core.base.environment import SettingsError, open_files, read, variables
from ops.cli.show.text import console, plain, print_json, table


class Setting(Struct, frozen=True, kw_only=True):
    """One variable, as ``--json`` prints it."""

    name: str
    value: str | None
    """The value in use, with secrets hidden."""
    default: str | None
    meaning: str


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def settings(as_json: bool) -> None:
    """Show every setting: its value here, its default, and what it means.

    Settings are environment variables. Secrets and passwords are hidden. With a setting that cannot be used it says so,
    and exits with 1.

    \b
    Examples:
      pacioli settings
      PACIOLI_PRECISION_CHECK=off pacioli settings --json
    """
    found = [
        Setting(
            name=variable.name,
            value=variable.shown(os.environ),
            default=variable.default or None,
            meaning=variable.meaning,
        )
        for variable in variables().values()
    ]
    for warning in open_files(os.environ):
        click.echo(warning, err=True)
    faults: list[str] = []
    try:
        read(os.environ)
    except SettingsError as error:
        faults = error.faults
    if as_json:
        print_json({"settings": found, "faults": faults})
    else:
        rows = table("name", "value", "default", "meaning")
        for each in found:
            rows.add_row(each.name, plain(each.value or ""), each.default or "", each.meaning)
        console().print(rows)
    if faults:
        raise click.ClickException("\n".join(faults))
