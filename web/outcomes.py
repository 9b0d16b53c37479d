"""Answers with an outcome, after draining the queues in this process (``skip_queue``) or after ``?wait=``."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from flask import Response
from msgspec.structs import replace

from core.base.db import reading
from core.ledger import drain, lookup
from core.ledger.answers import Echo, Transaction, echo_of, rejection_of, transaction_of
from core.ledger.append import Submission
from core.ledger.explain import CODES, blnk_text
from core.ledger.rules.model import Kind, RejectReason
from core.ledger.rules.requests import TransactionRequest
from core.ledger.store import families as family_store
from core.ledger.store.transaction_rows import TransactionRow, decided_row
from web.accept.sharing import Ask, Shared
from web.http import later, wire
from web.http.errors import error_response
from web.http.later import Later, Work
from web.service import Service

Row = TypeVar("Row")


def drain_all(ledger: Service, submissions: Sequence[Submission]) -> None:
    """Drain what the commit of these submissions has not decided, in this thread. They do not jump the line."""
    for queue, seq in last_of_each_queue(ledger, submissions).items():
        ledger.doorbell.ring(drain.drain_until(ledger.engine, queue, seq, announce=ledger.announce))


def wait_all(ledger: Service, places: Mapping[int, int], wait_s: float) -> None:
    """Return when each queue is decided up to its seq, or at the end of the time."""
    deadline = time.monotonic() + wait_s
    for queue, seq in places.items():
        ledger.waiting.wait(queue, seq, deadline - time.monotonic())


def places_of(ledger: Service, row: TransactionRow) -> dict[int, int]:
    """Find the seq up to which each queue must be decided for a transaction: its own queue, or those of its legs."""
    if row.queue is not None:
        return {row.queue: row.seq}
    with reading(ledger.engine) as conn:
        legs = family_store.legs_of(conn, row.transaction_id) if row.seq else []
    return {leg.queue: leg.seq for leg in legs if leg.queue is not None}


def legs_of_replayed(ledger: Service, submissions: Sequence[Submission]) -> list[TransactionRow]:
    """Read the legs of the splits that were accepted before. They were not looked up when the splits were submitted."""
    accepted = (one for each in submissions for one in each.accepted)
    splits = [one.transaction_id for one in accepted if one.replayed and one.seq and one.queue < 0]
    if not splits:
        return []
    with reading(ledger.engine) as conn:
        return [leg for split in splits for leg in family_store.legs_of(conn, split)]


def answer_outcome(
    ledger: Service, submission: Submission, echo: Echo, *, wait_s: float, created: int = 201
) -> Response:
    """Answer with the present state of the one submitted transaction, after draining its queues or waiting, if asked to."""
    (accepted,) = submission.accepted
    if echo.skip_queue:
        drain_all(ledger, [submission])
    elif wait_s:
        wait_all(ledger, last_of_each_queue(ledger, [submission]), wait_s)
    row = lookup.find(ledger.engine, accepted.transaction_id)
    if accepted.replayed:
        response = wire.answer(_repeating(lookup.whole(ledger.engine, row), echo))
        response.headers["Idempotent-Replayed"] = "true"
        return response
    if echo.skip_queue and (failure := _failure(ledger, row)):
        return failure
    return wire.answer(_repeating(lookup.whole(ledger.engine, row), echo), created)


def answer_at_once(ledger: Service, submission: Submission, asked: TransactionRequest) -> Response | None:
    """Answer with a transaction that moved or held money in the commit that accepted it, without reading it back.

    Returns None if it was left to a drain, or if there is more to say about it: a replay, a rejection, legs.
    """
    (draft,), (accepted,), immediate = submission.drafts, submission.accepted, submission.immediate
    if immediate is None or accepted.replayed or not asked.source or not asked.destination:
        return None  # The same commit may have accepted the first transaction of a replay, under an ID of its own.
    outcome = immediate.outcomes.get(accepted.seq)
    source = ledger.directory.named(asked.source, draft.row.currency)
    destination = ledger.directory.named(asked.destination, draft.row.currency)
    if outcome is None or outcome.rejection is not None or source is None or destination is None:
        return None
    row = replace(
        draft.row,
        seq=accepted.seq,
        queue=accepted.queue,
        accepted_at=accepted.accepted_at,
        digest=accepted.digest,
        actor=submission.asker_of(draft),
        part=str(submission.actor.part),
    )
    decided = decided_row(row, (source, destination), outcome, immediate.decision.decided_at)
    return wire.answer(_repeating(transaction_of(decided), echo_of(asked)), 201)


def answer_shared(
    shared: Shared[Row],
    key: str,
    quick: Callable[[Row | None], Response | None],
    slow: Callable[[Row | None], Response],
) -> Response:
    """Answer with a row that is read together with those that other requests ask for. None says that it is not there.

    ``quick`` and ``slow`` are as in ``Work``.
    """
    ask: Ask[Row] = Ask(key)
    if later.is_offered(wire.environ()):

        def begin(ended: Callable[[], None]) -> Callable[[], Exception]:
            shared.ask(ask, ended, rounds=0)  # This thread may have to go on with other requests.
            return later.overdue

        return Later(Work(begin, lambda: quick(ask.result()), lambda: slow(ask.result())))
    row = shared.find(ask)
    return quick(row) or slow(row)


def _repeating(answer: Transaction, echo: Echo) -> Transaction:
    return replace(answer, skip_queue=echo.skip_queue, warnings=echo.warnings)


def _failure(ledger: Service, row: TransactionRow) -> Response | None:
    """Answer with the rejection of a decided transaction or of one of its legs, in Blnk's words."""
    if row.kind != Kind.SPLIT:
        return rejected(row) if row.rejection is not None else None
    with reading(ledger.engine) as conn:
        legs = family_store.legs_of(conn, row.transaction_id)
    number, first = first_rejected(legs)
    if first is None:
        return None
    end = (
        f"leg {number} of {len(legs)}. No leg was applied."
        if row.group_first is not None
        else f"leg {number} of {len(legs)}. The other legs were not rolled back."
    )
    return rejected(first, end=end, details={"transaction_id": row.transaction_id})


def first_rejected(rows: Sequence[TransactionRow]) -> tuple[int, TransactionRow | None]:
    """Find the first of these rows that was rejected for a reason of its own, and its number, from 1."""
    found = [(number, row) for number, row in enumerate(rows, 1) if row.rejection is not None]
    own = [each for each in found if each[1].reason != RejectReason.ATOMIC_GROUP]
    return next(iter(own or found), (0, None))


def rejected(row: TransactionRow, *, end: str = "", details: dict[str, Any] | None = None) -> Response:
    """Answer with the error of a rejection."""
    assert row.rejection is not None
    text = blnk_text(row.rejection, row)
    if row.kind in (Kind.TRANSFER, Kind.HOLD):
        text = f"failed to apply transaction to balances: {text}"
    if end:
        text = f"{text}: {end}"
    details = {"transaction_id": row.transaction_id, **(details or {}), "rejection": rejection_of(row)}
    return error_response(CODES[row.rejection.reason], text, details=details)


def last_of_each_queue(ledger: Service, submissions: Sequence[Submission]) -> dict[int, int]:
    """Find the last undecided seq of these submissions in each queue that they were accepted into, now or before."""
    last: dict[int, int] = {}
    undecided = [(one.queue, one.seq) for submission in submissions for one in submission.undecided()]
    legs = [(leg.queue, leg.seq) for leg in legs_of_replayed(ledger, submissions) if leg.queue is not None]
    for queue, seq in undecided + legs:
        last[queue] = max(seq, last.get(queue, 0))
    return last
