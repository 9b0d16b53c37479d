"""Transactions to settle and to refund, and what came of them."""

from typing import Any

from core.base.db import reading
from core.base.ids import new_id
from core.ledger.rules.model import BATCH_PREFIX, Accepted, RejectReason, Status
from core.ledger.rules.requests import TransactionRequest
from core.ledger.store import families as family_store
from core.ledger.store.transaction_rows import TransactionRow
from tests.harness.factories import Ledger, shares


def applied(ledger: Ledger, **fields: Any) -> str:
    posted = ledger.post(**fields)
    ledger.drain()
    row = ledger.transaction(posted.transaction_id)
    assert row.status in (Status.APPLIED, Status.INFLIGHT), row.rejection
    return posted.transaction_id


def split_of(ledger: Ledger, amount: int, *parts: tuple[str, str | int], **fields: Any) -> str:
    """Post from @World and decide it."""
    return applied(ledger, precise_amount=amount, destination=None, destinations=shares(*parts), **fields)


def batch_of(ledger: Ledger, *requests: TransactionRequest) -> str:
    batch_id = new_id(BATCH_PREFIX)
    ledger.bulk(*requests, parent=batch_id)
    ledger.drain()
    return batch_id


def legs_of(ledger: Ledger, transaction_id: str) -> list[TransactionRow]:
    with reading(ledger.engine) as conn:
        return family_store.legs_of(conn, transaction_id)


def sums_of(ledger: Ledger, *names: str) -> list[int]:
    return [ledger.balance(name).balance for name in names]


def held_of(ledger: Ledger, *names: str) -> list[int]:
    rows = [ledger.balance(name) for name in names]
    return [row.inflight_credit_balance - row.inflight_debit_balance for row in rows]


def statuses_of(ledger: Ledger, *accepted: Accepted) -> list[Status]:
    ledger.drain()
    return [ledger.transaction(each.transaction_id).status for each in accepted]


def reason_of(ledger: Ledger, accepted: Accepted) -> RejectReason | None:
    rejection = ledger.transaction(accepted.transaction_id).rejection
    return rejection.reason if rejection is not None else None
