"""Creates, reads, updates and deletes Blnk's transaction hooks. A hook is an endpoint with another body."""

from typing import Any

from sqlalchemy import Connection

from core.base.actors import current
from core.base.errors import Conflict, ErrorCode, InvalidRequest, NotFound
from core.base.ids import new_id
from core.base.sizes import MAX_NAME, size_problem
from core.base.unreadable import NUL
from core.events.feed import ends
from core.events.types import types_of
from core.journal.actions import Action, Event
from core.journal.record import record
from core.webhooks import deliveries, store
from core.webhooks.addresses import problem_of
from core.webhooks.endpoints import Problems, check_url
from core.webhooks.kinds import EVENTS_OF_HOOKS, HOOKS, POST, PRE, VETO
from core.webhooks.operator import Operator
from core.webhooks.requests import HookRequest
from core.webhooks.sending import host_of
from core.webhooks.store import WebhookRow
from core.webhooks.veto import ACCEPT, REJECT, TIMEOUT_MAX_MS, TIMEOUT_MS

PREFIX = "hook_"
KINDS = (PRE, POST, VETO)

MAX_HOOKS = 100
MAX_VETOES = 4
"""Every request waits for all of them."""
TIMEOUT_S, TIMEOUT_MAX_S = 30, 300
RETRIES, RETRIES_MAX = 3, 10

_BY_TYPE = {HOOKS[kind]: kind for kind in (PRE, POST)}
_MODES = ("notify", "veto")


def create(conn: Connection, asked: HookRequest, operator: Operator) -> WebhookRow:
    """Create a hook.

    Raises:
        InvalidRequest: it lists every problem (HOOK_INVALID).
        Conflict: there are too many.
    """
    values = _checked(asked, operator)
    _refuse_more(conn, values["kind"])
    at = ends(conn).of(types_of(values["events"]))
    own = {"webhook_id": new_id(PREFIX), "after_seq": at.seq, "after_n": at.n, "created_by": current().key_id}
    row = store.create(conn, {**values, **own})
    record(conn, _event(Action.HOOK_CREATED, row))
    return row


def found(conn: Connection, hook_id: str, *, lock: bool = False) -> WebhookRow:
    """Find a hook by its ID, and lock it if asked to.

    Raises:
        NotFound: there is none.
    """
    row = store.find(conn, hook_id, KINDS, lock=lock)
    if row is None:
        raise NotFound(ErrorCode.HOOK_NOT_FOUND, "hook not found")
    return row


def read_all(conn: Connection, type: str | None) -> list[WebhookRow]:
    """List the hooks, or those of a type, the newest first.

    Raises:
        InvalidRequest: there is no such type.
    """
    if type and type not in _BY_TYPE:
        raise InvalidRequest([("type", _TYPES)], ErrorCode.HOOK_INVALID)
    return [row for row in store.every(conn, KINDS) if not type or HOOKS[row.kind] == type]


def update(conn: Connection, hook_id: str, asked: HookRequest, operator: Operator) -> WebhookRow:
    """Give a hook other values for everything.

    Raises:
        InvalidRequest: it lists every problem (HOOK_INVALID).
        NotFound: there is no such hook.
    """
    values = _checked(asked, operator)
    before = found(conn, hook_id, lock=True)
    if values["kind"] == VETO != before.kind:
        _refuse_more(conn, VETO)
    if values["kind"] != before.kind == VETO:  # It was told nothing until now.
        at = ends(conn).of(types_of(values["events"]))
        values |= {"after_seq": at.seq, "after_n": at.n}
    row = store.change(conn, before.id, {**values, "disabled_why": None})
    deliveries.hasten(conn, row.id, every=True)
    record(conn, _event(Action.HOOK_UPDATED, row))
    return row


def delete(conn: Connection, hook_id: str) -> None:
    """Delete a hook. What waits there is not sent any more.

    Raises:
        NotFound: there is no such hook.
    """
    row = found(conn, hook_id, lock=True)
    store.remove(conn, row.id)
    record(conn, _event(Action.HOOK_DELETED, row))


def _refuse_more(conn: Connection, kind: str) -> None:
    rows = store.every(conn, KINDS)
    most = MAX_VETOES if kind == VETO else MAX_HOOKS
    if len([row for row in rows if kind != VETO or row.kind == VETO]) >= most:
        raise Conflict(ErrorCode.GEN_CONFLICT, f"there are {most} such hooks, which is the most there may be")


_TYPES = f"must be {' or '.join(_BY_TYPE)}"


def _checked(asked: HookRequest, operator: Operator) -> dict[str, Any]:
    """Check a request, and return the columns that it gives. A number out of its range is taken for Blnk's default.

    Raises:
        InvalidRequest: it lists every problem.
    """
    problems: Problems = []
    name = asked.name or ""
    if problem := size_problem(len(name), MAX_NAME, "characters") or (NUL if "\0" in name else None):
        problems.append(("name", problem))
    if asked.type not in _BY_TYPE:
        problems.append(("type", _TYPES))
    check_url(asked.url or "", operator, problems)
    timeout_s = asked.timeout if asked.timeout is not None and asked.timeout > 0 else TIMEOUT_S
    if timeout_s > TIMEOUT_MAX_S:
        problems.append(("timeout", f"must be {TIMEOUT_MAX_S} seconds at most"))
    retries = asked.retry_count if asked.retry_count is not None and asked.retry_count >= 0 else RETRIES
    is_veto = asked.mode == "veto"
    problems += _veto_problems(asked, is_veto=is_veto)
    if problems:
        raise InvalidRequest([("", "invalid hook data"), *problems], ErrorCode.HOOK_INVALID)
    kind = VETO if is_veto else _BY_TYPE[asked.type or ""]
    return {
        "kind": kind,
        "name": name,
        "url": asked.url,
        "events": EVENTS_OF_HOOKS[kind],
        "active": asked.active is not False,
        "timeout_ms": (asked.timeout_ms or TIMEOUT_MS) if is_veto else timeout_s * 1000,
        "on_error": (asked.on_error or REJECT) if is_veto else None,
        "retries": min(retries, RETRIES_MAX),
    }


def _veto_problems(asked: HookRequest, *, is_veto: bool) -> Problems:
    problems: Problems = []
    if asked.mode not in (None, *_MODES):
        problems.append(("mode", f"must be {' or '.join(_MODES)}"))
    if is_veto and asked.type != HOOKS[VETO]:
        problems.append(("type", f"must be {HOOKS[VETO]} for a veto"))
    if is_veto and asked.timeout_ms is not None and not 0 < asked.timeout_ms <= TIMEOUT_MAX_MS:
        problems.append(("timeout_ms", f"must be from 1 to {TIMEOUT_MAX_MS}"))
    if is_veto and asked.on_error not in (None, ACCEPT, REJECT):
        problems.append(("on_error", f"must be {ACCEPT} or {REJECT}"))
    given = [name for name in ("timeout_ms", "on_error") if getattr(asked, name) is not None]
    if not is_veto and given:
        problems += [(name, "is only for the mode veto") for name in given]
    return problems


def _event(action: Action, row: WebhookRow) -> Event:
    host = host_of(row.url)[0] if problem_of(row.url) is None else ""
    return Event(action=action, subject=row.webhook_id, more={"host": host, "type": HOOKS[row.kind]})
