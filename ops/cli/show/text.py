"""Text for people and JSON for programs: the console, tables, amounts, times, statuses."""

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click
import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.base.money import to_text

PIPE_WIDTH = 160
"""The width in columns where there is no terminal."""

GOOD, BAD, QUIET = "green", "bold red", "dim"
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


def table(*columns: str, title: str | None = None, right: Sequence[str] = ()) -> Table:
    """Make a table with these headings. The columns in ``right`` hold numbers."""
    new = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        new.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return new


def status_text(status: str) -> Text:
    """Return a status in its colour. An unknown status has none."""
    return Text(plain(status), style=STATUS_STYLES.get(status, ""))


def money(minor: int, precision: int | None) -> str:
    """Format an amount for people: ``-1,234.50`` at precision 100. Without a precision it is minor units."""
    whole, point, fraction = to_text(minor, precision or 1).partition(".")
    digits = str(precision or 1)
    if digits == "1" + "0" * (len(digits) - 1) and len(digits) > 1:
        point, fraction = ".", fraction.ljust(len(digits) - 1, "0")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}{int(whole.removeprefix('-')):,}{point}{fraction}"


def plain(text: str) -> str:
    """Return a client's text without the characters that steer a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def count(number: int, one: str, many: str | None = None) -> str:
    """Format a number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def time(at: datetime) -> str:
    """Format a time, to the second."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def print_json(value: Any) -> None:
    """Print JSON on standard output. An answer of the service is printed as it was sent."""
    click.echo(msgspec.json.format(_encode(value), indent=2).decode())


def fields_of(answer: msgspec.Struct) -> dict[str, msgspec.Raw]:
    """Return the fields of an answer as they were sent, so that others can be added."""
    found: dict[str, msgspec.Raw] = msgspec.json.decode(_encode(answer), type=dict[str, msgspec.Raw])
    return found
