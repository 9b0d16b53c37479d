"""Lays out a Sankey: nodes in columns from left to right, and ribbons between them that are as wide as their values.

Money goes in circles, and a ribbon goes to the right only. So the nodes are put in an order in which little value goes back. What
goes back all the same ends at a copy of its node, further right, which is marked as being there again. A node that pays itself
has such a copy too. With two columns, all that pay are left and all that are paid are right.

It is pure, and knows nothing of how the picture is drawn.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

_SWEEPS = 6
"""So often, boxes move towards what they are joined to."""


class Link(NamedTuple):
    """A value that goes from one node to another, or to the same."""

    source: str
    destination: str
    value: int


class Space(Struct, frozen=True):
    """The space of a picture: how many columns there may be, and the heights of what is in them."""

    columns: int
    """At least two."""
    content: float = 320.0
    """The boxes of the fullest column are so high together."""
    label: float = 18.0
    """A box has so much height to itself, however small it is, so that its label fits."""
    gap: float = 8.0


class Box(Struct, frozen=True):
    """A node in a column, or its copy."""

    node: str
    column: int
    y: float
    height: float
    is_again: bool
    value: int
    """The sum that comes in or that goes out here, the larger of the two."""


class Ribbon(Struct, frozen=True):
    """A link between two boxes, which are positions in the list of boxes. ``y`` is the upper edge at either end."""

    link: Link
    source: int
    destination: int
    source_y: float
    destination_y: float
    width: float


class Layout(Struct, frozen=True):
    """A picture: boxes by column and from the top down, and ribbons, the widest first."""

    columns: int
    height: float
    boxes: list[Box]
    ribbons: list[Ribbon]


class _Place(NamedTuple):
    """Where a node is: itself, or its copy in a column."""

    node: str
    column: int
    is_again: bool


def lay_out(links: Sequence[Link], space: Space) -> Layout:
    """Lay out links. Those of no value are left out, and those of one source and destination should be one link."""
    links = sorted(link for link in links if link.value > 0)
    if not links:
        return Layout(0, 0.0, [], [])
    columns = _columns(links, space.columns)
    ends = [_ends(link, columns) for link in links]
    values = _values(links, ends)
    by_column: dict[int, list[_Place]] = defaultdict(list)
    for place in sorted(values, key=lambda place: (-values[place], place)):
        by_column[place.column].append(place)
    most = max(sum(values[place] for place in each) for each in by_column.values())
    heights = {place: value / most * space.content for place, value in values.items()}
    slots = {place: max(height, space.label) + space.gap for place, height in heights.items()}
    total = max(sum(slots[place] for place in each) for each in by_column.values())
    joined = _joined(links, ends)
    middles = _settle(by_column, slots, joined, total)
    return _drawn(links, ends, by_column, middles, heights, values, total)


def order_of(links: Sequence[Link]) -> list[str]:
    """Put the nodes in an order in which little value goes back: those that only pay first, those that are only paid last.

    This is the greedy heuristic of Eades, Lin and Smyth, with values as weights.
    """
    out: dict[str, int] = defaultdict(int)
    into: dict[str, int] = defaultdict(int)
    to: dict[str, dict[str, int]] = defaultdict(dict)
    by: dict[str, dict[str, int]] = defaultdict(dict)
    nodes = dict.fromkeys(node for link in links for node in link[:2])
    for source, destination, value in links:
        if source != destination:
            out[source] += value
            into[destination] += value
            to[source][destination] = to[source].get(destination, 0) + value
            by[destination][source] = by[destination].get(source, 0) + value
    left = set(nodes)
    first: list[str] = []
    last: list[str] = []

    def remove(node: str) -> None:
        left.discard(node)
        for other, value in to[node].items():
            into[other] -= value
        for other, value in by[node].items():
            out[other] -= value

    while left:
        if sinks := sorted(node for node in left if not out[node]):
            for node in sinks:
                remove(node)
            last = sinks + last
            continue
        sources = sorted(node for node in left if not into[node])
        found = sources or [max(left, key=lambda node: (out[node] - into[node], node))]
        for node in found:
            remove(node)
        first += found
    return first + last


def _columns(links: Sequence[Link], most: int) -> dict[str, int]:
    """Give each node its column. What pays nothing is in the last, and all others are before it."""
    order = {node: number for number, node in enumerate(order_of(links))}
    forward: dict[str, list[str]] = defaultdict(list)
    pays = set()
    for source, destination, _ in links:
        pays.add(source)
        if order[source] < order[destination]:
            forward[source].append(destination)
    columns = dict.fromkeys(order, 0)
    for node in order:
        if node in pays:
            columns[node] = min(columns[node], most - 2)
        for destination in forward[node]:
            columns[destination] = max(columns[destination], columns[node] + 1)
    last = max(columns[source] for source, _, _ in links) + 1
    return {node: column if node in pays else last for node, column in columns.items()}


def _ends(link: Link, columns: dict[str, int]) -> tuple[_Place, _Place]:
    """Find where a link begins and ends. One that does not go to the right ends at a copy in the next column."""
    left, right = columns[link.source], columns[link.destination]
    source = _Place(link.source, left, False)
    if right > left:
        return source, _Place(link.destination, right, False)
    return source, _Place(link.destination, left + 1, True)


def _values(links: Sequence[Link], ends: Sequence[tuple[_Place, _Place]]) -> dict[_Place, int]:
    out: dict[_Place, int] = defaultdict(int)
    into: dict[_Place, int] = defaultdict(int)
    for link, (source, destination) in zip(links, ends, strict=True):
        out[source] += link.value
        into[destination] += link.value
    return {place: max(out[place], into[place]) for place in dict.fromkeys([*out, *into])}


Joined = dict[_Place, list[tuple[_Place, int]]]


def _joined(links: Sequence[Link], ends: Sequence[tuple[_Place, _Place]]) -> tuple[Joined, Joined]:
    """List what each place is joined to, at its left and at its right."""
    left: Joined = defaultdict(list)
    right: Joined = defaultdict(list)
    for link, (source, destination) in zip(links, ends, strict=True):
        right[source].append((destination, link.value))
        left[destination].append((source, link.value))
    return left, right


def _settle(
    by_column: dict[int, list[_Place]], slots: dict[_Place, float], joined: tuple[Joined, Joined], total: float
) -> dict[_Place, float]:
    """Find the middles of all boxes: near what they are joined to, without one over another. The columns are sorted by them."""
    middles: dict[_Place, float] = {}
    for places in by_column.values():
        y = (total - sum(slots[place] for place in places)) / 2
        for place in places:
            middles[place] = y + slots[place] / 2
            y += slots[place]
    numbers = sorted(by_column)
    for sweep in range(_SWEEPS):
        side = joined[sweep % 2]
        for number in numbers if sweep % 2 == 0 else reversed(numbers):
            places = by_column[number]
            wanted = {place: _mean(side[place], middles, middles[place]) for place in places}
            places.sort(key=lambda place: (wanted[place], place))
            _push_apart(places, wanted, slots, total)
            middles |= wanted
    return middles


def _mean(joined: Sequence[tuple[_Place, int]], middles: dict[_Place, float], otherwise: float) -> float:
    weight = sum(value for _, value in joined)
    return sum(middles[place] * (value / weight) for place, value in joined) if weight else otherwise


def _push_apart(
    places: Sequence[_Place], middles: dict[_Place, float], slots: dict[_Place, float], total: float
) -> None:
    """Push boxes that are sorted down until none is over another, and then up until the last is within the picture."""
    edge = 0.0
    for place in places:
        middles[place] = max(middles[place], edge + slots[place] / 2)
        edge = middles[place] + slots[place] / 2
    edge = total
    for place in reversed(places):
        middles[place] = min(middles[place], edge - slots[place] / 2)
        edge = middles[place] - slots[place] / 2


def _drawn(
    links: Sequence[Link],
    ends: Sequence[tuple[_Place, _Place]],
    by_column: dict[int, list[_Place]],
    middles: dict[_Place, float],
    heights: dict[_Place, float],
    values: dict[_Place, int],
    total: float,
) -> Layout:
    """Make the boxes, and stack the ribbons at both of their sides in the order of what they lead to."""
    places = [place for number in sorted(by_column) for place in by_column[number]]
    at = {place: number for number, place in enumerate(places)}
    boxes = [
        Box(
            place.node, place.column, middles[place] - heights[place] / 2, heights[place], place.is_again, values[place]
        )
        for place in places
    ]
    tops = [[0.0, 0.0] for _ in links]
    for side in (0, 1):
        used = {place: middles[place] - heights[place] / 2 for place in places}
        for number in sorted(range(len(links)), key=lambda number: (middles[ends[number][1 - side]], number)):
            place = ends[number][side]
            tops[number][side] = used[place]
            used[place] += _share(links[number].value, values[place]) * heights[place]
    ribbons = [
        Ribbon(
            link,
            at[source],
            at[destination],
            tops[number][0],
            tops[number][1],
            _share(link.value, values[source]) * heights[source],
        )
        for number, (link, (source, destination)) in enumerate(zip(links, ends, strict=True))
    ]
    ribbons.sort(key=lambda ribbon: -ribbon.width)
    return Layout(max(by_column) + 1, total, boxes, ribbons)


def _share(value: int, whole: int) -> float:
    return value / whole
