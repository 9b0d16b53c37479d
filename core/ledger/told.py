"""Tells what an append accepts that the log alone does not tell: transactions that wait for their date, and batches."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from core.base.answers import encode
from core.journal.actions import Action, Event
from core.journal.event_types import BATCH, EventType
from core.journal.facts import Fact, tell_all, tell_behind
from core.ledger.answers import transaction_of
from core.ledger.rules.model import Draft
from core.ledger.store import transactions as transaction_store
from core.ledger.store.transaction_rows import TRANSACTION_PREFIX, TransactionRow


class BatchFact(Struct, frozen=True):
    """A batch as it is accepted. What became of it is told when its transactions are decided."""

    batch_id: str
    transaction_count: int


def accepted(conn: Connection, scheduled: Sequence[Draft], batches: Iterable[tuple[str, int]], *, seq: int) -> None:
    """Tell what an append has scheduled, and which batches of how many transactions it has accepted.

    The append lock is held. ``seq`` is the last row that the append has written, if it has accepted a batch.
    """
    tell_behind(conn, seq, [Fact(type=BATCH, data=encode(BatchFact(*batch)).decode()) for batch in batches])
    rows = _rows(conn, [UUID(draft.row.id) for draft in scheduled])
    tell_all(conn, [_fact(EventType.TRANSACTION_SCHEDULED, row) for row in rows])


def cancelled(conn: Connection, transaction_ids: Iterable[str]) -> list[Event]:
    """Make the events of scheduled transactions that were cancelled, as their rows say by now."""
    rows = _rows(conn, [UUID(each.removeprefix(TRANSACTION_PREFIX)) for each in transaction_ids])
    return [
        Event(
            action=Action.TRANSACTION_CANCELLED, subject=row.transaction_id, fact=_fact(EventType.TRANSACTION_VOID, row)
        )
        for row in rows
    ]


def _fact(type: EventType, row: TransactionRow) -> Fact:
    return Fact(type=type, data=encode(transaction_of(row)).decode())


def _rows(conn: Connection, keys: list[UUID]) -> list[TransactionRow]:
    """Read scheduled transactions in the order of their keys."""
    if not keys:
        return []
    rows = {row.id: row for row in transaction_store.find_scheduled(conn, keys)}
    return [rows[key] for key in keys]
