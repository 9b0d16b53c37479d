"""The health of the ledger: what is amiss, the parts, the last verifications, and a button that verifies."""

from typing import Any

from flask import Blueprint, render_template

from core.base.actors import Right
from web.dashboard.asking import Refused, ask
from web.dashboard.who import actor

blueprint = Blueprint("health", __name__)


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
    may = actor().may
    try:
        health = ask("GET", "/health").json
    except Refused as error:
        health = {"status": "DOWN", "reason": error.message, "problems": [], "checks": {}}
    return render_template(
        "health.html",
        health=health,
        parts=ask("GET", "/parts").json if may(Right.METRICS_READ) else None,
        may_verify=may(Right.VERIFY_READ),
        **more,
    )
