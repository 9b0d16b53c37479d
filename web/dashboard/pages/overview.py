"""The first page: whether all is well, what moves, and whether the books balance."""

from typing import Any

from flask import Blueprint, render_template

from core.base.actors import Right
from web.dashboard.asking import Refused, ask
from web.dashboard.who import actor

blueprint = Blueprint("overview", __name__)


@blueprint.get("/dashboard")
def page() -> Any:
    """Show the overview. What the key may not read is left out."""
    queues = _if_may(Right.QUEUES_READ, "/queues") or []
    return render_template(
        "overview.html",
        health=_health(),
        queues=queues,
        waiting=sum(queue["depth"] for queue in queues),
        rate=sum(queue["rate_per_s"] for queue in queues),
        oldest=max((queue["oldest_age_s"] for queue in queues if queue["oldest_age_s"] is not None), default=None),
        books=_if_may(Right.BALANCES_READ, "/books"),
        jobs=_going_on(),
        parts=_if_may(Right.METRICS_READ, "/parts"),
    )


def _health() -> Any:
    try:
        return ask("GET", "/health").json
    except Refused as error:
        return {"status": "DOWN", "problems": [], "reason": error.message, "checks": {}}


def _if_may(right: Right, path: str) -> Any:
    """Ask what the key may read; None if it may not, or if it takes too long now."""
    if not actor().may(right):
        return None
    try:
        return ask("GET", path).json
    except Refused:
        return None


def _going_on() -> Any:
    jobs = _if_may(Right.FUNDING_READ, "/funding-jobs") or []
    return [job for job in jobs if job["status"] in ("RUNNING", "PAUSED", "AWAITING_APPROVAL")]
