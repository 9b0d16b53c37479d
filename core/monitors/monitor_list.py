"""Describes the list of monitors: its fields, and where they are stored."""

from sqlalchemy import Connection, Text, cast, literal_column, select

from core.base.tables.balances import balances
from core.base.tables.events import monitors
from core.ledger.store.balances import BALANCE_PREFIX
from core.ledger.store.reach import balances_in_reach
from core.lists import query
from core.lists.fields import Extent, Field, Listing, Type, id_field, relation, resource
from core.monitors import store
from core.monitors.store import MonitorRow

_TABLE = (
    select(monitors, balances.c.balance_id, balances.c.ledger, balances.c.indicator)
    .join_from(monitors, balances, balances.c.id == monitors.c.balance)
    .subquery("monitors")
)

MONITORS = resource(
    "monitors",
    id_field("monitor_id", "The monitor's id.", prefix=store.PREFIX, column="monitor_id"),
    Field(
        "balance_id",
        Type.LINK,
        "The balance that is watched.",
        lambda table: literal_column(f"'{BALANCE_PREFIX}'", Text()) + cast(table.c.balance_id, Text()),
        prefix=BALANCE_PREFIX,
        key=lambda table: table.c.balance_id,
    ),
    Field("mode", Type.TEXT, "edge or level."),
    Field("created_at", Type.TIME, "When the monitor was created.", indexed=True, ranges=True, ordered=True),
    Field("meta_data", Type.OBJECT, "All of the metadata; meta_data.<key> is one member of it."),
    id="monitor_id",
)
_ROWS = relation(_TABLE, _TABLE.c.id)


def find_monitors(conn: Connection, listing: Listing) -> tuple[list[MonitorRow], Extent]:
    """Find a page of monitors whose balance is in reach, and count all that match if the listing wants it."""
    found, extent = query.find(conn, balances_in_reach(conn, listing), [_ROWS])
    rows = store.find_keys(conn, [key for key, _ in found])
    return [rows[key] for key, _ in found], extent
