"""SQL of the tables of keys. A key has one secret, and after a rotation for a while two or more."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from core.base.actors import KEY_PREFIX, Reach
from core.base.db import driver
from core.base.ids import uuid_of
from core.ledger.store.reach import sql_of_narrower


class KeyRow(NamedTuple):
    """A key as it is stored."""

    id: UUID
    owner: str
    name: str
    scopes: tuple[str, ...]
    reach: Reach | None
    created_by: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    prefix: str
    """The beginning of its newest secret."""
    overlap_until: datetime | None
    """When the last of its older secrets ends. None when it has none."""

    @property
    def key_id(self) -> str:
        """The ID of the key as clients see it."""
        return f"{KEY_PREFIX}{self.id}"


class FoundKey(NamedTuple):
    """A key that a secret belongs to."""

    row: KeyRow
    left_s: float
    """The seconds for which the secret works. It is negative when it is expired or revoked."""


_SELECT = """
SELECT k.id, k.owner, k.name, k.scopes, k.reach::text, k.created_by, k.created_at, k.expires_at, k.last_used_at, k.revoked_at,
       (SELECT prefix FROM api_key_secrets WHERE key = k.id AND ends_at IS NULL),
       (SELECT max(ends_at) FROM api_key_secrets WHERE key = k.id)
FROM api_keys AS k
"""

_INSERT = """
INSERT INTO api_keys (id, owner, name, scopes, reach, created_by, created_at, expires_at)
VALUES (%(id)s, %(owner)s, %(name)s, %(scopes)s, %(reach)s, %(created_by)s, %(created_at)s, %(expires_at)s)
"""

_INSERT_SECRET = """
INSERT INTO api_key_secrets (hash, key, prefix, made_at)
VALUES (%(hash)s, %(key)s, %(prefix)s, %(now)s)
"""

_FIND = f"""{_SELECT}
WHERE k.id = %(id)s
"""

_LOCK = f"""{_SELECT}
WHERE k.id = %(id)s
FOR NO KEY UPDATE OF k
"""

# The primary keys of both tables serve it.
_FIND_BY_SECRET = f"""
SELECT found.*,
       CASE
           WHEN found.revoked_at IS NOT NULL THEN -1
           ELSE extract(epoch FROM least(found.expires_at, s.ends_at) - clock_timestamp())
       END::double precision
FROM api_key_secrets AS s
JOIN LATERAL ({_SELECT} WHERE k.id = s.key) AS found ON true
WHERE s.hash = %(hash)s
"""

# Serves itself by the index on owner, and by the primary key for all owners.
_LIST = f"""{_SELECT}
WHERE (%(owner)s::text IS NULL OR k.owner = %(owner)s)
  AND (%(after)s::uuid IS NULL OR k.id < %(after)s)
  AND {{within}}
ORDER BY k.id DESC
LIMIT %(limit)s
OFFSET %(offset)s
"""

_END_SECRETS = """
UPDATE api_key_secrets
SET ends_at = %(ends_at)s
WHERE key = %(key)s AND (ends_at IS NULL OR ends_at > %(ends_at)s)
"""

_REVOKE = """
UPDATE api_keys
SET revoked_at = %(now)s
WHERE id = ANY(%(ids)s) AND revoked_at IS NULL
"""

# All that a key made, and what those made.
_MADE_BY = """
WITH RECURSIVE made AS (
    SELECT id, revoked_at, expires_at
    FROM api_keys
    WHERE created_by = %(key_id)s
    UNION
    SELECT child.id, child.revoked_at, child.expires_at
    FROM made
    JOIN api_keys AS child ON child.created_by = 'api_key_' || made.id
)
SELECT id
FROM made
WHERE revoked_at IS NULL AND expires_at > %(now)s
"""

# Rows that another process writes are left to it: two processes that see a key at work would write nearly the same time.
_USED = """
UPDATE api_keys
SET last_used_at = clock_timestamp() - make_interval(secs => used.ago_s)
FROM (
    SELECT k.id, u.ago_s
    FROM api_keys AS k
    JOIN unnest(%(ids)s::uuid[], %(ago_s)s::double precision[]) AS u (id, ago_s) ON u.id = k.id
    ORDER BY k.id
    FOR NO KEY UPDATE OF k SKIP LOCKED
) AS used
WHERE api_keys.id = used.id
"""


def insert(conn: Connection, row: KeyRow) -> None:
    """Insert a key, without a secret."""
    values = row._asdict() | {"scopes": list(row.scopes), "reach": None}
    if row.reach is not None:
        values["reach"] = msgspec.json.encode(row.reach).decode()
    driver(conn).execute(_INSERT, values)


def insert_secret(conn: Connection, *, key: UUID, hash: bytes, prefix: str, now: datetime) -> None:
    """Give a key a secret. The caller has ended the one of before."""
    driver(conn).execute(_INSERT_SECRET, {"key": key, "hash": hash, "prefix": prefix, "now": now})


def end_secrets(conn: Connection, key: UUID, ends_at: datetime) -> None:
    """End the secrets of a key, those that end later."""
    driver(conn).execute(_END_SECRETS, {"key": key, "ends_at": ends_at})


def find(conn: Connection, key_id: str, *, lock: bool = False) -> KeyRow | None:
    """Find a key by its ID. ``lock`` keeps others from changing it until the commit."""
    id = uuid_of(key_id, KEY_PREFIX)
    if id is None:
        return None
    row = driver(conn).execute(_LOCK if lock else _FIND, {"id": id}).fetchone()
    return None if row is None else _row(row)


def find_by_secret(conn: Connection, hash: bytes) -> FoundKey | None:
    """Find the key whose secret has a hash, and how long the secret works."""
    row = driver(conn).execute(_FIND_BY_SECRET, {"hash": hash}).fetchone()
    return None if row is None else FoundKey(_row(row[:-1]), row[-1])


class Page(NamedTuple):
    """A page of keys."""

    limit: int
    offset: int = 0
    after: str | None = None
    """The ID of the last key of the page before."""


def list_keys(conn: Connection, owner: str | None, page: Page, within: Reach) -> list[KeyRow]:
    """List the keys of an owner, or of all, that reach no ledger and no ``@Name`` beyond ``within``, newest first."""
    sql, values = sql_of_narrower(within, "k.reach")
    after = None if page.after is None else uuid_of(page.after, KEY_PREFIX)
    values |= {"owner": owner, "limit": page.limit, "offset": page.offset, "after": after}
    return [_row(row) for row in driver(conn).execute(_LIST.replace("{within}", sql), values).fetchall()]


def revoke(conn: Connection, ids: Sequence[UUID], now: datetime) -> None:
    """Revoke keys that are not revoked yet."""
    driver(conn).execute(_REVOKE, {"ids": list(ids), "now": now})


def made_by(conn: Connection, key_id: str, now: datetime) -> list[UUID]:
    """Find the working keys that a key made, and those that these made."""
    return [row[0] for row in driver(conn).execute(_MADE_BY, {"key_id": key_id, "now": now})]


def record_use(conn: Connection, ago_s: Mapping[UUID, float]) -> None:
    """Record the last uses of keys, as the seconds that have passed since."""
    driver(conn).execute(_USED, {"ids": list(ago_s), "ago_s": list(ago_s.values())})


def _row(row: Sequence[Any]) -> KeyRow:
    id, owner, name, scopes, reach, *others = row
    return KeyRow(id, owner, name, tuple(scopes), None if reach is None else _decode_reach(reach), *others)


_decode_reach = msgspec.json.Decoder(Reach).decode
