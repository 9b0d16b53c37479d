"""Draws the page of ``pacioli top`` from what was seen of a service."""

from collections.abc import Sequence

from msgspec import UNSET, Struct
from pacioli_client.answers.funding import Run
from pacioli_client.answers.service import Health, Parts, Process, Queue
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ops.cli.show.text import BAD, GOOD, QUIET, plain, status_text

WIDE = 120
"""From this width on, the queues stand beside the processes."""

WARNING = "yellow"
_STYLES = {"UP": GOOD, "DEGRADED": WARNING, "DOWN": BAD}
_LATE_S = {"sweep": 10, "due": 10, "fund": 10}
"""A tick that was done longer ago is shown as late. The others are rare, and the health knows when they are."""
_SILENT_S = 15
_CLOCK_OFF_S = 1


class Seen(Struct, frozen=True, kw_only=True):
    """A look at a service at one time."""

    url: str
    health: Health
    queues: list[Queue]
    parts: Parts
    runs: list[Run]
    accepted_per_s: float | None
    """The rates since a few seconds. None when the service was seen only once."""
    decided_per_s: float | None
    rates: dict[int, float]
    """The rate of each queue, in decisions a second."""


class Page:
    """The page, which fills the height of a terminal. ``trouble`` says why there is nothing newer to see."""

    def __init__(self, seen: Seen | None, *, trouble: str | None = None, whole: bool = False) -> None:
        self._seen = seen
        self._trouble = trouble
        self._whole = whole
        """Whether to draw everything, however high the terminal is."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.height or console.size.height
        blocks: list[RenderableType] = []
        if self._trouble is not None:
            blocks.append(Text(plain(self._trouble), style=BAD))
        if self._seen is None:
            yield Group(*blocks)
            return
        seen = self._seen
        blocks += [_head(seen, width), *_problems(seen.health, most=None if self._whole else 1 + height // 20)]
        if seen.runs:
            blocks.append(_runs(seen.runs if self._whole else seen.runs[:4], width))
        blocks.append(Text())
        beside = [
            _processes(seen.parts, width - (45 if width >= WIDE else 0), most=None if self._whole else height // 6),
            Text(),
            _ticks(seen.parts),
        ]
        if width >= WIDE:
            room = None if self._whole else max(2, height - _lines(console, options, blocks) - 2)
            grid = Table.grid(padding=(0, 3))
            grid.add_row(_queues(seen, room), Group(*beside))
            blocks.append(grid)
        else:
            blocks += [*beside, Text()]
            room = None if self._whole else max(2, height - _lines(console, options, blocks) - 2)
            blocks.append(_queues(seen, room))
        whole = console.render_lines(Group(*blocks), options.update(height=None), pad=False)
        for line in whole if self._whole else whole[: height - 1]:
            yield from line
            yield Segment.line()


def _lines(console: Console, options: ConsoleOptions, blocks: Sequence[RenderableType]) -> int:
    return len(console.render_lines(Group(*blocks), options.update(height=None)))


def _head(seen: Seen, width: int) -> RenderableType:
    status = seen.health.status
    waiting = sum(queue.depth for queue in seen.queues)
    oldest = max((queue.oldest_age_s for queue in seen.queues if queue.oldest_age_s is not None), default=None)
    facts = Text.assemble(
        (status, _STYLES.get(status, "")),
        f"  accepted {_rate(seen.accepted_per_s)}  decided {_rate(seen.decided_per_s)}  waiting {waiting:,}",
        "" if oldest is None else f", the oldest {_ago(float(oldest))}",
    )
    name = Text(f"pacioli {seen.url}", style=QUIET)
    if facts.cell_len + name.cell_len + 2 > width:
        return Group(name, facts)
    grid = Table.grid(expand=True)
    grid.add_column()
    grid.add_column(justify="right")
    grid.add_row(facts, name)
    return grid


def _problems(health: Health, most: int | None) -> list[RenderableType]:
    """Draw what is amiss, the worst first, each with its advice."""
    lines: list[RenderableType] = []
    for each in health.problems[:most]:
        style = _STYLES.get(each.status, "")
        lines.append(Text(f"{each.part} since {each.since:%H:%M:%S}: {plain(each.what)}", style=style))
        lines.append(Text(f"  {plain(each.advice)}", style=QUIET))
    if rest := len(health.problems) - len(health.problems[:most]):
        lines.append(Text(f"and {rest} more: see /health", style=QUIET))
    return lines


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    new = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        new.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    return new


def _queues(seen: Seen, room: int | None) -> RenderableType:
    """Draw the queues, the longest first, as far as there is room."""
    found = sorted(seen.queues, key=lambda queue: (-queue.depth, queue.number))
    table = _table(
        "queue", "waiting", "oldest", "per s", "decided", right=("queue", "waiting", "oldest", "per s", "decided")
    )
    shown = found if room is None or len(found) <= room else found[: max(0, room - 1)]
    for queue in shown:
        rate = seen.rates.get(queue.number)
        table.add_row(
            str(queue.number),
            f"{queue.depth:,}",
            "" if queue.oldest_age_s is None else _ago(float(queue.oldest_age_s)),
            "" if rate is None else f"{rate:,.0f}",
            f"{queue.decided:,}",
            style="" if queue.depth else QUIET,
        )
    if len(shown) < len(found):
        return Group(table, Text(f"and {len(found) - len(shown)} shorter ones", style=QUIET))
    return table


def _processes(parts: Parts, width: int, most: int | None) -> RenderableType:
    """Draw the processes of each part: where they run, whether they are heard of, what their children do."""
    if not parts.known:
        return Text("what the processes record cannot be read", style=BAD)
    if not parts.processes:
        return Text("no process has recorded that it lives", style=BAD)
    table = _table("part", "host", "silent", "clock", "does")
    order = {"worker": 0, "web": 1, "beat": 2}
    found = sorted(parts.processes, key=lambda one: (order.get(one.part, 3), one.host, one.name))
    for one in found[:most]:
        host = plain(one.host)[:12]
        silent, off = one.heard_s > _SILENT_S, abs(one.clock_off_s) > _CLOCK_OFF_S
        table.add_row(
            plain(one.part),
            host,
            Text(_ago(float(one.heard_s)), style=BAD if silent else ""),
            Text(f"{one.clock_off_s:+.1f} s" if off else "right", style=WARNING if off else ""),
            _doing(one, room=max(8, width - 42)),
        )
    rest = len(found) - len(found[:most])
    return Group(table, Text(f"and {rest} more", style=QUIET)) if rest else table


def _doing(one: Process, room: int) -> Text:
    """Draw what is not right with a process, and then what its children do."""
    frozen = sum(not child.answers for child in one.children)
    remarks = [f"{frozen} of {len(one.children)} stuck"] if frozen else []
    if one.consuming is False:
        remarks.append("no broker")
    if one.standing_in:
        remarks.append("ticks itself")
    text = Text(", ".join(remarks), style=WARNING)
    if one.children:
        busy = [child for child in one.children if child.task]
        text.append(", " if remarks else "")
        text.append(f"{len(busy)} of {len(one.children)} busy", style="default")
        longest = max(busy, key=lambda child: child.busy_s, default=None)
        if longest is not None and longest.task is not None:
            task = plain(longest.task.removeprefix("pacioli."))
            task += "" if longest.queue is None else f" of queue {longest.queue}"
            text.append(f", {task} {_ago(float(longest.busy_s))}", style="default")
    text.truncate(room, overflow="ellipsis")
    return text


def _ticks(parts: Parts) -> RenderableType:
    """Draw how long ago each tick was, and the last verification."""
    line = Text("ticks", style="bold")
    for tick in parts.ticks:
        late = tick.ago_s is None or tick.ago_s > _LATE_S.get(tick.name, float("inf"))
        ago = "never" if tick.ago_s is None else f"{_ago(float(tick.ago_s))} ago"
        line.append(f"  {plain(tick.name)} ", style="not bold")
        line.append(ago, style=f"not bold {WARNING if late else GOOD}")
    verified = parts.verification
    text = Text("verified", style="bold", no_wrap=True, overflow="ellipsis")
    if verified is None:
        text.append("  not yet", style="not bold")
    else:
        sound = not verified.problem_count
        told = "sound" if sound else f"{verified.problem_count:,} problems"
        text.append(f"  {told}", style=f"not bold {GOOD if sound else BAD}")
        text.append(f" up to {verified.last_sequence:,}, {_ago(float(verified.ago_s))} ago", style="not bold")
    text.append("   signed", style="bold")
    if (seal := parts.seal) is None:
        text.append("  by nobody", style="not bold")
    else:
        is_alive = any(each.part == "notary" for each in parts.processes)
        is_late = seal.unsealed > 0 and seal.ago_s > _SEAL_LATE_S
        text.append(
            f"  up to {seal.last_sequence:,}, {_ago(float(seal.ago_s))} ago" + ("" if is_alive else ", no notary runs"),
            style=f"not bold {GOOD if is_alive and not is_late else BAD}",
        )
    return Group(line, text)


_SEAL_LATE_S = 60


def _runs(runs: Sequence[Run], width: int) -> RenderableType:
    table = _table("funding run", "", "", "rows", "per s", right=("rows", "per s"))
    for run in runs:
        done = _number(run.rows_applied) + _number(run.rows_rejected)
        table.add_row(
            plain(run.run_id if width >= WIDE else run.run_id[:12] + "…"),
            status_text(run.status),
            ProgressBar(total=run.rows_total or None, completed=done, width=max(6, min(40, width - 60))),
            f"{done:,} of {run.rows_total or 0:,}",
            "" if run.rate_per_s is UNSET else f"{run.rate_per_s:,.0f}",
        )
    return table


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _rate(per_s: float | None) -> str:
    return "…" if per_s is None else f"{per_s:,.0f}/s"


def _ago(seconds: float) -> str:
    """Write a time span in at most five characters."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
