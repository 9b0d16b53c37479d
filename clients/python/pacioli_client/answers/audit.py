"""Answers about the audit log."""

from datetime import datetime
from typing import Any

from msgspec import Struct


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One thing that was done, and by whom."""

    sequence: int
    """The position in the audit log, from 1."""
    created_at: datetime
    actor: str
    """The id of the key that asked for it; master, anonymous, or the name of a part that did it by itself."""
    owner: str | None
    """The owner of that key."""
    part: str
    """The part of the service that did it."""
    request_id: str | None
    action: str
    """The kind of write, such as metadata.changed."""
    subject: str
    """The id or name of what it was done to."""
    details: dict[str, Any]
    """The values before and after, and what else there is to say."""
    hash: str
    """The hash over the row and the hash of the row before."""
