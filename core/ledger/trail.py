"""Writes the lines of the log that follow a transaction from the request that brought it to its outcome.

Whoever appends writes lines with the IDs of what was accepted, after the commit. A drain writes lines with the IDs of what it
decided, after its commit. Both name the requests. So a search for the ID of a transaction or a request finds its whole way.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import structlog

from core.base.ids import new_id
from core.ledger.append import Submission
from core.ledger.rules.model import Accepted, Outcome, Posting, Status

ROOM = 3_500
"""The bytes that a line has for transactions, requests and rejections. With all else in it, it stays below 4096 bytes, which
a pipe takes in one piece from several processes."""

_QUOTED = len('"", ')
_TRANSACTION = len("txn_") + 36 + _QUOTED
"""The bytes that a transaction takes in a line."""

_Found = list[tuple[str | None, Accepted]]

logger = structlog.get_logger()


def accepted(submissions: Iterable[Submission]) -> None:
    """Write what was appended in one commit, and what was there before. What was refused has an answer of its own."""
    if not logger.is_enabled_for(logging.INFO):
        return
    new: _Found = []
    known: _Found = []
    for submission in submissions:
        if submission.error is None:
            for one in submission.accepted:
                found = known if one.replayed else new
                found.append((submission.request_id, one))
                found += [(submission.request_id, leg) for leg in one.legs]
    for event, found in (("accepted", new), ("accepted before", known)):
        for span in _spans(_sizes([request for request, _ in found])):
            part = found[span]
            logger.info(
                event,
                requests=_distinct(request for request, _ in part),
                transactions=[one.transaction_id for _, one in part],
                queues=sorted({one.queue for _, one in part if one.queue >= 0}),
                first_seq=part[0][1].seq,
                last_seq=part[-1][1].seq,
            )


def decided(postings: Sequence[Posting], outcomes: Sequence[Outcome], took_s: float) -> None:
    """Write what was decided in one commit: the first outcomes, each with its posting."""
    if not logger.is_enabled_for(logging.INFO):
        return
    batch = new_id("drain_")
    counts = Counter(outcome.status for outcome in outcomes)
    sizes = _sizes([posting.request_id for posting in postings])
    if counts[Status.REJECTED]:
        sizes = [size + _size_of_reason(outcome) for size, outcome in zip(sizes, outcomes, strict=True)]
    for span in _spans(sizes):
        part = postings[span]
        rejected = _rejected(part, outcomes[span]) if counts[Status.REJECTED] else {}
        logger.info(
            "decided",
            batch=batch,
            requests=_distinct(posting.request_id for posting in part),
            transactions=["txn_" + posting.id for posting in part],
            queues=sorted({posting.queue for posting in part}),
            counts={status.name: count for status, count in counts.items()},
            took_ms=round(took_s * 1000, 1),
            **({"rejected": rejected} if rejected else {}),
        )


def _sizes(requests: Sequence[str | None]) -> list[int]:
    """Return the bytes that each transaction takes with its request. Those of a bulk have one request, which has room besides."""
    if len(set(requests)) <= 1:
        return [_TRANSACTION] * len(requests)
    return [_TRANSACTION + len(request or "") + _QUOTED for request in requests]


def _size_of_reason(outcome: Outcome) -> int:
    return 0 if outcome.rejection is None else _TRANSACTION + len(outcome.rejection.reason.name) + _QUOTED


def _spans(sizes: Sequence[int]) -> Iterator[slice]:
    """Cut into spans that fit into a line each."""
    first, left = 0, ROOM
    for position, size in enumerate(sizes):
        left -= size
        if left < 0:
            yield slice(first, position)
            first, left = position, ROOM - size
    if sizes:
        yield slice(first, len(sizes))


def _rejected(postings: Sequence[Posting], outcomes: Sequence[Outcome]) -> dict[str, str]:
    pairs = zip(postings, outcomes, strict=False)
    return {"txn_" + p.id: outcome.rejection.reason.name for p, outcome in pairs if outcome.rejection is not None}


def _distinct(requests: Iterable[str | None]) -> list[str]:
    return [request for request in dict.fromkeys(requests) if request is not None]
