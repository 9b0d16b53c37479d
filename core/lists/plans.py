"""Finds the ways in which the rows of a list can be found: which filter drives a look, and which are checked at each row.

A filter is met in one or more ways, and each way says whether an index finds its rows. One filter whose rows an index finds
drives the look: a page is the first rows of a few branches, each of which is in order already, and the other filters are
checked at each row. A search for one name among millions of rows, on either of two sides, takes two short walks along two
indexes.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import and_, or_
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList
from sqlalchemy.sql.visitors import replacement_traverse

from core.lists.conditions import alternatives, whole
from core.lists.fields import Condition, Relation, Sought, Type, block_of
from core.lists.shape import Shape

MAX_BRANCHES = 24
"""The largest number of branches that a page is put together from."""

KEPT = 256
"""The number of statements of each kind that are kept. One with many values may take a hundred kilobytes."""


class Branch(Struct, frozen=True, eq=False):
    """Rows of one relation: an index finds those that meet ``by``, and ``rest`` is checked at each."""

    relation: Relation
    by: Condition | None
    rest: Condition | None
    in_blocks: bool = False
    """Whether that index has the rows in the order of the blocks of their positions."""
    is_scattered: bool = False
    """Whether that index finds rows that are no neighbours, unlike a range of positions."""
    is_walked: bool = False
    """Whether that index has the positions of one balance's rows in their order, however far they are from each other."""

    @property
    def condition(self) -> Condition:
        return whole(Sought(self.by, self.rest))


class Plan(Struct, frozen=True, eq=False):
    """One way to find the rows of a list."""

    branches: tuple[Branch, ...]
    in_order: bool
    """Whether each branch is in the order of the page before its rows are looked at."""

    @property
    def checks_rows(self) -> bool:
        return any(branch.rest is not None for branch in self.branches)

    @property
    def is_scattered(self) -> bool:
        return any(branch.is_scattered for branch in self.branches)


@lru_cache(KEPT)
def plans_of(shape: Shape) -> Sequence[Plan]:
    """List the ways to find the rows of a list, the most promising first. One without branches finds no row."""
    ordered = shape.resource.fields[shape.sort_by].ordered
    ranged = shape.resource.fields[shape.sort_by].ranges
    plans = []
    for number in _drivers(shape):
        branches = [each for relation in shape.relations for each in _branches(shape, relation, number)]
        in_order = ranged or (ordered and all(each.by is None for each in branches))
        plans.append(Plan(tuple(branches), in_order))
    return plans


_SEEN = -1
"""The number of what the client may see, among the filters that drive a look."""


def _drivers(shape: Shape) -> Sequence[int | None]:
    """List the filters whose rows an index finds, or None where all rows must be walked.

    What a client may see is tried last, because an index finds it in no order.
    """
    seen = [_SEEN] if shape.within is not None and shape.within_is_served else []
    if shape.any_of:
        return [None]
    found = []
    for number, asked in enumerate(shape.filters):
        ways = alternatives(asked, shape.relations[0])
        if not asked.field.ranges and ways and _are_served(ways):
            found.append(number)
    if any(shape.filters[number].type is not Type.CHOICE for number in found):
        # The rows of a status are found by a join, which the planner turns around where another filter is checked.
        found = [number for number in found if shape.filters[number].type is not Type.CHOICE]
    found.sort(key=lambda number: not shape.filters[number].field.ordered)  # IDs and references are unique.
    return found or [None, *seen]


def _are_served(ways: Sequence[Sought]) -> bool:
    return len(ways) <= MAX_BRANCHES and all(way.by is not None for way in ways)


def _branches(shape: Shape, relation: Relation, driver: int | None) -> Sequence[Branch]:
    """List the branches in which rows are looked for. An empty list matches no row."""
    each = [alternatives(one, relation) for one in shape.filters]
    seen = [] if shape.within is None else [or_(*shape.within(relation))]
    if shape.any_of and each:
        found = _any_of(relation, [way for ways in each for way in ways])
        return [replace(branch, rest=_all(branch.rest, *seen)) for branch in found]
    if not all(each):
        return []
    ways: Sequence[Sought] = [Sought(None)]
    ranges: list[Sequence[Condition]] = []
    checked: list[Condition] = seen
    if driver == _SEEN and shape.within is not None:
        ways, checked = [Sought(one) for one in shape.within(relation)], []
    for number, alternative in enumerate(each):
        bys = [way.by for way in alternative if way.by is not None and way.rest is None]
        if number == driver and _are_served(alternative):
            ways = alternative
        elif shape.filters[number].field.ranges and len(bys) == len(alternative):
            ranges.append(bys)
        elif not any(way.by is None and way.rest is None for way in alternative):  # It is met by every row otherwise.
            checked.append(or_(*map(whole, alternative)))
    if len(ways) * prod(map(len, ranges)) > MAX_BRANCHES:
        ranges = [[or_(*one)] for one in ranges]
    walks = driver is not None and driver != _SEEN and shape.filters[driver].type in (Type.LINK, Type.NAME)
    return [
        Branch(
            way.through or relation,
            _all(
                way.by,
                *(_through(way.through, each) for each in within),
                *(_blocks_within(within, relation) if way.in_blocks else ()),
            ),
            _all(way.rest, *checked),
            way.in_blocks,
            way.by is not None and not way.in_blocks,
            walks and shape.resource.numbered and relation.position_is_unique,
        )
        for way in ways
        for within in product(*ranges)
    ]


def _through(relation: Relation | None, condition: Condition) -> Condition:
    """Write a condition on positions for the index of the table that a look goes through."""
    if relation is None:
        return condition
    position, stands_for = relation.position, relation.stands_for

    def moved(element: Any, **_: Any) -> Any:
        return position if element is stands_for else None

    return replacement_traverse(condition, {}, moved)


def _blocks_within(ranges: Sequence[Condition], relation: Relation) -> Iterator[Condition]:
    """Yield the bounds of blocks that follow from the bounds of positions, for an index that has only the blocks."""
    for condition in ranges:
        is_all = isinstance(condition, BooleanClauseList) and condition.operator is operators.and_
        for part in condition.get_children() if is_all else [condition]:
            if not isinstance(part, BinaryExpression) or part.left is not relation.position:
                continue
            if part.operator in (operators.ge, operators.gt):
                yield block_of(relation.position) >= block_of(part.right)
            elif part.operator in (operators.le, operators.lt):
                yield block_of(relation.position) <= block_of(part.right)


def _any_of(relation: Relation, ways: Sequence[Sought]) -> Sequence[Branch]:
    """List the branches for rows that meet one filter. All that no index finds is looked for in one walk."""
    served = [way for way in ways if way.by is not None]
    if len(served) > MAX_BRANCHES:
        served = []
    walked = [way for way in ways if way not in served]
    found = [Branch(way.through or relation, way.by, way.rest, way.in_blocks) for way in served]
    if any(way.by is None and way.rest is None for way in walked):
        return [Branch(relation, None, None)]
    return [*found, Branch(relation, None, or_(*map(whole, walked)))] if walked else found


def _all(*conditions: Condition | None) -> Condition | None:
    """Combine conditions, of which None is met by every row."""
    given = [each for each in conditions if each is not None]
    return and_(*given) if given else None
