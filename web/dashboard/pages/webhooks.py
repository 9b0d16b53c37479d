"""Webhooks: endpoints that are told events, how they do, and their deliveries."""

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for

from core.base.actors import Right
from web.dashboard import query
from web.dashboard.asking import Refused, ask
from web.dashboard.who import actor

blueprint = Blueprint("webhooks", __name__)

STATUSES = ("pending", "delivered", "failed")


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
        "events": _events(),
        "ordered": bool(form.get("ordered")),
        "description": form.get("description", "").strip(),
    }
    try:
        made = ask("POST", "/webhooks", body=body).json
    except Refused as error:
        return _list(problem=error.message), error.status
    return _list(made=made), 201


@blueprint.get("/dashboard/webhooks/<webhook_id>")
def one(webhook_id: str) -> Any:
    """Show an endpoint and its deliveries."""
    return _show(webhook_id)


@blueprint.post("/dashboard/webhooks/<webhook_id>/<action>")
def act(webhook_id: str, action: str) -> Any:
    """Test, switch, change or delete an endpoint, give it a new secret, or send events once more."""
    path, form = f"/webhooks/{webhook_id}", request.form
    try:
        match action:
            case "test":
                return _show(webhook_id, tested=ask("POST", f"{path}/test").json)
            case "rotate":
                return _show(webhook_id, made=ask("POST", f"{path}/rotate", body={}).json), 201
            case "replay":
                body = {"from": form.get("from", "").strip() or "0.0", "to": form.get("to", "").strip() or None}
                ask("POST", f"{path}/replay", body=body)
            case "start" | "stop":
                ask("PUT", path, body={"active": action == "start"})
            case "change":
                ask("PUT", path, body={"events": _events(), "description": form.get("description", "").strip()})
            case "delete":
                ask("DELETE", path)
                return redirect(url_for("webhooks.page"), 303)
            case _:
                return _show(webhook_id, problem="There is no such action."), 404
    except Refused as error:
        return _show(webhook_id, problem=error.message), error.status
    return redirect(url_for("webhooks.one", webhook_id=webhook_id), 303)


def _events() -> list[str]:
    return request.form.get("events", "").replace(",", " ").split()


def _list(**more: Any) -> str:
    rows = ask("GET", "/webhooks").json
    return render_template("webhooks.html", webhooks=rows, may_write=actor().may(Right.WEBHOOKS_WRITE), **more)


def _show(webhook_id: str, **more: Any) -> str:
    row = ask("GET", f"/webhooks/{webhook_id}").json
    asked = {"status": query.choice("status", STATUSES), "after": query.text("after"), "limit": 50}
    deliveries = ask("GET", f"/webhooks/{webhook_id}/deliveries", asked).json
    return render_template(
        "webhook.html",
        webhook=row,
        deliveries=deliveries,
        statuses=STATUSES,
        may_write=actor().may(Right.WEBHOOKS_WRITE),
        **more,
    )
