"""How the pages write amounts, times and statuses. All are filters of the templates."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from core.base.money import to_text
from web.dashboard.now import now
from web.dashboard.precisions import precision_of

_ROOM, _END = 40, 14
"""The characters of a text in a row of a table, and those of its end."""


def money(minor: int | None, precision: int | None = None, currency: str | None = None) -> str:
    """Write minor units as major units, in groups of three digits. Without a known precision they stay minor units."""
    if minor is None:
        return ""
    known = precision if precision is not None or not currency else precision_of(currency)
    text = to_text(int(minor), known) if known else str(minor)
    sign, digits = ("−", text[1:]) if text.startswith("-") else ("", text)
    whole, dot, fraction = digits.partition(".")
    if known and known > 1 and set(str(known)[1:]) == {"0"}:
        dot, fraction = ".", fraction.ljust(len(str(known)) - 1, "0")
    return f"{sign}{int(whole):,}{dot}{fraction}"


def moment(text: str | None) -> str:
    """Write a time of the API in UTC, to the second."""
    return "" if not (at := _time(text)) else at.strftime("%Y-%m-%d %H:%M:%S")


def ago(text: str | None) -> str:
    """Write how long ago a time is, or how soon it comes."""
    if not (at := _time(text)):
        return ""
    seconds = (now() - at).total_seconds()
    return f"{age(seconds)} ago" if seconds >= 0 else f"in {age(-seconds)}"


def since(text: str | None) -> str:
    """Write for how long something has been so, from the time at which it began."""
    return "" if not (at := _time(text)) else age(max((now() - at).total_seconds(), 0.0))


def age(seconds: Any) -> str:
    """Write a duration in its largest unit."""
    if seconds is None:
        return ""
    left = float(seconds)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if left >= size:
            return f"{left / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{left:.1f} s" if left < 10 else f"{left:.0f} s"


def apart(start: str | None, end: str | None) -> str:
    """Write how long after a time another one is. Under a second it is in milliseconds."""
    first, last = _time(start), _time(end)
    if first is None or last is None:
        return ""
    seconds = (last - first).total_seconds()
    return f"{seconds * 1000:.0f} ms" if abs(seconds) < 1 else age(seconds)


def number(value: Any) -> str:
    """Write a number in groups of three digits."""
    return "" if value is None else f"{value:,.0f}"


def rate(value: Any) -> str:
    """Write how many there are in a second. Small rates keep a digit after the point."""
    if value is None:
        return ""
    digits = 0 if value >= 10 or value < 0.005 else 1 if value >= 1 else 2
    return f"{value:,.{digits}f}"


def sentence(text: str | None) -> str:
    """Make a sentence of a text that may lack its capital and its full stop."""
    found = (text or "").strip()
    return found and found[0].upper() + found[1:] + ("" if found.endswith((".", "!", "?")) else ".")


def short(id: str) -> str:
    """Shorten an ID to what tells it from others: its prefix and its end."""
    return id if len(id) <= 20 else f"{id[:4]}…{id[-8:]}"


def cut(text: str) -> str:
    """Shorten a text to what a row of a table has room for. References keep their end, which tells them apart."""
    return text if len(text) <= _ROOM else f"{text[: _ROOM - _END - 1]}…{text[-_END:]}"


def _time(text: str | None) -> datetime | None:
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text)


FILTERS: dict[str, Callable[..., str]] = {
    "money": money, "moment": moment, "ago": ago, "since": since, "age": age, "number": number, "rate": rate,
    "sentence": sentence, "short": short, "apart": apart, "cut": cut,
}  # fmt: skip
