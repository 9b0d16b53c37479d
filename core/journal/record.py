"""Adds to the audit log, and to the feed. Whoever writes outside the log of transactions calls it in the same transaction."""

from collections.abc import Sequence

from msgspec.structs import replace
from sqlalchemy import Connection

from core.base import actors
from core.base.logs import request_id
from core.journal import audit_store
from core.journal.actions import Event
from core.journal.audit_row import AuditRow, hash_of
from core.journal.facts import tell_all


def record(conn: Connection, *events: Event) -> None:
    """Add a row for each event, with the actor and the request of this thread, and chain it to the row before.

    It is the last thing that a transaction does before it commits. The lock of the audit log is held until the commit, and
    nobody who holds it may wait for another lock. The append lock is taken before it, if an event has a fact.

    Raises:
        TransientError: the lock was not had in time.
    """
    record_all(conn, events)


def record_all(conn: Connection, events: Sequence[Event]) -> None:
    """Add a row for each event, as ``record`` does, and tell the facts that they have. No events take no lock."""
    if not events:
        return
    tell_all(conn, [event.fact for event in events if event.fact is not None])
    head = audit_store.lock_head(conn)
    who, request, before = actors.current(), request_id(), head.hash
    rows = []
    for position, event in enumerate(events, head.id + 1):
        row = AuditRow(
            id=position,
            created_at=head.now,
            actor=who.key_id,
            owner=who.owner or None,
            part=str(who.part),
            request_id=request,
            action=str(event.action),
            subject=event.subject,
            details=event.details(),
        )
        before = hash_of(row, before)
        rows.append(replace(row, hash=before))
    audit_store.append(conn, rows)
