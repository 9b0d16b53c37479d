"""Answers about keys."""

from datetime import datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key. Only the answer that makes it has its secret."""

    api_key_id: str
    key: str
    """The secret. It is empty in a list."""
    key_prefix: str
    """The beginning of the newest secret."""
    name: str
    owner_id: str
    scopes: list[str]
    reach: dict[str, Any]
    """The bounds of its reach. One that is left out has no limit."""
    expires_at: datetime
    created_at: datetime
    created_by: str
    """The id of the key that made it, or master."""
    last_used_at: datetime
    """The year 1 when it was never used."""
    is_revoked: bool
    revoked_at: datetime | UnsetType = UNSET
    overlap_until: datetime | UnsetType = UNSET
    """Until then a secret from before the last rotation works too."""

    @property
    def was_used(self) -> bool:
        """Whether it was ever used."""
        return self.last_used_at.year > 1


class PendingOfKey(Struct, frozen=True, kw_only=True):
    """The pending work that a key has asked for."""

    scheduled_transactions: int
    hold_commits: int
    hold_expiries: int
    """Holds that expire on a date. Nothing stops that."""
    funding_jobs: int
    funding_runs: int
    keys: int
    """Keys that it made, and that still work."""


class RevokedKey(Struct, frozen=True, kw_only=True):
    """A revoked key, and what it left."""

    api_key_id: str
    revoked_at: datetime
    pending: PendingOfKey
    stopped: bool
    """Whether what was still to come was stopped."""
