"""Defines the answers of webhooks and hooks."""

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType

from core.base.answers import NO_TIME, Time
from core.events.answers import Cursor, Position
from core.webhooks.deliveries import DeliveryRow
from core.webhooks.kinds import HOOKS, VETO
from core.webhooks.store import WebhookRow

HIDDEN = "***"
"""Stands for the value of a header. In an update it leaves the value as it is."""


class Webhook(Struct, frozen=True, kw_only=True):
    """An endpoint that is told events."""

    webhook_id: str
    url: str
    events: list[str]
    """The types of events, with wildcards."""
    ordered: bool
    """Whether it gets one event at a time, in the order of the feed."""
    active: bool
    description: str
    headers: dict[str, str]
    """The headers that are added, with their values hidden."""
    secret: str
    """The secret that signs. Only the answer that makes it has it, and it is empty in all others."""
    status: str
    """``active``, ``failing`` when the last attempts failed, or ``inactive``."""
    disabled_why: str | None
    """Why the service has made it inactive."""
    failing_since: Time | None
    """No attempt has succeeded since."""
    last_error: str | None
    last_attempt_at: Time | None
    last_success_at: Time | None
    cursor: Cursor
    """The position in the feed up to which events are delivered, or wait for another attempt."""
    replaying: bool
    """Whether older events are being sent once more."""
    overlap_until: Time | UnsetType = UNSET
    """Until then the secret from before the last rotation signs too."""
    created_by: str
    """The ID of the key that made it."""
    created_at: Time


class Delivery(Struct, frozen=True, kw_only=True):
    """The delivery of one event to one endpoint."""

    delivery_id: int
    event_id: str
    event: str
    """The type of the event."""
    position: Cursor
    """The event's position in the feed."""
    status: str
    """PENDING while another attempt is to come, DELIVERED, or FAILED when the last attempt has failed."""
    attempts: int
    next_attempt_at: Time | None
    response_status: int | None
    """The status of the last answer."""
    error: str | None
    took_ms: int | None
    created_at: Time
    ended_at: Time | None


class Replay(Struct, frozen=True):
    """A replay that has begun."""

    webhook_id: str
    after: Cursor
    until: Cursor | None


class Tested(Struct, frozen=True, kw_only=True):
    """How the test of an endpoint went."""

    delivered: bool
    response_status: int | None
    error: str | None
    took_ms: int


class Hook(Struct, frozen=True, kw_only=True):
    """Blnk's hook object."""

    id: str
    name: str
    url: str
    type: str
    """PRE_TRANSACTION or POST_TRANSACTION."""
    active: bool
    timeout: int
    """The seconds that an answer may take."""
    retry_count: int
    mode: str | UnsetType = UNSET
    """``veto`` for a hook that is asked before a transaction or batch is accepted. It is not asked about refunds, commits, voids
    and rows of funding jobs. Others have no mode."""
    timeout_ms: int | UnsetType = UNSET
    """The milliseconds that a veto may take."""
    on_error: str | UnsetType = UNSET
    """The answer that counts when a veto gives none: ``accept`` or ``reject``."""
    created_at: Time
    last_run: Time
    """The year 1 when it has not run yet."""
    last_success: Time


class HookDeleted(Struct, frozen=True):
    """A message that a hook was deleted, in Blnk's words."""

    message: str


def webhook_of(
    row: WebhookRow, names: list[str], now: datetime, *, secret: str = "", url: str | None = None
) -> Webhook:
    """Make the answer of an endpoint, with the names of its headers. ``url`` is that of the endpoint ``default``."""
    overlap = row.old_secret_ends_at
    return Webhook(
        webhook_id=row.webhook_id,
        url=row.url if url is None else url,
        events=row.events,
        ordered=row.ordered,
        active=row.active,
        description=row.description,
        headers=dict.fromkeys(names, HIDDEN),
        secret=secret,
        status="inactive" if not row.active else "active" if row.failing_since is None else "failing",
        disabled_why=row.disabled_why,
        failing_since=row.failing_since,
        last_error=row.last_error,
        last_attempt_at=row.last_attempt_at,
        last_success_at=row.last_success_at,
        cursor=str(Position(row.after_seq, row.after_n)),
        replaying=row.replay_seq is not None,
        overlap_until=overlap if row.old_secret is not None and overlap is not None and overlap > now else UNSET,
        created_by=row.created_by,
        created_at=row.created_at,
    )


def delivery_of(row: DeliveryRow) -> Delivery:
    """Make the answer of a delivery."""
    return Delivery(
        delivery_id=row.id,
        event_id=row.event_id,
        event=row.type,
        position=str(Position(row.seq, row.n)),
        status=row.status,
        attempts=row.attempts,
        next_attempt_at=row.next_at,
        response_status=row.answer,
        error=row.error,
        took_ms=row.took_ms,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


def hook_of(row: WebhookRow) -> Hook:
    """Make the answer of a hook."""
    return Hook(
        id=row.webhook_id,
        name=row.name,
        url=row.url,
        type=HOOKS[row.kind],
        active=row.active,
        timeout=-(-row.timeout_ms // 1000),
        retry_count=row.retries,
        mode="veto" if row.kind == VETO else UNSET,
        timeout_ms=row.timeout_ms if row.kind == VETO else UNSET,
        on_error=row.on_error or UNSET,
        created_at=row.created_at,
        last_run=row.last_attempt_at or NO_TIME,
        last_success=row.last_success_at or NO_TIME,
    )
