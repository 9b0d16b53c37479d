"""Hands secrets to the parts of the service in files, as the environment of a process is seen in too many places.

``ps e``, core dumps, crash reporters and every program that a part starts have the environment. A file of mode 0600 in the data
folder is read once by who needs it.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from core.base.environment import variables
from ops.server.private import StartError

FOLDER = "secrets"
"""The folder in the data folder. It is there while the service runs."""


def moved(env: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Write each secret of an environment to a file, and return the environment that names the files instead.

    Raises:
        StartError: the files cannot be written.
    """
    left = dict(env)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        for variable in variables().values():
            if variable.file_name and (text := left.pop(variable.name, "")):
                path = folder / variable.name
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                    file.write(text + "\n")
                left[variable.file_name] = str(path)
    except OSError as error:
        raise StartError(f"cannot write {folder} ({error.strerror}): see its owner and the room on its disk") from None
    return left


def without(env: Mapping[str, str], *names: str) -> dict[str, str]:
    """Return the environment of a part that does not need these secrets."""
    left_out = {*names, *(f"{name}_FILE" for name in names)}
    return {name: value for name, value in env.items() if name not in left_out}
