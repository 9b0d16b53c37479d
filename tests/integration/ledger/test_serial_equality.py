"""The ledger ends as if it had decided one transaction at a time, whatever the queues, workers and batches.

The suite draws the same interleavings every time. ``--long`` draws new ones, more of them, and makes longer runs. These
variables go further:

    PACIOLI_EXAMPLES=2000 PACIOLI_OPERATIONS=100000 PACIOLI_SEED=2 pytest --long tests/integration/ledger/test_serial_equality.py
"""

import itertools
import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, settings
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
from msgspec.structs import replace
from sqlalchemy import Engine, text

from core.base.db import begin, reading
from core.base.ids import new_id, new_key
from core.ledger import append, deciding, drain, immediate
from core.ledger.append import Submission
from core.ledger.deciding import Line
from core.ledger.rules import splits
from core.ledger.rules.engine import Book, decide
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import (
    SHORT_OF_MONEY,
    STATUS_OF_NUMBER,
    Draft,
    Freeze,
    Kind,
    Limit,
    Outcome,
    Posting,
    Rejection,
    RejectReason,
    Status,
)
from core.ledger.rules.routing import MAX_QUEUES
from core.ledger.store import balances as balance_store
from core.ledger.store import limits as limit_store
from core.ledger.store import log as log_store
from core.ledger.store import outcomes as outcome_store
from core.ledger.store import queues as queue_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store import waiting as waiting_store
from core.ledger.store.transaction_rows import TransactionRow
from core.verification.verify import verify_all
from tests import strategies
from tests.harness.searching import search
from tests.oracle import Operation, Oracle, Split, Sums, Verdict
from tests.strategies import ACCOUNTS, Account, Group, groups, moves, refunds, resolve, seeded_group, settlements

OPERATIONS = int(os.environ.get("PACIOLI_OPERATIONS", "5000"))
SEED = int(os.environ.get("PACIOLI_SEED", "1"))

SEARCH = settings(search(25), stateful_step_count=25)

_runs = itertools.count(1)


class Difference(AssertionError):
    """The ledger and the oracle do not agree."""


class Run:
    """Gives the same operations to the ledger and to the oracle. Nothing else writes to the log meanwhile."""

    def __init__(self, engine: Engine, routes: dict[Account, int]) -> None:
        self.engine, self.routes, self.oracle = engine, routes, Oracle()
        names = {account: f"{account[0]}{next(_runs)}" for account in routes}
        with begin(engine) as conn:
            wanted = [(names[account], account[1]) for account in routes]
            balance_store.create_indicators(conn, [(*name, new_key()) for name in wanted])
            refs = balance_store.find_indicators(conn, wanted)
            self.log_before = log_store.lock_head(conn)[0].seq
        self.keys = {account: refs[names[account], account[1]].key for account in routes}

    def accept(self, *submitted: Group, now: Iterable[bool] = ()) -> list[int]:
        """Append all in one commit, longer tuples as atomic groups. Returns the positions of the holds.

        ``now`` says which of them are to be decided in the commit.
        """
        return self.accept_all(submitted, now)

    def accept_all(self, submitted: Iterable[Group], now: Iterable[bool] = ()) -> list[int]:
        """Accept groups that are drawn one by one. The oracle decides each before the next is drawn."""
        at_once = iter(now)
        first = len(self.oracle.operations)
        submissions = []
        for group in submitted:
            self.oracle.accept(*group)
            drafts = [self._draft(each) for each in group]
            submissions.append(Submission(drafts, atomic=len(group) > 1, decide_now=next(at_once, False)))
        with begin(self.engine) as conn:
            append.append(conn, submissions)
        seqs = [row.seq for each in submissions for accepted in each.accepted for row in (accepted, *accepted.legs)]
        assert seqs == [self.seq(position) for position in range(first, len(self.oracle.operations))]
        return [position for position, op in enumerate(self.oracle.operations[first:], first) if op.kind is Kind.HOLD]

    def limit(self, account: Account, floor: int | None, frozen: str | None) -> None:
        """Limit a balance. What is accepted and undecided is not touched by it."""
        self.oracle.limit(account, floor, frozen)
        self.set_limit(account, floor, frozen)

    def set_limit(self, account: Account, floor: int | None, frozen: str | None) -> int:
        """Limit a balance in the ledger, as the use case does. Returns the seq after which it counts."""
        freeze = {None: Freeze.NONE, "debits": Freeze.DEBITS, "all": Freeze.ALL}[frozen]
        with begin(self.engine) as conn:
            head, _ = log_store.lock_head(conn, [])
            key = self.keys[account]
            row = balance_store.find_keys(conn, [key])[key]
            limit_store.add(conn, row, Limit(head.seq, floor, freeze), reason="r", actor="test")
        return head.seq

    def moved(self, last: int = 20) -> list[int]:
        """Return the positions of the latest decided operations that moved money, which may be refunded, in their order."""
        with reading(self.engine) as conn:
            seqs = conn.execute(
                text(
                    "SELECT seq FROM log JOIN outcomes USING (seq) WHERE seq > :before AND kind IN (1, 3, 6) "
                    "AND status = 1 ORDER BY seq DESC LIMIT :last"
                ),
                {"before": self.log_before, "last": last},
            ).scalars()
            return [seq - self.seq(0) for seq in reversed(seqs.all())]

    def seq(self, position: int) -> int:
        return self.log_before + 1 + position

    def drain(self) -> None:
        with reading(self.engine) as conn:
            waiting = waiting_store.with_work(conn)
        for queue in waiting:
            drain.drain(self.engine, queue)

    def compare_decided(self) -> int:
        """Check what is decided against the oracle. Return how many rows are undecided."""
        rows = self._rows()
        for position, row in enumerate(rows):
            if row.outcome is not None:
                _compare(
                    f"{self.oracle.operations[position]} at {position}",
                    self._verdict(row),
                    self.oracle.verdicts[position],
                )
        return sum(row.outcome is None and row.kind != Kind.SPLIT for row in rows)

    def compare_all(self) -> None:
        _compare("undecided", self.compare_decided(), 0)
        for position, row in enumerate(self._rows()):
            _compare(f"status at {position}", row.status, self.oracle.status(position))
        seqs = list(map(self.seq, range(len(self.oracle.operations))))
        with reading(self.engine) as conn:
            balances = outcome_store.read_balances(conn, self.keys.values())
            holds = {hold.seq - self.seq(0): hold[1:] for hold in outcome_store.find_holds(conn, seqs).values()}
            refunds = {each.seq - self.seq(0): each[1:] for each in outcome_store.find_refunds(conn, seqs).values()}
        _compare("holds", holds, self.oracle.held)
        _compare("refunds", {position: refunds[position] for position in self.oracle.moved}, self.oracle.moved)
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
            rows = transaction_store.find_seqs(conn, list(map(self.seq, range(len(self.oracle.operations)))))
        _compare("rows of the log", len(rows), len(self.oracle.operations))
        return rows

    def _verdict(self, row: TransactionRow) -> Verdict:
        assert row.outcome is not None and row.decided_amount is not None
        why = row.rejection
        if why is None:
            return Verdict(STATUS_OF_NUMBER[row.outcome], row.decided_amount)
        culprit = None if why.culprit is None else why.culprit - self.seq(0)
        return Verdict(STATUS_OF_NUMBER[row.outcome], row.decided_amount, why.reason, why.available, culprit)

    def _draft(self, each: Operation | Split) -> Draft:
        return self._split_draft(each) if isinstance(each, Split) else self._plain_draft(each)

    def _plain_draft(self, op: Operation, parent: str | None = None) -> Draft:
        source, destination = self.oracle.sides(op)
        id = new_id("")
        row = LogRow(
            id=id,
            reference=f"txn_{id}",
            kind=op.kind,
            source=self.keys[source],  # type: ignore[index]
            destination=self.keys[destination],  # type: ignore[index]
            amount=op.amount,
            currency=source[1],  # type: ignore[index]
            precision=100,
            description="a test",
            allow_overdraft=op.allow_overdraft or op.kind is Kind.REFUND,
            overdraft_limit=op.overdraft_limit,
            hold_seq=None if op.hold is None else self.seq(op.hold),
            refund_of=None if op.refund_of is None else self.seq(op.refund_of),
            parent=parent,
        )
        return Draft(row=row, route=self.routes[source])  # type: ignore[index]

    def _split_draft(self, split: Split) -> Draft:
        """Replace the oracle's legs of a split by those of the ledger."""
        pairs = splits.pairs([amount for _, amount in split.sources], [amount for _, amount in split.destinations])
        first = Operation(split.kind, split.sources[0][0], split.destinations[0][0], 1, *split[3:5])
        head = self._plain_draft(first)
        legs = (
            first._replace(source=split.sources[s][0], destination=split.destinations[d][0], amount=amount)
            for s, d, amount in pairs
        )
        amount = sum(amount for _, amount in split.sources)
        return Draft(
            row=replace(head.row, kind=Kind.SPLIT, source=None, destination=None, amount=amount),
            route=0,
            legs=tuple(self._plain_draft(leg, head.row.transaction_id) for leg in legs),
            atomic=split.atomic,
        )


def _compare(what: str, ledger: object, oracle: object) -> None:
    if ledger != oracle:
        raise Difference(f"{what}: the ledger has {ledger}, the oracle {oracle}")


# Any order, any split into batches


AT_ONCE = st.lists(st.booleans(), max_size=3)
"""Which of the submissions of a commit are to be decided in it. The others are not."""


class Interleaving(RuleBasedStateMachine):
    """Accepts and drains in any order. The queue of each balance is drawn as well."""

    holds = Bundle("holds")

    def __init__(self, engine: Engine, queues: int) -> None:
        super().__init__()
        self.engine, self.queues = engine, queues

    @initialize(routes=st.tuples(*[st.integers(0, MAX_QUEUES - 1)] * len(ACCOUNTS)))
    def start(self, routes: tuple[int, ...]) -> None:
        self.run = Run(self.engine, dict(zip(ACCOUNTS, routes, strict=True)))

    @rule(target=holds, operations=st.lists(moves(), min_size=1, max_size=5), now=AT_ONCE)
    def accept(self, operations: list[Operation], now: list[bool]) -> object:
        return multiple(*self.run.accept(*[(operation,) for operation in operations], now=now))

    @rule(target=holds, group=groups(), now=AT_ONCE)
    def accept_atomic_group(self, group: Group, now: list[bool]) -> object:
        return multiple(*self.run.accept(group, now=now))

    @rule(target=holds, split=strategies.splits(), now=AT_ONCE)
    def accept_split(self, split: Split, now: list[bool]) -> object:
        return multiple(*self.run.accept((split,), now=now))

    @rule(settlement=settlements(holds), now=AT_ONCE)
    def settle(self, settlement: Operation, now: list[bool]) -> None:
        self.run.accept((settlement,), now=now)

    @rule(
        settled=st.lists(settlements(holds), min_size=2, max_size=4),
        alone=st.lists(settlements(holds), max_size=2),
        now=AT_ONCE,
    )
    def settle_together(self, settled: list[Operation], alone: list[Operation], now: list[bool]) -> None:
        self.run.accept(tuple(settled), *[(settlement,) for settlement in alone], now=now)

    @rule(refunded=st.lists(refunds(st.integers(0, 19)), min_size=1, max_size=3), together=st.booleans(), now=AT_ONCE)
    def refund(self, refunded: list[Operation], together: bool, now: list[bool]) -> None:
        self._accept_resolved([tuple(refunded)] if together else [(each,) for each in refunded], now)

    @rule(
        move=moves(),
        settlement=settlements(holds),
        refunded=refunds(st.integers(0, 19)),
        split=strategies.splits(),
        order=st.permutations(range(4)).flatmap(lambda order: st.integers(2, 4).map(lambda size: order[:size])),
        now=AT_ONCE,
    )
    def accept_group_of_all_kinds(
        self,
        move: Operation,
        settlement: Operation,
        refunded: Operation,
        split: Split,
        order: list[int],
        now: list[bool],
    ) -> None:
        members = (move, settlement, refunded, split)
        self._accept_resolved([tuple(members[position] for position in order)], now)

    def _accept_resolved(self, submitted: list[Group], now: list[bool]) -> None:
        """Accept refunds drawn from all that can be refunded now. The holds named are positions already."""
        moved = self.run.moved()
        resolved = [resolve(group, range(len(self.run.oracle.operations)), moved) for group in submitted]
        self.run.accept(*[group for group in resolved if group], now=now)

    @rule(limit=strategies.limits())
    def limit(self, limit: tuple[Account, int | None, str | None]) -> None:
        self.run.limit(*limit)

    @rule(queue=st.integers(0, 7), batch=st.sampled_from([1, 2, 3, drain.BATCH]))
    def drain_one_queue(self, queue: int, batch: int) -> None:
        drain.drain(self.engine, queue % self.queues, batch=batch)
        self.run.compare_decided()

    @rule(queue=st.none() | st.integers(0, 7), limit=st.integers(1, 3))
    def decide_one_batch(self, queue: int | None, limit: int) -> None:
        queues = None if queue is None else {queue % self.queues}
        with begin(self.engine) as conn:
            drain.drain_batch(conn, queues, limit=limit, wait=False)
        self.run.compare_decided()

    @rule(account=st.sampled_from(ACCOUNTS), operations=st.lists(moves(), min_size=1, max_size=3))
    def accept_while_a_balance_is_locked(self, account: Account, operations: list[Operation]) -> None:
        lock = "SELECT FROM balances WHERE id = :id FOR UPDATE"
        with begin(self.engine) as other:
            other.execute(text(lock), {"id": self.run.keys[account]})
            self.run.accept(*[(operation,) for operation in operations], now=[True] * len(operations))
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
    monkeypatch.setattr(log_store, "queues_that_may_credit", lambda conn, balance, before, waiting: set())
    with pytest.raises(Difference):
        _search(engine, 3, MUTANT)


def test_the_comparison_notices_when_a_commit_decides_over_an_undecided_credit(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Credulous(Line):
        def _that_may_credit(self, posting: Posting) -> set[int]:
            return set()

    _resize(engine, 3)
    monkeypatch.setattr(immediate, "Line", Credulous)
    with pytest.raises(Difference):
        _search(engine, 3, MUTANT)


def test_the_comparison_notices_when_a_commit_decides_in_a_queue_that_has_stopped(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(dict[int, int]):
        def __contains__(self, queue: object) -> bool:
            return False

    class Forgetting(Line):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.stopped = Forgetful()

    _resize(engine, 3)
    monkeypatch.setattr(immediate, "Line", Forgetting)
    with pytest.raises(Difference):
        _search(engine, 3, MUTANT)


def test_the_comparison_notices_when_a_commit_decides_before_the_backlog(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _resize(engine, 3)
    monkeypatch.setattr(
        queue_store,
        "_WITHOUT_BACKLOG",
        "SELECT number FROM queues WHERE %(first)s > 0 AND number = ANY(%(numbers)s::int[])",
    )
    with pytest.raises(Difference):
        _search(engine, 3, MUTANT)


def test_the_comparison_notices_when_a_limit_counts_for_what_was_accepted_before(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _resize(engine, 3)
    monkeypatch.setattr(
        Book, "limit_of", lambda book, balance, seq: book.limits[balance][-1] if balance in book.limits else None
    )
    with pytest.raises(Difference):
        _search(engine, 3, MUTANT)


def _decide_group_that_forgets_to_give_back(group: Sequence[Posting], book: Book) -> list[Outcome]:
    """Decide a group wrongly: if it fails, put back its balances alone."""
    balances = dict(book.balances)
    outcomes: list[Outcome] = []
    for posting in group:
        outcome = decide(posting, book)
        if outcome.rejection is not None:
            book.balances.update(balances)
            others = Rejection(RejectReason.ATOMIC_GROUP, culprit=posting.seq)
            rejected = [Outcome(member.seq, Status.REJECTED, 0, rejection=others) for member in group]
            rejected[len(outcomes)] = outcome
            return rejected
        book.write(outcome)
        outcomes.append(outcome)
    return outcomes


def test_the_comparison_notices_when_a_failed_group_leaves_its_holds_settled(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _resize(engine, 3)
    monkeypatch.setattr(deciding, "decide_group", _decide_group_that_forgets_to_give_back)
    with pytest.raises(Difference):
        _search(engine, 3, MUTANT)


# Real threads


@pytest.mark.parametrize("queues", [3, 8])
def test_a_long_run_with_threads_at_every_queue_ends_as_the_serial_run_does(engine: Engine, queues: int) -> None:
    _resize(engine, queues)
    random = Random(SEED)
    accounts = [("@World", "USD"), *((f"@{number}", "USD") for number in range(15))]
    run = Run(engine, {account: random.randrange(MAX_QUEUES) for account in accounts})
    all_accepted = threading.Event()

    def draw(count: int) -> Iterable[Group]:
        """Draw groups that may settle the latest holds, and refund what could be refunded before the draw."""
        moved = run.moved()
        for _ in range(count):
            holds = [
                position for position, op in enumerate(run.oracle.operations[-60:], _last(60)) if op.kind is Kind.HOLD
            ]
            if group := resolve(seeded_group(random, accounts), holds, moved):
                yield group

    def _last(count: int) -> int:
        return max(0, len(run.oracle.operations) - count)

    def accept() -> None:
        try:
            while len(run.oracle.operations) < OPERATIONS:
                run.accept_all(draw(random.randint(1, 40)), [random.random() < 0.5 for _ in range(40)])
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
    assert verify_all(engine).problems == []


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


def _spend_above_a_floor(engine: Engine) -> None:
    """Spend what an earlier posting of another queue brings, which is just as much as the floor allows."""
    _resize(engine, 3)
    world, spender, shop = accounts = [(name, "USD") for name in ("@World", "@Spender", "@Shop")]
    run = Run(engine, dict(zip(accounts, range(3), strict=True)))
    run.limit(spender, 5, None)
    run.accept((Operation(Kind.TRANSFER, world, spender, 12, allow_overdraft=True),))
    run.accept((Operation(Kind.TRANSFER, spender, shop, 7, allow_overdraft=True),))
    drain.drain(engine, run.routes[spender])
    run.drain()
    run.compare_all()
    assert {verdict.status for verdict in run.oracle.verdicts} == {Status.APPLIED}


def test_money_above_a_floor_can_be_spent_as_soon_as_it_is_funded(engine: Engine) -> None:
    _spend_above_a_floor(engine)


def test_the_comparison_notices_when_a_floor_does_not_wait_for_an_earlier_credit(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "SHORT_OF_MONEY", SHORT_OF_MONEY - {RejectReason.FLOOR})
    with pytest.raises(Difference):
        _spend_above_a_floor(engine)


@pytest.mark.parametrize("together", [False, True], ids=["alone", "as a group"])
def test_money_that_a_refund_brings_back_can_be_spent_by_the_next(engine: Engine, together: bool) -> None:
    _resize(engine, 3)
    world, payer, payee, shop = accounts = [(name, "USD") for name in ("@World", "@Payer", "@Payee", "@Shop")]
    run = Run(engine, dict(zip(accounts, range(4), strict=True)))
    run.accept(
        (Operation(Kind.TRANSFER, world, payer, 9, allow_overdraft=True),), (Operation(Kind.TRANSFER, payer, payee, 9),)
    )
    run.drain()
    back = [Operation(Kind.REFUND, amount=amount, refund_of=1) for amount in (4, 0)]
    run.accept(*([tuple(back)] if together else [(each,) for each in back]))
    run.accept((Operation(Kind.TRANSFER, payer, shop, 9),))
    run.accept((Operation(Kind.REFUND, refund_of=1),))
    drain.drain(engine, run.routes[payer])
    run.drain()
    run.compare_all()
    assert [verdict.status for verdict in run.oracle.verdicts[-2:]] == [Status.APPLIED, Status.REJECTED]


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
    # Hypothesis takes anything that returns a machine, though its type says otherwise.
    run_state_machine_as_test(lambda: Interleaving(engine, queues), settings=how)  # type: ignore[arg-type]


def _resize(engine: Engine, queues: int) -> None:
    with begin(engine) as conn:
        queue_store.resize(conn, queues)
