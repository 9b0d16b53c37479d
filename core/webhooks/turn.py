"""Delivers for one endpoint, turn by turn: read the feed after its cursor, send, and write down how it went in one commit.

A process that dies in the middle of a turn has written nothing, so the next one sends the same events again, with the same IDs:
every event comes at least once. A receiver drops doubles by the ID.

An endpoint that does not answer is probed, and its cursor stands still, so it costs a few rows however much happens.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime
from typing import Protocol

import structlog
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, Engine

from core.base.db import begin, reading_within
from core.base.errors import Gone
from core.events.answers import Event, Page, Position, position_of
from core.events.feed import read
from core.events.types import Types
from core.webhooks import deliveries, store
from core.webhooks.addresses import EVERYWHERE
from core.webhooks.bodies import body_of, is_for, judged
from core.webhooks.deliveries import Attempted, Due, Moved
from core.webhooks.headers import headers_of, keys_of, merged
from core.webhooks.kinds import CALLBACK, DEFAULT, HOOKS, types_for
from core.webhooks.operator import Operator
from core.webhooks.sending import Outcome, Sender
from core.webhooks.signing import Safe, Unreadable, signed
from core.webhooks.store import WebhookRow

logger = structlog.get_logger()

SCHEDULE_S = (5.0, 30.0, 120.0, 600.0, 3_600.0, 21_600.0, 86_400.0)
"""The pauses before the second attempt, the third and so on. Each is up to a tenth longer or shorter, so that what failed
together does not come back together."""

PARALLEL = 8
"""An unordered endpoint gets so many events at once."""

PAGE_FIRST, PAGE_MAX = 8, 256
"""A turn takes so many events. Each turn without a failure takes twice as many as the one before."""

WINDOW, WINDOW_FAILING = 10_000, 100
"""No more events are begun while so many wait for another attempt."""

PROBE_S = 5.0
"""An endpoint that fails gets a new event so often, to see whether it is well again."""

WAIT_S = 1.0
"""The longest pause between two turns of an endpoint that has nothing to do. The doorbell ends it."""

READ_S = 10.0
"""A statement that reads what to send takes so long at most."""

UNREADABLE_S = 30.0
FORGET_EVERY = 2_000
"""Old deliveries are removed after so many new ones."""

_SAVE_S = 5.0
"""A cursor that has moved over events of other types is written down so often."""

GONE = 410


class Read(Protocol):
    """Reads the feed, as ``core.events.feed.read`` does."""

    def __call__(self, conn: Connection, after: Position, *, limit: int, types: Types) -> Page: ...


class Plan(Struct, frozen=True, kw_only=True):
    """How often a failed delivery is tried again, and how patiently. Tests are in more of a hurry."""

    schedule_s: tuple[float, ...] = SCHEDULE_S
    probe_s: float = PROBE_S
    wait_s: float = WAIT_S


class Means(Struct, frozen=True, kw_only=True):
    """The tools that a process needs to deliver."""

    engine: Engine
    by: str
    """The name of the process, which has the leases."""
    safe: Safe
    operator: Operator
    read: Read = read
    plan: Plan = Plan()


class Lost(Exception):
    """The endpoint is deleted, inactive, or another process delivers for it."""


class Item(Struct, frozen=True, kw_only=True):
    """One event to send: a new one, or one whose next attempt is due."""

    id: int | None
    event_id: str
    type: str
    position: Position
    attempt: int
    body: bytes


class Courier:
    """Delivers for one endpoint whose lease this process has."""

    def __init__(self, means: Means, key: int) -> None:
        self._key = key
        self._engine, self._by, self._safe, self._operator = means.engine, means.by, means.safe, means.operator
        self._read, self._plan = means.read, means.plan
        self._page = PAGE_FIRST
        self._skipped: tuple[Position, float] | None = None
        self._written = 0
        self._sender: Sender | None = None
        self._threads: ThreadPoolExecutor | None = None
        self.observe: Callable[[Outcome], None] = lambda outcome: None
        """Is told every outcome, for metrics."""

    def close(self) -> None:
        """Close the connections to the receiver."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)
        if self._sender is not None:
            self._sender.close()

    def turn(self) -> float:
        """Deliver what there is to deliver, and return the pause until the next turn is worth while.

        Raises:
            Lost: this process is not to deliver for the endpoint any more.
            TransientError: the database is away.
        """
        with reading_within(self._engine, READ_S) as conn:
            row = store.find_key(conn, self._key)
            if row is None or not row.active or row.lease_by != self._by:
                raise Lost
            waiting = deliveries.waiting(conn, self._key)
            due = deliveries.due(conn, self._key, self._page) if (waiting.next_in_s or 0.0) <= 0.0 else []
            limit = self._limit(row, waiting) - len(due)
            page = self._page_of(conn, row, limit) if limit > 0 else None
        try:
            items = [*map(_again, due), *(() if page is None else self._new(row, page.events, waiting.now))]
            sent = self._send(row, items, waiting.now) if items else []
        except Unreadable as error:
            self._write(row, replace(_at(row), tried=True, error=str(error)), [])
            return UNREADABLE_S
        if sent:
            self._keep(row, page, sent)
            return 0.0
        if page is not None and position_of(page.next) != self._after(row):
            self._skip(row, page)
            return 0.0
        longest_s = self._plan.wait_s
        return longest_s if waiting.next_in_s is None else min(longest_s, max(0.0, waiting.next_in_s))

    # What a turn takes

    def _limit(self, row: WebhookRow, waiting: deliveries.Waiting) -> int:
        """Return how many events a turn takes, those that are due among them."""
        if row.ordered and waiting.pending:
            return 1 if (waiting.next_in_s or 0.0) <= 0.0 else 0
        if row.failing_since is None:
            return min(self._page, WINDOW - waiting.pending)
        self._page = PAGE_FIRST
        last = row.last_attempt_at
        is_probed = waiting.pending and last is not None and (waiting.now - last).total_seconds() < self._plan.probe_s
        return 0 if is_probed or waiting.pending >= WINDOW_FAILING else 1

    def _page_of(self, conn: Connection, row: WebhookRow, limit: int) -> Page:
        """Read the feed. Events that are kept no longer are skipped, and the endpoint's last error says so."""
        try:
            page = self._read(conn, self._after(row), limit=limit, types=types_for(row))
            if row.kind == CALLBACK:
                page = replace(page, events=[each for each in page.events if is_for(row.url, each)])
            return page
        except Gone as error:
            logger.warning("an endpoint has missed events", webhook=row.webhook_id, error=str(error))
            return Page(events=[], next=error.details["first"], more=True, held=None)

    def _after(self, row: WebhookRow) -> Position:
        """Return where this turn reads on: the cursor of a replay, if there is one, or the cursor."""
        if row.replay_seq is not None:
            return Position(row.replay_seq, row.replay_n or 0)
        after = Position(row.after_seq, row.after_n)
        return after if self._skipped is None else max(after, self._skipped[0])

    def _new(self, row: WebhookRow, events: Iterable[Event], now: datetime) -> list[Item]:
        end = _end_of_replay(row)
        return [
            Item(
                id=None,
                event_id=event.id,
                type=event.type,
                position=position_of(event.position),
                attempt=1,
                body=body_of(row.kind, row.webhook_id, event, now),
            )
            for event in events
            if end is None or position_of(event.position) <= end
        ]

    # Sending

    def _send(self, row: WebhookRow, items: Sequence[Item], now: datetime) -> list[tuple[Item, Outcome]]:
        """Send items in order, and stop after a failure. Returns what was sent: the first items, all of them if all went well.

        An ordered endpoint gets one at a time.
        """
        if self._sender is None:
            self._sender = Sender(EVERYWHERE if row.kind == DEFAULT else self._operator.guard, PARALLEL)
        url = (self._operator.url or "") if row.kind == DEFAULT else row.url
        keys, own = keys_of(row, self._safe, self._operator, now), headers_of(row, self._safe, self._operator)
        began, sender = time.monotonic(), self._sender
        outcomes: list[Outcome | None] = [None] * len(items)
        rest, lock, failed = iter(enumerate(items)), threading.Lock(), threading.Event()

        def work() -> None:
            while True:
                with lock:  # So that what was sent is the beginning of the list.
                    index, item = next(rest, (0, None)) if not failed.is_set() else (0, None)
                if item is None:
                    return
                timestamp = int(now.timestamp() + time.monotonic() - began)
                headers = {
                    "Content-Type": "application/json",
                    "User-Agent": "Pacioli",
                    "X-Blnk-Event-Id": item.event_id,
                    "X-Blnk-Attempt": str(item.attempt),
                    **_of_hook(row),
                    **signed(keys, item.event_id, timestamp, item.body),
                }
                sent = sender.post(url, merged(headers, own), item.body, timeout_s=row.timeout_ms / 1000)
                outcome = outcomes[index] = judged(row.kind, sent)
                if not outcome.is_done:
                    failed.set()
                self.observe(outcome)

        helpers = 0 if row.ordered else min(PARALLEL, len(items)) - 1
        if helpers and self._threads is None:
            self._threads = ThreadPoolExecutor(PARALLEL - 1, thread_name_prefix=f"send {row.webhook_id}")
        running = [self._threads.submit(work) for _ in range(helpers)] if self._threads is not None else []
        work()
        wait(running)
        for each in running:
            each.result()
        return [(item, outcome) for item, outcome in zip(items, outcomes, strict=True) if outcome is not None]

    # What is written down

    def _keep(self, row: WebhookRow, page: Page | None, sent: Sequence[tuple[Item, Outcome]]) -> None:
        """Write down what was sent, and move the cursor over it."""
        done = [outcome.is_done for _, outcome in sent]
        self._page = min(PAGE_MAX, 2 * self._page) if all(done) else PAGE_FIRST
        new = [item.position for item, _ in sent if item.id is None]
        # The page ends behind events of other types, and everything in it is behind us.
        is_whole = page is not None and len(new) == len(page.events)
        reached = position_of(page.next) if page is not None and is_whole else max(new, default=None)
        error = next((outcome.why for _, outcome in reversed(sent) if not outcome.is_done), None)
        is_gone = any(outcome.status == GONE for _, outcome in sent)
        moved = replace(
            self._moved(row, reached),
            tried=True,
            succeeded=any(done),
            error=error,
            disabled_why=f"the receiver answered {GONE} Gone" if is_gone else None,
        )
        recovered = row.failing_since is not None and any(done)
        self._write(row, moved, [self._attempted(row, item, outcome) for item, outcome in sent], hasten=recovered)

    def _skip(self, row: WebhookRow, page: Page) -> None:
        """Go on after events of other types. That is written down now and then."""
        now, reached = time.monotonic(), position_of(page.next)
        since = now if self._skipped is None else self._skipped[1]
        if row.replay_seq is not None or now - since > _SAVE_S:
            self._write(row, self._moved(row, reached), [])
            self._skipped = None
        else:
            self._skipped = (reached, since)

    def _moved(self, row: WebhookRow, reached: Position | None) -> Moved:
        """Move the cursor, or that of the replay. A replay is over at its end."""
        if reached is None:
            return _at(row)
        if row.replay_seq is None:
            self._skipped = None
            return Moved(after_seq=reached.seq, after_n=reached.n)
        end = _end_of_replay(row)
        is_over = end is None or reached >= end
        return replace(_at(row), replay_over=is_over, replay_seq=reached.seq, replay_n=reached.n)

    def _write(self, row: WebhookRow, moved: Moved, results: Sequence[Attempted], *, hasten: bool = False) -> None:
        with begin(self._engine) as conn:
            if not deliveries.write(conn, row.id, self._by, moved, results):
                raise Lost
            if hasten:
                deliveries.hasten(conn, row.id, every=False)
            self._written += len(results)
            if self._written >= FORGET_EVERY:
                self._written = 0
                deliveries.forget(conn, row.id)

    def _attempted(self, row: WebhookRow, item: Item, outcome: Outcome) -> Attempted:
        schedule = self._plan.schedule_s[: row.retries]
        retry_in_s = None
        if not outcome.is_done:
            if item.attempt <= len(schedule):
                retry_in_s = schedule[item.attempt - 1] * random.uniform(0.9, 1.1)
            elif row.ordered:  # Nothing overtakes it, so it is never given up.
                retry_in_s = max(schedule, default=self._plan.schedule_s[-1])
        return Attempted(
            id=item.id,
            event_id=item.event_id,
            type=item.type,
            seq=item.position.seq,
            n=item.position.n,
            status="DELIVERED" if outcome.is_done else "FAILED" if retry_in_s is None else "PENDING",
            attempts=item.attempt,
            retry_in_s=retry_in_s,
            body=None if outcome.is_done else item.body.decode(),
            answer=outcome.status,
            error=outcome.why,
            took_ms=outcome.took_ms,
        )


def _of_hook(row: WebhookRow) -> dict[str, str]:
    return {"X-Hook-ID": row.webhook_id, "X-Hook-Type": HOOKS[row.kind]} if row.kind in HOOKS else {}


def _again(due: Due) -> Item:
    return Item(
        id=due.id,
        event_id=due.event_id,
        type=due.type,
        position=Position(due.seq, due.n),
        attempt=due.attempts + 1,
        body=due.body.encode(),
    )


def _at(row: WebhookRow) -> Moved:
    return Moved(after_seq=row.after_seq, after_n=row.after_n)


def _end_of_replay(row: WebhookRow) -> Position | None:
    """Return the last position of the replay that is under way. It goes to the cursor at most."""
    if row.replay_seq is None:
        return None
    cursor = Position(row.after_seq, row.after_n)
    return cursor if row.replay_to_seq is None else min(cursor, Position(row.replay_to_seq, row.replay_to_n or 0))
