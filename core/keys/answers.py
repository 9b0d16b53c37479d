"""Defines the answers about keys, in Blnk's words."""

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType

from core.base.actors import EVERYTHING, Reach
from core.base.answers import NO_TIME, Time
from core.keys.store import KeyRow


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key."""

    api_key_id: str
    key: str
    """The secret. Only the answer that makes it has it, and it is empty in all others."""
    key_prefix: str
    """The beginning of the newest secret."""
    name: str
    owner_id: str
    scopes: list[str]
    reach: Reach
    expires_at: Time
    created_at: Time
    created_by: str
    """The ID of the key that made it, or ``master``."""
    last_used_at: Time
    """The year 1 when it was never used. It is written every few seconds."""
    is_revoked: bool
    revoked_at: Time | UnsetType = UNSET
    overlap_until: Time | UnsetType = UNSET
    """Until then a secret from before the last rotation works too."""


class Pending(Struct, frozen=True, kw_only=True):
    """The pending work that a key has asked for."""

    scheduled_transactions: int
    """The transactions that wait for their date."""
    hold_commits: int
    """The holds that are to be committed on a date."""
    hold_expiries: int
    """The holds that are to be voided on a date. They only give money back, so nothing stops them."""
    funding_jobs: int
    """The jobs that have something left to do."""
    funding_runs: int
    """The unfinished runs that the key asked for, of its own jobs and of others."""
    keys: int
    """The keys that it made, and that still work."""


class Revoked(Struct, frozen=True, kw_only=True):
    """A revoked key, and what it left."""

    api_key_id: str
    revoked_at: Time
    pending: Pending
    """The work that was still to come."""
    stopped: bool
    """Whether that was stopped."""


def key_of(row: KeyRow, secret: str = "", *, now: datetime | None = None) -> ApiKey:
    """Make the answer of a key."""
    overlap = (
        row.overlap_until if row.overlap_until is not None and now is not None and row.overlap_until > now else None
    )
    return ApiKey(
        api_key_id=row.key_id,
        key=secret,
        key_prefix=row.prefix,
        name=row.name,
        owner_id=row.owner,
        scopes=list(row.scopes),
        reach=row.reach or EVERYTHING,
        expires_at=row.expires_at,
        created_at=row.created_at,
        created_by=row.created_by,
        last_used_at=row.last_used_at or NO_TIME,
        is_revoked=row.revoked_at is not None,
        revoked_at=UNSET if row.revoked_at is None else row.revoked_at,
        overlap_until=UNSET if overlap is None else overlap,
    )
