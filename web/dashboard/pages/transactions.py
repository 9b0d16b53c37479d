"""Transactions: find them, and all about one, with what can still be done about it."""

import re
from typing import Any
from uuid import uuid4

from flask import Blueprint, redirect, render_template, request, url_for

from core.base.actors import Right
from web.dashboard import query, timeline
from web.dashboard.asking import Refused, ask, lacks
from web.dashboard.lists import Listed, columns, list_page, meta_filter
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


POSSIBLE = {"INFLIGHT": ("commit", "void"), "APPLIED": ("refund",), "SCHEDULED": ("cancel",)}
"""The actions that a transaction of a status may still take."""

_OF_JOB = re.compile("(fund_[0-9a-f-]{36})_")
"""The reference of a row of a run begins with the job."""


@blueprint.get("/dashboard/transactions")
def page() -> Any:
    """List transactions."""
    filters: list[dict[str, Any]] = []
    if status := query.choice("status", STATUSES):
        filters.append({"field": "status", "operator": "eq", "value": status})
    if balance := query.text("balance"):
        field = "indicator" if balance.startswith("@") else "balance_id"
        filters.append({"field": field, "operator": "eq", "value": balance})
    for name, operator in (("least", "gte"), ("most", "lte")):
        if amount := query.amount(name):
            filters.append({"field": "amount", "operator": operator, "value": amount})
    filters += meta_filter()
    found = _search(query.text("q"), filters)
    names = names_of([row[side] for row in found.rows for side in ("source", "destination")])
    return render_template("transactions.html", found=found, names=names, statuses=STATUSES, columns=columns(SORTS))


def _search(wanted: str, filters: list[dict[str, Any]]) -> Listed:
    """List what one field finds: an ID, a whole reference, else an amount."""
    if not wanted:
        return list_page("/transactions/filter", filters, SORTS)
    for field, operator in _ways_to_find(wanted):
        clause = {"field": field, "operator": operator, "value": wanted}
        found = list_page("/transactions/filter", [clause, *filters], SORTS)
        if found.rows:
            break
    return found


def _ways_to_find(wanted: str) -> list[tuple[str, str]]:
    if wanted.startswith("txn_"):
        return [("transaction_id", "eq"), ("reference", "eq")]
    if wanted.startswith(("bulk_", "run_")):
        return [("parent_transaction", "eq"), ("reference", "eq")]
    is_amount = re.fullmatch(r"[0-9]{1,30}(\.[0-9]{1,18})?", wanted) is not None
    return [("reference", "eq"), *([("amount", "eq")] if is_amount else [])]


@blueprint.get("/dashboard/transactions/<transaction_id>")
def one(transaction_id: str) -> Any:
    """Show one transaction, and the buttons of what the key may do about it. ``?try=refund`` shows what that would do."""
    action, amount = query.choice("try", ACTIONS), query.text("amount")
    if not action:
        return _show(transaction_id)
    tried: dict[str, Any] = {"action": action, "amount": amount, "once": str(uuid4()), "would": None}
    if action != "cancel":
        try:
            tried["would"] = _send(transaction_id, action, amount, dry_run=True)
        except Refused as error:
            return _show(transaction_id, problem=error.message), error.status
    return _show(transaction_id, tried=tried)


@blueprint.post("/dashboard/transactions/<transaction_id>/<action>")
def act(transaction_id: str, action: str) -> Any:
    """Do what was tried."""
    if action not in ACTIONS:
        return _show(transaction_id, problem="There is no such action."), 404
    if not actor().may(right := ACTIONS[action][0]):
        return _show(transaction_id, problem=lacks(right)), 403  # The API would name the first right of its route.
    form = request.form
    try:
        _send(transaction_id, action, form.get("amount", "").strip(), once=form.get("once"))
    except Refused as error:
        return _show(transaction_id, problem=error.message), error.status
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
    try:
        rows = ask("POST", "/balances/filter", body={"filters": [clause], "limit": len(wanted)}).json
    except Refused:
        return {}
    return {row["balance_id"]: row["indicator"] for row in rows if row["indicator"]}


def _show(transaction_id: str, **more: Any) -> str:
    row = ask("GET", f"/transactions/{transaction_id}").json
    if "transaction_count" in row:
        rows = ask("GET", "/transactions", {"parent_transaction_eq": transaction_id, "limit": 100}).json
        return render_template("batch.html", batch=row, rows=rows, names=_names_in(rows))
    clause = {"field": "parent_transaction", "operator": "eq", "value": transaction_id}
    legs = {leg["transaction_id"] for leg in row.get("legs") or []}
    children = ask("POST", "/transactions/filter", body={"filters": [clause], "limit": 100}).json
    following = [child for child in children if child["transaction_id"] not in legs]
    tried = more.get("tried") or {}
    concerned = [
        row,
        *following,
        *(row.get("legs") or []),
        *({"source": side["balance_id"]} for side in (tried.get("would") or {}).get("balances", [])),
    ]
    may = {name for name, (right, *_) in ACTIONS.items() if actor().may(right)}
    return render_template(
        "transaction.html",
        row=row,
        following=following,
        moments=timeline.moments(row, following),
        kinds={child["transaction_id"]: timeline.kind_of(child, row) for child in following},
        refunded=sum(child["precise_amount"] for child in following if _is_refund(child, row)),
        parent=_parent_of(row),
        names=_names_in(concerned),
        actions=[name for name in POSSIBLE.get(row["status"], ()) if name in may],
        **more,
    )


def _is_refund(child: Any, row: Any) -> bool:
    return timeline.kind_of(child, row) == "refund" and child["status"] == "APPLIED"


def _parent_of(row: Any) -> dict[str, str] | None:
    """Name what a transaction belongs to: a run, a batch, or the transaction that it is a leg of or follows."""
    parent = row["parent_transaction"]
    if not parent:
        return None
    if parent.startswith("run_") and (job := _OF_JOB.match(row["reference"])) and actor().may(Right.FUNDING_READ):
        return {"what": "Run", "path": f"/dashboard/funding/{job[1]}/runs/{parent}", "id": parent}
    what = "Run" if parent.startswith("run_") else "Batch" if parent.startswith("bulk_") else "Belongs to"
    return {"what": what, "path": f"/dashboard/transactions/{parent}", "id": parent}


def _names_in(rows: list[dict[str, Any]]) -> dict[str, str]:
    return names_of([row.get(side, "") for row in rows for side in ("source", "destination")])
