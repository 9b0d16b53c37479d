"""Identities: the people and organisations that balances belong to."""

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for

from core.base.actors import Right
from web.dashboard.asking import Refused, ask
from web.dashboard.lists import Listed, list_page
from web.dashboard.who import actor

blueprint = Blueprint("identities", __name__)

SORTS = ("created_at",)
SEARCHED = ("first_name", "last_name", "organization_name", "email_address", "country")
FIELDS = (
    "identity_type", "first_name", "last_name", "organization_name", "category", "email_address", "phone_number", "street",
    "city", "post_code", "state", "country", "nationality",
)  # fmt: skip
"""The fields that the form has."""


@blueprint.get("/dashboard/identities")
def page() -> Any:
    """List identities."""
    filters: list[dict[str, Any]] = []
    for field in SEARCHED:
        if wanted := request.args.get(field, "").strip():
            filters.append({"field": field, "operator": "eq", "value": wanted})
    return _list(found=list_page("/identities/filter", filters, SORTS))


@blueprint.post("/dashboard/identities")
def create() -> Any:
    """Make an identity."""
    try:
        made = ask("POST", "/identities", body={name: value for name, value in _fields().items() if value}).json
    except Refused as error:
        return _list(found=Listed([], None), problem=error.message), error.status
    return redirect(url_for("identities.one", identity_id=made["identity_id"]), 303)


@blueprint.get("/dashboard/identities/<identity_id>")
def one(identity_id: str) -> Any:
    """Show one identity as it is stored, with its balances. What is tokenized stays a token."""
    return _show(identity_id)


@blueprint.post("/dashboard/identities/<identity_id>/<action>")
def act(identity_id: str, action: str) -> Any:
    """Change an identity, or delete it."""
    path = f"/identities/{identity_id}"
    try:
        if action == "change":
            before = ask("GET", path).json
            # An empty text stays as it is; null blanks it. A token is not sent back, or it would be the new value.
            changed = {name: value or None for name, value in _fields().items() if value != (before.get(name) or "")}
            ask("PUT", path, body=changed)
        elif action == "delete":
            ask("DELETE", path)
            return redirect(url_for("identities.page"), 303)
        else:
            return _show(identity_id, problem="There is no such action."), 404
    except Refused as error:
        return _show(identity_id, problem=error.message), error.status
    return redirect(url_for("identities.one", identity_id=identity_id), 303)


def _fields() -> dict[str, str]:
    return {name: request.form[name].strip() for name in FIELDS if name in request.form}


def _list(**more: Any) -> str:
    return render_template(
        "identities.html", fields=FIELDS, may_write=actor().may(Right.IDENTITIES_WRITE), searched=SEARCHED, **more
    )


def _show(identity_id: str, **more: Any) -> str:
    row = ask("GET", f"/identities/{identity_id}").json
    clause = {"field": "identity_id", "operator": "eq", "value": identity_id}
    may = actor().may
    balances = []
    if may(Right.BALANCES_READ):
        balances = ask("POST", "/balances/filter", body={"filters": [clause], "limit": 50}).json
    return render_template(
        "identity.html",
        row=row,
        balances=balances,
        fields=FIELDS,
        may_write=may(Right.IDENTITIES_WRITE),
        may_delete=may(Right.IDENTITIES_DELETE),
        **more,
    )
