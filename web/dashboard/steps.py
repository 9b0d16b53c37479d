"""Draws a value that jumps, as a balance does, over a time: steps, with lines and labels at round values.

The steps are an SVG that is stretched to its place, and the labels are texts beside it, so that they can be read at any width.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from markupsafe import Markup
from msgspec import Struct

Point = tuple[datetime, int]
"""A time, and the value from then on."""

_WIDTH, _HEIGHT = 1000.0, 200.0
_LINES = 5
"""So many lines at most are drawn for values. There are so many labels of times."""
_NAMED = 250
"""So many steps at most tell their time and value under the pointer."""


class Frame(Struct, frozen=True):
    """The frame of a chart: the time from ``start`` to ``end``, and how it writes a value."""

    start: datetime
    end: datetime
    write: Callable[[int], str]


def draw(points: Sequence[Point], frame: Frame, title: str) -> Markup:
    """Draw points, the oldest first. The first one gives the value at the start. ``title`` says what the chart shows."""
    if not points:
        return Markup('<p class="quiet">Nothing happened in this time.</p>')
    values = [value for _, value in points]
    low, high, step = _scale(min(values), max(values))
    start = frame.start.timestamp()
    length = max(frame.end.timestamp() - start, 1e-3)

    def x(at: datetime) -> float:
        return min(max((at.timestamp() - start) / length, 0.0), 1.0) * _WIDTH

    def y(value: int) -> float:
        return (high - value) * _HEIGHT / (high - low)

    places = [(x(at), y(value)) for at, value in points]
    path = f"M0,{places[0][1]:.1f}" + "".join(f"H{left:.1f}V{top:.1f}" for left, top in places[1:])
    lines = Markup().join(
        Markup('<line class="{}" x1="0" x2="1000" y1="{y:.1f}" y2="{y:.1f}"/>').format(
            "zero" if value == 0 else "grid", y=y(value)
        )
        for value in range(low, high + 1, step)
    )
    zero = y(max(low, min(high, 0)))
    body = lines + Markup('<path class="area" d="{}H1000V{zero:.1f}H0Z"/><path class="line" d="{}H1000"/>').format(
        path, path, zero=zero
    )
    if len(points) <= _NAMED:
        body += _named(points, [left for left, _ in places], frame)
    return _figure(body, _labels(range(high, low - 1, -step), frame), _times(frame), title)


def _scale(low: int, high: int) -> tuple[int, int, int]:
    """Find round values below and above, and the step between lines: 1, 2 or 5 with zeros. Zero is always in sight."""
    low, high = min(low, 0), max(high, 0)
    step = 1
    while (-(-high // step) - low // step) > _LINES - 1:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    low, high = low // step * step, -(-high // step) * step
    return (low, high, step) if high > low else (low, low + step, step)


def _named(points: Sequence[Point], lefts: Sequence[float], frame: Frame) -> Markup:
    """Make the places that tell a step under the pointer."""
    ends = [*lefts[1:], _WIDTH]
    parts = [
        Markup(
            '<rect class="step" x="{:.1f}" width="{:.1f}" y="0" height="200"><title>{} UTC: {}</title></rect>'
        ).format(left, max(end - left, 1.0), f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}", frame.write(value))
        for (at, value), left, end in zip(points, lefts, ends, strict=True)
    ]
    return Markup().join(parts)


def _labels(values: Sequence[int], frame: Frame) -> Markup:
    return Markup().join(Markup("<span>{}</span>").format(frame.write(value)) for value in values)


def _times(frame: Frame) -> Markup:
    """Make labels of times at even distances. They say the day where the chart is longer than two of them."""
    length = frame.end - frame.start
    if length < timedelta(minutes=5):
        form = "%H:%M:%S"
    else:
        form = "%H:%M" if length < timedelta(days=1) else "%b %d %H:%M" if length < timedelta(days=10) else "%Y-%m-%d"
    times = [frame.start + length * part / (_LINES - 1) for part in range(_LINES)]
    return Markup().join(Markup("<span>{}</span>").format(at.astimezone(UTC).strftime(form)) for at in times)


def _figure(body: Markup, values: Markup, times: Markup, title: str) -> Markup:
    return Markup(
        '<figure class="plot" role="img" aria-label="{}"><div class="plot-values">{}</div>'
        '<svg viewBox="0 0 1000 200" preserveAspectRatio="none">{}</svg><div class="plot-times">{}</div></figure>'
    ).format(title, values, body, times)
