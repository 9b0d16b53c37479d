"""Currencies and their precision: which there are, and how an operator fixes one before its first use."""

from msgspec import Struct
from sqlalchemy import Connection

from core.base.actors import reach_of_request
from core.base.errors import Conflict, ErrorCode, InvalidRequest
from core.base.money import MAX_PRECISION
from core.base.names import currency_problem
from core.journal.record import record_all
from core.ledger import changes
from core.ledger.store import currencies as currency_store
from core.ledger.store import reach as reach_store


class Currency(Struct, frozen=True, kw_only=True):
    """A currency whose precision is fixed."""

    currency: str
    precision: int
    """The number of minor units in a major unit: 100 for cents."""


def read(conn: Connection) -> list[Currency]:
    """Read every currency that has a precision, and that a balance in reach is in."""
    found = currency_store.all_precisions(conn)
    reach = reach_of_request()
    if reach.bounds_balances:
        used = reach_store.currencies(conn, reach)
        found = {currency: precision for currency, precision in found.items() if currency in used}
    return [Currency(currency=currency, precision=precision) for currency, precision in found.items()]


def fix(conn: Connection, currency: str, precision: int) -> Currency:
    """Fix the precision of a currency, unless that is done.

    Raises:
        InvalidRequest: it cannot be the code of a currency, or the precision is out of bounds.
        Conflict: it has another precision.
    """
    if not 1 <= precision <= MAX_PRECISION:
        raise InvalidRequest([("precision", f"must be from 1 to {MAX_PRECISION}")], ErrorCode.GEN_VALIDATION_ERROR)
    used = currency_store.precision_of(conn, currency) or currency_store.used_precision(conn, currency)
    # A currency from before today's rules is used as ever.
    if used is None and (wrong := currency_problem(currency)) is not None:
        raise InvalidRequest([("currency", wrong)], ErrorCode.GEN_VALIDATION_ERROR)
    fixed, events = (used, []) if used else changes.fix_precision(conn, currency, precision)
    if fixed == used == precision:
        fixed, events = changes.fix_precision(conn, currency, precision)
    record_all(conn, events)
    if fixed != precision:
        raise Conflict(
            ErrorCode.GEN_CONFLICT,
            f"{currency} has precision {fixed}, and it cannot change: the amounts in the ledger are in these minor units",
        )
    return Currency(currency=currency, precision=precision)
