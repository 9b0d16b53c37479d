"""Tells what became of a batch, from the outcomes of its transactions.

A batch is written as a fact when it is accepted, behind its transactions. The feed comes there when all of them are decided, and
outcomes never change. So what it tells of the batch is the same at every reading.
"""

from collections.abc import Sequence
from datetime import datetime

from msgspec import UNSET, Struct, UnsetType, json
from sqlalchemy import Connection

from core.base.answers import Time, encode
from core.events import store
from core.events.answers import Position
from core.events.store import FactRow
from core.journal.event_types import EventType
from core.ledger.rules.model import Status
from core.ledger.told import BatchFact

Found = tuple[EventType, bytes]

_read = json.Decoder(BatchFact).decode


class BatchTold(Struct, frozen=True, kw_only=True):
    """The end of a batch, as Blnk tells it, with the number of its transactions of each status."""

    batch_id: str
    status: str
    timestamp: Time
    error: str | UnsetType = UNSET
    """Why it failed."""
    transaction_count: int
    counts: dict[Status, int]


def told(conn: Connection, facts: Sequence[FactRow]) -> dict[Position, Found]:
    """Return the type and data of each batch, by the position of its fact."""
    if not facts:
        return {}
    batches = [(_read(fact.data), fact) for fact in facts]
    counts = store.count_batches(conn, [(batch.batch_id, fact.seq) for batch, fact in batches])
    return {
        Position(fact.seq, fact.n): _told(batch, counts.get(batch.batch_id, {}), fact.at) for batch, fact in batches
    }


def _told(batch: BatchFact, counts: dict[Status, int], at: datetime) -> Found:
    type, error = EventType.BULK_TRANSACTION_FAILED, "none of its transactions was applied"
    if counts.get(Status.INFLIGHT):
        type, error = EventType.BULK_TRANSACTION_INFLIGHT, ""
    elif counts.get(Status.APPLIED):
        type, error = EventType.BULK_TRANSACTION_APPLIED, ""
    answer = BatchTold(
        batch_id=batch.batch_id,
        status=type.partition(".")[2],
        timestamp=at,
        error=error or UNSET,
        transaction_count=batch.transaction_count,
        counts=counts,
    )
    return type, encode(answer)
