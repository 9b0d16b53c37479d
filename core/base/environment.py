"""Reads an environment into the settings, and tells all that is wrong with it at once.

A door (web, worker, command line) hands its environment to ``read`` once. The core itself never reads the environment.
"""

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, get_type_hints

from core.base.secrets import Secret
from core.base.settings import Settings
from core.base.variables import Variable


class SettingsError(Exception):
    """Some variables are wrong or missing. ``faults`` has one sentence for each, which begins with its name."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@cache
def variables() -> dict[str, Variable]:
    """List every environment variable, by the field of ``Settings`` that holds its value."""
    hints = get_type_hints(Settings, include_extras=True)
    return {field: hints[field].__metadata__[0] for field in Settings.__struct_fields__}


def read(environ: Mapping[str, str], *, required: Collection[str] = ()) -> Settings:
    """Read and check all settings. ``required`` names the variables that this door needs.

    Raises:
        SettingsError: some variables are wrong or missing. It lists all of them.
    """
    values: dict[str, Any] = {}
    faults: list[str] = []
    for field, variable in variables().items():
        values[field] = None
        try:
            text = variable.text(environ)
        except ValueError as error:
            faults.append(str(error))
            continue
        if variable.file_name:
            variable.keep_secret(text)
        try:
            if text:
                value = variable.parse(text)
                values[field] = Secret(value) if variable.file_name else value
            elif variable.name in required:
                faults.append(missing(variable.name))
        except ValueError as error:
            faults.append(f"{variable.name} {error}")
    settings = Settings(**values)
    if settings.broker.startswith("filesystem:") and settings.broker_folder is None:
        faults.append("BROKER_FOLDER is not set, and BROKER_URL says that files carry the messages")
    if faults:
        raise SettingsError(faults)
    return settings


def names() -> Iterator[str]:
    """List the names of all variables, those that name files among them."""
    for variable in variables().values():
        yield variable.name
        if variable.file_name:
            yield variable.file_name


def without_files(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the values that are in files, in place of the names of the files.

    Raises:
        SettingsError: a file cannot be read.
    """
    found, faults = dict(environ), []
    for variable in variables().values():
        if variable.file_name and environ.get(variable.file_name):
            try:
                found[variable.name] = variable.text(environ)
            except ValueError as error:
                faults.append(str(error))
            del found[variable.file_name]
    if faults:
        raise SettingsError(faults)
    return found


def open_files(environ: Mapping[str, str]) -> list[str]:
    """Write a warning for each file with a secret that other users of the machine may read."""
    warnings = []
    for variable in variables().values():
        path = environ.get(variable.file_name, "") if variable.file_name else ""
        with suppress(OSError):
            if path and stat.S_IMODE(os.stat(path).st_mode) & 0o077:
                warnings.append(f"{variable.file_name}: other users may open {path}; `chmod 600` keeps it secret")
    return warnings


def missing(name: str) -> str:
    """Write the fault of a required variable that is not set."""
    (variable,) = (each for each in variables().values() if each.name == name)
    return f"{name} is not set: {variable.meaning}"
