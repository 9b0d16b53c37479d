"""The instance that ``pacioli up`` runs in a data folder, as other commands find it."""

import json
from pathlib import Path

import click


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
