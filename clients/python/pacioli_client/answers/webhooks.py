"""Webhooks and their deliveries."""

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType


class Webhook(Struct, frozen=True, kw_only=True):
    """An endpoint that is told events."""

    webhook_id: str
    url: str
    events: list[str]
    ordered: bool
    active: bool
    description: str
    headers: dict[str, str]
    secret: str
    status: str
    disabled_why: str | None
    failing_since: datetime | None
    last_error: str | None
    last_attempt_at: datetime | None
    last_success_at: datetime | None
    cursor: str
    replaying: bool
    overlap_until: datetime | UnsetType = UNSET
    created_by: str
    created_at: datetime


class Delivery(Struct, frozen=True, kw_only=True):
    """The delivery of one event to one endpoint."""

    delivery_id: int
    event_id: str
    event: str
    position: str
    status: str
    attempts: int
    next_attempt_at: datetime | None
    response_status: int | None
    error: str | None
    took_ms: int | None
    created_at: datetime
    ended_at: datetime | None


class Replay(Struct, frozen=True):
    """A replay that has begun."""

    webhook_id: str
    after: str
    until: str | None


class Tested(Struct, frozen=True, kw_only=True):
    """How the test of an endpoint went."""

    delivered: bool
    response_status: int | None
    error: str | None
    took_ms: int
