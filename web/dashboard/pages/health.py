"""The health of the ledger: what is amiss, the parts, the last verifications, and a button that verifies."""

from typing import Any

from flask import Blueprint, render_template

from core.base.actors import Right
from web.dashboard.asking import Refused, ask
from web.dashboard.pages.overview import health, if_may
from web.dashboard.who import actor

blueprint = Blueprint("health", __name__)

CHECKS = {
    "database": "Postgres can be written, and keeps what it is given.",
    "append": "Transactions can be accepted.",
    "broker": "Redis carries the calls that wake workers.",
    "workers": "Workers decide what was accepted.",
    "queues": "Nothing waits for too long.",
    "ticks": "What is due is looked for in time.",
    "clocks": "The hosts agree on the time.",
    "verification": "The ledger agrees with its history.",
    "notary": "The log is signed.",
    "webhooks": "Receivers take what they are sent.",
    "threads": "This process moves.",
    "disk": "There is room for more.",
}
"""The words for what each check looks at."""
KINDS = {
    "slice": "a slice of the history",
    "checkpoint": "what is new since the last checkpoint",
    "full": "everything, from the start",
}
TICKS = {
    "due": "Scheduled transactions and holds that come due",
    "flows": "Adds up where money moved",
    "forget": "Forgets what need not be kept",
    "fund": "Funding runs",
    "slice": "Verifies a slice of the history",
    "snapshot": "Keeps balances of the day",
    "spans": "Adds up each thousand entries of a balance",
    "sweep": "Queues that nobody woke a worker for",
    "verify": "Verifies what is new, and makes a checkpoint",
}
"""The words for what each tick does."""
GONE_S = 600
"""A process that was silent for so long has ended, and is only counted."""


@blueprint.get("/dashboard/health")
def page() -> Any:
    """Show the health of all parts."""
    return _show()


@blueprint.post("/dashboard/health/verify")
def verify() -> Any:
    """Verify what was written since the last checkpoint, now."""
    try:
        return _show(report=ask("GET", "/verify").json)
    except Refused as error:
        return _show(problem=error.message), error.status


def _show(**more: Any) -> str:
    found = health()
    given = found.get("checks") or {}
    parts = if_may(Right.METRICS_READ, "/parts")
    processes = [each for each in parts["processes"] if each["heard_s"] <= GONE_S] if parts else []
    return render_template(
        "health.html",
        health=found,
        checks=[(name, text, given[name]) for name, text in CHECKS.items() if name in given],
        kinds=KINDS,
        tick_texts=TICKS,
        parts=parts,
        processes=processes,
        gone=len(parts["processes"]) - len(processes) if parts else 0,
        may_verify=actor().may(Right.VERIFY_READ),
        **more,
    )
