"""Draws a Sankey as SVG: once for wide screens, and once in two columns for a telephone. The style sheet shows one of them.

In two columns nearly every node is there twice, so only the wide picture marks a node that is there again.
"""

from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup
from msgspec import Struct

from web.dashboard import widths
from web.dashboard.sankey import Box, Layout, Link, Ribbon, Space, lay_out

HUES = 8
"""The style sheet has so many colours of nodes."""
_ROOMY = 28
"""Up to so many nodes, each has its amount under its name."""
_BAR = 12.0


class Named(Struct, frozen=True):
    """How a node is shown. ``href`` is empty for one that leads nowhere."""

    name: str
    href: str = ""
    kind: str = "balance"


class Texts(Struct, frozen=True):
    """The texts of a picture: its title, what it shows in a few sentences, and how amounts are written."""

    id: str
    title: str
    description: str
    amount: Callable[[int], str]
    currency: str

    def whole(self, value: int) -> str:
        """Write an amount with its currency."""
        return f"{self.amount(value)} {self.currency}"


class _Frame(Struct, frozen=True):
    """The measures of a picture. Labels stand in the margins, or over the ribbons where there are none."""

    name: str
    width: float
    columns: int
    has_margins: bool


_WIDE = _Frame("wide", 920.0, 5, True)
_NARROW = _Frame("narrow", 360.0, 2, False)
_MARGIN = 210.0
"""A margin is so wide at most."""
_SPACE = 8.0
"""The space between a label and what is beside it."""


def draw(links: Sequence[Link], nodes: Mapping[str, Named], texts: Texts) -> Markup:
    """Draw links between nodes, whose names may be any text. Returns both pictures, or nothing without a value."""
    found = Markup()
    hues = _hues(links, nodes)
    roomy = len({node for link in links for node in link[:2]}) <= _ROOMY
    space = Space(2, label=34.0, gap=10.0) if roomy else Space(2, label=18.0, gap=4.0)
    for frame in (_WIDE, _NARROW):
        layout = lay_out(links, Space(frame.columns, space.content, space.label, space.gap))
        if layout.boxes:
            found += _picture(layout, frame, nodes, texts, hues, roomy=roomy)
    return found


def _hues(links: Sequence[Link], nodes: Mapping[str, Named]) -> dict[str, str]:
    """Give the largest nodes colours of their own. The colours come again after the last of them."""
    sums: dict[str, int] = {}
    for source, destination, value in links:
        for node in (source, destination):
            sums[node] = sums.get(node, 0) + value
    named = [node for node in sorted(sums, key=lambda node: (-sums[node], node)) if nodes[node].kind != "others"]
    return {node: f"h{number % HUES}" for number, node in enumerate(named)}


def _picture(
    layout: Layout, frame: _Frame, nodes: Mapping[str, Named], texts: Texts, hues: Mapping[str, str], *, roomy: bool
) -> Markup:
    margins = [_margin(layout, column, frame, nodes, texts) for column in (0, layout.columns - 1)]
    step = (frame.width - sum(margins) - _BAR) / max(layout.columns - 1, 1)
    lefts = [margins[0] + step * column for column in range(layout.columns)]
    body = Markup()
    for ribbon in layout.ribbons:
        body += _ribbon(ribbon, layout.boxes, lefts, nodes, texts, hues)
    for box in layout.boxes:
        body += _box(box, lefts, frame, nodes, texts, hues, roomy=roomy)
    id = f"{texts.id}-{frame.name}"
    return Markup(
        '<svg class="sankey {0}" viewBox="0 0 {1:.0f} {2:.0f}" role="group" aria-labelledby="{3}-title" '
        'aria-describedby="{3}-desc"><title id="{3}-title">{4}</title><desc id="{3}-desc">{5}</desc>{6}</svg>'
    ).format(frame.name, frame.width, layout.height, id, texts.title, texts.description, body)


def _margin(layout: Layout, column: int, frame: _Frame, nodes: Mapping[str, Named], texts: Texts) -> float:
    """Return the room that the labels of the first or the last column need beside it."""
    if not frame.has_margins:
        return 0.0
    boxes = [box for box in layout.boxes if box.column == column]
    widest = max(
        max(widths.of_name(f"{_known(nodes[box.node].name)} \u21a9"), widths.of_amount(texts.whole(box.value)))
        for box in boxes
    )
    return min(_MARGIN, 2 * _SPACE + widest)


def _ribbon(
    ribbon: Ribbon,
    boxes: Sequence[Box],
    lefts: Sequence[float],
    nodes: Mapping[str, Named],
    texts: Texts,
    hues: Mapping[str, str],
) -> Markup:
    source, destination = boxes[ribbon.source], boxes[ribbon.destination]
    x0, x1 = lefts[source.column] + _BAR, lefts[destination.column]
    middle = (x0 + x1) / 2
    y0, y1, width = ribbon.source_y, ribbon.destination_y, ribbon.width
    says = f"{nodes[source.node].name} to {nodes[destination.node].name}: {texts.whole(ribbon.link.value)}"
    return Markup(
        '<path class="ribbon {}" d="M{:.1f},{:.2f}C{m:.1f},{:.2f} {m:.1f},{:.2f} {:.1f},{:.2f}V{:.2f}'
        'C{m:.1f},{:.2f} {m:.1f},{:.2f} {:.1f},{:.2f}Z"><title>{}</title></path>'
    ).format(
        hues.get(source.node, "ho"), x0, y0, y0, y1, x1, y1, y1 + width,
        y1 + width, y0 + width, x0, y0 + width, says, m=middle,
    )  # fmt: skip


def _box(
    box: Box,
    lefts: Sequence[float],
    frame: _Frame,
    nodes: Mapping[str, Named],
    texts: Texts,
    hues: Mapping[str, str],
    *,
    roomy: bool,
) -> Markup:
    node, left = nodes[box.node], lefts[box.column]
    at_left, at_right = box.column == 0, box.column == len(lefts) - 1
    ends = at_left if frame.has_margins else at_right
    x = left - _SPACE if ends else left + _BAR + _SPACE
    middle = box.y + box.height / 2
    is_again = box.is_again and frame.columns > 2
    room = _room(lefts, frame, at_left=at_left, at_right=at_right)
    name = widths.shortened(_known(node.name), " \u21a9" if is_again else "", room)
    amounts = (texts.whole(box.value), texts.amount(box.value))
    amount = next((each for each in amounts if widths.of_amount(each) <= room), "")
    label = Markup('<text class="name" x="{:.1f}" y="{:.1f}" text-anchor="{anchor}">{}</text>').format(
        x, middle - 3 if roomy else middle + 4.5, name, anchor="end" if ends else "start"
    )
    if roomy:
        label += Markup('<text class="amount" x="{:.1f}" y="{:.1f}" text-anchor="{anchor}">{}</text>').format(
            x, middle + 13, amount, anchor="end" if ends else "start"
        )
    bar = Markup('<rect class="node {}{}" x="{:.1f}" y="{:.2f}" width="{:.0f}" height="{:.2f}" rx="2"/>').format(
        hues.get(box.node, "ho"), " again" if is_again else "", left, box.y, _BAR, max(box.height, 1.5)
    )
    says = f"{node.name}{' again' if is_again else ''}: {texts.whole(box.value)}"
    whole = Markup("<title>{}</title>{}{}").format(says, bar, label)
    return Markup('<a href="{}">{}</a>').format(node.href, whole) if node.href else Markup("<g>{}</g>").format(whole)


def _room(lefts: Sequence[float], frame: _Frame, *, at_left: bool, at_right: bool) -> float:
    """Return how wide a label may be that ends before the next column, or the edge."""
    if not frame.has_margins:
        return (lefts[-1] - lefts[0] - _BAR) / 2 - 2 * _SPACE
    if at_left:
        return lefts[0] - 2 * _SPACE
    if at_right:
        return frame.width - lefts[-1] - _BAR - 2 * _SPACE
    return lefts[1] - lefts[0] - _BAR - 2 * _SPACE


def _known(name: str) -> str:
    """Leave out what is no letter: a picture has no markup that keeps the direction of texts apart."""
    return "".join(each for each in name if each.isprintable())
