"""Draws flows as ribbons between two columns of nodes: a Sankey diagram of text.

A ribbon is a bundle of lines, as many as its amount is large, which run side by side from its source on the left to its
destination on the right. A line that crosses another goes straight on, so each can be followed without colours.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ops.cli.show.text import QUIET

LINES = 18
"""All ribbons together have about so many lines, when they are not few. The thinnest has one."""

_LINES_EACH = 6
"""Few ribbons have so many lines each on average. More would only make the picture taller."""

WIDEST = 64
"""The largest width of the ribbons. Longer ones are no easier to follow."""

_COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "red")

_LEVEL = "━"

_TURNS = {True: ("┓", "┃", "┗"), False: ("┛", "┃", "┏")}
"""The beginning, the middle and the end of a turn down, and of one up."""


NARROWEST = 12
"""Ribbons that have less room than so many columns are not drawn."""


class Ribbon(NamedTuple):
    """The amount that moved from one node to another, by their IDs."""

    source: str
    destination: str
    amount: int

    def end(self, side: int) -> str:
        """Return the node on the left (0) or right (1)."""
        return self.destination if side else self.source


class _Drawn(NamedTuple):
    """A ribbon with its lines: how many, and the row at which they begin on each side."""

    lines: int
    left: int
    right: int
    colour: str


class _Column(NamedTuple):
    """Nodes on one side: the first row of each, and the row after the last."""

    rows: dict[str, int]
    height: int


def sankey(
    ribbons: Sequence[Ribbon], names: Mapping[str, str], amount: Callable[[int], str], *, width: int
) -> Text | None:
    """Draw ribbons within a width. Nodes are labelled with their names and sums, which ``amount`` writes.

    The largest node of each side comes first, and the ribbons of a node in the order of the other side, so few of them cross.
    It is None when the labels leave no room.
    """
    lines = lines_of(ribbons)
    left, right = (_sums(ribbons, side) for side in (0, 1))
    sides = [_column(ribbons, lines, sums, side) for side, sums in enumerate((left, right))]
    height = max(side.height for side in sides)
    sides = [_centred(side, height) for side in sides]
    labels = [_labels(sums, names, amount, width) for sums in (left, right)]
    widths = [max(cell_len(text) for label in each.values() for text in label) for each in labels]
    room = min(WIDEST, width - sum(widths) - 2)
    if room < NARROWEST:
        return None
    drawn = _placed(ribbons, lines, sides)
    cells = _cells(drawn, height, room)
    return _text(cells, labels, sides, widths, height)


def lines_of(ribbons: Sequence[Ribbon]) -> dict[Ribbon, int]:
    """Return how many lines each ribbon has."""
    total, lines = sum(ribbon.amount for ribbon in ribbons), min(LINES, _LINES_EACH * len(ribbons))
    return {ribbon: max(1, round(ribbon.amount * lines / total)) if total else 1 for ribbon in ribbons}


def _sums(ribbons: Sequence[Ribbon], side: int) -> dict[str, int]:
    """Add up the ribbons of each node on one side. The largest node comes first."""
    found: dict[str, int] = {}
    for ribbon in ribbons:
        found[ribbon.end(side)] = found.get(ribbon.end(side), 0) + ribbon.amount
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _column(ribbons: Sequence[Ribbon], lines: dict[Ribbon, int], sums: dict[str, int], side: int) -> _Column:
    """Stack the nodes of one side. Each has room for two lines of label, and a row below it."""
    rows, row = {}, 0
    for name in sums:
        rows[name] = row
        row += max(2, sum(lines[ribbon] for ribbon in ribbons if ribbon.end(side) == name)) + 1
    return _Column(rows, row - 1)


def _centred(side: _Column, height: int) -> _Column:
    """Move the shorter side down. A little would only bend ribbons that could be straight."""
    shift = (height - side.height) // 2 if height - side.height > 4 else 0
    return _Column({id: row + shift for id, row in side.rows.items()}, height)


def _labels(
    sums: dict[str, int], names: Mapping[str, str], amount: Callable[[int], str], width: int
) -> dict[str, tuple[str, str]]:
    """Write the name and the sum of each node."""
    longest = width * 3 // 10
    return {id: (_cut(names[id], longest), amount(total)) for id, total in sums.items()}


def _cut(name: str, longest: int) -> str:
    """Cut a long name in its middle, for both of its ends tell it apart."""
    if cell_len(name) <= longest:
        return name
    if cell_len(name) > len(name):
        return f"{set_cell_size(name, longest - 1).rstrip()}…"
    head = (longest - 1) * 2 // 3
    return f"{name[:head]}…{name[len(name) - (longest - 1 - head) :]}"


def _placed(ribbons: Sequence[Ribbon], lines: dict[Ribbon, int], sides: Sequence[_Column]) -> list[_Drawn]:
    """Give each ribbon its rows on both sides, and its colour, which is that of its source."""
    at: list[dict[Ribbon, int]] = [{}, {}]
    for side in (0, 1):
        free = dict(sides[side].rows)
        for ribbon in sorted(ribbons, key=lambda each: sides[1 - side].rows[each.end(1 - side)]):
            at[side][ribbon] = free[ribbon.end(side)]
            free[ribbon.end(side)] += lines[ribbon]
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(sides[0].rows)}
    return [_Drawn(lines[each], at[0][each], at[1][each], colours[each.source]) for each in ribbons]


_Cell = tuple[str, str]
"""A character and its colour."""


def _cells(drawn: Sequence[_Drawn], height: int, room: int) -> list[list[_Cell]]:
    """Draw the widest ribbons first, so that the thin ones are seen where they cross."""
    cells: list[list[_Cell]] = [[(" ", "")] * room for _ in range(height)]
    for ribbon in sorted(drawn, key=lambda each: -each.lines):
        down = ribbon.right > ribbon.left
        for number in range(ribbon.lines):
            # The lines turn one after the other, the outermost first, so none crosses another of its own ribbon.
            late = ribbon.lines - 1 - number if down else number
            rows = [ribbon.left + number] + [
                number + _curve(ribbon.left, ribbon.right, column - late, room - ribbon.lines + 1)
                for column in range(1, room)
            ]
            _draw(cells, rows, ribbon.colour)
    return cells


def _curve(start: int, end: int, column: int, length: int) -> int:
    """Return the row of a curve that leaves one side level and comes to the other level."""
    place = min(1.0, max(0.0, (column - 1) / max(1, length - 3)))
    return start + round((end - start) * place * place * (3 - 2 * place))


def _draw(cells: list[list[_Cell]], rows: Sequence[int], colour: str) -> None:
    """Draw one line, whose row in each column is given. It changes its row within the column in which it begins to."""
    for column, (row, following) in enumerate(pairwise([*rows, rows[-1]])):
        if row == following:
            _put(cells, row, column, _LEVEL, colour)
            continue
        first, between, last = _TURNS[following > row]
        step = 1 if following > row else -1
        _put(cells, row, column, first, colour)
        for each in range(row + step, following, step):
            _put(cells, each, column, between, colour)
        _put(cells, following, column, last, colour)


_CROSSING = {frozenset("━┃"): "╋"}


def _put(cells: list[list[_Cell]], row: int, column: int, drawn: str, colour: str) -> None:
    below = cells[row][column][0]
    cells[row][column] = (_CROSSING.get(frozenset((below, drawn)), drawn), colour)


def _text(
    cells: list[list[_Cell]],
    labels: Sequence[dict[str, tuple[str, str]]],
    sides: Sequence[_Column],
    widths: Sequence[int],
    height: int,
) -> Text:
    beside: list[list[tuple[str, str]]] = [[("", "")] * height, [("", "")] * height]
    for side in (0, 1):
        for name, row in sides[side].rows.items():
            beside[side][row], beside[side][row + 1] = (labels[side][name][0], ""), (labels[side][name][1], QUIET)
    found = Text(no_wrap=True)
    for row in range(height):
        (left, left_style), (right, right_style) = beside[0][row], beside[1][row]
        found.append(" " * (widths[0] - cell_len(left)) + left, style=left_style).append(" ")
        for drawn, colour in cells[row]:
            found.append(drawn, style=colour)
        found.append(f" {right}".rstrip(), style=right_style).append("\n")
    return found
