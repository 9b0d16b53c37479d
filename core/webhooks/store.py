"""SQL of the table of endpoints. ``deliveries.py`` has that of their deliveries."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from core.base.db import driver
from core.base.tables.events import webhooks

LEASE_S = 10.0
"""A process that died keeps its endpoints for so long. One that lives renews its leases every few seconds."""


class WebhookRow(NamedTuple):
    """An endpoint as it is stored. The columns are those of the table, in its order."""

    id: int
    webhook_id: str
    kind: str
    name: str
    url: str
    events: list[str]
    description: str
    headers: bytes | None
    ordered: bool
    active: bool
    disabled_why: str | None
    secret: bytes | None
    old_secret: bytes | None
    old_secret_ends_at: datetime | None
    timeout_ms: int
    retries: int
    on_error: str | None
    after_seq: int
    after_n: int
    replay_seq: int | None
    replay_n: int | None
    replay_to_seq: int | None
    replay_to_n: int | None
    lease_by: str | None
    lease_until: datetime | None
    failing_since: datetime | None
    last_error: str | None
    last_attempt_at: datetime | None
    last_success_at: datetime | None
    created_by: str
    created_at: datetime


_COLUMNS = tuple(webhooks.c[name] for name in WebhookRow._fields)

# A handful of rows. Those that another process is claiming are left to it.
_CLAIM = """
    UPDATE webhooks
    SET lease_by = %(by)s, lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
    WHERE id IN (
        SELECT id
        FROM webhooks
        WHERE active
          AND kind <> 'veto'
          AND (lease_until IS NULL OR lease_until < clock_timestamp())
        ORDER BY id
        LIMIT %(most)s
        FOR NO KEY UPDATE SKIP LOCKED
    )
    RETURNING id
"""

_RENEW = """
    UPDATE webhooks
    SET lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
    WHERE id = ANY(%(ids)s)
      AND lease_by = %(by)s
      AND active
    RETURNING id
"""

_RELEASE = """
    UPDATE webhooks
    SET lease_by = NULL, lease_until = NULL
    WHERE id = ANY(%(ids)s)
      AND lease_by = %(by)s
"""

_IS_ANY = """
    SELECT EXISTS (
        SELECT
        FROM webhooks
        WHERE active AND kind <> 'veto' OR kind = 'callback'
    )
"""

_COUNT_DELIVERABLE = """
    SELECT count(*)
    FROM webhooks
    WHERE active
      AND kind <> 'veto'
"""


def create(conn: Connection, values: Mapping[str, Any]) -> WebhookRow:
    """Create an endpoint."""
    return WebhookRow(*conn.execute(insert(webhooks).values(**values).returning(*_COLUMNS)).one())


def find(conn: Connection, webhook_id: str, kinds: Sequence[str], *, lock: bool = False) -> WebhookRow | None:
    """Find an endpoint of these kinds by its ID, and lock it if asked to."""
    statement = select(*_COLUMNS).where(webhooks.c.webhook_id == webhook_id, webhooks.c.kind.in_(kinds))
    row = conn.execute(statement.with_for_update(key_share=True) if lock else statement).one_or_none()
    return None if row is None else WebhookRow(*row)


def find_key(conn: Connection, key: int) -> WebhookRow | None:
    """Find an endpoint by its internal key."""
    row = conn.execute(select(*_COLUMNS).where(webhooks.c.id == key)).one_or_none()
    return None if row is None else WebhookRow(*row)


def every(conn: Connection, kinds: Sequence[str]) -> list[WebhookRow]:
    """List the endpoints of these kinds, the newest first."""
    statement = select(*_COLUMNS).where(webhooks.c.kind.in_(kinds)).order_by(webhooks.c.id.desc())
    return [WebhookRow(*row) for row in conn.execute(statement)]


def change(conn: Connection, key: int, values: Mapping[str, Any]) -> WebhookRow:
    """Change columns of an endpoint."""
    statement = update(webhooks).where(webhooks.c.id == key).values(**values).returning(*_COLUMNS)
    return WebhookRow(*conn.execute(statement).one())


def remove(conn: Connection, key: int) -> None:
    """Delete an endpoint and its deliveries."""
    conn.execute(delete(webhooks).where(webhooks.c.id == key))


def claim(conn: Connection, by: str, most: int) -> list[int]:
    """Take the leases of up to ``most`` endpoints that nobody delivers for. Returns their keys."""
    if most <= 0:
        return []
    rows = driver(conn).execute(_CLAIM, {"by": by, "lease_s": LEASE_S, "most": most})
    return sorted(key for (key,) in rows)


def renew(conn: Connection, by: str, keys: Sequence[int]) -> list[int]:
    """Renew leases. Returns the keys of those that are still ours; the others are deleted, inactive or lost."""
    rows = driver(conn).execute(_RENEW, {"by": by, "lease_s": LEASE_S, "ids": list(keys)})
    return sorted(key for (key,) in rows)


def release(conn: Connection, by: str, keys: Sequence[int]) -> None:
    """Give leases back, so that another process need not wait for their end."""
    driver(conn).execute(_RELEASE, {"by": by, "ids": list(keys)})


def is_any(conn: Connection) -> bool:
    """Tell whether there are endpoints that somebody should deliver for, or that a callback may have left."""
    return driver(conn).execute(_IS_ANY).fetchone() == (True,)


def count_deliverable(conn: Connection) -> int:
    """Count the endpoints that somebody should deliver for."""
    row = driver(conn).execute(_COUNT_DELIVERABLE).fetchone()
    assert row is not None
    return int(row[0])
