"""Queues: what waits in each, for how long, how fast it moves, and who drains."""

from typing import Any

from flask import Blueprint, render_template

from core.base.actors import Right
from web.dashboard import charts
from web.dashboard.asking import ask
from web.dashboard.formats import age, number, rate
from web.dashboard.pages.overview import if_may

blueprint = Blueprint("queues", __name__)

COUNTED = 10_000
"""The postings that wait in a queue are counted up to this number."""
_STILL = 0.05
"""A queue that decides fewer a second stands still."""


@blueprint.get("/dashboard/queues")
def page() -> Any:
    """Show all queues, and the processes that drain them."""
    rows = ask("GET", "/queues").json
    parts = if_may(Right.METRICS_READ, "/parts")
    known = parts and parts["known"]
    workers = [each for each in parts["processes"] if each["part"] == "worker"] if known else None
    return render_template(
        "queues.html",
        queues=rows,
        workers=workers,
        waiting=sum(row["depth"] for row in rows),
        counted=COUNTED,
        rate=sum(row["rate_per_s"] for row in rows),
        oldest=max((row["oldest_age_s"] for row in rows if row["oldest_age_s"] is not None), default=None),
        most=max((row["depth"] for row in rows), default=0) or 1,
        waiting_chart=_waiting(rows),
        moving_chart=_moving(rows),
    )


def _waiting(rows: list[dict[str, Any]]) -> Any:
    """Draw the depths, if anything waits."""
    deepest = max(rows, key=lambda row: row["depth"], default=None)
    if deepest is None or not deepest["depth"]:
        return None
    waiting = sum(row["depth"] for row in rows)
    title = f"{number(waiting)} transactions wait in {len(rows)} queues, the most in queue {deepest['number']}: {_depth(deepest)}"
    if deepest["oldest_age_s"] is not None:
        title += f", the oldest there for {age(deepest['oldest_age_s'])}"
    return charts.bars([(str(row["number"]), row["depth"], _depth(row)) for row in rows], title, width=480)


def _moving(rows: list[dict[str, Any]]) -> Any:
    """Draw the rates, if anything moves."""
    quickest = max(rows, key=lambda row: row["rate_per_s"], default=None)
    if quickest is None or quickest["rate_per_s"] < _STILL:
        return None
    total = rate(sum(row["rate_per_s"] for row in rows))
    title = f"{total} are decided a second, the most in queue {quickest['number']}: {rate(quickest['rate_per_s'])}"
    return charts.bars(
        [(str(row["number"]), float(row["rate_per_s"]), rate(row["rate_per_s"])) for row in rows], title, width=480
    )


def _depth(row: dict[str, Any]) -> str:
    return number(row["depth"]) + ("+" if row["depth"] >= COUNTED else "")
