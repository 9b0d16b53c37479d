"""Identities: the people and organisations that balances belong to."""

from typing import Any

from flask import Blueprint, render_template, request

from core.base.actors import Right
from web.dashboard.asking import ask
from web.dashboard.lists import list_page
from web.dashboard.who import actor

blueprint = Blueprint("identities", __name__)

SORTS = ("created_at",)


@blueprint.get("/dashboard/identities")
def page() -> Any:
    """List identities."""
    filters: list[dict[str, Any]] = []
    for field in ("first_name", "last_name", "organization_name", "email_address", "country"):
        if wanted := request.args.get(field, "").strip():
            filters.append({"field": field, "operator": "eq", "value": wanted})
    return render_template("identities.html", found=list_page("/identities/filter", filters, SORTS))


@blueprint.get("/dashboard/identities/<identity_id>")
def one(identity_id: str) -> Any:
    """Show one identity as it is stored, with its balances. What is tokenized stays a token."""
    row = ask("GET", f"/identities/{identity_id}").json
    clause = {"field": "identity_id", "operator": "eq", "value": identity_id}
    balances = []
    if actor().may(Right.BALANCES_READ):
        balances = ask("POST", "/balances/filter", body={"filters": [clause], "limit": 50}).json
    return render_template("identity.html", row=row, balances=balances)
