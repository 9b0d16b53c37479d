"""Reads and writes identities."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Text, cast, delete, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert

from core.base.ids import uuid_of
from core.base.tables.balances import balances, identities
from core.identities.fields import TEXTS

PREFIX = "idt_"


class IdentityRow(NamedTuple):
    """An identity as it is stored. A tokenized field has its token."""

    key: int
    identity_id: str
    identity_type: str
    organization_name: str
    category: str
    first_name: str
    last_name: str
    other_names: str
    gender: str
    email_address: str
    phone_number: str
    nationality: str
    street: str
    country: str
    state: str
    post_code: str
    city: str
    dob: datetime | None
    created_at: datetime
    meta_data: str | None
    """JSON text of an object."""
    tokenized: list[str]
    """The names of the columns that have a token."""
    data_key: bytes | None
    """The key of the tokens, sealed. None before the first token, and after an erasure."""
    erased_at: datetime | None


_COLUMNS = (
    identities.c.id,
    identities.c.identity_id,
    *(identities.c[name] for name in TEXTS),
    identities.c.dob,
    identities.c.created_at,
    cast(identities.c.meta_data, Text()),
    identities.c.tokenized,
    identities.c.data_key,
    identities.c.erased_at,
)

# The row is locked first, so that two callers at once lose nothing.
_MERGE = text(
    """
    UPDATE identities
    SET meta_data = coalesce(meta_data, '{}') || CAST(:meta_data AS jsonb)
    WHERE id = :key
    RETURNING meta_data
    """
)


def create(conn: Connection, identity_id: UUID, values: Mapping[str, Any]) -> IdentityRow | None:
    """Create an identity. Returns None when there is one of this ID."""
    statement = insert(identities).values(identity_id=identity_id, **_stored(values)).on_conflict_do_nothing()
    row = conn.execute(statement.returning(*_COLUMNS)).one_or_none()
    return None if row is None else _row(row)


def find(conn: Connection, identity_id: str, *, lock: bool = False) -> IdentityRow | None:
    """Find an identity by its ID. With ``lock``, nobody else changes it until the transaction ends."""
    key = uuid_of(identity_id, PREFIX)
    if key is None:
        return None
    statement = select(*_COLUMNS).where(identities.c.identity_id == key)
    row = conn.execute(statement.with_for_update() if lock else statement).one_or_none()
    return None if row is None else _row(row)


def find_keys(conn: Connection, keys: Collection[int]) -> dict[int, IdentityRow]:
    """Find identities by their internal keys."""
    rows = conn.execute(select(*_COLUMNS).where(identities.c.id == func.any(list(keys))))
    return {row[0]: _row(row) for row in rows}


def change(conn: Connection, key: int, values: Mapping[str, Any]) -> IdentityRow:
    """Change columns of an identity that is locked."""
    statement = update(identities).where(identities.c.id == key).values(**_stored(values))
    return _row(conn.execute(statement.returning(*_COLUMNS)).one())


def merge_metadata(conn: Connection, key: int, meta_data: str) -> str:
    """Merge into the metadata of an identity that is locked. Returns all of it."""
    merged: str = conn.execute(_MERGE, {"key": key, "meta_data": meta_data}).scalar_one()
    return merged


def remove(conn: Connection, key: int) -> None:
    """Delete an identity that no balance has."""
    conn.execute(delete(identities).where(identities.c.id == key))


def count_balances(conn: Connection, key: int) -> int:
    """Count the balances of an identity. balances_identity_idx serves it."""
    found: int = conn.execute(select(func.count()).select_from(balances).where(balances.c.identity == key)).scalar_one()
    return found


def link(conn: Connection, balance: int, identity: int | None) -> str | None:
    """Give a balance to an identity, or to none. Returns the ID of the identity that had it, if any."""
    before: UUID | None = conn.execute(
        select(identities.c.identity_id)
        .select_from(balances.outerjoin(identities, identities.c.id == balances.c.identity))
        .where(balances.c.id == balance)
        .with_for_update(of=balances)
    ).scalar_one()
    conn.execute(update(balances).where(balances.c.id == balance).values(identity=identity))
    return None if before is None else f"{PREFIX}{before}"


def sealed_under_others(conn: Connection, newest: str, *, after: int, limit: int) -> list[int]:
    """List the keys of identities whose data key is not sealed under the newest master key, in order."""
    is_old = func.substr(identities.c.data_key, 1, len(newest)) != newest.encode()
    statement = (
        select(identities.c.id)
        .where(identities.c.id > after, identities.c.data_key.is_not(None), is_old)
        .order_by(identities.c.id)
        .limit(limit)
    )
    return list(conn.execute(statement).scalars())


def find_locked(conn: Connection, key: int) -> IdentityRow | None:
    """Find an identity by its internal key, and lock it."""
    row = conn.execute(select(*_COLUMNS).where(identities.c.id == key).with_for_update()).one_or_none()
    return None if row is None else _row(row)


def _stored(values: Mapping[str, Any]) -> dict[str, Any]:
    """Hand JSON to the database as the text that it is, so that its numbers stay exact."""
    if (meta_data := values.get("meta_data")) is None:
        return dict(values)
    return {**values, "meta_data": cast(literal(meta_data, Text()), JSONB())}


def _row(row: Any) -> IdentityRow:
    found = IdentityRow(*row)
    return found._replace(identity_id=f"{PREFIX}{found.identity_id}")
