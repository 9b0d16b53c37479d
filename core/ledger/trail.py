"""Writes the lines of the log that follow a transaction from the request that brought it to its outcome.

Whoever appends writes lines with the IDs of what was accepted, after the commit. A drain writes lines with the IDs of what it
decided, after its commit. Both name the requests. So a search for the ID of a transaction or a request finds its whole way.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import structlog

from core.base.ids import new_id
from core.ledger.append import Submission
from core.ledger.rules.model import Accepted, Outcome, Posting, Status

IDS_MAX = 80
"""A line names up to so many transactions and requests. It stays below 4096 bytes, which a pipe takes in one piece from
several processes."""

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
        size = _size({request for request, _ in found})
        for first in range(0, len(found), size):
            part = found[first : first + size]
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
    size = IDS_MAX // 2 if counts[Status.REJECTED] else _size({posting.request_id for posting in postings})
    for first in range(0, len(outcomes), size):
        part = postings[first : min(first + size, len(outcomes))]
        rejected = _rejected(part, outcomes[first:]) if counts[Status.REJECTED] else {}
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


def _size(requests: Collection[str | None]) -> int:
    """Return the number of transactions of a line. Those of a bulk have one request, and others may have one each."""
    return IDS_MAX - 1 if len(requests) <= 1 else IDS_MAX // 2


def _rejected(postings: Sequence[Posting], outcomes: Sequence[Outcome]) -> dict[str, str]:
    pairs = zip(postings, outcomes, strict=False)
    return {"txn_" + p.id: outcome.rejection.reason.name for p, outcome in pairs if outcome.rejection is not None}


def _distinct(requests: Iterable[str | None]) -> list[str]:
    return [request for request in dict.fromkeys(requests) if request is not None]
