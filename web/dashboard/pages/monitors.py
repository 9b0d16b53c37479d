"""Monitors: the lines that balances must not cross unseen."""

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for

from core.base.actors import Right
from web.dashboard.asking import Refused, ask
from web.dashboard.pages.transactions import names_of
from web.dashboard.who import actor

blueprint = Blueprint("monitors", __name__)

FIELDS = (
    "available_balance", "balance", "credit_balance", "debit_balance", "inflight_balance", "inflight_credit_balance",
    "inflight_debit_balance",
)  # fmt: skip
OPERATORS = ("<", "<=", ">", ">=", "=", "!=")


@blueprint.get("/dashboard/monitors")
def page() -> Any:
    """List monitors."""
    return _list()


@blueprint.post("/dashboard/monitors")
def create() -> Any:
    """Make a monitor."""
    form = request.form
    condition = {name: form.get(name, "").strip() for name in ("field", "operator", "value")}
    body = {
        "balance_id": form.get("balance_id", "").strip(),
        "condition": condition,
        "description": form.get("description", "").strip(),
    }
    try:
        made = ask("POST", "/balance-monitors", body=body).json
    except Refused as error:
        return _list(problem=error.message), error.status
    return redirect(url_for("monitors.one", monitor_id=made["monitor_id"]), 303)


@blueprint.get("/dashboard/monitors/<monitor_id>")
def one(monitor_id: str) -> Any:
    """Show a monitor and when it fired."""
    return _show(monitor_id)


@blueprint.post("/dashboard/monitors/<monitor_id>/<action>")
def act(monitor_id: str, action: str) -> Any:
    """Set a monitor to rest, let it watch again, or delete it."""
    path = f"/balance-monitors/{monitor_id}"
    try:
        if action == "delete":
            ask("DELETE", path)
            return redirect(url_for("monitors.page"), 303)
        if action not in ("start", "stop"):
            return _show(monitor_id, problem="There is no such action."), 404
        ask("PUT", path, body=ask("GET", path).json | {"active": action == "start"})
    except Refused as error:
        return _show(monitor_id, problem=error.message), error.status
    return redirect(url_for("monitors.one", monitor_id=monitor_id), 303)


def _show(monitor_id: str, **more: Any) -> str:
    row = ask("GET", f"/balance-monitors/{monitor_id}").json
    query = {"after": request.args.get("after"), "limit": 50}
    firings = ask("GET", f"/balance-monitors/{monitor_id}/events", query).json
    return render_template(
        "monitor.html",
        monitor=row,
        firings=firings,
        names=names_of([row["balance_id"]]),
        may_delete=actor().may(Right.BALANCE_MONITORS_DELETE),
        may_write=actor().may(Right.BALANCE_MONITORS_WRITE),
        **more,
    )


def _list(**more: Any) -> str:
    rows = ask("GET", "/balance-monitors", {"limit": 100, "after": request.args.get("after")}).json
    return render_template(
        "monitors.html",
        monitors=rows,
        names=names_of([row["balance_id"] for row in rows]),
        fields=FIELDS,
        operators=OPERATORS,
        may_write=actor().may(Right.BALANCE_MONITORS_WRITE),
        **more,
    )
