"""Draws charts as SVG. Each has a text that says what it shows, for who does not see it. The style sheet has the colours."""

from collections.abc import Sequence

from markupsafe import Markup
from msgspec import Struct

_GAP = 4.0
_LABELLED = 30
"""A bar has its texts where it has so much room."""


def sparkline(values: Sequence[float], title: str, *, width: int = 240, height: int = 44) -> Markup:
    """Draw how a value moved, without axes. The last value is marked."""
    if len(values) < 2:
        return Markup('<p class="quiet">No figures yet.</p>')
    largest = max(values) or 1.0
    step = (width - 2 * _GAP) / (len(values) - 1)
    points = [(_GAP + n * step, _y(value, 0.0, largest, height)) for n, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    area = f"{_GAP:.1f},{height - _GAP:.1f} {line} {points[-1][0]:.1f},{height - _GAP:.1f}"
    # The dot is a line without a length, which stays round however the picture is stretched.
    body = Markup(
        '<polygon class="area" points="{}"/><polyline class="line" points="{}"/><path class="dot" d="M{:.1f},{:.1f}h0"/>'
    ).format(area, line, *points[-1])
    return _svg(width, height, title, body)


def bars(heights: Sequence[tuple[str, float, str]], title: str, *, width: int = 720, height: int = 160) -> Markup:
    """Draw one bar for each name: its value, and the text that is shown of it. A zero is a hairline, so that no bar is missing.

    Texts are left out where bars are too narrow for them, and every bar says its own when the pointer is on it.
    """
    if not heights:
        return Markup('<p class="quiet">No figures yet.</p>')
    largest = max(value for _, value, _ in heights) or 1.0
    slot = width / len(heights)
    thick = min(slot * 0.72, 64.0)
    top, bottom = 18.0, height - 20.0
    body = Markup('<line class="axis" x1="0" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(width, bottom, bottom)
    bar = Markup(
        '<g><title>{}: {}</title><rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2"/></g>'
    )
    label = Markup('<text class="label" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>')
    for number, (name, value, text) in enumerate(heights):
        tall = max(value / largest * (bottom - top), 1.0)
        middle = slot * (number + 0.5)
        body += bar.format(name, text, middle - thick / 2, bottom - tall, thick, tall)
        if slot >= _LABELLED:
            body += label.format(middle, height - 6, name) + label.format(middle, bottom - tall - 5, text)
    return _svg(width, height, title, body, " tall")


class Stack(Struct, frozen=True):
    """One bar of several parts that stand on each other. ``says`` is told under the pointer, and ``href`` may lead on."""

    parts: Sequence[int]
    says: str
    href: str = ""


def stacks(bars: Sequence[Stack], classes: Sequence[str], title: str, labels: Sequence[str]) -> Markup:
    """Draw bars beside each other, as high as the sums of their parts, with classes by part from the lowest up.

    ``labels`` stand under the bars at even distances. The picture is stretched to its place, and the texts beside it are not.
    """
    if not bars:
        return Markup('<p class="quiet">No figures yet.</p>')
    step, lines = _round_up(max(sum(bar.parts) for bar in bars))
    top = step * lines
    slot = 1000 / len(bars)
    thick = slot * (0.8 if slot > 8 else 0.92)
    paths = ["" for _ in classes]
    over = Markup()
    for number, bar in enumerate(bars):
        left, y = slot * number + (slot - thick) / 2, 200.0
        for kind, value in enumerate(bar.parts):
            if value:
                height = value / top * 200
                paths[kind] += f"M{left:.2f},{y:.2f}h{thick:.2f}v{-height:.2f}h{-thick:.2f}z"
                y -= height
        rect = Markup(
            '<rect class="step" x="{:.2f}" width="{:.2f}" y="0" height="200"><title>{}</title></rect>'
        ).format(slot * number, slot, bar.says)
        over += Markup('<a href="{}" aria-label="{}">{}</a>').format(bar.href, bar.says, rect) if bar.href else rect
    grid = Markup().join(
        Markup('<line class="{}" x1="0" x2="1000" y1="{y:.1f}" y2="{y:.1f}"/>').format(
            "grid" if number else "zero", y=200 - 200 * number / lines
        )
        for number in range(lines + 1)
    )
    drawn = Markup().join(
        Markup('<path class="part {}" d="{}"/>').format(name, path) for name, path in zip(classes, paths, strict=True)
    )
    values = Markup().join(Markup("<span>{:,}</span>").format(step * number) for number in range(lines, -1, -1))
    under = Markup().join(Markup("<span>{}</span>").format(label) for label in labels)
    role = "group" if any(bar.href for bar in bars) else "img"
    return Markup(
        '<figure class="plot" role="{}" aria-label="{}"><div class="plot-values" aria-hidden="true">{}</div>'
        '<svg viewBox="0 0 1000 200" preserveAspectRatio="none">{}{}{}</svg>'
        '<div class="plot-times" aria-hidden="true">{}</div></figure>'
    ).format(role, title, values, grid, drawn, over, under)


def _round_up(most: int) -> tuple[int, int]:
    """Find a round step, 1, 2 or 5 with zeros, and how many of them, four at most, reach over a value."""
    step = 1
    while step * 4 < most:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return step, max(-(-most // step), 1)


def _y(value: float, low: float, high: float, height: int) -> float:
    span = (high - low) or 1.0
    return _GAP + (high - value) / span * (height - 2 * _GAP)


def _svg(width: int, height: int, title: str, body: Markup, more: str = "") -> Markup:
    return Markup(
        '<svg class="chart{4}" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" aria-label="{2}" '
        'preserveAspectRatio="none">{3}</svg>'
    ).format(width, height, title, body, more)
