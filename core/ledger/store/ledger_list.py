"""Describes the list of ledgers: its fields, and where they are stored."""

from sqlalchemy import Connection

from core.base.tables.balances import ledgers
from core.ledger.store import ledgers as ledger_store
from core.ledger.store.ledgers import LedgerRow
from core.ledger.store.reach import ledgers_in_reach
from core.lists import query
from core.lists.fields import Extent, Field, Listing, Type, relation, resource

LEDGERS = resource(
    "ledgers",
    Field("ledger_id", Type.TEXT, "The ledger's id.", indexed=True),
    Field("name", Type.TEXT, "The ledger's name."),
    Field("created_at", Type.TIME, "When the ledger was created.", indexed=True, ranges=True, ordered=True),
    Field("meta_data", Type.OBJECT, "All of the metadata; meta_data.<key> is one member of it."),
    id="ledger_id",
)
LEDGER_ROWS = relation(ledgers, ledgers.c.id)


def find_ledgers(conn: Connection, listing: Listing) -> tuple[list[LedgerRow], Extent]:
    """Find a page of ledgers in reach, and count all that match if the listing wants it."""
    found, extent = query.find(conn, ledgers_in_reach(listing), [LEDGER_ROWS])
    rows = ledger_store.find_keys(conn, [key for key, _ in found])
    return [rows[key] for key, _ in found], extent
