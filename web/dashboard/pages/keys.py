"""Keys: who has which, what they may do, and how to revoke one."""

from itertools import groupby
from typing import Any

from flask import Blueprint, redirect, render_template, request

from core.base.actors import MASTER, SCOPES, Right
from web.dashboard.asking import Refused, ask
from web.dashboard.who import actor

blueprint = Blueprint("keys", __name__)

_RIGHTS = {
    resource: [right.value for right in rights]
    for resource, rights in groupby(sorted(Right), lambda right: right.partition(":")[0])
}
"""The rights by what they are about."""


@blueprint.get("/dashboard/keys")
def page() -> Any:
    """List keys. ``?revoke=`` asks whether to revoke one."""
    args = request.args
    if revoking := args.get("revoke"):
        return _show(revoking={"key_id": revoking, "owner": args.get("owner", ""), "name": args.get("name", "")})
    return _show()


@blueprint.post("/dashboard/keys")
def create() -> Any:
    """Make a key, and show it this once."""
    form = request.form
    body: dict[str, Any] = {
        "name": form.get("name", "").strip(),
        "owner": form.get("owner", "").strip(),
        "scopes": sorted({*form.getlist("scope"), *form.get("scopes", "").replace(",", " ").split()}),
        "expires_at": f"{form.get('expires', '').strip()}T00:00:00Z",
    }
    if reach := _reach():
        body["reach"] = reach
    try:
        made = ask("POST", "/api-keys", body=body).json
    except Refused as error:
        return _show(problem=error.message), error.status
    return _show(made=made), 201


def _reach() -> dict[str, Any]:
    """Read the bounds of the form. What is empty has no bound."""
    form = request.form
    lists = {name: form.get(name, "").replace(",", " ").split() for name in ("ledgers", "indicators", "networks")}
    texts = {name: form.get(name, "").strip() for name in ("largest_amount", "largest_overdraft", "rate")}
    return {name: value for name, value in (lists | texts).items() if value}


@blueprint.post("/dashboard/keys/<key_id>/rotate")
def rotate(key_id: str) -> Any:
    """Give a key a new secret, and show it this once."""
    try:
        made = ask("POST", f"/api-keys/{key_id}/rotate", body={}).json
    except Refused as error:
        return _show(problem=error.message), error.status
    return _show(made=made), 201


@blueprint.post("/dashboard/keys/<key_id>/revoke")
def revoke(key_id: str) -> Any:
    """Revoke a key, and stop what of its is still to come when asked."""
    form = request.form
    query = {"owner": form.get("owner")}
    try:
        ask("DELETE", f"/api-keys/{key_id}", {**query, "with_pending": "true" if form.get("pending") else "false"})
    except Refused as error:
        return _show(problem=error.message), error.status
    return redirect("/dashboard/keys", 303)


def _show(**more: Any) -> str:
    is_master = actor().key_id in (MASTER.key_id, "anonymous")
    query = {"all": "true"} if is_master else {}
    rows, problem = [], more.pop("problem", None)
    try:
        rows = ask("GET", "/api-keys", query).json
    except Refused as error:
        problem = problem or error.message
    return render_template(
        "keys.html",
        keys=rows,
        problem=problem,
        scopes=sorted(SCOPES),
        rights=_RIGHTS,
        may_write=actor().may(Right.API_KEYS_WRITE),
        may_delete=actor().may(Right.API_KEYS_DELETE),
        **more,
    )
