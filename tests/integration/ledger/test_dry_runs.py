"""A dry run says what the real request then does."""

import os
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from sqlalchemy import text

from core.base.db import begin, driver, reading, snapshot
from core.base.errors import Conflict, InvalidRequest, NotFound
from core.base.tables.schema import metadata
from core.ledger import append, dry_run, holds, intake, refunds
from core.ledger.append import Submission
from core.ledger.dry_run import Imagined
from core.ledger.rules.model import Draft, Kind, Status
from core.ledger.rules.requests import RefundRequest, SettleRequest, TransactionRequest
from core.ledger.store import outcomes as outcome_store
from core.ledger.store import transactions as transaction_store
from tests.harness.factories import Ledger, shares, transaction

pytestmark = pytest.mark.usefixtures("verified")

SEEDS = range(int(os.environ.get("PACIOLI_SEED", "1")), int(os.environ.get("PACIOLI_SEED", "1")) + 4)
DIGESTS = {
    table.name: f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table.name} AS t".encode()
    for table in metadata.sorted_tables
}


class _Play:
    """Random requests of all kinds. Each is made as a dry run, and then really."""

    def __init__(self, ledger: Ledger, dice: Random) -> None:
        self.ledger, self.dice = ledger, dice
        self.names = [f"@{number}" for number in range(5)]
        self.posted: list[str] = []
        self.seen: Counter[str] = Counter()

    def turn(self) -> None:
        make = self.dice.choice(
            [self._post, self._post, self._post, self._bulk, self._settle, self._settle, self._refund]
        )
        make()

    def _post(self) -> None:
        self._play_requests([self._request()], atomic=False)

    def _bulk(self) -> None:
        requests = [self._request() for _ in range(self.dice.randint(2, 4))]
        self._play_requests(requests, atomic=self.dice.random() < 0.6)

    def _request(self) -> TransactionRequest:
        sides = self.dice.sample(["@World", *self.names], 5)
        if self.dice.random() < 0.3:
            sides = ["@World", *(name for name in sides if name != "@World")]
        fields: dict[str, Any] = {
            "precise_amount": self.dice.randint(1, 12),
            "allow_overdraft": self.dice.random() < 0.2,
            "inflight": self.dice.random() < 0.4,
            "source": sides[0],
            "destination": sides[1],
        }
        if sides[0] == "@World":
            fields["allow_overdraft"] = True
        if self.dice.random() < 0.3:
            fields |= {"destination": None, "destinations": shares((sides[1], "40%"), (sides[2], "left"))}
        if self.dice.random() < 0.2:
            fields |= {"source": None, "sources": shares((sides[0], "left"), (sides[3], 1))}
        return transaction(atomic=self.dice.random() < 0.5, **fields)

    def _play_requests(self, requests: Sequence[TransactionRequest], *, atomic: bool) -> None:
        imagined, before = Imagined(self.ledger.directory), self._all_rows()
        drafts = intake.draft_all(requests, imagined)
        rehearsed = self._rehearse(drafts, before, atomic=atomic, imagined=imagined)
        self._really_do(intake.draft_all(requests, self.ledger.directory), rehearsed, atomic=atomic)

    def _settle(self) -> None:
        if not self.posted:
            return
        status = self.dice.choice(["commit", "commit", "void"])
        amount = self.dice.choice([None, 1, 2, 5]) if status == "commit" else None
        asked = SettleRequest(status=status, precise_amount=amount)
        try:
            with reading(self.ledger.engine) as conn:
                drafts = holds.draft_settlements(conn, self.dice.choice(self.posted[-8:]), asked)
        except (InvalidRequest, Conflict):
            return
        rehearsed = self._rehearse(drafts, self._all_rows(), atomic=len(drafts) > 1)
        self._really_do(drafts, rehearsed, atomic=len(drafts) > 1)

    def _refund(self) -> None:
        if not self.posted:
            return
        asked = RefundRequest(precise_amount=self.dice.choice([None, 1, 2]))
        try:
            with reading(self.ledger.engine) as conn:
                draft = refunds.draft_refund(conn, self.dice.choice(self.posted[-8:]), asked)
        except (InvalidRequest, Conflict, NotFound):
            return
        self._really_do([draft], self._rehearse([draft], self._all_rows(), atomic=False), atomic=False)

    def _rehearse(
        self, drafts: list[Draft], before: dict[str, Any], *, atomic: bool, imagined: Imagined | None = None
    ) -> Any:
        """Return statuses, reasons and amounts of the postings, and the balances after them. Check that nothing is written."""
        with snapshot(self.ledger.engine) as conn:
            rehearsed = dry_run.decide_drafts(conn, drafts, atomic=atomic)
        assert self._all_rows() == before
        names = {
            ref.key: ref.balance_id for ref in (imagined.balances.values() if imagined is not None else ())
        } | self._names()
        balances = {names[key]: balance[1:5] for one in rehearsed for key, balance in one.after.items()}
        outcomes = [
            (outcome.status, outcome.amount, outcome.rejection and outcome.rejection.reason)
            for one in rehearsed
            for outcome in one.outcomes
        ]
        return outcomes, balances

    def _really_do(self, drafts: list[Draft], rehearsed: Any, *, atomic: bool) -> None:
        submission = Submission(drafts, atomic=atomic)
        with begin(self.ledger.engine) as conn:
            append.append(conn, [submission])
        assert submission.error is None
        self.ledger.drain()
        expected_outcomes, expected_balances = rehearsed
        with reading(self.ledger.engine) as conn:
            rows = transaction_store.find_seqs(conn, [one.seq for one in submission.postings()])
            balances = outcome_store.read_balances(conn, self._names())
        outcomes = []
        for row in rows:
            assert row.outcome is not None
            status = Status.INFLIGHT if row.kind == Kind.HOLD and row.hold is not None else row.status
            outcomes.append((status, row.decided_amount, row.rejection and row.rejection.reason))
            self.seen[f"{Kind(row.kind).name} {status}"] += 1
        assert outcomes == expected_outcomes
        names = self._names()
        assert {names[key]: balance[1:5] for key, balance in balances.items() if names[key] in expected_balances} == (
            expected_balances
        )
        self.posted += [one.transaction_id for one in submission.accepted]

    def _names(self) -> dict[int, str]:
        with reading(self.ledger.engine) as conn:
            rows = conn.execute(text("SELECT id, indicator FROM balances")).fetchall()
        return {row[0]: row[1] for row in rows}

    def _all_rows(self) -> dict[str, Any]:
        """Return a digest of each table."""
        with reading(self.ledger.engine) as conn:
            return {name: driver(conn).execute(digest).fetchone()[0] for name, digest in DIGESTS.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rehearsal_says_what_then_happens_and_writes_nothing(ledger: Ledger, seed: int) -> None:
    play = _Play(ledger, Random(seed))
    for _ in range(80):
        play.turn()
    assert len(play.seen) >= 6, play.seen
