"""``/balance-monitors``: conditions on balances, and what is told when a posting makes one true."""

from flask import Blueprint, Response, request
from msgspec import UNSET, UnsetType

from core.base.answers import Done
from core.base.db import begin, reading
from core.base.errors import ErrorCode, InvalidRequest
from core.monitors import monitors
from core.monitors.answers import (
    Firing,
    FiringDelivery,
    Monitor,
    MonitorPage,
    UpdatedMonitor,
    firing_of,
    monitor_of,
    updated_of,
)
from core.monitors.monitor_list import MONITORS, find_monitors
from core.monitors.requests import MonitorRequest
from core.monitors.store import EVENT_PREFIX, FiringRow, MonitorRow, event_of
from core.webhooks import callbacks
from web.http import pages as lists
from web.http import parameters, retries, wire
from web.http.operations import operation
from web.service import service

blueprint = Blueprint("monitors", __name__)

_EXAMPLE = "mon_01928ee1-7e5a-7000-8000-000000000000"
_EVENT = f"{EVENT_PREFIX}01928ee1-7e5a-7000-8000-000000000000"


@blueprint.post("/balance-monitors")
@retries.once
@operation({201: Monitor}, 404, 409, body=MonitorRequest)
def create() -> Response:
    """Create a monitor.

    It fires when a posting makes its condition true, and again when the condition has ended and a posting makes it true once
    more. If the condition is true already, it fires at once. Every posting of the balance is looked at, in the order of
    acceptance, also those within a batch.
    """
    asked, unread = wire.read(MonitorRequest)
    ledger = service()
    callbacks.check(asked.call_back_url, ledger.webhooks.operator)
    with begin(ledger.engine) as conn:
        callbacks.keep(conn, asked.call_back_url)
        row = monitors.create(conn, asked, unread, check_precision=ledger.directory.check_precision)
        return retries.keep_in(conn, wire.answer(monitor_of(row), 201))


@blueprint.get("/balance-monitors")
@operation({200: list[Monitor] | MonitorPage})
@parameters.takes(*parameters.page_of(MONITORS, example=_EXAMPLE), resource=MONITORS)
def read_page() -> Response:
    """List monitors.

    The newest monitor comes first. Each ``field_operator=value`` is a filter, such as ``mode_eq=level``.
    """
    return lists.answer(
        lists.in_query(parameters.of_view(read_page), default=20, what="invalid"),
        find_monitors,
        monitor_of,
        _id_of,
        MonitorPage,
    )


@blueprint.get("/balance-monitors/balances/<balance_id>")
@operation({200: list[Monitor]})
def read_of_balance(balance_id: str) -> Response:
    """List the monitors of a balance.

    The newest comes first. A balance that there is not has none.
    """
    with reading(service().engine) as conn:
        rows = monitors.of_balance(conn, balance_id)
    return wire.answer([monitor_of(row) for row in rows])


@blueprint.get("/balance-monitors/<monitor_id>")
@operation({200: Monitor}, 404)
def read(monitor_id: str) -> Response:
    """Read a monitor.

    Its state says whether its condition is true, since which version of the balance, and how often it has fired.
    """
    with reading(service().engine) as conn:
        row = monitors.found(conn, monitor_id)
    return wire.answer(monitor_of(row))


@blueprint.put("/balance-monitors/<monitor_id>")
@operation({200: UpdatedMonitor}, 404, 409, body=MonitorRequest)
def update(monitor_id: str) -> Response:
    """Update a monitor.

    The request replaces all of it. What it leaves out gets its default, but for the balance. With another condition or balance
    the monitor begins anew, and fires at once if the condition is true already.
    """
    asked, unread = wire.read(MonitorRequest)
    ledger = service()
    callbacks.check(asked.call_back_url, ledger.webhooks.operator)
    with begin(ledger.engine) as conn:
        callbacks.keep(conn, asked.call_back_url)
        row = monitors.update(conn, monitor_id, asked, unread, check_precision=ledger.directory.check_precision)
    return wire.answer(updated_of(row))


@blueprint.delete("/balance-monitors/<monitor_id>")
@operation({200: Done}, 404, 409)
def delete(monitor_id: str) -> Response:
    """Delete a monitor.

    What is decided after the answer does not fire it. Its firings stay in the feed of events.
    """
    with begin(service().engine) as conn:
        monitors.delete(conn, monitor_id)
    return wire.answer(Done("BalanceMonitor deleted successfully"))


@blueprint.get("/balance-monitors/<monitor_id>/events")
@operation({200: list[Firing]}, 404)
@parameters.takes(parameters.LIMIT, parameters.after(_EVENT))
def read_events(monitor_id: str) -> Response:
    """List the firings of a monitor.

    The latest firing comes first.
    """
    limit, _ = parameters.limit_offset(default=20, largest=100, what="invalid")
    after = request.args.get("after")
    if after is not None and event_of(after) is None:
        raise InvalidRequest([("after", "must be the event_id of a firing")], ErrorCode.GEN_VALIDATION_ERROR)
    with reading(service().engine) as conn:
        rows = monitors.firings(conn, monitor_id, after=after, limit=limit)
        url = monitors.found(conn, monitor_id).call_back_url
        sent = callbacks.deliveries(conn, url, [_event_of(row) for row in rows]) if url else {}
    return lists.listed(rows, limit, lambda row: firing_of(row, _delivery(sent.get(_event_of(row)))), _event_of)


def _event_of(row: FiringRow) -> str:
    return f"{EVENT_PREFIX}{row.event}"


def _delivery(found: callbacks.Delivery | None) -> FiringDelivery | UnsetType:
    return UNSET if found is None else FiringDelivery(**found._asdict())


def _id_of(row: MonitorRow) -> str:
    return row.monitor_id
