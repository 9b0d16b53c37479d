"""Creates, reads, updates, deletes, rotates, replays and tests endpoints."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import UNSET, Struct
from sqlalchemy import Connection, Engine

from core.base import clock
from core.base.actors import current
from core.base.db import begin, reading
from core.base.errors import Conflict, Disabled, ErrorCode, InvalidRequest, NotFound
from core.base.ids import new_id
from core.base.sizes import description_problem
from core.base.unreadable import NUL
from core.events.answers import Position, position_of
from core.events.feed import ends
from core.events.types import types_of
from core.journal.actions import Action, Event
from core.journal.record import record
from core.webhooks import deliveries, store
from core.webhooks.addresses import EVERYWHERE, Refused, Unresolved, allowed, problem_of
from core.webhooks.answers import HIDDEN, Tested, Webhook, webhook_of
from core.webhooks.bodies import webhook_body
from core.webhooks.headers import headers_of, keys_of, merged
from core.webhooks.kinds import DEFAULT, WEBHOOK
from core.webhooks.operator import Operator
from core.webhooks.requests import ReplayRequest, WebhookRequest, WebhookRotateRequest
from core.webhooks.sending import Outcome, Sender, host_of, origin_of
from core.webhooks.signing import Safe, Unreadable, new_secret, secret_problem, signed
from core.webhooks.store import WebhookRow

PREFIX = "whk_"
KINDS = (WEBHOOK, DEFAULT)

MAX_ENDPOINTS = 100
"""Each endpoint has a thread and reads the feed for itself."""
MAX_EVENTS = 50
MAX_HEADERS, MAX_HEADER = 20, 4096
OVERLAP_S, OVERLAP_MAX_S = 86_400, 30 * 86_400
TEST_S = 5.0
_RESOLVE_S = 2.0

TEST_EVENT = "webhook.test"

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_VALUE = re.compile(r"[\x20-\x7e]*")
_RESERVED = re.compile(
    r"(?i)host|connection|content-.*|transfer-encoding|te|trailer|upgrade|expect|keep-alive|proxy-.*|webhook-.*|x-blnk-.*|x-hook-.*"
)
"""The names that carry the request itself, or say who has sent it."""

Problems = list[tuple[str, str]]


class Book(Struct, frozen=True, kw_only=True):
    """The tools that the use cases need beside a connection."""

    safe: Safe | None
    """None in a service without a key, which can keep no secret."""
    operator: Operator

    def __repr__(self) -> str:
        return "Book()"

    def needed(self) -> Safe:
        """Return the safe.

        Raises:
            Disabled: there is none.
        """
        if self.safe is None:
            text = "webhooks are disabled: set PACIOLI_PEPPER or PACIOLI_SECRET_KEY, so that what signs can be kept"
            raise Disabled(ErrorCode.WEBHOOK_DISABLED, text)
        return self.safe


def create(conn: Connection, asked: WebhookRequest, book: Book) -> Webhook:
    """Create an endpoint. The answer is the only one that has its secret.

    Raises:
        InvalidRequest: it lists every problem.
        Conflict: there are too many.
        Disabled: the service has no key.
    """
    safe = book.needed()
    problems = [] if asked.url else [("url", "is missing")]
    values = _checked(asked, book.operator, problems)
    if len(store.every(conn, KINDS)) >= MAX_ENDPOINTS:
        raise Conflict(ErrorCode.GEN_CONFLICT, f"there are {MAX_ENDPOINTS} endpoints, which is the most there may be")
    webhook_id, secret = new_id(PREFIX), asked.secret or new_secret()
    types = types_of(values.setdefault("events", ["*"]), "events")
    at = position_of(asked.after) if asked.after else ends(conn).of(types)
    headers: dict[str, str] = values.pop("headers", None) or {}
    row = store.create(
        conn,
        {
            **values,
            "webhook_id": webhook_id,
            "kind": WEBHOOK,
            "secret": safe.seal(webhook_id, secret),
            "headers": _sealed(safe, webhook_id, headers),
            "after_seq": at.seq,
            "after_n": at.n,
            "created_by": current().key_id,
        },
    )
    record(conn, _event(Action.WEBHOOK_CREATED, row))
    return webhook_of(row, list(headers), clock.now(conn), secret=secret)


def found(conn: Connection, webhook_id: str, *, lock: bool = False) -> WebhookRow:
    """Find an endpoint by its ID, and lock it if asked to.

    Raises:
        NotFound: there is none.
    """
    row = store.find(conn, webhook_id, KINDS, lock=lock)
    if row is None:
        raise NotFound(ErrorCode.WEBHOOK_NOT_FOUND, f"Webhook with ID '{webhook_id[:64]}' not found")
    return row


def read(conn: Connection, webhook_id: str, book: Book) -> Webhook:
    """Read an endpoint.

    Raises:
        NotFound: there is none.
    """
    return _answer(conn, found(conn, webhook_id), book)


def read_all(conn: Connection, book: Book) -> list[Webhook]:
    """List the endpoints, the newest first."""
    return [_answer(conn, row, book) for row in store.every(conn, KINDS)]


def update(conn: Connection, webhook_id: str, asked: WebhookRequest, book: Book) -> Webhook:
    """Change the fields that a request gives. What waits for another attempt is sent soon.

    Raises:
        InvalidRequest: it lists every problem, or nothing was given.
        NotFound: there is no such endpoint.
        Conflict: the environment defines it.
    """
    safe, problems = book.needed(), Problems()
    for name in ("secret", "after"):
        if getattr(asked, name) is not UNSET:
            other = "rotate" if name == "secret" else "replay"
            problems.append((name, f"does not change here: use /webhooks/{webhook_id[:64]}/{other}"))
    if asked.url is None:
        problems.append(("url", "must not be null"))
    values = _checked(asked, book.operator, problems)
    if not values:
        raise InvalidRequest([("", "No fields provided for update")], ErrorCode.GEN_BAD_REQUEST)
    row = _own(found(conn, webhook_id, lock=True))
    _refuse_to_carry(row, values)
    if "headers" in values:
        values["headers"] = _sealed(safe, row.webhook_id, _kept(row, values["headers"] or {}, book))
    if values.get("active"):
        values["disabled_why"] = None
    row = store.change(conn, row.id, values)
    deliveries.hasten(conn, row.id, every=True)
    record(conn, _event(Action.WEBHOOK_UPDATED, row, list(values)))
    return _answer(conn, row, book)


def delete(conn: Connection, webhook_id: str) -> None:
    """Delete an endpoint. What waits there is not sent any more.

    Raises:
        NotFound: there is no such endpoint.
        Conflict: the environment defines it.
    """
    row = _own(found(conn, webhook_id, lock=True))
    store.remove(conn, row.id)
    record(conn, _event(Action.WEBHOOK_DELETED, row))


def rotate(conn: Connection, webhook_id: str, asked: WebhookRotateRequest, book: Book) -> Webhook:
    """Give an endpoint a new secret. For the overlap the one of before signs too, and older ones no longer do.

    Raises:
        InvalidRequest: the overlap is too long, or the secret is none.
        NotFound: there is no such endpoint.
        Conflict: the environment defines it.
    """
    safe, problems = book.needed(), Problems()
    overlap_s = OVERLAP_S if asked.overlap_s is None else asked.overlap_s
    if not 0 <= overlap_s <= OVERLAP_MAX_S:
        problems.append(("overlap_s", f"must be from 0 to {OVERLAP_MAX_S}"))
    if asked.secret is not None and (problem := secret_problem(asked.secret)):
        problems.append(("secret", problem))
    if problems:
        raise InvalidRequest(problems, ErrorCode.GEN_VALIDATION_ERROR)
    row, secret, now = _own(found(conn, webhook_id, lock=True)), asked.secret or new_secret(), clock.now(conn)
    values = {
        "secret": safe.seal(row.webhook_id, secret),
        "old_secret": row.secret if overlap_s and _is_readable(safe, row) else None,
        "old_secret_ends_at": now + timedelta(seconds=overlap_s) if overlap_s else None,
    }
    row = store.change(conn, row.id, values)
    record(conn, _event(Action.WEBHOOK_ROTATED, row))
    return _answer(conn, row, book, secret)


def replay(conn: Connection, webhook_id: str, asked: ReplayRequest) -> tuple[Position, Position | None]:
    """Send events of a part of the feed once more, with the same IDs. What waits for another attempt is sent soon.

    Raises:
        InvalidRequest: a cursor is none, or the part is empty.
        NotFound: there is no such endpoint.
        Conflict: a replay is under way.
    """
    if asked.after is None:
        raise InvalidRequest([("from", "is missing")], ErrorCode.GEN_VALIDATION_ERROR)
    after = _position(asked.after, "from")
    until = None if asked.until is None else _position(asked.until, "to")
    row = found(conn, webhook_id, lock=True)
    if row.replay_seq is not None:
        raise Conflict(ErrorCode.GEN_CONFLICT, "a replay of this endpoint is under way; wait until it is over")
    cursor = Position(row.after_seq, row.after_n)
    if after >= cursor or (until is not None and until <= after):
        text = f"must be before {'to' if until is not None and until <= after else f'the cursor, {cursor}'}"
        raise InvalidRequest([("from", text)], ErrorCode.GEN_VALIDATION_ERROR)
    values = {"replay_seq": after.seq, "replay_n": after.n}
    ends = {"replay_to_seq": until and until.seq, "replay_to_n": until and until.n}
    store.change(conn, row.id, {**values, **ends})
    deliveries.hasten(conn, row.id, every=True)
    record(conn, _event(Action.WEBHOOK_REPLAYED, row))
    return after, until


def test(engine: Engine, webhook_id: str, book: Book) -> Tested:
    """Send a test event to an endpoint now, and say how it went. If it went well, what waits there is sent soon.

    Raises:
        NotFound: there is no such endpoint.
    """
    with reading(engine) as conn:
        row, now = found(conn, webhook_id), clock.now(conn)
    outcome = _send_test(row, msgspec.json.encode({"webhook_id": row.webhook_id, "at": now}), book, now)
    if outcome.is_done:
        with begin(engine) as conn:
            store.change(conn, row.id, {"failing_since": None, "last_success_at": now, "last_attempt_at": now})
            deliveries.hasten(conn, row.id, every=True)
    return Tested(delivered=outcome.is_done, response_status=outcome.status, error=outcome.why, took_ms=outcome.took_ms)


def check_url(url: str, operator: Operator, problems: Problems) -> None:
    """Check the form of a URL, and that its name has an address that may be connected to. A name without one may get it."""
    if problem := problem_of(url):
        problems.append(("url", problem))
        return
    try:
        allowed(*host_of(url), operator.guard, _RESOLVE_S)
    except Refused as error:
        problems.append(("url", f"leads to a place that webhooks may not go to: {error}"))
    except Unresolved:
        pass


def _send_test(row: WebhookRow, data: bytes, book: Book, now: Any) -> Outcome:
    body, event_id, timestamp = webhook_body(TEST_EVENT, data), new_id("evt_"), int(now.timestamp())
    is_default = row.kind == DEFAULT
    sender = Sender(EVERYWHERE if is_default else book.operator.guard, 1)
    try:
        safe = book.needed()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Pacioli",
            "X-Blnk-Event-Id": event_id,
            "X-Blnk-Attempt": "1",
            **signed(keys_of(row, safe, book.operator, now), event_id, timestamp, body),
        }
        url = (book.operator.url or "") if is_default else row.url
        return sender.post(url, merged(headers, headers_of(row, safe, book.operator)), body, timeout_s=TEST_S)
    except Unreadable as error:
        return Outcome(error=str(error))
    finally:
        sender.close()


def _checked(asked: WebhookRequest, operator: Operator, problems: Problems) -> dict[str, Any]:
    """Check the fields of a request, and return the columns that it gives.

    Raises:
        InvalidRequest: it lists every problem.
    """
    given = {name: getattr(asked, name) for name in ("url", "events", "headers", "ordered", "active", "description")}
    values = {name: value for name, value in given.items() if value is not UNSET and value is not None}
    if given["headers"] is None:
        values["headers"] = {}
    if given["description"] is None:
        values["description"] = ""
    if asked.url:
        check_url(asked.url, operator, problems)
    if "description" in values:
        problem = description_problem(values["description"]) or (NUL if "\0" in values["description"] else None)
        problems += [("description", problem)] if problem else []
    if asked.secret and (problem := secret_problem(asked.secret)):
        problems.append(("secret", problem))
    if "events" in values:
        problems += _event_problems(values["events"])
    problems += _header_problems(values.get("headers") or {})
    if asked.after:
        try:
            position_of(asked.after)
        except InvalidRequest as error:
            problems += error.problems
    if problems:
        raise InvalidRequest(problems, ErrorCode.GEN_VALIDATION_ERROR)
    return values


def _event_problems(events: Sequence[str]) -> Problems:
    if not events or len(events) > MAX_EVENTS:
        return [("events", f"must name from 1 to {MAX_EVENTS} types of events")]
    try:
        types_of(events, "events")
    except InvalidRequest as error:
        return error.problems
    return [] if all(events) else [("events", "has an empty text")]


def _header_problems(headers: Mapping[str, str]) -> Problems:
    if len(headers) > MAX_HEADERS:
        return [("headers", f"has {len(headers)} members; at most {MAX_HEADERS} are allowed")]
    problems = []
    for name, value in headers.items():
        where = f"headers.{name[:64]}"
        if not _NAME.fullmatch(name):
            problems.append((where, "is no name of a header"))
        elif _RESERVED.fullmatch(name):
            problems.append((where, "is a header that the service sets itself"))
        elif len(value) > MAX_HEADER or not _VALUE.fullmatch(value):
            problems.append((where, f"must have at most {MAX_HEADER} characters of ASCII in one line"))
    return problems


def _kept(row: WebhookRow, headers: Mapping[str, str], book: Book) -> dict[str, str]:
    """Put the stored values in the place of those that were hidden when the client read them."""
    stored = headers_of(row, book.needed(), book.operator)
    return {name: stored.get(name, value) if value == HIDDEN else value for name, value in headers.items()}


def _refuse_to_carry(row: WebhookRow, values: Mapping[str, Any]) -> None:
    """Refuse a URL of another place that would get the stored values of headers, which nobody may see again.

    Raises:
        InvalidRequest: the values must be given again.
    """
    is_kept = HIDDEN in values["headers"].values() if "headers" in values else True
    if row.headers and is_kept and origin_of(row.url) != origin_of(values.get("url", row.url)):
        text = "must be sent again with all values, or as null, because the URL leads to another place"
        raise InvalidRequest([("headers", text)], ErrorCode.GEN_VALIDATION_ERROR)


def _sealed(safe: Safe, webhook_id: str, headers: Mapping[str, str]) -> bytes | None:
    return safe.seal(webhook_id, msgspec.json.encode(headers).decode()) if headers else None


def _is_readable(safe: Safe, row: WebhookRow) -> bool:
    try:
        return row.secret is not None and bool(safe.open(row.webhook_id, row.secret))
    except Unreadable:
        return False


def _answer(conn: Connection, row: WebhookRow, book: Book, secret: str = "") -> Webhook:
    try:
        names = list(headers_of(row, book.safe, book.operator)) if book.safe is not None else []
    except Unreadable:
        names = []
    url = (book.operator.url or "") if row.kind == DEFAULT else None
    return webhook_of(row, names, clock.now(conn), secret=secret, url=url)


def _own(row: WebhookRow) -> WebhookRow:
    if row.kind == DEFAULT:
        raise Conflict(ErrorCode.GEN_CONFLICT, "the endpoint default is that of BLNK_WEBHOOK_URL: change the setting")
    return row


def _position(cursor: str, field: str) -> Position:
    try:
        return position_of(cursor)
    except InvalidRequest as error:
        raise InvalidRequest([(field, error.problems[0][1])], ErrorCode.GEN_VALIDATION_ERROR) from None


def _event(action: Action, row: WebhookRow, fields: "list[str] | None" = None) -> Event:
    """Make the row of the audit log. A URL may have a token in its path, so only the host is named."""
    host = host_of(row.url)[0] if row.url and problem_of(row.url) is None else ""
    more: dict[str, Any] = {"host": host}
    return Event(action=action, subject=row.webhook_id, more={**more, "fields": sorted(fields)} if fields else more)
