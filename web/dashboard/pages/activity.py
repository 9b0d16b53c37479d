"""Activity: how much was accepted, applied, held and rejected within a time, as bars and as a table."""

from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, render_template

from web.dashboard import charts, spans
from web.dashboard.asking import Refused, ask
from web.dashboard.charts import Stack
from web.dashboard.now import now
from web.dashboard.precisions import precisions
from web.dashboard.spans import OWN, Span

blueprint = Blueprint("activity", __name__)

PERIODS = ("hour", "day", "week", "month", "year")
STEPS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
LONGEST = {"minute": timedelta(hours=3), "hour": timedelta(days=10)}
"""The longest times that are shown in steps of a minute and of an hour."""
LISTED = 400
"""So many steps are in the table, the newest first."""
_LABELS = 5
_SAID = {"applied": "applied", "inflight": "held", "rejected": "rejected", "voids": "voids"}
_FORMS = {"minute": "%H:%M", "hour": "%b %d %H:%M", "day": "%Y-%m-%d"}
KINDS = ("applied", "inflight", "rejected", "voids")
"""The parts of a bar, from the lowest up. What is none of the others is the void of a hold."""


@blueprint.get("/dashboard/activity")
def page() -> Any:
    """Show how much was done within a time."""
    span = spans.read(PERIODS, "day")
    step = step_for((span.end or now()) - span.start)
    problem, found = None, None
    try:
        found = ask("GET", "/activity", {**span.times(), "step": step}).json
    except Refused as error:
        if error.status == 403:
            raise
        problem = error.message
    rows = [_row(minute) for minute in found["minutes"]] if found else []
    sums = {kind: sum(row[kind] for row in rows) for kind in ("accepted", *KINDS)}
    done = [row for row in reversed(rows) if row["accepted"]]
    return render_template(
        "activity.html",
        span=span,
        periods=PERIODS,
        step=step,
        rows=done[:LISTED],
        left=len(done) - LISTED,
        sums=sums,
        chart=_chart(rows, step, span, sums) if sums["accepted"] else None,
        found=found,
        queries={row["at"]: _closer(row["at"], step, span) for row in done[:LISTED]},
        is_new=not precisions(),
        problem=problem,
    )


def step_for(length: timedelta) -> str:
    """Choose the length of a step, so that bars are neither few nor hairlines."""
    return next((step for step, longest in LONGEST.items() if length <= longest), "day")


def _row(minute: dict[str, Any]) -> dict[str, Any]:
    voids = minute["accepted"] - minute["applied"] - minute["inflight"] - minute["rejected"]
    return minute | {"voids": max(voids, 0)}


def _closer(at: str, step: str, span: Span) -> str:
    """Make the query that looks at one step by shorter ones. A minute has none."""
    if step == "minute":
        return ""
    start = datetime.fromisoformat(at)
    form = "%Y-%m-%dT%H:%M"
    return span.query(period=OWN, **{"from": f"{start:{form}}", "to": f"{start + STEPS[step]:{form}}"})


def _chart(rows: list[dict[str, Any]], step: str, span: Span, sums: dict[str, int]) -> Any:
    most = max(rows, key=lambda row: row["accepted"])
    title = (
        f"{sums['accepted']:,} accepted, {sums['applied']:,} of them applied and {sums['rejected']:,} rejected, by {step}. "
        f"The most, {most['accepted']:,}, were accepted in the {step} of {_at(most['at'], step)} UTC."
    )
    bars = []
    for row in rows:
        says = ", ".join(f"{row[kind]:,} {_SAID[kind]}" for kind in KINDS if row[kind]) or "nothing"
        query = _closer(row["at"], step, span) if row["accepted"] else ""
        bars.append(Stack([row[kind] for kind in KINDS], f"{_at(row['at'], step)} UTC: {says}", query and f"?{query}"))
    labels = [_at(rows[number * (len(rows) - 1) // (_LABELS - 1)]["at"], step) for number in range(_LABELS)]
    return charts.stacks(bars, KINDS, title, labels)


def _at(text: str, step: str) -> str:
    return datetime.fromisoformat(text).strftime(_FORMS[step])
