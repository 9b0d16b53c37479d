"""Keeps the endpoint ``default`` as Blnk's setting says: a URL that gets all events, signed with the master key.

The row has no URL and no headers, because the environment has them. Its cursor begins at the end of the feed whenever the
setting comes, so a ledger that had none for a year does not send the events of that year.
"""

from sqlalchemy import Connection

from core.events.feed import ends
from core.events.types import EVERYTHING
from core.webhooks import store
from core.webhooks.kinds import DEFAULT
from core.webhooks.operator import Operator

ID = "default"


def keep_default(conn: Connection, operator: Operator) -> None:
    """Make the endpoint if the setting is there, and make it inactive if not."""
    row = store.find(conn, ID, [DEFAULT], lock=True)
    if operator.url is None:
        if row is not None and row.active:
            store.change(conn, row.id, {"active": False, "disabled_why": None})
        return
    at = ends(conn).of(EVERYTHING)
    if row is None:
        values = {"webhook_id": ID, "kind": DEFAULT, "url": "", "events": ["*"], "created_by": "environment"}
        store.create(conn, {**values, "after_seq": at.seq, "after_n": at.n})
    elif not row.active:
        cursor = {} if row.disabled_why else {"after_seq": at.seq, "after_n": at.n}
        store.change(conn, row.id, {"active": True, "disabled_why": None, **cursor})
