"""Reads the query of a page. A value that is not right is left out, and the page says so beside its field, or above all else."""

import re
from collections.abc import Collection
from datetime import UTC, datetime

from flask import g, request
from markupsafe import Markup

from core.base.names import escaped

_LONGEST = 40
"""So many characters of a wrong value are shown."""


def text(name: str) -> str:
    """Return a text without the blanks around it."""
    return request.args.get(name, "").strip()


def choice(name: str, allowed: Collection[str], default: str = "") -> str:
    """Return one of the values that are allowed, or the default."""
    given = text(name)
    if given and given not in allowed:
        _left_out(name, f"must be {'' if len(allowed) == 1 else 'one of '}{', '.join(allowed)}", given)
        return default
    return given or default


def amount(name: str) -> str:
    """Return an amount as it is written, or an empty text."""
    given = text(name)
    if given and not re.fullmatch(r"[0-9]{1,30}(\.[0-9]{1,18})?", given):
        _left_out(name, "must be an amount such as 12.50", given)
        return ""
    return given


def day(name: str) -> datetime | None:
    """Return the beginning of a day in UTC, or None."""
    given = text(name)
    try:
        return datetime.strptime(given, "%Y-%m-%d").replace(tzinfo=UTC) if given else None
    except ValueError:
        _left_out(name, "must be a day such as 2026-11-01", given)
        return None


def instant(name: str) -> datetime | None:
    """Return a time, which is in UTC where it names no zone, or None."""
    given = text(name)
    try:
        at = datetime.fromisoformat(given) if given else None
        return at and (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        _left_out(name, "must be a time such as 2026-11-01T06:00", given)
        return None


def wrong(name: str, fault: str) -> None:
    """Say what is wrong with the value of a field."""
    faults().setdefault(name, fault)


def _left_out(name: str, rule: str, given: str) -> None:
    shown = given if len(given) <= _LONGEST else f"{given[:_LONGEST]}\N{HORIZONTAL ELLIPSIS}"
    wrong(name, f"{rule}, not {escaped(shown)}, and was left out")


def faults() -> dict[str, str]:
    """Return what is wrong with the query of this request, by field. That of the whole query has no name."""
    found: dict[str, str] = g.setdefault("faults", {})
    return found


def fault(name: str) -> Markup:
    """Make what stands beside a field that has a fault. It is empty for one that has none."""
    if name not in faults():
        return Markup()
    g.setdefault("said", set()).add(name)
    said = Markup('<span class="fault" id="fault-{}"><bdi>{}</bdi></span>')
    return said.format(name, faults()[name])


def invalid(name: str) -> Markup:
    """Make the attributes of a field that has a fault, so that a screen reader tells it too."""
    if name not in faults():
        return Markup()
    return Markup(' aria-invalid="true" aria-describedby="fault-{}"').format(name)


def unsaid() -> list[str]:
    """Return the faults of what has no field on the page. It is asked for when the page is made but for its frame."""
    said: set[str] = g.get("said", set())
    return [
        f"{name.replace('_', ' ')}: {text}" if name else text for name, text in faults().items() if name not in said
    ]
