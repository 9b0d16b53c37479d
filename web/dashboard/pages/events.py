"""Events: the feed of what happened."""

from typing import Any

from flask import Blueprint, render_template, request

from web.dashboard.asking import ask

blueprint = Blueprint("events", __name__)

_SHOWN = 100


@blueprint.get("/dashboard/events")
def page() -> Any:
    """Show a page of the feed, the oldest first, and what holds it back."""
    args = request.args
    types = args.get("types", "").replace(" ", "")
    found = ask("GET", "/events", {"after": args.get("after"), "types": types, "limit": _SHOWN}).json
    return render_template("events.html", found=found)
