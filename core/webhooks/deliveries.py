"""SQL of deliveries: what waits for another attempt, and what became of the others.

The cursor of an endpoint is its outbox, so an event has no row before its first attempt. A failed one keeps its body, because
every attempt sends the same. Of those that were delivered the newest are kept.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct
from sqlalchemy import Connection

from core.base.db import driver

KEPT = 10_000
"""So many delivered rows of an endpoint are kept, for who wants to look."""

KEPT_DAYS = 30
"""A delivery that was given up is kept for so long."""


class Due(NamedTuple):
    """A delivery whose next attempt is due."""

    id: int
    event_id: str
    type: str
    seq: int
    n: int
    attempts: int
    body: str


class Waiting(NamedTuple):
    """The events that wait at an endpoint."""

    now: datetime
    """The database's clock."""
    pending: int
    next_in_s: float | None
    """When the next attempt is due. It is negative if one is overdue."""


class Attempted(Struct, frozen=True, kw_only=True):
    """The result of one attempt, as it is written down."""

    id: int | None
    """The delivery; None for an event that had none."""
    event_id: str
    type: str
    seq: int
    n: int
    status: str
    attempts: int
    retry_in_s: float | None
    body: str | None
    answer: int | None
    error: str | None
    took_ms: int


class DeliveryRow(NamedTuple):
    """A delivery as it is listed."""

    id: int
    event_id: str
    type: str
    seq: int
    n: int
    status: str
    attempts: int
    next_at: datetime | None
    answer: int | None
    error: str | None
    took_ms: int | None
    created_at: datetime
    ended_at: datetime | None


class Health(NamedTuple):
    """How an endpoint does, for probes and metrics."""

    webhook_id: str
    failing_s: float | None
    """The time for which no attempt has succeeded. None when the last one did."""
    last_error: str | None
    disabled_why: str | None
    behind: int
    """The number of rows of the log after its cursor."""
    pending: int
    given_up: int


# webhook_deliveries_due_idx serves it.
_WAITING = """
    SELECT clock_timestamp(), count(*), extract(epoch FROM min(next_at) - clock_timestamp())::float
    FROM webhook_deliveries
    WHERE webhook = %(webhook)s
      AND status = 'PENDING'
"""

# webhook_deliveries_due_idx serves it.
_DUE = """
    SELECT id, event_id, type, seq, n, attempts, body
    FROM webhook_deliveries
    WHERE webhook = %(webhook)s
      AND status = 'PENDING'
      AND next_at <= clock_timestamp()
    ORDER BY next_at, id
    LIMIT %(limit)s
"""

_INSERT = """
    INSERT INTO webhook_deliveries
        (webhook, event_id, type, seq, n, status, attempts, next_at, body, answer, error, took_ms, ended_at)
    SELECT
        %(webhook)s,
        event_id,
        type,
        seq,
        n,
        status,
        attempts,
        clock_timestamp() + make_interval(secs => retry_in_s),
        body,
        answer,
        error,
        took_ms,
        CASE WHEN retry_in_s IS NULL THEN clock_timestamp() END
    FROM unnest(
        %(event_ids)s::text[], %(types)s::text[], %(seqs)s::bigint[], %(ns)s::bigint[], %(statuses)s::text[],
        %(attempts)s::integer[], %(retries)s::float[], %(bodies)s::text[], %(answers)s::integer[], %(errors)s::text[],
        %(took)s::integer[]
    ) AS result (event_id, type, seq, n, status, attempts, retry_in_s, body, answer, error, took_ms)
"""

_UPDATE = """
    UPDATE webhook_deliveries AS delivery
    SET status = result.status,
        attempts = result.attempts,
        next_at = clock_timestamp() + make_interval(secs => result.retry_in_s),
        body = result.body,
        answer = result.answer,
        error = result.error,
        took_ms = result.took_ms,
        ended_at = CASE WHEN result.retry_in_s IS NULL THEN clock_timestamp() END
    FROM unnest(
        %(ids)s::bigint[], %(statuses)s::text[], %(attempts)s::integer[], %(retries)s::float[], %(bodies)s::text[],
        %(answers)s::integer[], %(errors)s::text[], %(took)s::integer[]
    ) AS result (id, status, attempts, retry_in_s, body, answer, error, took_ms)
    WHERE delivery.id = result.id
      AND delivery.webhook = %(webhook)s
"""

# Only the holder of the lease may write. The columns of a success or a failure are left as they are when there was none.
_MOVE = """
    UPDATE webhooks
    SET after_seq = %(after_seq)s,
        after_n = %(after_n)s,
        replay_seq = CASE WHEN %(replay_over)s THEN NULL ELSE coalesce(%(replay_seq)s, replay_seq) END,
        replay_n = CASE WHEN %(replay_over)s THEN NULL ELSE coalesce(%(replay_n)s, replay_n) END,
        last_attempt_at = CASE WHEN %(tried)s THEN clock_timestamp() ELSE last_attempt_at END,
        last_success_at = CASE WHEN %(succeeded)s THEN clock_timestamp() ELSE last_success_at END,
        failing_since = CASE
            WHEN %(succeeded)s THEN NULL
            WHEN %(tried)s THEN coalesce(failing_since, clock_timestamp())
            ELSE failing_since
        END,
        last_error = coalesce(%(error)s, last_error),
        active = active AND %(disabled_why)s::text IS NULL,
        disabled_why = coalesce(%(disabled_why)s, disabled_why)
    WHERE id = %(webhook)s
      AND lease_by = %(by)s
    RETURNING id
"""

# A receiver that was away gets soon what it missed. One that answered has refused that event, and has its time.
_HASTEN = """
    UPDATE webhook_deliveries
    SET next_at = clock_timestamp()
    WHERE webhook = %(webhook)s
      AND status = 'PENDING'
      AND (%(all)s OR answer IS NULL OR answer IN (429, 502, 503, 504))
"""

_FORGET = """
    DELETE FROM webhook_deliveries
    WHERE webhook = %(webhook)s
      AND (
          status = 'DELIVERED' AND id <= (
              SELECT id
              FROM webhook_deliveries
              WHERE webhook = %(webhook)s AND status = 'DELIVERED'
              ORDER BY id DESC
              OFFSET %(kept)s
              LIMIT 1
          )
          OR status = 'FAILED' AND ended_at < clock_timestamp() - make_interval(days => %(days)s)
      )
"""

_PAGE = """
    SELECT id, event_id, type, seq, n, status, attempts, next_at, answer, error, took_ms, created_at, ended_at
    FROM webhook_deliveries
    WHERE webhook = %(webhook)s
      AND status = ANY(%(statuses)s)
      AND (%(before)s::bigint IS NULL OR id < %(before)s)
    ORDER BY id DESC
    LIMIT %(limit)s
"""

# There are a handful of endpoints, and a small number of rows that are not delivered.
_HEALTH = """
    SELECT
        webhook_id,
        extract(epoch FROM clock_timestamp() - failing_since)::float,
        last_error,
        disabled_why,
        greatest(coalesce((SELECT max(seq) FROM log), 0) - after_seq, 0),
        (SELECT count(*) FROM webhook_deliveries WHERE webhook = webhooks.id AND status = 'PENDING'),
        (SELECT count(*) FROM webhook_deliveries WHERE webhook = webhooks.id AND status = 'FAILED')
    FROM webhooks
    WHERE kind <> 'veto'
      AND (active OR disabled_why IS NOT NULL)
    ORDER BY id
"""


def waiting(conn: Connection, webhook: int) -> Waiting:
    """Count what waits at an endpoint."""
    row = driver(conn).execute(_WAITING, {"webhook": webhook}).fetchone()
    assert row is not None
    return Waiting(*row)


def due(conn: Connection, webhook: int, limit: int) -> list[Due]:
    """List deliveries whose next attempt is due, the longest overdue first."""
    return [Due(*row) for row in driver(conn).execute(_DUE, {"webhook": webhook, "limit": limit})]


class Moved(Struct, frozen=True, kw_only=True):
    """The changes of a turn to its endpoint."""

    after_seq: int
    after_n: int
    replay_seq: int | None = None
    replay_n: int | None = None
    replay_over: bool = False
    tried: bool = False
    succeeded: bool = False
    error: str | None = None
    disabled_why: str | None = None


def write(conn: Connection, webhook: int, by: str, moved: Moved, results: Sequence[Attempted]) -> bool:
    """Write down a turn. Returns False when the lease is somebody else's by now, and then nothing is written."""
    values = {name: getattr(moved, name) for name in moved.__struct_fields__}
    if driver(conn).execute(_MOVE, {**values, "webhook": webhook, "by": by}).fetchone() is None:
        return False
    new = [each for each in results if each.id is None]
    if new:
        driver(conn).execute(
            _INSERT,
            {
                **_columns(new),
                "webhook": webhook,
                "event_ids": [each.event_id for each in new],
                "types": [each.type for each in new],
                "seqs": [each.seq for each in new],
                "ns": [each.n for each in new],
            },
        )
    again = [each for each in results if each.id is not None]
    if again:
        driver(conn).execute(_UPDATE, {**_columns(again), "webhook": webhook, "ids": [each.id for each in again]})
    return True


def hasten(conn: Connection, webhook: int, *, every: bool) -> None:
    """Make the next attempts due: of every delivery that waits, or of those that the receiver has not answered."""
    driver(conn).execute(_HASTEN, {"webhook": webhook, "all": every})


def forget(conn: Connection, webhook: int) -> None:
    """Remove old deliveries."""
    driver(conn).execute(_FORGET, {"webhook": webhook, "kept": KEPT, "days": KEPT_DAYS})


def page(
    conn: Connection, webhook: int, statuses: Sequence[str], *, before: int | None, limit: int
) -> list[DeliveryRow]:
    """List deliveries, the newest first. webhook_deliveries_status_idx serves it."""
    values = {"webhook": webhook, "statuses": list(statuses), "before": before, "limit": limit}
    return [DeliveryRow(*row) for row in driver(conn).execute(_PAGE, values)]


def health(conn: Connection) -> list[Health]:
    """Read how every endpoint does."""
    return [Health(*row) for row in driver(conn).execute(_HEALTH)]


def _columns(results: Sequence[Attempted]) -> dict[str, object]:
    return {
        "statuses": [each.status for each in results],
        "attempts": [each.attempts for each in results],
        "retries": [each.retry_in_s for each in results],
        "bodies": [each.body for each in results],
        "answers": [each.answer for each in results],
        "errors": [each.error for each in results],
        "took": [each.took_ms for each in results],
    }
