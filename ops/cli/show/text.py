"""Text for people and JSON for programs: the console, tables, amounts, times, statuses."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from core.base.money import grouped
from ops.cli.show.tables import QUIET as QUIET
from ops.cli.show.tables import Table

PIPE_WIDTH = 160
"""The width in columns where there is no terminal."""

GOOD, BAD = "green", "bold red"
STATUS_STYLES = {
    "APPLIED": GOOD,
    "INFLIGHT": "cyan",
    "QUEUED": "yellow",
    "SCHEDULED": "magenta",
    "VOID": QUIET,
    "REJECTED": BAD,
    "UNPOSTED": QUIET,
    # Funding jobs and their runs have these.
    "ACTIVE": GOOD,
    "PAUSED": "yellow",
    "CANCELLED": BAD,
    "FINISHED": QUIET,
    "PENDING": "magenta",
    "RUNNING": "cyan",
    "COMPLETED": GOOD,
    "REFUSED": BAD,
}

_encode = msgspec.json.Encoder(decimal_format="number").encode


def console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Make a console that prints text as it is. Brackets in a client's description are no markup."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(markup=False, highlight=False, emoji=False, stderr=stderr, quiet=quiet, width=width)


def table(
    *columns: str,
    title: str | None = None,
    right: Sequence[str] = (),
    wrap: Sequence[str] = (),
    drop: Sequence[str] = (),
) -> Table:
    """Make a table with these headings. The columns in ``right`` hold numbers.

    On a narrow terminal the columns in ``wrap`` are wrapped at spaces, as columns named for prose are, such as "why". Then the
    columns in ``drop`` are left out, the first one first. Then each row is stacked. Words are never broken.
    """
    return Table(columns, title=title, right=right, wrap=wrap, drop=drop)


def status_text(status: str) -> Text:
    """Return a status in its colour. An unknown status has none."""
    return Text(plain(status), style=STATUS_STYLES.get(status, ""))


def money(minor: int, precision: int | None) -> str:
    """Format an amount for people: ``-1,234.50`` at precision 100. Without a precision it is minor units."""
    return grouped(minor, precision or 1)


def plain(text: str) -> str:
    """Return a client's text without the characters that steer a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def count(number: int, one: str, many: str | None = None) -> str:
    """Format a number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def more(shown: int, total: int | None, how: str) -> str:
    """Say how many rows are not shown, and how to see them. It is empty when all are. ``total`` is None when nobody counted."""
    if total is None:
        return f"and more: {how}"
    return f"and {total - shown:,} more: {how}" if total > shown else ""


def time(at: datetime) -> str:
    """Format a time, to the second, in the zone that it has. The heading or the sentence around it says which."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def moment(at: datetime) -> str:
    """Format a time to the millisecond, with its zone, for where it matters how long something took."""
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03} UTC"


def duration(seconds: float) -> str:
    """Format how long something took: ``7 ms``, ``2.4 s``, ``3 min``, ``5 h`` or ``12 days``."""
    if seconds < 1:
        return f"{seconds * 1000:,.0f} ms"
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.1f} s"


def clock(at: datetime, zone: tzinfo | None = None) -> str:
    """Format a time that a person has chosen: in a zone, with its weekday, and in UTC beside it.

    The default is the zone of this machine.
    """
    local = at.astimezone(zone)
    shown = f"{local:%a %Y-%m-%d %H:%M}{f':{local:%S}' if local.second else ''}"
    name = local.tzname() or ""
    offset = local.utcoffset()
    if not offset:
        return f"{shown} UTC"
    name = name if name.isalpha() else f"UTC{local:%z}"
    other = at.astimezone(UTC)
    return f"{shown} {name}, {f'{other:%H:%M}' if other.date() == local.date() else f'{other:%a %H:%M}'} UTC"


def print_json(value: Any) -> None:
    """Print JSON on standard output. An answer of the service is printed as it was sent."""
    click.echo(msgspec.json.format(_encode(value), indent=2).decode())


def print_json_line(value: Any) -> None:
    """Print JSON in one line on standard output."""
    click.echo(_encode(value).decode())


def fields_of(answer: msgspec.Struct) -> dict[str, msgspec.Raw]:
    """Return the fields of an answer as they were sent, so that others can be added."""
    found: dict[str, msgspec.Raw] = msgspec.json.decode(_encode(answer), type=dict[str, msgspec.Raw])
    return found
