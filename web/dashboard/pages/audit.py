"""The audit log: who did what beside posting."""

from typing import Any

from flask import Blueprint, render_template, request

from web.dashboard.lists import list_page

blueprint = Blueprint("audit", __name__)


@blueprint.get("/dashboard/audit")
def page() -> Any:
    """List what was done, the newest first."""
    filters: list[dict[str, Any]] = []
    for field in ("actor", "action", "subject", "request_id"):
        if wanted := request.args.get(field, "").strip():
            filters.append({"field": field, "operator": "eq", "value": wanted})
    return render_template("audit.html", found=list_page("/audit/filter", filters, ()))
