"""Asks hooks whether a transaction may be accepted. A web process does, before anything is written, and within a deadline.

What is in the log is decided by the engine alone, so this is the one place where a hook can say no. The hooks are read about once
a second, so a service that has none pays nothing.
"""

import threading
import time
from collections.abc import Sequence
from datetime import UTC
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from sqlalchemy import Engine

from core.base import clock
from core.base.answers import encode
from core.base.db import reading
from core.base.errors import ErrorCode, NotFound, Vetoed
from core.base.ids import new_id
from core.ledger import lookup
from core.ledger.rules.model import Draft, Kind
from core.ledger.rules.requests import Leg, TransactionRequest, as_answered, terms_of
from core.webhooks import store
from core.webhooks.kinds import HOOKS, VETO
from core.webhooks.operator import Operator
from core.webhooks.sending import Outcome, Sender
from core.webhooks.signing import Key, signed
from core.webhooks.store import WebhookRow

REMEMBERED_S = 0.9
"""The hooks are read again after so long. Another process sees a new hook within a second."""

ACCEPT, REJECT = "accept", "reject"
"""The answer that counts when a hook gives none."""

TIMEOUT_MS, TIMEOUT_MAX_MS = 1_000, 2_000
"""How long a hook may take. All hooks of a request together may take the longest."""

BROKEN_AFTER, BROKEN_S = 3, 1.0
"""After so many failures in a row a hook is left alone for so long, and what it says on errors counts at once."""

_ANSWER_MAX = 64 * 1024
_MESSAGE_MAX = 500


class Asked(Struct, frozen=True, kw_only=True):
    """A transaction that may be accepted."""

    reference: str
    precise_amount: int
    precision: int
    currency: str
    source: str
    destination: str
    description: str
    inflight: bool
    allow_overdraft: bool
    sources: list[Leg] | UnsetType = UNSET
    destinations: list[Leg] | UnsetType = UNSET
    meta_data: Raw | UnsetType = UNSET


class VetoBody(Struct, frozen=True, kw_only=True):
    """The body of the question."""

    hook_id: str
    hook_type: str
    event: str
    timestamp: Any
    dry_run: bool
    data: list[Asked]
    """The transactions: one, or those of a batch."""


class _Answer(Struct):
    success: Any = True
    message: Any = None
    index: Any = None


class Vetoes:
    """The hooks that are asked, as this process knows them."""

    def __init__(self, engine: Engine, operator: Operator) -> None:
        self._engine, self._operator = engine, operator
        self._hooks: list[WebhookRow] = []
        self._read_at = float("-inf")
        self._lock = threading.Lock()
        self._senders: dict[str, Sender] = {}
        self._failures: dict[str, tuple[int, float]] = {}

    def wanted(self) -> bool:
        """Tell whether any hook is to be asked.

        Raises:
            TransientError: the database is away, so nobody knows.
        """
        return bool(self._current())

    def ask(
        self, drafts: Sequence[Draft], requests: Sequence[TransactionRequest | None], *, dry_run: bool = False
    ) -> None:
        """Ask every hook about the transactions of a request.

        What was accepted before is not refused any more: a client that repeats it gets the first answer.

        Raises:
            Vetoed: a hook said no, or did not answer and rejects then.
        """
        data = [_asked(each, request) for each, request in zip(drafts, requests, strict=True) if request is not None]
        deadline = time.monotonic() + TIMEOUT_MAX_MS / 1000
        for hook in self._current():
            refused = self._ask(hook, data, deadline, dry_run=dry_run)
            if refused is not None and not self._are_there(data):
                raise refused

    def _ask(self, hook: WebhookRow, data: list[Asked], deadline: float, *, dry_run: bool) -> Vetoed | None:
        within_s = min(hook.timeout_ms / 1000, deadline - time.monotonic())
        failures, since = self._failures.get(hook.webhook_id, (0, 0.0))
        if within_s <= 0 or (failures >= BROKEN_AFTER and time.monotonic() - since < BROKEN_S):
            return _on_error(hook, "it did not answer in time before, or there was no time left")
        outcome = self._post(hook, data, within_s, dry_run=dry_run)
        answer = _answer(outcome)
        if answer is not None and answer.success is False:
            self._failures.pop(hook.webhook_id, None)
            index = answer.index if isinstance(answer.index, int) and 0 <= answer.index < len(data) else None
            return _vetoed(hook, _text(answer.message), index)
        if outcome.is_done:
            self._failures.pop(hook.webhook_id, None)
            return None
        self._failures[hook.webhook_id] = failures + 1, time.monotonic()
        return _on_error(hook, outcome.why or "it did not answer")

    def _post(self, hook: WebhookRow, data: list[Asked], within_s: float, *, dry_run: bool) -> Outcome:
        with reading(self._engine) as conn:
            now = clock.now(conn)
        body = encode(
            VetoBody(
                hook_id=hook.webhook_id,
                hook_type=HOOKS[hook.kind],
                event="transaction.asked",
                timestamp=now.astimezone(UTC),
                dry_run=dry_run,
                data=data,
            )
        )
        event_id, key = new_id("evt_"), self._operator.master_key
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Pacioli",
            "X-Hook-ID": hook.webhook_id,
            "X-Hook-Type": HOOKS[hook.kind],
            **signed([] if key is None else [Key(key)], event_id, int(now.timestamp()), body),
        }
        return self._sender(hook).post(hook.url, headers, body, timeout_s=within_s, read_max=_ANSWER_MAX)

    def _sender(self, hook: WebhookRow) -> Sender:
        sender = self._senders.get(hook.webhook_id)
        if sender is None:
            sender = self._senders[hook.webhook_id] = Sender(self._operator.guard, 32)
        return sender

    def _are_there(self, data: Sequence[Asked]) -> bool:
        try:
            for each in data:
                lookup.find_reference(self._engine, each.reference)
        except NotFound:
            return False
        return True

    def _current(self) -> list[WebhookRow]:
        """Return the hooks. One thread reads them again when it is time, and the others go on with those of before."""
        age_s = time.monotonic() - self._read_at
        if age_s > REMEMBERED_S and self._lock.acquire(blocking=age_s > 2 * REMEMBERED_S):
            try:
                if time.monotonic() - self._read_at > REMEMBERED_S:
                    with reading(self._engine) as conn:
                        self._hooks = [row for row in store.every(conn, [VETO]) if row.active]
                    self._read_at = time.monotonic()
            finally:
                self._lock.release()
        return self._hooks


def _asked(draft: Draft, request: TransactionRequest) -> Asked:
    row, terms = draft.row, terms_of(draft.row.terms)
    return Asked(
        reference=row.reference,
        precise_amount=row.amount,
        precision=row.precision,
        currency=row.currency,
        source=request.source or "",
        destination=request.destination or "",
        description=row.description,
        inflight=row.kind == Kind.HOLD or terms.inflight,
        allow_overdraft=row.allow_overdraft,
        sources=as_answered(terms.sources),
        destinations=as_answered(terms.destinations),
        meta_data=Raw(row.meta_data.encode()) if row.meta_data else UNSET,
    )


def _answer(outcome: Outcome) -> _Answer | None:
    """Read what a hook says. An error of its server says nothing about the transaction."""
    if outcome.status is None or outcome.status >= 500:
        return None
    try:
        return msgspec.json.decode(outcome.body, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _text(message: object) -> str:
    text = message if isinstance(message, str) else ""
    return "".join(c if c.isprintable() else " " for c in text)[:_MESSAGE_MAX].strip() or "no reason was given"


def _on_error(hook: WebhookRow, why: str) -> Vetoed | None:
    return None if hook.on_error == ACCEPT else _vetoed(hook, f"the hook could not be asked: {why}", None)


def _vetoed(hook: WebhookRow, message: str, index: int | None) -> Vetoed:
    details: dict[str, Any] = {"hook_id": hook.webhook_id, "message": message}
    return Vetoed(
        ErrorCode.TXN_VETOED,
        f"the hook {hook.webhook_id} refuses it: {message}",
        details if index is None else {**details, "index": index},
    )
