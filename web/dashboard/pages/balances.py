"""Balances: search, filter and sort them, and all about one."""

from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, render_template, request

from core.base.actors import Right
from web.dashboard import charts
from web.dashboard.asking import Refused, ask
from web.dashboard.formats import money
from web.dashboard.lists import list_page
from web.dashboard.now import now
from web.dashboard.who import actor

blueprint = Blueprint("balances", __name__)

SORTS = ("created_at", "balance", "credit_balance", "debit_balance", "indicator")
PERIODS = {"day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30), "all": None}
_SHOWN = 200


@blueprint.get("/dashboard/balances")
def page() -> Any:
    """List balances."""
    filters: list[dict[str, Any]] = []
    if wanted := request.args.get("q", "").strip():
        field = "balance_id" if wanted.startswith("bln_") else "indicator"
        operator, value = ("eq", wanted) if field == "balance_id" else ("ilike", f"%{wanted}%")
        filters.append({"field": field, "operator": operator, "value": value})
    if currency := request.args.get("currency", "").strip():
        filters.append({"field": "currency", "operator": "eq", "value": currency})
    if request.args.get("below") == "on":
        filters.append({"field": "balance", "operator": "lt", "value": 0})
    found = list_page("/balances/filter", filters, SORTS)
    return render_template("balances.html", found=found, sorts=SORTS)


@blueprint.get("/dashboard/balances/<balance_id>")
def one(balance_id: str) -> Any:
    """Show one balance: its sums, how it moved, its statement, and what will draw on it."""
    query = {"include": "identity,ledger", "with_queued": "true"}
    balance = ask("GET", f"/balances/{balance_id}", query).json
    period = request.args.get("period", "week")
    since = None
    if (length := PERIODS.get(period, PERIODS["week"])) is not None:
        since = (now() - length).isoformat()
    statement, problem = None, None
    try:
        asked = {"from": since, "limit": _SHOWN, "after": request.args.get("after")}
        answer = ask("GET", f"/balances/{balance_id}/statement", asked)
        statement = answer.json
    except Refused as error:
        problem = error.message
    return render_template(
        "balance.html",
        balance=balance,
        statement=statement,
        problem=problem,
        period=period,
        periods=PERIODS,
        chart=_chart(statement),
        jobs=_jobs_of(balance),
    )


@blueprint.get("/dashboard/balances/<balance_id>/statement.csv")
def statement_csv(balance_id: str) -> Any:
    """Download the statement as CSV."""
    answer = ask("GET", f"/balances/{balance_id}/statement", {"limit": 10_000}, headers={"Accept": "text/csv"})
    response = answer.response()
    response.headers["Content-Disposition"] = f'attachment; filename="{balance_id}.csv"'
    return response


def _chart(statement: Any) -> Any:
    if not statement or not statement["entries"]:
        return None
    points = [(datetime.fromisoformat(e["at"]), e["precise_balance_after"]) for e in statement["entries"]]
    points.insert(0, (points[0][0], statement["opening_balance"] if not request.args.get("after") else points[0][1]))
    low, high = min(value for _, value in points), max(value for _, value in points)
    texts = money(low, statement["precision"]), money(high, statement["precision"])
    title = f"The balance from {texts[0]} to {texts[1]} {statement['currency']}, over {len(points) - 1} entries"
    return charts.steps(points, title, texts)


def _jobs_of(balance: Any) -> Any:
    if not balance["indicator"] or not actor().may(Right.FUNDING_READ):
        return []
    try:
        return ask("GET", "/funding-jobs", {"source": balance["indicator"]}).json
    except Refused:
        return []
