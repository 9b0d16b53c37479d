"""Adds metadata to ledgers, balances, transactions and batches that exist. The digest does not cover metadata."""

from sqlalchemy import Connection

from core.base.errors import ErrorCode, InvalidRequest, NotFound
from core.base.ids import uuid_of
from core.base.sizes import MAX_META_DATA
from core.ledger.rules.model import BATCH_PREFIXES, GENERAL_LEDGER
from core.ledger.store import metadata as metadata_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store.balances import BALANCE_PREFIX
from core.ledger.store.transactions import TRANSACTION_PREFIX

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
    """
    if entity_id.startswith(LEDGER_PREFIX) or entity_id == GENERAL_LEDGER:
        merged = metadata_store.merge_ledger(conn, entity_id, meta_data)
    elif entity_id.startswith(BALANCE_PREFIX):
        merged = metadata_store.merge_balance(conn, uuid_of(entity_id, BALANCE_PREFIX), meta_data)
    elif entity_id.startswith((TRANSACTION_PREFIX, *BATCH_PREFIXES)):
        merged = _add_to_transactions(conn, entity_id, meta_data)
    else:
        known = f"{LEDGER_PREFIX}, {BALANCE_PREFIX}, {TRANSACTION_PREFIX}, {' or '.join(BATCH_PREFIXES)}"
        text = f"invalid entity ID: metadata belongs to an id that begins with {known}"
        raise InvalidRequest([("", text)], ErrorCode.META_INVALID_ENTITY_ID)
    if merged is None:
        raise NotFound(ErrorCode.META_ENTITY_NOT_FOUND, f"entity with ID '{entity_id}' not found")
    _check_size(len(merged.encode()))
    return merged


def _add_to_transactions(conn: Connection, entity_id: str, meta_data: str) -> str | None:
    """Merge into the metadata of a transaction or batch. Returns None when there is none."""
    keys = metadata_store.with_descendants(conn, entity_id)
    if not keys:
        return None
    if len(keys) * len(meta_data) > MAX_WRITTEN:
        text = f"is too much for {len(keys)} transactions; together they take {MAX_WRITTEN} bytes at a time"
        raise InvalidRequest([("meta_data", text)], ErrorCode.GEN_VALIDATION_ERROR)
    _check_size(metadata_store.merge_transactions(conn, keys, meta_data))
    if entity_id.startswith(BATCH_PREFIXES):
        return meta_data
    row = transaction_store.find(conn, entity_id)
    return row.meta_data if row is not None else None


def _check_size(size: int) -> None:
    if size > MAX_META_DATA:
        text = f"would come to {size} bytes with what is there already; at most {MAX_META_DATA} are allowed"
        raise InvalidRequest([("meta_data", text)], ErrorCode.GEN_VALIDATION_ERROR)
