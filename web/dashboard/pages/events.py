"""Events: the feed of what happened."""

from typing import Any

from flask import Blueprint, render_template

from web.dashboard import query
from web.dashboard.asking import Refused, ask

blueprint = Blueprint("events", __name__)

_SHOWN = 100


@blueprint.get("/dashboard/events")
def page() -> Any:
    """Show a page of the feed, the oldest first, and what holds it back."""
    asked = {"after": query.text("after"), "types": query.text("types").replace(" ", "")}
    try:
        found = ask("GET", "/events", {**asked, "limit": _SHOWN}).json
    except Refused as error:
        name, _, fault = error.message.partition(": ")
        if error.status != 400 or name not in asked:
            raise
        query.wrong(name, f"{fault.removesuffix('.')}, and was left out")
        found = ask("GET", "/events", {"limit": _SHOWN}).json
    return render_template("events.html", found=found)
