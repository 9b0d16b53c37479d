"""Describes the list of balances: its fields, and where they are stored."""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Numeric,
    Text,
    cast,
    func,
    literal_column,
    type_coerce,
)

from core.base.tables.balances import balances, identities, ledgers
from core.ledger.store import balances as balance_store
from core.ledger.store.balances import BALANCE_PREFIX, BalanceRow
from core.ledger.store.reach import balances_in_reach
from core.lists import query
from core.lists.fields import Extent, Field, Listing, Type, id_field, relation, resource


def _sum(name: str, description: str) -> Field:
    """Describe a field that is a sum in minor units."""
    return Field(name, Type.NUMBER, description, lambda table: type_coerce(table.c[name], Numeric()))


def _inflight_balance(table: FromClause) -> ColumnElement[Any]:
    held = type_coerce(table.c.inflight_credit_balance, Numeric())
    return (held - type_coerce(table.c.inflight_debit_balance, Numeric())).self_group()


BALANCES = resource(
    "balances",
    id_field("balance_id", "The balance's id.", prefix=BALANCE_PREFIX, column="balance_id"),
    Field("ledger_id", Type.TEXT, "The ledger that it is in.", lambda _: ledgers.c.ledger_id, indexed=True),
    Field(
        "identity_id",
        Type.TEXT,
        "The identity that it belongs to.",
        lambda _: literal_column("'idt_'", Text()) + cast(identities.c.identity_id, Text()),
        sort_key=lambda _, __: func.coalesce(cast(identities.c.identity_id, Text()), literal_column("''")),
        indexed=True,
        prefix="idt_",
        key=lambda _: identities.c.identity_id,
    ),
    Field(
        "indicator",
        Type.TEXT,
        "The @Name of an internal balance.",
        sort_key=lambda table, _: func.coalesce(table.c.indicator, literal_column("''")),
        indexed=True,
    ),
    Field("currency", Type.TEXT, "The balance's currency."),
    _sum("balance", "credit_balance - debit_balance, in minor units."),
    _sum("credit_balance", "All that was credited, in minor units."),
    _sum("debit_balance", "All that was debited, in minor units."),
    Field("inflight_balance", Type.NUMBER, "Held credits less held debits, in minor units.", _inflight_balance),
    _sum("inflight_credit_balance", "Credits that are held, in minor units."),
    _sum("inflight_debit_balance", "Debits that are held, in minor units."),
    Field("created_at", Type.TIME, "When the balance was created.", indexed=True, ranges=True, ordered=True),
    Field("meta_data", Type.OBJECT, "All of the metadata; meta_data.<key> is one member of it."),
    id="balance_id",
)
_SOURCE = balances.join(ledgers, ledgers.c.id == balances.c.ledger).outerjoin(
    identities, identities.c.id == balances.c.identity
)
BALANCE_ROWS = relation(balances, balances.c.id, source=_SOURCE)


def find_balances(conn: Connection, listing: Listing) -> tuple[list[BalanceRow], Extent]:
    """Find a page of balances in reach, and count all that match if the listing wants it."""
    found, extent = query.find(conn, balances_in_reach(conn, listing), [BALANCE_ROWS])
    rows = balance_store.find_keys(conn, [key for key, _ in found])
    return [rows[key] for key, _ in found], extent


def matching(conn: Connection, listing: Listing) -> ColumnElement[bool]:
    """Make the condition of all balances of a list, without pages. It is about the rows of ``BALANCE_ROWS``."""
    return query.condition(conn, listing, BALANCE_ROWS)
