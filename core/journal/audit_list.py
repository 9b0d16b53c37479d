"""Describes the list of audit rows: its fields, and where they are stored."""

from sqlalchemy import Connection, Text, cast, func

from core.base.actors import current
from core.base.errors import BeyondKey, ErrorCode
from core.base.tables.access import audit
from core.journal import audit_store
from core.journal.audit_row import AuditRow
from core.lists import query
from core.lists.fields import Extent, Field, Listing, Type, relation, resource

AUDIT = resource(
    "audits",
    Field(
        "sequence",
        Type.NUMBER,
        "The row's position, from 1.",
        lambda table: table.c.id,
        indexed=True,
        ranges=True,
        ordered=True,
    ),
    # The order of positions is that of time, and its index serves a page.
    Field(
        "created_at",
        Type.TIME,
        "When it was done.",
        sort_key=lambda table, _: table.c.id,
        indexed=True,
        ranges=True,
        ordered=True,
    ),
    Field("actor", Type.TEXT, "The id of the key that asked for it, master, or a part of the service.", indexed=True),
    Field("owner", Type.TEXT, "The owner of that key.", sort_key=lambda table, _: func.coalesce(table.c.owner, "")),
    Field("part", Type.TEXT, "The part of the service that did it."),
    Field(
        "request_id",
        Type.TEXT,
        "The request, as the log of the service names it.",
        sort_key=lambda table, _: func.coalesce(table.c.request_id, ""),
    ),
    Field("action", Type.TEXT, "What was done, such as ledger.created."),
    Field("subject", Type.TEXT, "The id or name of what it was done to.", indexed=True),
    Field("hash", Type.TEXT, "The row's hash.", lambda table: cast(func.encode(table.c.hash, "hex"), Text())),
    id="hash",
    numbered=True,
)
AUDIT_ROWS = relation(audit, audit.c.id)


def find_audit(conn: Connection, listing: Listing) -> tuple[list[AuditRow], Extent]:
    """Find a page of the audit log, and count all rows that match if the listing wants it.

    Raises:
        BeyondKey: the key reaches only some of what the rows tell of.
    """
    reach = current().reach
    if reach.ledgers is not None or reach.indicators is not None:
        text = "the audit log tells of all balances, and the key reaches only some of them"
        raise BeyondKey(ErrorCode.AUTH_INSUFFICIENT_PERMISSIONS, text)
    found, extent = query.find(conn, listing, [AUDIT_ROWS])
    rows = audit_store.find(conn, [id for id, _ in found])
    return [rows[id] for id, _ in found], extent
