"""Prints the audit log for people."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pacioli_client.answers.audit import AuditEntry
from rich.console import Console

from ops.cli.show.text import plain, table, time

SHOWN = 300
"""So many characters of the details are shown. --json has all of them."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


def print_audit(out: Console, rows: Sequence[AuditEntry]) -> None:
    """Print rows of the audit log, in their order."""
    if not rows:
        out.print("nothing that matches")
        return
    lines = table("at", "who", "action", "of", "what", right=())
    for row in rows:
        who = row.actor if row.part == "web" else f"{row.actor} ({row.part})"
        lines.add_row(time(row.created_at), plain(who), row.action, plain(row.subject), plain(_what(row.details)))
    out.print(lines)


def _what(details: Mapping[str, Any]) -> str:
    """Say what has changed: the members that differ, else all."""
    before, after = details.get("before"), details.get("after")
    if isinstance(before, dict) and isinstance(after, dict):
        differing = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        words = [f"{name}: {_text(before.get(name))} -> {_text(after.get(name))}" for name in differing]
    else:
        words = [f"{name}: {_text(value)}" for name, value in (after or {}).items() if value is not None]
    words += [f"{name}: {_text(value)}" for name, value in details.items() if name not in ("before", "after")]
    text = ", ".join(words)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _encode(value).decode()
