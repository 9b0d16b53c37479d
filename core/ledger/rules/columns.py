"""Keeps the drafts of a bulk as columns, because the work on a column costs a fraction of the same work row by row.

Plain transfers differ in their ID, reference, balances and amount. All else is in a row that many of them share, so the
text of it is written once for all of them.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import repeat
from typing import overload

from msgspec.structs import replace

from core.ledger.rules.log_row import LogRow, tail_of_new, texts_of_new
from core.ledger.rules.model import Draft, Posting


class DraftColumns(Sequence[Draft]):
    """Drafts that have no legs, dates, limits or earlier transactions. A ``Draft`` is made when somebody asks for it."""

    __slots__ = ("amounts", "destinations", "ids", "references", "routes", "shared", "sources", "templates")

    def __init__(
        self,
        ids: Sequence[str],
        references: Sequence[str],
        *,
        balances: tuple[Sequence[int], Sequence[int], Sequence[int]],
        amounts: Sequence[int],
        templates: Sequence[LogRow],
    ) -> None:
        """``balances`` are the sources, the destinations, and the routes of the sources.

        A template is the row that a draft has in all but these columns. Drafts that share one have the same object.
        """
        self.ids, self.references, self.amounts, self.templates = ids, references, amounts, templates
        self.sources, self.destinations, self.routes = balances
        self.shared = list({id(template): template for template in templates}.values())
        """Each template once."""

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Draft: ...
    @overload
    def __getitem__(self, index: slice) -> list[Draft]: ...
    def __getitem__(self, index: int | slice) -> Draft | list[Draft]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        row = replace(
            self.templates[index],
            id=self.ids[index],
            reference=self.references[index],
            source=self.sources[index],
            destination=self.destinations[index],
            amount=self.amounts[index],
        )
        return Draft(row, self.routes[index])

    def __iter__(self) -> Iterator[Draft]:
        return map(self.__getitem__, range(len(self)))

    def texts(self, seqs: Sequence[int], queues: Sequence[int], placed: Sequence[LogRow]) -> list[bytes]:
        """Write each row as ``text_of_new`` does. ``placed`` is ``shared`` with the values that an append gives to all rows."""
        kinds = [template.kind for template in self.templates]
        balances = self.sources, self.destinations
        heads = zip(seqs, self.ids, self.references, kinds, queues, *balances, self.amounts, strict=True)
        tails = {id(template): tail_of_new(row) for template, row in zip(self.shared, placed, strict=True)}
        return texts_of_new(heads, map(tails.__getitem__, map(id, self.templates)))

    def postings(self, seqs: Sequence[int], queues: Sequence[int], placed: LogRow) -> Iterator[Posting]:
        """Make the postings of the rows. ``placed`` is any of the rows that ``texts`` was given."""
        none = repeat(None)
        columns = zip(
            seqs,
            [template.kind for template in self.templates],
            queues,
            self.sources,
            self.destinations,
            self.amounts,
            [template.allow_overdraft for template in self.templates],
            none,
            none,
            repeat(placed.group_first),
            repeat(placed.group_last),
            none,
            self.ids,
            repeat(placed.request_id),
            strict=False,
        )
        return map(partial(tuple.__new__, Posting), columns)
