"""Prints the feed of events for people."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pacioli_client.answers.events import Event, Held
from rich.console import Console

from ops.cli.show.text import plain, table, time

SHOWN = 200
"""So many characters of the data are shown. --json has all of them."""

_NAMES = ("transaction_id", "balance_id", "ledger_id", "identity_id", "entity_id", "batch_id", "run_id", "job_id", "id")
"""The members that name what an event is about, the first one first."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


def print_events(out: Console, events: Sequence[Event]) -> None:
    """Print events, in their order."""
    if not events:
        out.print("no event that matches")
        return
    lines = table("position", "at", "type", "of", "what", right=())
    for event in events:
        lines.add_row(event.position, time(event.at), event.type, plain(_of(event.data)), plain(_what(event)))
    out.print(lines)


def print_held(out: Console, held: Held) -> None:
    """Say what holds the feed back."""
    out.print(
        f"the feed ends before sequence {held.sequence}, which waits in queue {held.queue} since {time(held.since)}",
        markup=False,
        highlight=False,
    )


def line(event: Event) -> str:
    """Write an event in one line."""
    words = [event.position, time(event.at), event.type, _of(event.data), _what(event)]
    return "  ".join(str(plain(word)) for word in words if word)


def _of(data: Mapping[str, Any]) -> str:
    return next((str(data[name]) for name in _NAMES if data.get(name)), "")


def _what(event: Event) -> str:
    """Say what happened: the money of a transaction, else the members that are short."""
    data = event.data
    if "transaction_id" in data:
        return f"{data['amount_string']} {data['currency']} {data['source']} -> {data['destination']}"
    shown = {name: value for name, value in data.items() if value not in (None, "") and name not in _NAMES}
    text = ", ".join(
        f"{name}: {value if isinstance(value, str) else _encode(value).decode()}" for name, value in shown.items()
    )
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
