"""Queues: what waits in each, for how long, and how fast it moves."""

from typing import Any

from flask import Blueprint, render_template

from core.base.actors import Right
from web.dashboard.asking import ask
from web.dashboard.who import actor

blueprint = Blueprint("queues", __name__)


@blueprint.get("/dashboard/queues")
def page() -> Any:
    """Show all queues, and the processes that drain them."""
    rows = ask("GET", "/queues").json
    parts = ask("GET", "/parts").json if actor().may(Right.METRICS_READ) else None
    workers = [each for each in parts["processes"] if each["part"] == "worker"] if parts else []
    most = max((row["depth"] for row in rows), default=0)
    return render_template("queues.html", queues=rows, workers=workers, most=most or 1)
