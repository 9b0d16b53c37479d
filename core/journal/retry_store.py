"""SQL of the table of idempotency keys: which request a key was sent with, and what it was answered."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base.db import driver

# A claim that was never answered is that of a process that has died. Its request may be sent again after a while.
_CLAIM = """
    INSERT INTO idempotency_keys AS ours (actor, key, fingerprint, claim, claimed_at)
    VALUES (%(actor)s, %(key)s, %(fingerprint)s, %(claim)s, clock_timestamp())
    ON CONFLICT ON CONSTRAINT idempotency_keys_pkey DO UPDATE
    SET claim = excluded.claim, claimed_at = excluded.claimed_at
    WHERE ours.status IS NULL
      AND ours.fingerprint = excluded.fingerprint
      AND ours.claimed_at < clock_timestamp() - make_interval(secs => %(lease_s)s)
    RETURNING claim
"""

_FIND = """
    SELECT fingerprint, status, headers::text, body
    FROM idempotency_keys
    WHERE actor = %(actor)s AND key = %(key)s
"""

_ANSWER = """
    UPDATE idempotency_keys
    SET status = %(status)s, headers = %(headers)s::json, body = %(body)s
    WHERE actor = %(actor)s AND key = %(key)s AND claim = %(claim)s AND status IS NULL
"""

_RELEASE = """
    DELETE FROM idempotency_keys
    WHERE actor = %(actor)s AND key = %(key)s AND claim = %(claim)s AND status IS NULL
"""

# idempotency_keys_claimed_at_idx has the oldest.
_FORGET = """
    DELETE FROM idempotency_keys
    WHERE (actor, key) IN (
        SELECT actor, key
        FROM idempotency_keys
        WHERE claimed_at < clock_timestamp() - make_interval(hours => %(hours)s)
        ORDER BY claimed_at
        LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    )
"""


class Claim(NamedTuple):
    """One request's hold on an idempotency key."""

    actor: str
    key: str
    id: UUID


class Known(NamedTuple):
    """The stored first request of a key, and its answer."""

    fingerprint: bytes
    status: int | None
    """None while the first request is under way."""
    headers: str | None
    """JSON text of pairs of name and value."""
    body: bytes | None


def claim(conn: Connection, wanted: Claim, fingerprint: bytes, *, lease_s: float) -> bool:
    """Claim a key that was never sent, or whose request has not been answered for ``lease_s``. Tells whether that worked."""
    parameters = {
        "actor": wanted.actor,
        "key": wanted.key,
        "claim": wanted.id,
        "fingerprint": fingerprint,
        "lease_s": lease_s,
    }
    return driver(conn).execute(_CLAIM, parameters).fetchone() is not None


def find(conn: Connection, actor: str, key: str) -> Known | None:
    """Find what is stored of a key."""
    row = driver(conn).execute(_FIND, {"actor": actor, "key": key}).fetchone()
    return None if row is None else Known(*row)


def answer(conn: Connection, ours: Claim, *, status: int, headers: str, body: bytes) -> bool:
    """Store the answer to a claimed request. Returns False if another request has taken the claim over."""
    parameters = {
        "actor": ours.actor,
        "key": ours.key,
        "claim": ours.id,
        "status": status,
        "headers": headers,
        "body": body,
    }
    return driver(conn).execute(_ANSWER, parameters).rowcount == 1


def release(conn: Connection, ours: Claim) -> None:
    """Give up a claim, so that the key is as if it had never been sent."""
    driver(conn).execute(_RELEASE, {"actor": ours.actor, "key": ours.key, "claim": ours.id})


def forget(conn: Connection, *, hours: int, limit: int) -> int:
    """Remove the oldest keys that were sent more than so many hours ago. Returns their number."""
    return driver(conn).execute(_FORGET, {"hours": hours, "limit": limit}).rowcount
