"""Makes what several use cases make besides their own work, and the audit events of it: internal balances, and precisions.

The caller hands the events to ``record`` when it has done everything else.
"""

from collections.abc import Iterable

from sqlalchemy import Connection

from core.base.actors import current
from core.base.errors import TooMany
from core.base.ids import new_key
from core.journal import audit_store
from core.journal.actions import Action, Event, text_of
from core.ledger.balances import created
from core.ledger.store import balances as balance_store
from core.ledger.store import currencies as currency_store


def create_indicators(conn: Connection, names: Iterable[tuple[str, str]]) -> list[Event]:
    """Create the internal balances that do not exist yet, from pairs of indicator and currency. Returns what was created.

    Raises:
        TooMany: the key has created as many in the last hour as it may.
    """
    keys = balance_store.create_indicators(conn, [(*name, new_key()) for name in names])
    if keys and (cap := current().caps.new_names) is not None:
        _refuse_above(conn, cap, len(keys))
    rows = balance_store.find_keys(conn, keys) if keys else {}
    return [created(rows[key]) for key in keys]


def _refuse_above(conn: Connection, cap: int, new: int) -> None:
    """Refuse more new names than a key may create in an hour. The audit log knows those of the last hour."""
    before = audit_store.count_recent(conn, current().key_id, Action.BALANCE_CREATED, most=cap)
    if before + new > cap:
        text = f"the key may create {cap} internal balances in an hour, and has created {before}"
        raise TooMany(
            f"{text}; try again later, or ask for another limit", {"created": before, "new": new, "limit": cap}
        )


def fix_precision(conn: Connection, currency: str, precision: int) -> tuple[int, list[Event]]:
    """Fix the precision of a currency, unless it is fixed already. Returns the valid one, and what was done."""
    fixed, is_new = currency_store.fix_precision(conn, currency, precision)
    event = Event(action=Action.CURRENCY_FIXED, subject=currency, after=text_of(precision=fixed))
    return fixed, [event] if is_new else []
