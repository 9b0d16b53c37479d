"""Describes the list of identities: its fields, and where they are stored."""

from sqlalchemy import Connection

from core.base.tables.balances import identities
from core.identities import store
from core.identities.fields import TEXTS
from core.identities.store import IdentityRow
from core.ledger.store.reach import identities_in_reach
from core.lists import query
from core.lists.fields import Extent, Field, Listing, Type, id_field, relation, resource

IDENTITIES = resource(
    "identities",
    id_field("identity_id", "The identity's id.", prefix=store.PREFIX, column="identity_id"),
    *(Field(name, Type.TEXT, "A tokenized one is its token." if name == "first_name" else "") for name in TEXTS),
    Field("dob", Type.TIME, "The date of birth."),
    Field("created_at", Type.TIME, "When the identity was created.", indexed=True, ranges=True, ordered=True),
    Field("meta_data", Type.OBJECT, "All of the metadata; meta_data.<key> is one member of it."),
    id="identity_id",
)
_ROWS = relation(identities, identities.c.id)


def find_identities(conn: Connection, listing: Listing) -> tuple[list[IdentityRow], Extent]:
    """Find a page of identities in reach, and count all that match if the listing wants it."""
    found, extent = query.find(conn, identities_in_reach(conn, listing), [_ROWS])
    rows = store.find_keys(conn, [key for key, _ in found])
    return [rows[key] for key, _ in found], extent
