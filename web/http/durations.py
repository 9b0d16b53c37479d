"""Durations as Go writes them, which Blnk's clients send and expect: ``90s``, ``1h30m``, ``2m0s``. In nanoseconds."""

import re

_UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(rf"([0-9]{{1,30}}(?:\.[0-9]{{0,30}})?|\.[0-9]{{1,30}})({'|'.join(_UNITS_NS)})")
_LONGEST_NS = 2**63 - 1
"""The longest duration that Go can hold, which is 292 years."""


def parse(text: str) -> int:
    """Parse a duration as Go writes it, such as ``1h30m``, into nanoseconds.

    Raises:
        ValueError: the text is not a duration. The message is in Go's words.
    """
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total, end = 0, 0
    for part in _PART.finditer(rest):
        if part.start() != end:
            break
        end = part.end()
        whole, _, fraction = part.group(1).partition(".")
        unit = _UNITS_NS[part.group(2)]
        total += int(whole or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
    if not rest or end != len(rest) or total > _LONGEST_NS:
        raise ValueError(f'time: invalid duration "{text}"')
    return sign * total


def text_of(duration: int) -> str:
    """Write a duration in nanoseconds as Go prints it: ``24h0m0s``, ``30s``, ``1.5ms``."""
    sign, rest = ("-", -duration) if duration < 0 else ("", duration)
    for unit in ("ns", "µs", "ms"):
        if 0 < rest < 1000 * _UNITS_NS[unit]:
            return f"{sign}{_decimal(rest, _UNITS_NS[unit])}{unit}"
    minutes, rest = divmod(rest, _UNITS_NS["m"])
    hours, minutes = divmod(minutes, 60)
    parts = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{parts}{_decimal(rest, _UNITS_NS['s'])}s"


def _decimal(amount: int, unit: int) -> str:
    whole, rest = divmod(amount, unit)
    fraction = str(rest).zfill(len(str(unit)) - 1).rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)
