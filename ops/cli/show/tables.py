"""Tables and lists of facts that fit the terminal: no line is wider than it, and no word is broken.

A table first wraps its columns of prose at spaces. Where that is not enough it leaves out the columns that can be spared,
and where that is not enough either, it stacks: each row becomes some lines, one for each column. Only a single word that is
longer than the whole line is cut.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

Cell = str | Text

PROSE = frozenset(
    {"message", "why", "description", "meaning", "what", "expected", "found", "advice", "what to do", "why it matters"}
)
"""Columns with these headings may be wrapped at spaces. Others hold names, ids, amounts and times, which stay whole."""

QUIET = "dim"
_EDGES, _BETWEEN = 2, 3
"""The columns that rich puts around a table of this box, and between two of its columns."""


class _Line(NamedTuple):
    cells: tuple[Text, ...]
    ends_section: bool


class Table:
    """A table for people. Make it with ``text.table``."""

    def __init__(
        self,
        columns: Sequence[str],
        *,
        title: str | None = None,
        right: Sequence[str] = (),
        wrap: Sequence[str] = (),
        drop: Sequence[str] = (),
    ) -> None:
        """``right`` columns hold numbers, ``wrap`` columns prose. ``drop`` has the columns to leave out, the first one first."""
        self._columns, self._title = tuple(columns), title
        self._right, self._drop = frozenset(right), tuple(drop)
        self._wrap = frozenset(wrap) | PROSE
        self._lines: list[_Line] = []

    def __len__(self) -> int:
        return len(self._lines)

    def add_row(self, *cells: Cell, style: str = "") -> None:
        texts = [cell if isinstance(cell, Text) else Text(cell, style=style) for cell in cells]
        texts += [Text()] * (len(self._columns) - len(texts))
        self._lines.append(_Line(tuple(texts), False))

    def add_section(self) -> None:
        """Draw a line under the rows so far."""
        if self._lines:
            self._lines[-1] = self._lines[-1]._replace(ends_section=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._title is not None:
            yield Text(self._title, style="bold")
        if (widths := self._fitting(options.max_width)) is not None:
            yield self._flat(widths)
            return
        for line in self._lines:
            yield Text()
            facts = Facts()
            for column, cell in zip(self._columns, line.cells, strict=True):
                if cell.plain:
                    facts.add(column, cell)
            yield facts
        yield Text()

    def _fitting(self, width: int) -> dict[int, int] | None:
        """Return the widths of the columns to show, or None when no choice of columns fits."""
        left = list(range(len(self._columns)))
        for spare in (None, *self._drop):
            if spare is not None and spare in self._columns:
                left = [index for index in left if self._columns[index] != spare]
            space = width - _EDGES - _BETWEEN * (len(left) - 1)
            least = {index: self._least(index) for index in left}
            if sum(least.values()) <= space:
                return self._spread(least, space)
        return None

    def _spread(self, widths: dict[int, int], space: int) -> dict[int, int]:
        """Give the space that is left to the columns of prose, the narrowest first."""
        full = {index: self._full(index) for index in widths}
        for _ in range(space - sum(widths.values())):
            short = [index for index in widths if widths[index] < full[index]]
            if not short:
                break
            widths[min(short, key=widths.__getitem__)] += 1
        return widths

    def _flat(self, widths: dict[int, int]) -> RichTable:
        table = RichTable(box=SIMPLE_HEAD, pad_edge=False)
        for index, width in widths.items():
            column = self._columns[index]
            table.add_column(column, justify="right" if column in self._right else "left", width=width)
        for line in self._lines:
            table.add_row(*(line.cells[index] for index in widths), end_section=line.ends_section)
        return table

    def _least(self, index: int) -> int:
        heading = max(map(cell_len, self._columns[index].split()), default=0)
        if self._columns[index] in self._wrap:
            return max(heading, max((_longest_word(line.cells[index]) for line in self._lines), default=0))
        return max(heading, self._cells(index))

    def _full(self, index: int) -> int:
        return max(cell_len(self._columns[index]), self._cells(index))

    def _cells(self, index: int) -> int:
        return max((cell_len(part) for line in self._lines for part in line.cells[index].plain.split("\n")), default=0)


class Facts:
    """Names and values, a line each. A value that does not fit stands under its name."""

    def __init__(self) -> None:
        self._facts: list[tuple[str, Text, bool]] = []

    def add(self, name: str, value: Cell, *, right: bool = False) -> None:
        """Add a value. Those that are ``right``, such as amounts, end in one column."""
        self._facts.append((name, value if isinstance(value, Text) else Text(value), right))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        beside = max((cell_len(name) for name, _, _ in self._facts), default=0) + 2
        aligned = max((cell_len(value.plain) for _, value, right in self._facts if right), default=0)
        for name, value, right in self._facts:
            label = Text(name, style=QUIET)
            lines = list(_wrapped(console, value, options.max_width - beside))
            if not lines:
                under = list(_wrapped(console, value, options.max_width - 2, cut=True))
                yield from (label, *(Text("  ") + line for line in under))
                continue
            if right:
                lines = [Text(" " * (aligned - cell_len(line.plain))) + line for line in lines]
            yield Text(f"{name:<{beside}}", style=QUIET) + lines[0]
            yield from (Text(" " * beside) + line for line in lines[1:])


def _wrapped(console: Console, value: Text, width: int, *, cut: bool = False) -> Iterator[Text]:
    """Wrap a text at spaces. Without ``cut``, a text with a word that is too long gives nothing."""
    if not cut and _longest_word(value) > width:
        return
    lines = value.wrap(console, max(width, 1), overflow="fold")
    for line in lines or [Text()]:
        line.rstrip()
        yield line


def _longest_word(value: Text) -> int:
    return max(map(cell_len, value.plain.split()), default=0)
