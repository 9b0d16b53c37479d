"""Sets and shows the limits of a balance: a floor that no request lifts, and a freeze with its reason.

The engine decides by them in the order of acceptance. They count for everything that is accepted after they were set, and for
nothing before, however long that waits in its queue.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from sqlalchemy import Connection

from core.base.actors import current
from core.base.errors import ErrorCode, InvalidRequest
from core.base.money import MAX_DIGITS
from core.base.sizes import MAX_NAME
from core.journal.actions import Action, Event, text_of
from core.journal.event_types import EventType
from core.journal.facts import Fact
from core.journal.record import record
from core.ledger import balances
from core.ledger.balances import Limits
from core.ledger.rules.model import Freeze, Limit
from core.ledger.store import limits as limit_store
from core.ledger.store import log as log_store
from core.ledger.store.limits import LimitRow

CHANGES_SHOWN = 100
_FREEZES = {"debits": Freeze.DEBITS, "all": Freeze.ALL}
_NAMES: "dict[int, Literal['debits', 'all'] | None]" = {Freeze.NONE: None, Freeze.DEBITS: "debits", Freeze.ALL: "all"}


class LimitsRequest(Struct, forbid_unknown_fields=True):
    """The body of ``PUT /balances/<id>/limits``. What is left out, the balance has not any more."""

    floor: (
        Annotated[int, Meta(description="The least that the available balance may become, in minor units.")] | None
    ) = None
    frozen: Annotated[str, Meta(description="debits stops what leaves the balance, all also what comes in.")] | None = (
        None
    )
    reason: Annotated[str, Meta(description="Why. A freeze needs a reason.")] | None = None


class BalanceLimits(Struct, frozen=True, kw_only=True):
    """The limits of a balance, and how they were before."""

    balance_id: str
    limits: Limits | UnsetType = UNSET
    """The limits that count now. They are left out when there are none."""
    changes: list[Limits]
    """Everything that was set, the latest first."""


def put(conn: Connection, balance_id: str, asked: LimitsRequest) -> BalanceLimits:
    """Set the limits of a balance. The lock of the log is held until the commit, so that they have their place in its order.

    Raises:
        InvalidRequest: it lists every problem.
        NotFound: there is no such balance.
    """
    reason = (asked.reason or "").strip() or None
    problems = []
    if asked.floor is not None and abs(asked.floor) >= 10**MAX_DIGITS:
        problems.append(("floor", f"has more than {MAX_DIGITS} digits"))
    if asked.frozen not in (None, "debits", "all"):
        problems.append(("frozen", "must be debits, all, or null"))
    if asked.frozen is not None and reason is None:
        problems.append(("reason", "a freeze needs a reason"))
    if reason is not None and len(reason) > MAX_NAME:
        problems.append(("reason", f"is longer than {MAX_NAME} characters"))
    if problems:
        raise InvalidRequest(problems, ErrorCode.GEN_VALIDATION_ERROR)
    row = balances.found(conn, balance_id)
    head, _ = log_store.lock_head(conn, [])
    before = limit_store.changes(conn, row.key, CHANGES_SHOWN)
    limit = Limit(head.seq, asked.floor, _FREEZES[asked.frozen] if asked.frozen else Freeze.NONE)
    now = limit_store.add(conn, row, limit, reason=reason, actor=current().key_id)
    fact = balances.fact_of(EventType.BALANCE_UPDATED, balances.balance_of(row, limits=_now([now])))
    record(conn, _event(row.balance_id, before[0] if before else None, now, fact))
    return _answer(row.balance_id, [now, *before])


def read(conn: Connection, balance_id: str) -> BalanceLimits:
    """Read the limits of a balance, and how they were before.

    Raises:
        NotFound: there is no such balance.
    """
    row = balances.found(conn, balance_id)
    return _answer(row.balance_id, limit_store.changes(conn, row.key, CHANGES_SHOWN))


def of_balance(conn: Connection, key: int) -> Limits | UnsetType:
    """Read the limits that a balance has now."""
    return _now(limit_store.changes(conn, key, 1))


def of_row(row: LimitRow | None) -> Limits | UnsetType:
    """Make the answer of the limits that were set last, if any were."""
    return _now([] if row is None else [row])


def _answer(balance_id: str, rows: list[LimitRow]) -> BalanceLimits:
    return BalanceLimits(
        balance_id=balance_id, limits=_now(rows), changes=[_limits(row) for row in rows[:CHANGES_SHOWN]]
    )


def _now(rows: list[LimitRow]) -> Limits | UnsetType:
    if not rows or (rows[0].floor is None and rows[0].frozen == Freeze.NONE):
        return UNSET
    return _limits(rows[0])


def _limits(row: LimitRow) -> Limits:
    return Limits(
        floor=row.floor,
        frozen=_NAMES[row.frozen],
        reason=row.reason or "",
        set_by=row.actor,
        set_at=row.set_at,
        after_sequence=row.after_seq,
    )


def _event(balance_id: str, before: LimitRow | None, after: LimitRow, fact: Fact) -> Event:
    if after.frozen:
        action = Action.BALANCE_FROZEN
    else:
        action = Action.BALANCE_LIMITED if after.floor is not None else Action.BALANCE_RELEASED
    old = _text(before) if before is not None else None
    return Event(action=action, subject=balance_id, before=old, after=_text(after), fact=fact)


def _text(row: LimitRow) -> str:
    return text_of(floor=row.floor, frozen=_NAMES[row.frozen], reason=row.reason, after_sequence=row.after_seq)
