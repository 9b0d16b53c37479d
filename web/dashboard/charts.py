"""Draws charts as SVG. Each has a text that says what it shows, for who does not see it. The style sheet has the colours."""

from collections.abc import Sequence

from markupsafe import Markup

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
    body = Markup(
        '<polygon class="area" points="{}"/><polyline class="line" points="{}"/><circle class="dot" cx="{:.1f}" cy="{:.1f}" '
        'r="2.5"/>'
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
    return _svg(width, height, title, body)


def _y(value: float, low: float, high: float, height: int) -> float:
    span = (high - low) or 1.0
    return _GAP + (high - value) / span * (height - 2 * _GAP)


def _svg(width: int, height: int, title: str, body: Markup) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" aria-label="{2}" '
        'preserveAspectRatio="none">{3}</svg>'
    ).format(width, height, title, body)
