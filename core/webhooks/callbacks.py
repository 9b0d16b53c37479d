"""Sends the firings of monitors to their ``call_back_url``. Each such URL has one endpoint, however many monitors have it.

An endpoint is made in the transaction that gives its URL to a monitor, so it has every firing from then on. A dispatcher removes
it when no monitor has the URL any more.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.base.actors import current
from core.base.db import driver
from core.base.errors import Conflict, ErrorCode, InvalidRequest
from core.base.ids import new_id
from core.events.feed import ends
from core.events.types import types_of
from core.journal.event_types import EventType
from core.webhooks.endpoints import MAX_ENDPOINTS, PREFIX, check_url
from core.webhooks.operator import Operator

# A dispatcher that is about to remove the endpoint has its row locked. Then this waits, and makes it anew.
_KEEP = """
    INSERT INTO webhooks (webhook_id, kind, url, events, after_seq, after_n, created_by)
    VALUES (%(webhook_id)s, 'callback', %(url)s, %(events)s, %(seq)s, %(n)s, %(by)s)
    ON CONFLICT (url) WHERE kind = 'callback' DO UPDATE
    SET active = true,
        disabled_why = NULL
"""

_COUNT = """
    SELECT count(*) FILTER (WHERE url <> %(url)s)
    FROM webhooks
    WHERE kind = 'callback'
"""

_LOCK_UNUSED = """
    SELECT id
    FROM webhooks
    WHERE kind = 'callback'
      AND NOT EXISTS (SELECT FROM monitors WHERE call_back_url = url)
    ORDER BY id
    FOR UPDATE SKIP LOCKED
"""

# Its snapshot is taken under the locks, so it sees the monitor of whoever had the row before.
_REMOVE_UNUSED = """
    DELETE FROM webhooks
    WHERE id = ANY(%(ids)s)
      AND NOT EXISTS (SELECT FROM monitors WHERE call_back_url = url)
"""

# webhook_deliveries_status_idx finds those of the endpoint.
_DELIVERIES = """
    SELECT event_id, status, attempts, answer, webhook_deliveries.error
    FROM webhook_deliveries
    JOIN webhooks ON webhooks.id = webhook
    WHERE kind = 'callback' AND url = %(url)s AND event_id = ANY(%(events)s)
"""


class Delivery(NamedTuple):
    """How the delivery of a firing went so far."""

    status: str
    attempts: int
    answer: int | None
    error: str | None


def check(url: str | None, operator: Operator) -> None:
    """Check that firings may be sent to a URL. It may resolve a name, so it is called outside of a transaction.

    Raises:
        InvalidRequest: they may not.
    """
    problems: list[tuple[str, str]] = []
    if url:
        check_url(url, operator, problems)
    if problems:
        raise InvalidRequest([("call_back_url", text) for _, text in problems], ErrorCode.GEN_VALIDATION_ERROR)


def keep(conn: Connection, url: str | None) -> None:
    """Make the endpoint of a URL that a monitor is about to have, unless it is there.

    Raises:
        Conflict: there are too many.
    """
    if not url:
        return
    row = driver(conn).execute(_COUNT, {"url": url}).fetchone()
    if row is not None and row[0] >= MAX_ENDPOINTS:
        text = f"monitors have {MAX_ENDPOINTS} different URLs, which is the most there may be; webhooks take any number of events"
        raise Conflict(ErrorCode.GEN_CONFLICT, text)
    types = [str(EventType.BALANCE_MONITOR)]
    at = ends(conn).of(types_of(types))
    values: dict[str, Any] = {"url": url, "seq": at.seq, "n": at.n, "by": current().key_id}
    driver(conn).execute(_KEEP, {"webhook_id": new_id(PREFIX), "events": types, **values})


def remove_unused(conn: Connection) -> None:
    """Remove the endpoints whose URL no monitor has."""
    if ids := [id for (id,) in driver(conn).execute(_LOCK_UNUSED)]:
        driver(conn).execute(_REMOVE_UNUSED, {"ids": ids})


def deliveries(conn: Connection, url: str, events: Collection[str]) -> dict[str, Delivery]:
    """Read how the delivery of firings to a URL went. Those that nobody has tried yet are left out."""
    rows = driver(conn).execute(_DELIVERIES, {"url": url, "events": list(events)})
    return {event: Delivery(*values) for event, *values in rows.fetchall()}
