"""The first page: whether all is well, what moves, and whether the books balance."""

from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, render_template, request

from core.base.actors import Right
from web.dashboard import charts
from web.dashboard.asking import Refused, ask
from web.dashboard.now import now
from web.dashboard.who import actor

blueprint = Blueprint("overview", __name__)

_GOING_ON = ("PENDING", "RUNNING", "PAUSED")
"""The statuses of a run that is not over."""
_RUNS = 5
"""So many runs are shown with their progress."""
_LINES = 12
"""So many balances and ledgers of a currency are shown, those with the most first."""
_CURRENCIES = 4
"""The lines of so many currencies are shown, those with the most balances."""
_HOUR = 60
_KINDS = (("accepted", "Accepted"), ("applied", "Applied"), ("rejected", "Rejected"))


@blueprint.get("/dashboard")
def page() -> Any:
    """Show the overview. What the key may not read is left out.

    A page that is open asks for one part at a time, and the other parts are not looked up then.
    """
    part = request.headers.get("HX-Target")
    shown: dict[str, Any] = {"part": part}
    if part in (None, "now"):
        shown |= _now()
    if part in (None, "runs"):
        shown |= {"runs": _runs()}
    if part in (None, "books"):
        books = _books()
        most = sorted(books or [], key=lambda currency: -currency["balances"])[:_CURRENCIES]
        shown |= {"books": books, "detailed": most, "shown_lines": _LINES}
        shown |= {"parts": if_may(Right.METRICS_READ, "/parts")}
    return render_template("overview.html", **shown)


def health() -> Any:
    """Return the health of the service. A service that is down says so with an error."""
    try:
        return ask("GET", "/health").json
    except Refused as error:
        return error.response.get_json(silent=True) or {"status": "DOWN", "reason": error.message, "problems": []}


def if_may(right: Right, path: str, query: dict[str, object] | None = None) -> Any:
    """Ask what the key may read. Returns None if it may not, or if it takes too long now."""
    if not actor().may(right):
        return None
    try:
        return ask("GET", path, query).json
    except Refused:
        return None


def _now() -> dict[str, Any]:
    queues = if_may(Right.QUEUES_READ, "/queues") or []
    hour = (now() - timedelta(minutes=_HOUR)).isoformat()
    activity = if_may(Right.TRANSACTIONS_READ, "/activity", {"from": hour, "step": "minute"})
    return {
        "health": health(),
        "queues": queues,
        "waiting": sum(queue["depth"] for queue in queues),
        "rate": sum(queue["rate_per_s"] for queue in queues),
        "oldest": max((queue["oldest_age_s"] for queue in queues if queue["oldest_age_s"] is not None), default=None),
        "moved": [_rate(activity, kind, title) for kind, title in _KINDS] if activity else [],
    }


def _rate(activity: Any, kind: str, title: str) -> dict[str, Any]:
    """Make the card of one kind: how many a second over the last minute, how many in the hour, and how that went."""
    minutes = activity["minutes"][-_HOUR:]
    counts = [minute[kind] for minute in minutes]
    total = sum(counts)
    most = max(counts, default=0) / 60
    what = f"{title} a second, by minute over the last hour: {total:,} in all, at most {most:,.1f} a second"
    return {
        "title": title,
        "rate": _rate_now(activity, kind),
        "total": total,
        "chart": charts.sparkline([count / 60 for count in counts], what),
    }


def _rate_now(activity: Any, kind: str) -> float:
    """Return how many a second there were in the minute before the figures end, of which parts of two minutes are known."""
    minutes = activity["minutes"]
    if not minutes:
        return 0.0
    end = datetime.fromisoformat(activity["complete_to"])
    into = (end - datetime.fromisoformat(minutes[-1]["at"])).total_seconds()
    before = minutes[-2][kind] if len(minutes) > 1 else 0
    return float((minutes[-1][kind] + before * min(max(1 - into / 60, 0.0), 1.0)) / 60)


def _books() -> Any:
    """Return the books, the largest amounts of each currency first."""
    books = if_may(Right.BALANCES_READ, "/books")
    for currency in books or []:
        currency["lines"].sort(key=lambda line: abs(line["balance"]), reverse=True)
    return books


def _runs() -> list[dict[str, Any]]:
    """Return the runs that go on, with their jobs."""
    jobs = if_may(Right.FUNDING_READ, "/funding-jobs", {"limit": 100}) or []
    waiting = [{"job": job, "run": None} for job in jobs if job["status"] == "WAITING_APPROVAL"]
    going = [job for job in jobs if job["last_run"] and job["last_run"]["status"] in _GOING_ON]
    found = []
    for job in going[:_RUNS]:
        path = f"/funding-jobs/{job['job_id']}/runs/{job['last_run']['run_id']}"
        found.append({"job": job, "run": if_may(Right.FUNDING_READ, path) or job["last_run"]})
    return found + waiting[:_RUNS]
