"""Webhooks: endpoints that are told events, how they do, and their deliveries."""

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for

from core.base.actors import Right
from web.dashboard.asking import Refused, ask
from web.dashboard.who import actor

blueprint = Blueprint("webhooks", __name__)


@blueprint.get("/dashboard/webhooks")
def page() -> Any:
    """List endpoints."""
    return _list()


@blueprint.post("/dashboard/webhooks")
def create() -> Any:
    """Make an endpoint, and show its secret this once."""
    form = request.form
    body = {
        "url": form.get("url", "").strip(),
        "events": form.get("events", "").replace(",", " ").split(),
        "ordered": bool(form.get("ordered")),
        "description": form.get("description", "").strip(),
    }
    try:
        made = ask("POST", "/webhooks", body=body).json
    except Refused as error:
        return _list(problem=error.message), 400
    return _list(made=made), 201


@blueprint.get("/dashboard/webhooks/<webhook_id>")
def one(webhook_id: str) -> Any:
    """Show an endpoint and its deliveries."""
    return _show(webhook_id)


@blueprint.post("/dashboard/webhooks/<webhook_id>/<action>")
def act(webhook_id: str, action: str) -> Any:
    """Test, switch or delete an endpoint."""
    path = f"/webhooks/{webhook_id}"
    try:
        if action == "test":
            return _show(webhook_id, tested=ask("POST", f"{path}/test").json)
        if action in ("start", "stop"):
            ask("PUT", path, body={"active": action == "start"})
        elif action == "delete":
            ask("DELETE", path)
            return redirect(url_for("webhooks.page"), 303)
        else:
            return _show(webhook_id, problem="There is no such action."), 404
    except Refused as error:
        return _show(webhook_id, problem=error.message), 400
    return redirect(url_for("webhooks.one", webhook_id=webhook_id), 303)


def _list(**more: Any) -> str:
    rows = ask("GET", "/webhooks").json
    return render_template("webhooks.html", webhooks=rows, may_write=actor().may(Right.WEBHOOKS_WRITE), **more)


def _show(webhook_id: str, **more: Any) -> str:
    row = ask("GET", f"/webhooks/{webhook_id}").json
    query = {"status": request.args.get("status"), "after": request.args.get("after"), "limit": 50}
    deliveries = ask("GET", f"/webhooks/{webhook_id}/deliveries", query).json
    return render_template(
        "webhook.html", webhook=row, deliveries=deliveries, may_write=actor().may(Right.WEBHOOKS_WRITE), **more
    )
