"""Draws how an amount moved, as columns of text."""

from collections.abc import Sequence

from rich.text import Text

from ops.cli.show.text import BAD, GOOD, QUIET

_EIGHTHS = " ▁▂▃▄▅▆▇█"
HEIGHT = 8


def chart(values: Sequence[int], labels: tuple[str, str], *, width: int) -> Text:
    """Draw values, the oldest first, as columns from zero up or down. ``labels`` write the largest and the smallest.

    When there are more values than columns, a column shows the last of those that fall into it, so the last column is what is
    there now.
    """
    room = max(1, width - max(map(len, labels)) - 1)
    columns = _fitted(values, room)
    top, bottom = max(*columns, 0), min(*columns, 0)
    up = round(HEIGHT * top / ((top - bottom) or 1))
    up = min(max(up, 1 if top else 0), HEIGHT - (1 if bottom else 0))
    drawn = Text()
    for row in range(up - 1, -1, -1):
        line = "".join(_EIGHTHS[min(8, max(0, _eighths(value, top, up) - 8 * row))] for value in columns)
        drawn.append(line, style=GOOD).append(f" {labels[0]}\n" if row == up - 1 else "\n", style=QUIET)
    down = HEIGHT - up
    for row in range(down if bottom else 0):
        line = "".join("█" if _eighths(-value, -bottom, down) > 8 * row else " " for value in columns)
        drawn.append(line, style=BAD).append(f" {labels[1]}\n" if row == down - 1 else "\n", style=QUIET)
    return drawn


def _fitted(values: Sequence[int], room: int) -> list[int]:
    if len(values) <= room:
        return list(values)
    return [values[(place + 1) * len(values) // room - 1] for place in range(room)]


def _eighths(value: int, largest: int, rows: int) -> int:
    """Return the height of a column in eighths of a row. What is not nothing shows."""
    return max(1, value * rows * 8 // largest) if value > 0 and largest > 0 else 0
