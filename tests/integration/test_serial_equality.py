"""One order, one outcome: whatever the queues, workers and batches, it ends as if decided one at a time.

The suite draws the same interleavings every time. To look further, draw fresh ones, more of them, and longer runs; what is
found is then made as small as it can be, which takes minutes:

    PACIOLI_EXAMPLES=2000 PACIOLI_OPERATIONS=100000 PACIOLI_SEED=2 pytest --timeout=0 tests/integration/test_serial_equality.py
"""

import itertools
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine, text

from core import drain, intake, store
from core.engine import Book
from core.ids import new_id, new_key
from core.intake import Submission
from core.model import STATUS_OF_NUMBER, Draft, Kind, Status
from core.routing import MAX_QUEUES
from core.store.db import begin, reading
from core.store.transactions import TransactionRow
from tests.oracle import Operation, Oracle, Sums, Verdict
from tests.strategies import ACCOUNTS, Account, groups, moves, seeded_history, settlements

FRESH = "PACIOLI_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("PACIOLI_EXAMPLES", "25"))
OPERATIONS = int(os.environ.get("PACIOLI_OPERATIONS", "5000"))
SEED = int(os.environ.get("PACIOLI_SEED", "1"))

SEARCH = settings(
    max_examples=EXAMPLES,
    stateful_step_count=25,
    deadline=None,
    derandomize=not FRESH,
    database=None,
    phases=[Phase.generate, Phase.shrink] if FRESH else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)

_runs = itertools.count(1)


class Difference(AssertionError):
    """The ledger and the oracle do not agree."""


class Run:
    """The same operations, given to the ledger and to the oracle. Alone in the log while it lasts."""

    def __init__(self, engine: Engine, routes: dict[Account, int]) -> None:
        self.engine, self.routes, self.oracle = engine, routes, Oracle()
        names = {account: f"{account[0]}{next(_runs)}" for account in routes}
        with begin(engine) as conn:
            wanted = [(names[account], account[1]) for account in routes]
            store.balances.create_indicators(conn, [(*name, new_key()) for name in wanted])
            refs = store.balances.find_indicators(conn, wanted)
            self.log_before = store.log.lock_head(conn)[0].seq
        self.keys = {account: refs[names[account], account[1]].key for account in routes}

    def accept(self, *submitted: Sequence[Operation]) -> list[int]:
        """Append all in one commit, longer tuples as atomic groups. Returns the places of the holds."""
        first = len(self.oracle.operations)
        for group in submitted:
            self.oracle.accept(*group)
        submissions = [Submission([self._draft(op) for op in group], atomic=len(group) > 1) for group in submitted]
        with begin(self.engine) as conn:
            intake.append(conn, submissions)
        seqs = [accepted.seq for submission in submissions for accepted in submission.accepted]
        assert seqs == [self.seq(place) for place in range(first, len(self.oracle.operations))]
        return [place for place, op in enumerate(self.oracle.operations[first:], first) if op.kind is Kind.HOLD]

    def seq(self, place: int) -> int:
        return self.log_before + 1 + place

    def drain(self) -> None:
        with reading(self.engine) as conn:
            waiting = store.queues.with_work(conn)
        for queue in waiting:
            drain.drain(self.engine, queue)

    def compare_decided(self) -> int:
        """What is decided is decided as the oracle did. Returns how many still are not."""
        rows = self._rows()
        for place, row in enumerate(rows):
            if row.outcome is not None:
                _compare(f"{self.oracle.operations[place]} at {place}", self._verdict(row), self.oracle.verdicts[place])
        return sum(row.outcome is None for row in rows)

    def compare_all(self) -> None:
        _compare("undecided", self.compare_decided(), 0)
        for place, row in enumerate(self._rows()):
            _compare(f"status at {place}", row.status, self.oracle.status(place))
        with begin(self.engine) as conn:
            balances = store.outcomes.lock_balances(conn, self.keys.values())
        for account, key in self.keys.items():
            _compare(f"sums of {account}", Sums(*balances[key][1:5]), self.oracle.sums.get(account, Sums()))

    def check_balanced(self) -> None:
        with reading(self.engine) as conn:
            rows = conn.execute(
                text(
                    "SELECT currency, sum(balance), sum(inflight_credit_balance - inflight_debit_balance) "
                    "FROM balances GROUP BY currency"
                )
            ).fetchall()
        for currency, balance, inflight in rows:
            _compare(f"sum of all {currency}", (balance, inflight), (0, 0))

    def _rows(self) -> list[TransactionRow]:
        with reading(self.engine) as conn:
            rows = store.transactions.find_seqs(conn, list(map(self.seq, range(len(self.oracle.operations)))))
        _compare("rows of the log", len(rows), len(self.oracle.operations))
        return rows

    def _verdict(self, row: TransactionRow) -> Verdict:
        assert row.outcome is not None and row.decided_amount is not None
        why = row.rejection
        if why is None:
            return Verdict(STATUS_OF_NUMBER[row.outcome], row.decided_amount)
        culprit = None if why.culprit is None else why.culprit - self.seq(0)
        return Verdict(STATUS_OF_NUMBER[row.outcome], row.decided_amount, why.reason, why.available, culprit)

    def _draft(self, op: Operation) -> Draft:
        whose = op if op.hold is None else self.oracle.operations[op.hold]
        source, destination = whose.source, whose.destination
        transaction_id = new_id("txn_")
        return Draft(
            transaction_id,
            transaction_id,
            op.kind,
            self.keys[source],  # type: ignore[index]
            self.keys[destination],  # type: ignore[index]
            self.routes[source],  # type: ignore[index]
            op.amount,
            source[1],  # type: ignore[index]
            100,
            "a test",
            op.allow_overdraft,
            op.overdraft_limit,
            None if op.hold is None else self.seq(op.hold),
            None,
            None,
            None,
        )


def _compare(what: str, ledger: object, oracle: object) -> None:
    if ledger != oracle:
        raise Difference(f"{what}: the ledger has {ledger}, the oracle {oracle}")


# Any order, any split into batches


class Interleaving(RuleBasedStateMachine):
    """Accepts and drains in any order. Where each balance is routed is drawn as well."""

    holds = Bundle("holds")

    def __init__(self, engine: Engine, queues: int) -> None:
        super().__init__()
        self.engine, self.queues = engine, queues

    @initialize(routes=st.tuples(*[st.integers(0, MAX_QUEUES - 1)] * len(ACCOUNTS)))
    def start(self, routes: tuple[int, ...]) -> None:
        self.run = Run(self.engine, dict(zip(ACCOUNTS, routes, strict=True)))

    @rule(target=holds, operations=st.lists(moves(), min_size=1, max_size=5))
    def accept(self, operations: list[Operation]) -> object:
        return multiple(*self.run.accept(*[(operation,) for operation in operations]))

    @rule(target=holds, group=groups())
    def accept_atomic_group(self, group: tuple[Operation, ...]) -> object:
        return multiple(*self.run.accept(group))

    @rule(settlement=settlements(holds))
    def settle(self, settlement: Operation) -> None:
        self.run.accept((settlement,))

    @rule(queue=st.integers(0, 7), batch=st.sampled_from([1, 2, 3, drain.BATCH]))
    def drain_one_queue(self, queue: int, batch: int) -> None:
        drain.drain(self.engine, queue % self.queues, batch=batch)
        self.run.compare_decided()

    @rule(queue=st.integers(0, 7), limit=st.integers(1, 3))
    def decide_one_batch(self, queue: int, limit: int) -> None:
        with begin(self.engine) as conn:
            drain.drain_batch(conn, {queue % self.queues}, limit=limit, wait=False)
        self.run.compare_decided()

    @invariant()
    def every_currency_adds_up_to_zero(self) -> None:
        self.run.check_balanced()

    def teardown(self) -> None:
        self.run.drain()
        self.run.compare_all()


@pytest.mark.parametrize("queues", [1, 2, 3, 8])
def test_every_interleaving_ends_as_the_serial_run_does(engine: Engine, queues: int) -> None:
    _resize(engine, queues)
    _search(engine, queues, SEARCH)


MUTANT = settings(SEARCH, max_examples=300, derandomize=True, phases=[Phase.generate], print_blob=False)
"""Enough to find a broken rule, which takes some ten examples, with room for other versions of Hypothesis."""


def test_the_comparison_notices_when_a_later_credit_counts(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    _resize(engine, 3)
    monkeypatch.setattr(Book, "credited_after", lambda book, balance, seq: 0)
    with pytest.raises(Difference):
        _search(engine, 3, MUTANT)


def test_the_comparison_notices_when_an_earlier_credit_is_not_waited_for(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _resize(engine, 3)
    monkeypatch.setattr(store.log, "queues_that_may_credit", lambda conn, balance, before, waiting: set())
    with pytest.raises(Difference):
        _search(engine, 3, MUTANT)


# Real threads


@pytest.mark.parametrize("queues", [3, 8])
def test_a_long_run_with_threads_at_every_queue_ends_as_the_serial_run_does(engine: Engine, queues: int) -> None:
    _resize(engine, queues)
    random = Random(SEED)
    accounts = [("@World", "USD"), *((f"@{number}", "USD") for number in range(15))]
    run = Run(engine, {account: random.randrange(MAX_QUEUES) for account in accounts})
    history = seeded_history(random, accounts, OPERATIONS)
    all_accepted = threading.Event()

    def accept() -> None:
        try:
            left = iter(history)
            while some := list(itertools.islice(left, random.randint(1, 40))):
                run.accept(*some)
        finally:
            all_accepted.set()

    def work(seed: int) -> None:
        choice = Random(seed)
        while not all_accepted.is_set():
            drain.drain(engine, choice.randrange(queues), batch=choice.choice([1, 5, 50, drain.BATCH]))

    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(work, SEED + number) for number in range(3)] + [threads.submit(accept)]
    for future in done:
        future.result()
    run.check_balanced()
    run.compare_decided()
    run.drain()
    run.compare_all()
    run.check_balanced()


def test_money_spent_as_soon_as_it_is_funded_is_never_short(engine: Engine) -> None:
    world, spender, shop = accounts = [("@World", "USD"), ("@Spender", "USD"), ("@Shop", "USD")]
    run = Run(engine, dict(zip(accounts, range(3), strict=True)))
    for _ in range(200):
        run.accept(
            (Operation(Kind.TRANSFER, world, spender, 7, allow_overdraft=True),),
            (Operation(Kind.TRANSFER, spender, shop, 7),),
        )
    drain.drain(engine, run.routes[spender], batch=50)
    run.compare_all()
    assert {verdict.status for verdict in run.oracle.verdicts} == {Status.APPLIED}


def test_a_thousand_postings_of_one_balance_are_applied_in_the_order_of_acceptance(engine: Engine) -> None:
    busy, *others = accounts = [("@Busy", "USD"), *((f"@{number}", "USD") for number in range(8))]
    run = Run(engine, {account: number for number, account in enumerate(accounts)})
    for number in range(1000):
        run.accept((Operation(Kind.TRANSFER, busy, others[number % 8], 1, True, 1000),))
        if number % 100 == 50:
            drain.drain(engine, 0, batch=7)
    run.drain()
    run.compare_all()
    with reading(engine) as conn:
        rows = conn.execute(
            text("SELECT seq, source_version, source_balance FROM outcomes ORDER BY source_version")
        ).fetchall()
    assert [tuple(row) for row in rows] == [(run.seq(n), n + 2, -n - 1) for n in range(1000)]


def _search(engine: Engine, queues: int, how: settings) -> None:
    # Anything that returns a machine will do, says Hypothesis, though not its type.
    run_state_machine_as_test(lambda: Interleaving(engine, queues), settings=how)  # type: ignore[arg-type]


def _resize(engine: Engine, queues: int) -> None:
    with begin(engine) as conn:
        store.queues.resize(conn, queues)
