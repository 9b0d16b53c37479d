"""The running service, as commands ask it: where it is, and what they say when it does not answer."""

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
    NotConfigured,
    NotFound,
    Refused,
    Unreachable,
)
from pacioli_client.errors import Unavailable as Busy

from ops.server.instance import Unavailable, data_folder

TRANSPORT: httpx.BaseTransport | None = None
"""What carries the requests; None is the network. Tests put the application of their own process here."""

WHERE = "or say where it is with --url or PACIOLI_URL"


@dataclass(frozen=True)
class Where:
    """What the options say of the service: what they leave out, the environment or the running instance says."""

    url: str | None
    key: str | None
    data: Path


def asks_service(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where the service is, as ``where``, and ``--json``."""

    @click.option("--json", "as_json", is_flag=True, help="For programs: JSON as the service sends it, numbers exact.")
    @click.option(
        "--data",
        type=click.Path(path_type=Path),
        default=data_folder,
        show_default=".pacioli",
        help="Data folder of the running instance; used when neither --url nor PACIOLI_URL is set.",
    )
    @click.option("--key", default=functools.partial(_of_group, "key"), help="Of the service. [env: PACIOLI_KEY]")
    @click.option("--url", default=functools.partial(_of_group, "url"), help="The service. [env: PACIOLI_URL]")
    @functools.wraps(command)
    def asking(*arguments: Any, url: str | None, key: str | None, data: Path, **given: Any) -> Any:
        return command(*arguments, where=Where(url, key, data), **given)

    return asking


@contextmanager
def service(where: Where) -> Iterator[Client]:
    """A client of the service. What goes wrong with it becomes one line that says what to do.

    Raises:
        Unavailable: the question could not be asked.
        click.UsageError: the service says that the request is wrong.
        click.ClickException: the answer is that there is nothing of that name, or that something is in the way.
    """
    try:
        client = connect(where.url, where.key, data=where.data, transport=TRANSPORT)
    except KeyUnusable as error:
        raise Unavailable(f"{error}: give another with --key or PACIOLI_KEY") from None
    except NotConfigured as error:
        raise Unavailable(f"{error}: start one with `pacioli up`, name its folder with --data, {WHERE}") from None
    with client:
        try:
            yield client
        except Unreachable as error:
            doubt = ", and whether it did what was asked is not known" if error.uncertain else ""
            raise Unavailable(f"{error}{doubt}: start it with `pacioli up`, {WHERE}") from None
        except KeyRefused:
            raise Unavailable(f"{client.url} wants a key: give it with --key or PACIOLI_KEY") from None
        except Busy as error:
            text = f"{client.url} cannot answer now ({error.message}): see what it logs, then try again"
            raise Unavailable(text) from None
        except Invalid as error:
            raise click.UsageError(error.message) from None
        except (NotFound, Conflict) as error:
            raise click.ClickException(error.message) from None
        except Refused as error:
            text = f"{client.url} answered with status {error.status}: {error.message}"
            raise Unavailable(f"{text}; request {error.request_id or '?'} in its log") from None


def _of_group(name: str) -> Any:
    """So that the option may stand before a subcommand as well as behind it."""
    parent = click.get_current_context().parent
    return parent.params.get(name) if parent is not None else None
