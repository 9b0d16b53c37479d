"""Creates, reads, changes and deletes monitors.

Every change locks the balance first. A drain that decides postings of the balance comes before it or after it, and sees
the monitors that are committed when it has the lock.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from core.base import clock
from core.base.actors import current
from core.base.decoding import Unread
from core.base.errors import Conflict, ErrorCode, InvalidRequest, NotFound
from core.base.ids import new_key
from core.base.metadata import meta_data_text, refuse_expanded, stamped
from core.base.money import InexactAmount, to_minor
from core.base.sizes import MAX_META_DATA, size_problem
from core.journal.actions import Action, Event, text_of
from core.journal.record import record
from core.ledger import balances
from core.ledger.store import currencies as currency_store
from core.ledger.store.balances import BalanceRow
from core.monitors import store, watch_store
from core.monitors.events import Crossing, tell
from core.monitors.requests import ConditionRequest, MonitorRequest, check
from core.monitors.rules import SYNONYMS, Condition, Mode, State, Sums, Terms, start
from core.monitors.store import Firing, FiringRow, MonitorRow
from core.monitors.watch_store import WatchRow

MAX_OF_BALANCE = 100
"""The largest number of monitors of one balance. Each is looked at after every posting of it."""


def create(
    conn: Connection, asked: MonitorRequest, unread: Sequence[Unread] = (), *, check_precision: bool = True
) -> MonitorRow:
    """Create a monitor. If its condition is true already, it fires at once, unless the request says no.

    Raises:
        InvalidRequest: it lists every problem.
        NotFound: there is no such balance.
        Conflict: the balance has as many monitors as it may have.
    """
    condition = check(asked, list(unread), new=True)
    balance = balances.found(conn, asked.balance_id or "")
    values = _values(conn, asked, condition, balance, check_precision=check_precision)
    _refuse_many(conn, balance.key)
    sums = _watch(conn, balance.key)
    now = clock.now(conn)
    values |= {"monitor_id": new_key(), "balance": balance.key, "actor": current().key_id, "created_at": now}
    state, fires = start(_terms(values), sums, now, fire_now=values["fire_now"] and values["active"])
    key = store.add(conn, values | _columns(state, active=values["active"]))
    row = store.find_keys(conn, [key])[key]
    refuse_expanded(row.meta_data)
    if fires:
        _fire(conn, row, sums)
    record(conn, _event(Action.MONITOR_CREATED, row))
    return row


def found(conn: Connection, monitor_id: str) -> MonitorRow:
    """Find a monitor by its ID.

    Raises:
        NotFound: there is none, or its balance is out of reach.
    """
    row = store.find(conn, monitor_id)
    if row is not None:
        try:
            balances.found(conn, row.balance_id)
            return row
        except NotFound:
            pass
    raise NotFound(ErrorCode.BAL_MONITOR_NOT_FOUND, f"Monitor with ID '{monitor_id[:64]}' not found")


def of_balance(conn: Connection, balance_id: str) -> list[MonitorRow]:
    """List the monitors of a balance, the newest first. A balance that does not exist, or is out of reach, has none."""
    try:
        return store.find_of_balance(conn, balances.found(conn, balance_id).key)
    except NotFound:
        return []


def update(
    conn: Connection,
    monitor_id: str,
    asked: MonitorRequest,
    unread: Sequence[Unread] = (),
    *,
    check_precision: bool = True,
) -> MonitorRow:
    """Replace what a monitor watches, and how. What the request leaves out gets its default.

    A monitor that gets another condition or balance, or was at rest, begins anew: it fires at once if its condition is true
    already, unless the request says no.

    Raises:
        InvalidRequest: it lists every problem.
        NotFound: there is no such monitor, or no such balance.
        Conflict: the balance has as many monitors as it may have.
    """
    if asked.monitor_id not in (None, "", monitor_id):
        raise InvalidRequest([("monitor_id", "never changes; leave it out")], ErrorCode.GEN_VALIDATION_ERROR)
    row = found(conn, monitor_id)
    condition = check(asked, list(unread), new=False)
    balance = balances.found(conn, asked.balance_id or row.balance_id)
    row = _locked(conn, monitor_id, balance.key)
    values = _values(conn, asked, condition, balance, check_precision=check_precision)
    moves = balance.key != row.balance
    if moves:
        _refuse_many(conn, balance.key)
    sums = _watch(conn, balance.key)
    terms, active = _terms(values), values["active"]
    if moves or not row.state.active or terms.condition != row.terms.condition or terms.mode != row.terms.mode:
        now = clock.now(conn)
        state, fires = start(terms, sums, now, fire_now=values["fire_now"] and active, before=row.state)
    else:
        state, fires = row.state, False
    store.change(conn, row.key, values | {"balance": balance.key} | _columns(state, active=active))
    if moves:
        _unwatch(conn, row.balance)
    after = store.find_keys(conn, [row.key])[row.key]
    refuse_expanded(after.meta_data)
    if fires:
        _fire(conn, after, sums)
    record(conn, _event(Action.MONITOR_UPDATED, after))
    return after


def delete(conn: Connection, monitor_id: str) -> None:
    """Delete a monitor and its list of firings. Nothing that is decided after it fires the monitor.

    Raises:
        NotFound: there is no such monitor.
    """
    row = _locked(conn, monitor_id)
    store.remove(conn, row.key)
    _unwatch(conn, row.balance)
    record(conn, _event(Action.MONITOR_DELETED, row))


def firings(conn: Connection, monitor_id: str, *, after: str | None, limit: int) -> list[FiringRow]:
    """Read the firings of a monitor, the latest first. ``after`` is the event that ended the page before.

    Raises:
        NotFound: there is no such monitor.
    """
    row = found(conn, monitor_id)
    below: int | None = 2**63 - 1
    if after is not None:
        event = store.event_of(after)
        below = None if event is None else store.key_of_firing(conn, row.key, event)
    return [] if below is None else store.find_firings(conn, row.key, below=below, limit=limit)


def add_metadata(conn: Connection, monitor_id: str, meta_data: str) -> str:
    """Merge an object's JSON text into the metadata of a monitor. Returns all of it.

    Raises:
        NotFound: there is no such monitor.
        InvalidRequest: the merged metadata is too large.
    """
    try:
        row = _locked(conn, monitor_id)
    except NotFound:
        text = f"entity with ID '{monitor_id[:64]}' not found"
        raise NotFound(ErrorCode.META_ENTITY_NOT_FOUND, text) from None
    merged = store.merge_metadata(conn, row.key, meta_data)
    if problem := size_problem(len(merged.encode()), MAX_META_DATA, "bytes with what is there already"):
        raise InvalidRequest([("meta_data", problem)], ErrorCode.GEN_VALIDATION_ERROR)
    record(
        conn,
        Event(action=Action.METADATA_CHANGED, subject=row.monitor_id, before=row.meta_data, after=merged),
    )
    return merged


def _locked(conn: Connection, monitor_id: str, *others: int) -> MonitorRow:
    """Find a monitor, and lock its balance and others until the transaction ends.

    Raises:
        NotFound: there is no such monitor.
        Conflict: somebody moved it to another balance meanwhile.
    """
    row = found(conn, monitor_id)
    watch_store.lock_balances(conn, {row.balance, *others})
    again = found(conn, monitor_id)  # It is read under the lock now.
    if again.balance != row.balance:
        raise Conflict(ErrorCode.GEN_CONFLICT, "the monitor was moved to another balance at this moment; try again")
    return again


def _watch(conn: Connection, balance: int) -> Sums:
    """Lock a balance, let drains tell of it, and return its sums up to where it was followed.

    What is decided before an earlier posting of the balance is not in the sums yet.
    """
    sums, watched = watch_store.lock_balances(conn, [balance])[balance]
    if watched:
        return watch_store.find_watches(conn, [balance])[balance].sums
    watch_store.set_watched(conn, balance, True)
    head = watch_store.head(conn)
    end = watch_store.first_undecided(conn, {balance: head + 1}).get(balance, head + 1)
    beyond = watch_store.decided(conn, {balance: (end - 1, head + 1)}).get(balance, [])
    for move in beyond:
        sums = sums.minus(move.change)
    ahead = max([end - 1, *(move.seq for move in beyond)])
    watch_store.write_watches(conn, [WatchRow(balance, end - 1, ahead, sums)])
    return sums


def _unwatch(conn: Connection, balance: int) -> None:
    """Let drains not tell of a balance that is locked, if its last monitor has gone."""
    if not store.count(conn, balance):
        watch_store.set_watched(conn, balance, False)
        watch_store.remove_watch(conn, balance)


def _refuse_many(conn: Connection, balance: int) -> None:
    """Refuse another monitor of a balance that has many. Two at once may be one too many, which does no harm."""
    if store.count(conn, balance) >= MAX_OF_BALANCE:
        raise Conflict(ErrorCode.GEN_CONFLICT, f"the balance has {MAX_OF_BALANCE} monitors, and takes no more")


def _fire(conn: Connection, row: MonitorRow, sums: Sums) -> None:
    """Write the firing of a monitor whose condition is true already."""
    assert row.state.fired_at is not None
    value = row.terms.condition.value_of(sums)
    firing = Firing(row.key, new_key(), None, None, value, sums.version, row.state.fired_at)
    store.write_firings(conn, [firing])
    tell(conn, [Crossing(row, row.state, firing, sums, None, 0)])


def _values(
    conn: Connection, asked: MonitorRequest, condition: ConditionRequest, balance: BalanceRow, *, check_precision: bool
) -> dict[str, Any]:
    """Make the columns of a request that has been checked.

    Raises:
        InvalidRequest: an amount is no whole number of minor units, or the currency has another precision.
    """
    precision = _precision(conn, condition, balance.currency, check_precision=check_precision)
    threshold = _threshold(condition, precision)
    assert condition.field is not None and condition.operator is not None
    return {
        "field": condition.field,
        "operator": SYNONYMS.get(condition.operator, condition.operator),
        "threshold": threshold,
        "hysteresis": _minor("hysteresis", asked.hysteresis or 0, precision),
        "precision": precision,
        "mode": asked.mode or str(Mode.EDGE),
        "once": bool(asked.once),
        "min_interval_s": float(asked.min_interval or 0),
        "fire_now": asked.fire_now is not False,
        "active": asked.active is not False,
        "description": asked.description or "",
        "call_back_url": asked.call_back_url or "",
        "meta_data": stamped(meta_data_text(bytes(asked.meta_data)), current().key_id),
    }


def _precision(conn: Connection, condition: ConditionRequest, currency: str, *, check_precision: bool) -> int:
    """Return the precision of a condition. The default is that of the currency, or 1 while it has none.

    Raises:
        InvalidRequest: it is another one than the currency's (TXN_PRECISION_MISMATCH).
    """
    asked = None if condition.precision is None else int(condition.precision)
    fixed = currency_store.precision_of(conn, currency)
    if fixed is not None and check_precision and asked not in (None, fixed):
        text = f"is {asked}, but {currency} has precision {fixed}"
        raise InvalidRequest([("condition.precision", text)], ErrorCode.TXN_PRECISION_MISMATCH, {"precision": fixed})
    return asked or fixed or 1


def _threshold(condition: ConditionRequest, precision: int) -> int:
    """Return the threshold in minor units.

    Raises:
        InvalidRequest: it is no whole number of them, or two are given and differ.
    """
    precise = None if condition.precise_value is None else int(condition.precise_value)
    if condition.value is None:
        assert precise is not None
        return precise
    threshold = _minor("condition.value", condition.value, precision)
    if precise not in (None, threshold):
        text = f"is {precise}, but value times precision is {threshold}; leave one of them out"
        raise InvalidRequest([("condition.precise_value", text)], ErrorCode.GEN_VALIDATION_ERROR)
    return threshold


def _minor(field: str, amount: Decimal | int, precision: int) -> int:
    """Convert major units to minor units, exactly.

    Raises:
        InvalidRequest: it is no whole number of them.
    """
    try:
        return to_minor(Decimal(amount), precision)
    except InexactAmount as error:
        raise InvalidRequest([(field, str(error))], ErrorCode.GEN_VALIDATION_ERROR) from None


def _terms(values: Mapping[str, Any]) -> Terms:
    """Return the terms that columns stand for."""
    condition = Condition(values["field"], values["operator"], values["threshold"], values["hysteresis"])
    return Terms(condition, values["mode"], values["once"], values["min_interval_s"])


def _columns(state: State, *, active: bool) -> dict[str, Any]:
    """Return the columns of a state. A monitor that is at rest does not watch, whatever its state."""
    return {
        "triggered": state.triggered,
        "version": state.version,
        "since": state.since,
        "active": state.active and active,
        "fired": state.fired,
        "fired_at": state.fired_at,
    }


def _event(action: Action, row: MonitorRow) -> Event:
    """Make the audit event of a change."""
    condition = row.terms.condition
    after = text_of(
        balance_id=row.balance_id,
        field=condition.field,
        operator=condition.operator,
        precise_value=condition.threshold,
        active=row.state.active,
    )
    return Event(action=action, subject=row.monitor_id, after=after)
