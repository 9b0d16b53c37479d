"""A row of a list as it was read, before it is checked."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from core.funding.files.columns import Header

_SHOWN = 200
"""The number of characters of a cell or line that an error shows."""


class Given(NamedTuple):
    """A row as it was read, with the problems that reading it found."""

    row: int
    """The number of the row: the line of a file or the row of a sheet, or the position in a list, from 1."""
    destination: str
    amount: Decimal | None
    precise_amount: int | None
    description: str | None
    meta_data: str | None
    problems: Sequence[tuple[str, str]] = ()
    cells: Sequence[str] = ()
    """The cells of the row, as they stand in the file; the whole line when it could not be split."""
    header: Header | None = None
    """The header of the file; None for a row of a JSON list."""
    currency: str = ""
    """The currency that the row names; empty when it names none."""
    seen: Decimal | None = None
    """The amount that a spreadsheet shows, where it holds one with the dust of computing."""

    @property
    def is_read(self) -> bool:
        """True when the row could be split into columns. Otherwise nothing more of it can be checked."""
        return all(name for name, _ in self.problems)

    def text_of(self, field: str) -> str | None:
        """Return the text of a field as it stands in the file, or the whole row. Returns None for a row of a JSON list."""
        if self.header is None:
            return None
        place = self.header.places.get(field)
        text = (
            self.cells[place] if place is not None and place < len(self.cells) else " ".join(filter(None, self.cells))
        )
        return text[:_SHOWN]
