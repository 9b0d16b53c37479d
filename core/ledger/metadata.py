"""Adds metadata to ledgers, balances, transactions and batches that exist. The digest does not cover metadata."""

from sqlalchemy import Connection

from core.base.actors import Right, current
from core.base.errors import ErrorCode, InvalidRequest, NotFound
from core.base.ids import uuid_of
from core.base.sizes import MAX_META_DATA
from core.journal.actions import Action, Event, object_of, text_of
from core.journal.event_types import EventType
from core.journal.facts import Fact
from core.journal.record import record
from core.ledger.reach import reaches_id, reaches_whole
from core.ledger.rules.model import BATCH_PREFIXES, GENERAL_LEDGER
from core.ledger.store import metadata as metadata_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store.balances import BALANCE_PREFIX
from core.ledger.store.metadata import Change
from core.ledger.store.reach import reaches_transactions
from core.ledger.store.transaction_rows import TRANSACTION_PREFIX

LEDGER_PREFIX = "ldg_"
MAX_WRITTEN = 64_000_000
"""The largest number of bytes that one request may add to all transactions of a batch together, as JSON text."""


def add_metadata(conn: Connection, entity_id: str, meta_data: str) -> str:
    """Merge an object's JSON text into the metadata of a ledger, balance, transaction or batch. New members win.

    A batch passes it on to its transactions, and a transaction to its legs, settlements and refunds.
    Returns the merged JSON text. A batch has no metadata of its own, so it returns ``meta_data``.

    Raises:
        InvalidRequest: the ID is of no such kind (META_INVALID_ENTITY_ID), or the merged metadata is too large.
        NotFound: there is nothing of that ID (META_ENTITY_NOT_FOUND).
        Forbidden: the key may change no metadata, and nothing else of this kind.
    """
    if entity_id.startswith((TRANSACTION_PREFIX, *BATCH_PREFIXES)):
        _require(Right.TRANSACTIONS_WRITE)
        return _add_to_transactions(conn, entity_id, meta_data)
    if entity_id.startswith(LEDGER_PREFIX) or entity_id == GENERAL_LEDGER:
        _require(Right.LEDGERS_WRITE)
        change = metadata_store.merge_ledger(conn, entity_id, meta_data) if reaches_whole(entity_id) else None
    elif entity_id.startswith(BALANCE_PREFIX):
        _require(Right.BALANCES_WRITE)
        change = metadata_store.merge_balance(conn, entity_id, meta_data) if reaches_id(conn, entity_id) else None
    else:
        known = (
            f"{LEDGER_PREFIX}, {BALANCE_PREFIX}, {TRANSACTION_PREFIX}, idt_, mon_, fund_, {' or '.join(BATCH_PREFIXES)}"
        )
        text = f"invalid entity ID: metadata belongs to an id that begins with {known}"
        raise InvalidRequest([("", text)], ErrorCode.META_INVALID_ENTITY_ID)
    if change is None:
        raise _not_found(entity_id)
    _check_size(change)
    record(conn, _event(change, fact=_fact(entity_id, change.after)))
    return change.after


def _require(right: Right) -> None:
    """Refuse whoever may change neither metadata nor things of a kind."""
    actor = current()
    if not actor.may(Right.METADATA_WRITE):
        actor.require(right)


def _add_to_transactions(conn: Connection, entity_id: str, meta_data: str) -> str:
    """Merge into the metadata of a transaction or batch, and of all that came of it."""
    own = uuid_of(entity_id, TRANSACTION_PREFIX)
    is_reached = reaches_transactions(conn, id=own, parent=entity_id if own is None else None)
    keys = metadata_store.with_descendants(conn, entity_id) if is_reached else []
    if not keys:
        raise _not_found(entity_id)
    if len(keys) * len(meta_data) > MAX_WRITTEN:
        text = f"is too much for {len(keys)} transactions; together they take {MAX_WRITTEN} bytes at a time"
        raise InvalidRequest([("meta_data", text)], ErrorCode.GEN_VALIDATION_ERROR)
    changes = metadata_store.merge_transactions(conn, keys, meta_data)
    _check_size(*changes)
    merged = meta_data
    if entity_id.startswith(TRANSACTION_PREFIX):
        row = transaction_store.find(conn, entity_id)
        assert row is not None
        merged = row.meta_data or meta_data
    first, *others = changes
    told = _event(first, entity_id, _fact(entity_id, merged))
    record(conn, told, *(_event(change, entity_id) for change in others))
    return merged


def _event(change: Change, through: str = "", fact: Fact | None = None) -> Event:
    """Make the audit event of a change. ``through`` is what was named, if it passed the change on."""
    more = {"through": through} if through and through != change.subject else {}
    return Event(
        action=Action.METADATA_CHANGED,
        subject=change.subject,
        before=change.before,
        after=change.after,
        more=more,
        fact=fact,
    )


def _fact(entity_id: str, meta_data: str) -> Fact:
    """Make the fact that metadata was added to what was named. It is one, whatever that passes the metadata on to."""
    is_balance = entity_id.startswith(BALANCE_PREFIX)
    is_ledger = entity_id.startswith(LEDGER_PREFIX) or entity_id == GENERAL_LEDGER
    return Fact(
        type=EventType.METADATA_CHANGED,
        data=text_of(entity_id=entity_id, meta_data=object_of(meta_data)),
        ledger_id=entity_id if is_ledger else None,
        balance_id=entity_id if is_balance else None,
    )


def _not_found(entity_id: str) -> NotFound:
    return NotFound(ErrorCode.META_ENTITY_NOT_FOUND, f"entity with ID '{entity_id}' not found")


def _check_size(*changes: Change) -> None:
    if (size := max(len(change.after.encode()) for change in changes)) > MAX_META_DATA:
        text = f"would come to {size} bytes with what is there already; at most {MAX_META_DATA} are allowed"
        raise InvalidRequest([("meta_data", text)], ErrorCode.GEN_VALIDATION_ERROR)
