"""Balances: search, filter and sort them, and all about one."""

from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from flask import Blueprint, g, redirect, render_template, request, url_for
from msgspec import Struct
from msgspec.structs import replace

from core.base.actors import Right
from core.base.money import InexactAmount, to_minor
from web.dashboard import query, steps
from web.dashboard.asking import Refused, ask
from web.dashboard.formats import money
from web.dashboard.lists import after_of, columns, list_page, meta_filter
from web.dashboard.now import now
from web.dashboard.pages.monitors import FIELDS, OPERATORS
from web.dashboard.precisions import precision_of, precisions
from web.dashboard.who import actor

blueprint = Blueprint("balances", __name__)

SORTS = ("created_at", "indicator", "balance", "credit_balance", "debit_balance", "inflight_debit_balance")
PERIODS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
    "year": timedelta(days=365),
    "all": None,
}
_SHOWN = 200
_SAMPLES = 48
"""The chart of a balance that has more entries than a page is drawn from its value at so many times."""
_CSV_PAGE, _CSV_PAGES = 5_000, 40
_GENERAL = "general_ledger_id"
_FIELDS_OF_IDS = {"bln_": "balance_id", "ldg_": "ledger_id", "idt_": "identity_id"}


class Period(Struct, frozen=True):
    """The time that is shown. ``name`` is one of ``PERIODS``, or empty for a time of the reader's own."""

    name: str
    start: datetime
    end: datetime
    asked: dict[str, str | None]
    """The parameters of a statement of this time."""


@blueprint.get("/dashboard/balances")
def page() -> Any:
    """List balances."""
    filters: list[dict[str, Any]] = []
    if wanted := query.text("q"):
        field = _FIELDS_OF_IDS.get(wanted[:4]) or ("ledger_id" if wanted == _GENERAL else "indicator")
        operator, value = ("eq", wanted) if field != "indicator" else ("ilike", f"%{wanted}%")
        filters.append({"field": field, "operator": operator, "value": value})
    if currency := query.text("currency"):
        filters.append({"field": "currency", "operator": "eq", "value": currency})
    if query.choice("below", ("on",)):
        filters.append({"field": "balance", "operator": "lt", "value": 0})
    if query.choice("held", ("on",)):
        filters.append({"field": "inflight_debit_balance", "operator": "gt", "value": 0})
    filters += meta_filter()
    found = list_page("/balances/filter", filters, SORTS)
    return render_template(
        "balances.html",
        found=found,
        columns=columns(SORTS),
        currencies=sorted({*precisions(), *([currency] if currency else [])}),
        ledgers=_ledgers_of(found.rows),
    )


@blueprint.get("/dashboard/balances/<balance_id>")
def one(balance_id: str) -> Any:
    """Show one balance: its sums, how it moved, its statement, and what will draw on it."""
    return _show(balance_id)


@blueprint.get("/dashboard/balances/<balance_id>/chart")
def chart(balance_id: str) -> Any:
    """Draw the chart of a balance with many entries, from its value at times that are evenly apart."""
    balance = _read(balance_id)
    period = _period(balance)
    every = (period.end - period.start) / _SAMPLES
    times = [period.start + every * number for number in range(_SAMPLES + 1)]
    path = f"/balances/{balance_id}/at"
    points = [(at, ask("GET", path, {"timestamp": at.isoformat()}).json["balance"]["balance"]) for at in times]
    return _chart(points, period, balance["currency"], f"at {_SAMPLES + 1} times")


@blueprint.get("/dashboard/balances/<balance_id>/statement.csv")
def statement_csv(balance_id: str) -> Any:
    """Download the statement of the time that is shown as CSV."""
    period = _period(_read(balance_id))
    if query.faults():
        g.here = url_for("balances.one", balance_id=balance_id)
        return _show(balance_id), 400  # A file of another time than was asked for would look like the right one.
    parts: list[bytes] = []
    after: str | None = ""
    while after is not None:
        if len(parts) == _CSV_PAGES:
            text = f"It has more than {_CSV_PAGES * _CSV_PAGE:,} entries. Choose a shorter time."
            return _show(balance_id, problem=text), 400
        answer = ask(
            "GET",
            f"/balances/{balance_id}/statement",
            {**period.asked, "limit": _CSV_PAGE, "after": after},
            headers={"Accept": "text/csv"},
        )
        parts.append(answer.body.partition(b"\n")[2] if parts else answer.body)
        after = after_of(answer.headers.get("link", ""))
    response = answer.response()
    response.data = b"".join(parts)
    response.headers["Content-Disposition"] = f'attachment; filename="{balance_id}.csv"'
    return response


@blueprint.post("/dashboard/balances/<balance_id>/limits")
def limit(balance_id: str) -> Any:
    """Set the floor of a balance, and freeze it or let it go."""
    form = request.form
    body: dict[str, Any] = {"frozen": form.get("frozen") or None, "reason": form.get("reason", "").strip() or None}
    try:
        if floor := form.get("floor", "").strip():
            body["floor"] = _minor(floor, _read(balance_id)["currency"])
        ask("PUT", f"/balances/{balance_id}/limits", body=body)
    except (InexactAmount, InvalidOperation):
        query.wrong("floor", "must be an amount of the currency, such as 12.50")
        return _show(balance_id), 400
    except Refused as error:
        return _show(balance_id, problem=error.message), error.status
    return redirect(url_for("balances.one", balance_id=balance_id), 303)


def _show(balance_id: str, *, problem: str | None = None) -> str:
    balance = _read(balance_id)
    period = _period(balance)
    statement, following = None, None
    try:
        asked = {**period.asked, "limit": _SHOWN, "after": request.args.get("after")}
        answer = ask("GET", f"/balances/{balance_id}/statement", asked)
        statement, following = answer.json, after_of(answer.headers.get("link", ""))
    except Refused as error:
        problem = problem or error.message
    may = actor().may
    return render_template(
        "balance.html",
        balance=balance,
        statement=statement,
        following=following,
        problem=problem,
        period=period,
        periods=PERIODS,
        chart=_chart_of_entries(statement, period) if statement and statement["entry_count"] <= _SHOWN else None,
        jobs=_jobs_of(balance),
        monitors=_monitors_of(balance_id),
        fields=FIELDS,
        operators=OPERATORS,
        may_watch=may(Right.BALANCE_MONITORS_WRITE),
        may_limit=may(Right.BALANCES_WRITE),
    )


def _read(balance_id: str) -> Any:
    may = actor().may
    rights = {"ledger": Right.LEDGERS_READ, "identity": Right.IDENTITIES_READ}
    include = [name for name, right in rights.items() if may(right)]
    return ask("GET", f"/balances/{balance_id}", {"with_queued": "true", "include": include}).json


def _period(balance: Any) -> Period:
    """Find the time that the query asks for. The default is a month, or all of it where the balance is younger."""
    end, made = now(), datetime.fromisoformat(balance["created_at"])
    first, last = query.day("from"), query.day("to")
    if first and first > end:
        query.wrong("from", "is in the future, and was left out")
        first = None
    if first and last and last < first:
        query.wrong("to", "is before From, and was left out")
        last = None
    if first or last:
        end = min(end, last + timedelta(days=1)) if last else end
        start = min(first or made, end - timedelta(seconds=1))
        return Period("", start, end, {"from": start.isoformat(), "to": end.isoformat()})
    name = query.choice("period", PERIODS) or ("all" if end - made < timedelta(days=30) else "month")
    length = PERIODS[name]
    if length is None:
        # What was decided before the balance was read is older than the clock of this host says, and may not be.
        return Period(name, min(made, end - timedelta(seconds=1)), end, {})
    return Period(name, end - length, end, {"from": (end - length).isoformat()})


def _chart_of_entries(statement: Any, period: Period) -> Any:
    entries = statement["entries"]
    if not entries and not statement["opening_balance"]:
        return None
    points = [(datetime.fromisoformat(each["at"]), each["precise_balance_after"]) for each in entries]
    if period.name == "all" and points:
        # From the first to the last entry, and a little on: what has happened, not how long ago it was.
        tail = max((points[-1][0] - points[0][0]) / 20, timedelta(milliseconds=100))
        period = replace(period, start=points[0][0] - tail, end=points[-1][0] + tail)
    points.insert(0, (period.start, statement["opening_balance"]))
    return _chart(points, period, statement["currency"], f"over {len(entries)} entries")


def _chart(points: list[steps.Point], period: Period, currency: str, how: str) -> Any:
    def write(minor: int) -> str:
        return money(minor, currency=currency)

    low, high = min(value for _, value in points), max(value for _, value in points)
    title = f"The balance between {write(low)} and {write(high)} {currency}, {how}; at the end {write(points[-1][1])}"
    end = max(period.end, points[-1][0])
    return steps.draw(points, steps.Frame(period.start, end, write), title)


def _minor(text: str, currency: str) -> int:
    return to_minor(Decimal(text), precision_of(currency) or 1)


def _ledgers_of(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return the names of the ledgers of balances that have no name themselves."""
    wanted = sorted({row["ledger_id"] for row in rows if not row["indicator"]})
    if not wanted or not actor().may(Right.LEDGERS_READ):
        return {}
    clause = {"field": "ledger_id", "operator": "in", "values": wanted}
    try:
        found = ask("POST", "/ledgers/filter", body={"filters": [clause], "limit": len(wanted)}).json
    except Refused:
        return {}
    return {row["ledger_id"]: row["name"] for row in found}


def _monitors_of(balance_id: str) -> Any:
    if not actor().may(Right.BALANCE_MONITORS_READ):
        return None
    try:
        return ask("GET", f"/balance-monitors/balances/{balance_id}").json
    except Refused:
        return None


def _jobs_of(balance: Any) -> Any:
    if not actor().may(Right.FUNDING_READ):
        return []
    try:
        return ask("GET", "/funding-jobs", {"source": balance["balance_id"], "limit": 5}).json
    except Refused:
        return []
