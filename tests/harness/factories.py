"""Requests with everything filled in, and the ledger driven without HTTP or Celery."""

import itertools
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, text

from core.base.db import begin, reading
from core.doors.identity import Identity
from core.funding import create, run_store, runs
from core.funding.requests import FundingRequest, Recipient
from core.funding.run_store import RunRow
from core.ledger import append, batches, drain, holds, intake, refunds
from core.ledger.append import Submission
from core.ledger.directory import Directory
from core.ledger.intake import Batch
from core.ledger.rules.model import Accepted
from core.ledger.rules.requests import Leg, RefundRequest, SettleRequest, TransactionRequest
from core.ledger.rules.routing import queue_of
from core.ledger.store import balances as balance_store
from core.ledger.store import queues as queue_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store.balances import BalanceRow
from core.ledger.store.transaction_rows import TransactionRow

_references = itertools.count(1)


def transaction(**fields: Any) -> TransactionRequest:
    """Return a request: one USD cent from @World to @A by overdraft, or what the fields say."""
    given: dict[str, Any] = {
        "reference": f"ref-{next(_references)}",
        "source": "@World",
        "destination": "@A",
        "currency": "USD",
        "precision": 100,
        "description": "a test",
        "allow_overdraft": True,
    }
    if not fields.keys() & {"amount", "precise_amount"}:
        given["precise_amount"] = 1
    given |= fields
    for name in ("amount", "precision", "overdraft_limit"):
        if given.get(name) is not None:
            given[name] = Decimal(str(given[name]))
    for name in ("scheduled_for", "inflight_expiry_date", "inflight_commit_date"):
        if isinstance(given.get(name), str):
            given[name] = datetime.fromisoformat(given[name])
    return TransactionRequest(**given)


def shares(*parts: tuple[str, str | int]) -> list[Leg]:
    """Sources or destinations: balances with a ``distribution``, or with minor units when it is a number."""
    return [
        Leg(name, precise_distribution=part) if isinstance(part, int) else Leg(name, distribution=part)
        for name, part in parts
    ]


@dataclass
class Ledger:
    engine: Engine
    directory: Directory

    def post(self, **fields: Any) -> Accepted:
        """Accept one transaction. Nothing decides it yet."""
        return self.bulk(transaction(**fields))[0]

    def bulk(self, *requests: TransactionRequest, atomic: bool = False, parent: str | None = None) -> list[Accepted]:
        submission = Submission(
            intake.draft_all(requests, self.directory, batch=None if parent is None else Batch(parent)), atomic=atomic
        )
        return self._append(submission)

    def settle(self, hold: str, status: str, **fields: Any) -> Accepted:
        """Accept a commit or void of a hold."""
        with reading(self.engine) as conn:
            drafts = holds.draft_settlements(conn, hold, SettleRequest(status=status, **fields))
        return self._append(Submission(drafts))[0]

    def settle_all(self, transaction_id: str, status: str, **fields: Any) -> list[Accepted]:
        """Accept commits or voids of all holds of a split or of a batch. Those of a split are decided together."""
        with reading(self.engine) as conn:
            drafts = holds.draft_settlements(conn, transaction_id, SettleRequest(status=status, **fields))
        of_batch = batches.is_batch(transaction_id)
        return self._append(Submission(drafts, atomic=len(drafts) > 1 and not of_batch))

    def refund(self, transaction_id: str, **fields: Any) -> Accepted:
        """Accept a refund."""
        with reading(self.engine) as conn:
            draft = refunds.draft_refund(conn, transaction_id, RefundRequest(**fields))
        return self._append(Submission([draft]))[0]

    def drain(self, *queues: int) -> None:
        """Drain these queues, or all, until nothing is left in them."""
        with reading(self.engine) as conn:
            numbers = queues or tuple(queue_store.cursors(conn))
        for queue in numbers:
            drain.drain(self.engine, queue)

    def transaction(self, transaction_id: str) -> TransactionRow:
        with reading(self.engine) as conn:
            row = transaction_store.find(conn, transaction_id)
        assert row is not None, transaction_id
        return row

    def balance(self, name: str, currency: str = "USD") -> BalanceRow:
        with reading(self.engine) as conn:
            row = balance_store.find_indicator(conn, name, currency)
        assert row is not None, name
        return row

    def _append(self, submission: Submission) -> list[Accepted]:
        with begin(self.engine) as conn:
            append.append(conn, [submission])
        if submission.error is not None:
            raise submission.error
        return submission.accepted


def fund(ledger: Ledger, *destinations: str, amount: int = 5, **fields: Any) -> RunRow:
    """Run a funding job to its end. See ``new_run``."""
    run = new_run(ledger, *destinations, amount=amount, **fields)
    runs.advance(ledger.engine, for_s=60)
    return run_of(ledger, run.run_id)


def run_of(ledger: Ledger, run_id: str) -> RunRow:
    with reading(ledger.engine) as conn:
        found = run_store.find_run(conn, run_id)
    assert found is not None
    return found


def new_run(ledger: Ledger, *destinations: str, amount: int = 5, **fields: Any) -> RunRow:
    """Create a funding job that is due now. It gives so many cents to each, from @Pool by overdraft, or as the fields say."""
    given: dict[str, Any] = {"name": "a job", "source": "@Pool", "currency": "USD", "precision": Decimal(100)}
    given |= {"allow_overdraft": True} | fields
    recipients = [Recipient(name, precise_amount=amount) for name in destinations]
    asked = FundingRequest(**given, recipients=recipients)
    run = create.create_job(ledger.engine, asked, None, ledger.directory, datetime.now(UTC)).run
    assert run is not None
    return run


def name_in(ledger: Ledger, queue: int) -> str:
    """Return the name of a new internal balance that pays from this queue."""
    with reading(ledger.engine) as conn:
        count = len(queue_store.cursors(conn))
    while True:
        name = f"@{next(_references)}"
        ledger.directory.create([(name, "USD")])
        ref = ledger.directory.balance((name, "USD"))
        if ref is not None and queue_of(ref.route, count) == queue:
            return name


def identified(engine: Engine) -> Identity:
    """Return the identity of a ledger whose broker is Redis, which has been read."""
    identity = Identity(engine, on_redis=True)
    assert identity.look() is not None
    return identity


def start_until_blocked(engine: Engine, threads: ThreadPoolExecutor, job: Callable[[], Any]) -> Future[Any]:
    """Run the job in a thread. Return when it waits for a lock, or is done because it did not have to wait."""
    future = threads.submit(job)
    blocked = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with reading(engine) as conn:
        while not future.done() and not conn.execute(blocked).scalar_one():
            time.sleep(0.01)
    return future
