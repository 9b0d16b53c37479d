"""Transactions: find them, and all about one, with what can still be done about it."""

from typing import Any
from uuid import uuid4

from flask import Blueprint, redirect, render_template, request, url_for

from core.base.actors import Right
from web.dashboard.asking import Refused, ask
from web.dashboard.lists import list_page
from web.dashboard.who import actor

blueprint = Blueprint("transactions", __name__)

STATUSES = ("QUEUED", "SCHEDULED", "INFLIGHT", "APPLIED", "VOID", "REJECTED")
SORTS = ("created_at", "amount")

ACTIONS = {
    "commit": (Right.TRANSACTIONS_COMMIT, "PUT", "/transactions/inflight/{}"),
    "void": (Right.TRANSACTIONS_VOID, "PUT", "/transactions/inflight/{}"),
    "refund": (Right.TRANSACTIONS_REFUND, "POST", "/refund-transaction/{}"),
    "cancel": (Right.TRANSACTIONS_CANCEL, "DELETE", "/transactions/{}"),
}
"""The actions on a transaction: the right, and the request of the API."""


@blueprint.get("/dashboard/transactions")
def page() -> Any:
    """List transactions."""
    args = request.args
    filters: list[dict[str, Any]] = []
    if wanted := args.get("q", "").strip():
        field = "transaction_id" if wanted.startswith("txn_") else "reference"
        filters.append({"field": field, "operator": "eq", "value": wanted})
    if args.get("status") in STATUSES:
        filters.append({"field": "status", "operator": "eq", "value": args["status"]})
    if balance := args.get("balance", "").strip():
        filters.append({"field": "source", "operator": "eq", "value": balance})
    for name, operator in (("least", "gte"), ("most", "lte")):
        if amount := args.get(name, "").strip():
            filters.append({"field": "amount", "operator": operator, "value": amount})
    if meta := args.get("meta", "").strip():
        key, _, value = meta.partition("=")
        # Metadata knows numbers from texts, and a form does not.
        values = [value.strip(), *([int(value)] if value.strip().lstrip("-").isdecimal() else [])]
        filters.append({"field": f"meta_data.{key.strip()}", "operator": "in", "values": values})
    found = list_page("/transactions/filter", filters, SORTS)
    names = names_of([row[side] for row in found.rows for side in ("source", "destination")])
    return render_template("transactions.html", found=found, names=names, statuses=STATUSES, sorts=SORTS)


@blueprint.get("/dashboard/transactions/<transaction_id>")
def one(transaction_id: str) -> Any:
    """Show one transaction, and the buttons of what the key may do about it. ``?try=refund`` shows what that would do."""
    action, amount = request.args.get("try", ""), request.args.get("amount", "").strip()
    if action not in ACTIONS:
        return _show(transaction_id)
    tried: dict[str, Any] = {"action": action, "amount": amount, "once": str(uuid4()), "would": None}
    if action != "cancel":
        try:
            tried["would"] = _send(transaction_id, action, amount, dry_run=True)
        except Refused as error:
            return _show(transaction_id, problem=error.message), 400
    return _show(transaction_id, tried=tried)


@blueprint.post("/dashboard/transactions/<transaction_id>/<action>")
def act(transaction_id: str, action: str) -> Any:
    """Do what was tried."""
    if action not in ACTIONS:
        return _show(transaction_id, problem="There is no such action."), 404
    form = request.form
    try:
        _send(transaction_id, action, form.get("amount", "").strip(), once=form.get("once"))
    except Refused as error:
        return _show(transaction_id, problem=error.message), 409 if error.status == 409 else 400
    return redirect(url_for("transactions.one", transaction_id=transaction_id), 303)


def _send(transaction_id: str, action: str, amount: str, *, dry_run: bool = False, once: str | None = None) -> Any:
    """Ask the API for an action. ``once`` is the key under which it is done one time, however often it is sent."""
    _, method, path = ACTIONS[action]
    if action == "cancel":
        return ask(method, path.format(transaction_id)).json
    body: dict[str, Any] = {"status": action} if action in ("commit", "void") else {}
    body |= {"amount": amount} if amount else {}
    body |= {"dry_run": True} if dry_run else {}
    headers = {"Idempotency-Key": once} if once else {}
    return ask(method, path.format(transaction_id), {} if dry_run else {"wait": "2s"}, body, headers=headers).json


def names_of(ids: list[str]) -> dict[str, str]:
    """Return the ``@Names`` of those balances that have one."""
    wanted = sorted({id for id in ids if id.startswith("bln_")})
    if not wanted or not actor().may(Right.BALANCES_READ):
        return {}
    clause = {"field": "balance_id", "operator": "in", "values": wanted}
    rows = ask("POST", "/balances/filter", body={"filters": [clause], "limit": len(wanted)}).json
    return {row["balance_id"]: row["indicator"] for row in rows if row["indicator"]}


def _show(transaction_id: str, **more: Any) -> str:
    row = ask("GET", f"/transactions/{transaction_id}").json
    if "transaction_count" in row:
        rows = ask("GET", "/transactions", {"parent_transaction_eq": transaction_id, "limit": 100}).json
        return render_template("batch.html", batch=row, rows=rows, names=_names_in(rows))
    clause = {"field": "parent_transaction", "operator": "eq", "value": transaction_id}
    following = ask("POST", "/transactions/filter", body={"filters": [clause], "limit": 50}).json
    tried = more.get("tried") or {}
    concerned = [
        row,
        *following,
        *({"source": side["balance_id"]} for side in (tried.get("would") or {}).get("balances", [])),
    ]
    may = {name for name, (right, *_) in ACTIONS.items() if actor().may(right)}
    possible = {
        "INFLIGHT": {"commit", "void"},
        "APPLIED": {"refund"},
        "SCHEDULED": {"cancel"},
    }.get(row["status"], set())
    return render_template(
        "transaction.html",
        row=row,
        following=following,
        names=_names_in(concerned),
        actions=sorted(may & possible),
        **more,
    )


def _names_in(rows: list[dict[str, Any]]) -> dict[str, str]:
    return names_of([row.get(side, "") for row in rows for side in ("source", "destination")])
