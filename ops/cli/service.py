"""Connects a command to the running service, and turns its errors into one line that says what to do."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import httpx
from pacioli_client import Client, connect
from pacioli_client.errors import (
    Conflict,
    Invalid,
    KeyRefused,
    KeyUnusable,
    NotApplied,
    NotConfigured,
    NotFound,
    RateLimited,
    Refused,
    Unreachable,
    Unsendable,
)
from pacioli_client.errors import Unavailable as Busy

from core.base.errors import ErrorCode
from core.base.variables import text_of_file
from ops.cli.wording import of_command
from ops.server.instance import Unavailable, settings

TRANSPORT: httpx.BaseTransport | None = None
"""The transport of requests; None is the network. Tests set it to the application in their own process."""

WHERE = "or say where it is with --url or PACIOLI_URL"


@dataclass(frozen=True)
class Where:
    """The options that say where the service is. The environment or the running instance fills in what is None."""

    url: str | None
    key_file: Path | None
    """A key is in no argument, for every user of this machine sees the arguments of all commands."""
    data: Path | None
    profile: str | None = None


def asks_service(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where the service is, as ``where``, and ``--json``."""

    @click.option(
        "--json", "as_json", is_flag=True, help="Print the JSON of the service, with exact numbers, for programs."
    )
    @click.option(
        "--data",
        type=click.Path(path_type=Path),
        default=functools.partial(_of_group, "data"),
        show_default=".pacioli",
        help="The data folder of the running instance. It counts when neither --url nor PACIOLI_URL is set.",
    )
    @click.option(
        "--profile",
        "--as",
        default=functools.partial(_of_group, "profile"),
        help="The profile that says where the service is. [env: PACIOLI_PROFILE]",
    )
    @click.option(
        "--key-file",
        type=click.Path(path_type=Path),
        default=functools.partial(_of_group, "key_file"),
        help="A file with the key of the service. That of the running instance is found. [env: PACIOLI_KEY_FILE, or the key "
        "itself in PACIOLI_KEY]",
    )
    @click.option(
        "--url", default=functools.partial(_of_group, "url"), help="The address of the service. [env: PACIOLI_URL]"
    )
    @functools.wraps(command)
    def asking(
        *arguments: Any, url: str | None, key_file: Path | None, data: Path | None, profile: str | None, **given: Any
    ) -> Any:
        return command(*arguments, where=Where(url, key_file, data, profile), **given)

    return asking


@contextmanager
def service(where: Where) -> Iterator[Client]:
    """Open a client of the service. Its errors become one line that says what to do.

    Raises:
        Unavailable: the service does not answer, or cannot.
        click.UsageError: the service says that the request is wrong.
        click.ClickException: nothing has that name, or something is in the way.
    """
    settings()  # An environment with faults is refused before anything is sent.
    try:
        client = connect(
            where.url, _key_in(where.key_file), profile=where.profile, data=where.data, transport=TRANSPORT
        )
    except KeyUnusable as error:
        raise Unavailable(f"{error}: give another with --key-file or PACIOLI_KEY") from None
    except NotConfigured as error:
        raise Unavailable(_advice(error)) from None
    with client:
        try:
            yield client
        except Unreachable as error:
            doubt = ", and whether it did what was asked is not known" if error.uncertain else ""
            raise Unavailable(f"{error}{doubt}: start it with `pacioli up`, {WHERE}") from None
        except KeyRefused as error:
            if error.status == 403 or error.code == ErrorCode.AUTH_MISSING_PRINCIPAL:
                raise click.ClickException(f"{client.url} does not allow that with this key: {error.message}") from None
            raise Unavailable(f"{client.url} wants a key: give the right one with --key-file or PACIOLI_KEY") from None
        except RateLimited as error:
            after = f" {error.retry_after_s:.0f} s" if error.retry_after_s else ""
            raise Unavailable(
                f"{client.url} takes no more requests now ({error.message}): try again after{after}"
            ) from None
        except NotApplied as error:
            raise click.ClickException(str(error)) from None
        except Busy as error:
            text = f"{client.url} cannot answer now ({error.message}): see what it logs, then try again"
            raise Unavailable(text) from None
        except Unsendable as error:
            raise click.UsageError(str(error)) from None
        except Invalid as error:
            raise click.UsageError(of_command(error.message)) from None
        except (NotFound, Conflict) as error:
            raise click.ClickException(of_command(error.message)) from None
        except Refused as error:
            text = f"{client.url} answered with status {error.status}: {error.message}"
            raise Unavailable(f"{text}; request {error.request_id or '?'} in its log") from None


def _advice(error: NotConfigured) -> str:
    if "no instance runs" not in str(error) and "state.json" not in str(error):
        return str(error)
    return f"{error}: start one with `pacioli up`, name its folder with --data, {WHERE}"


def _key_in(file: Path | None) -> str | None:
    """Read the key in a file. Returns None when no file is given."""
    try:
        return text_of_file(str(file), "--key-file") if file is not None else None
    except ValueError as error:
        raise Unavailable(str(error)) from None


def _of_group(name: str) -> Any:
    """Take an option that stands before a subcommand, so that it may stand there too."""
    parent = click.get_current_context().parent
    return parent.params.get(name) if parent is not None else None
