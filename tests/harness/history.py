"""A history to verify: a random mix of everything, and what may be done to it behind the ledger's back."""

import random
from collections.abc import Iterator
from typing import Any

from sqlalchemy import text

from core.base.db import begin
from core.base.errors import LedgerError
from core.ledger import append, refunds
from core.ledger.append import Submission
from core.ledger.rules.model import Accepted
from core.ledger.rules.requests import Leg, RefundRequest
from core.verification import checkpoints
from core.verification.checkpoints import Checkpoint
from core.verification.report import Report
from core.verification.verify import verify_all, verify_since_checkpoint
from tests.harness.factories import Ledger, transaction

KEY, OTHER_KEY = bytes(range(32)), bytes(32)

NO_TRIGGERS = "SET LOCAL session_replication_role = replica"
"""A statement that turns the guards off until the end of the transaction, as a superuser can."""


def mix(ledger: Ledger, rng: random.Random, *, steps: int) -> None:
    """Transfers with and without limits, holds and their settlements, atomic groups, splits, refunds, two currencies, drains."""
    names = [f"@{letter}" for letter in "ABCDEF"]
    holds: list[str] = []
    posts: list[str] = []

    def request(currency: str) -> dict[str, object]:
        source, destination = rng.sample(names, 2)
        limit = rng.choice([None, None, 0, 3])
        return {
            "source": source,
            "destination": destination,
            "currency": currency,
            "precise_amount": rng.randint(1, 9),
            "allow_overdraft": rng.random() < 0.4,
            "overdraft_limit": limit,
            "inflight": rng.random() < 0.2,
        }

    for _ in range(steps):
        currency = rng.choice(["USD", "EUR"])
        chance = rng.random()
        if chance < 0.45:
            fields = request(currency)
            posted = ledger.post(**fields)
            posts.append(posted.transaction_id)
            if fields["inflight"]:
                holds.append(posted.transaction_id)
        elif chance < 0.52:
            atomic = rng.random() < 0.5
            posted = ledger.post(**request(currency) | {"precise_amount": 10, "atomic": atomic} | split(rng, names))
            posts.append(posted.transaction_id)
            holds.append(posted.transaction_id)
        elif chance < 0.55 and posts:
            try:
                amount = {"precise_amount": rng.randint(1, 5)} if rng.random() < 0.6 else {}
                refund(ledger, rng.choice(posts), **amount)
            except LedgerError:
                pass  # It has moved nothing, or no longer has anything to give back.
        elif chance < 0.7:
            ledger.bulk(*(transaction(**request(currency)) for _ in range(rng.randint(2, 4))), atomic=True)
        elif chance < 0.85 and holds:
            try:
                amount = {"precise_amount": rng.randint(1, 5)} if rng.random() < 0.6 else {}
                ledger.settle(rng.choice(holds), rng.choice(["commit", "void"]), **amount)
            except LedgerError:
                pass  # It is settled already, or another settlement waits.
        else:
            ledger.drain(rng.randrange(8))


def split(rng: random.Random, names: list[str]) -> dict[str, Any]:
    """The fields of several sources or destinations, or both."""
    chosen = rng.sample(names, 4)
    several = {
        "sources": [Leg(chosen[0], "30%"), Leg(chosen[1], "left")],
        "destinations": [Leg(chosen[2], precise_distribution=4), Leg(chosen[3], "left")],
    }
    sides = rng.choice([["sources"], ["destinations"], ["sources", "destinations"]])
    ones = {"sources": ("source", chosen[0]), "destinations": ("destination", chosen[2])}
    return {name: legs for name, legs in several.items() if name in sides} | {
        one: None if name in sides else other for name, (one, other) in ones.items()
    }


def refund(ledger: Ledger, transaction_id: str, **fields: Any) -> Accepted:
    with begin(ledger.engine) as conn:
        submission = Submission([refunds.draft_refund(conn, transaction_id, RefundRequest(**fields))])
        append.append(conn, [submission])
    if submission.error is not None:
        raise submission.error
    return submission.accepted[0]


def tamper(ledger: Ledger, *statements: str) -> None:
    """Run statements with the guards turned off, as a superuser can."""
    with begin(ledger.engine) as conn:
        conn.execute(text(NO_TRIGGERS))
        for statement in statements:
            conn.exec_driver_sql(statement)


def both(ledger: Ledger, key: bytes | None = None) -> Iterator[Report]:
    yield verify_all(ledger.engine, key=key)
    yield verify_since_checkpoint(ledger.engine, key=key)


def checkpoint(ledger: Ledger, key: bytes | None = KEY) -> Checkpoint:
    report = verify_all(ledger.engine, key=key)
    assert report.problems == []
    written = checkpoints.write(ledger.engine, report.reached, key)
    assert written is not None
    return written


def named(report: Report, table: str, key: str, what: str) -> None:
    assert any((one.table, one.what) == (table, what) and one.key == key for one in report.problems), report.problems
