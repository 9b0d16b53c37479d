"""Monitors fire as if all postings were decided one at a time, whatever the queues, batches and commits."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from core.base.db import begin, reading
from core.ledger import drain
from core.ledger.rules.model import Kind
from core.ledger.rules.routing import MAX_QUEUES
from core.ledger.store import balances as balance_store
from core.ledger.store import queues as queue_store
from core.monitors import monitors, watch_store
from core.monitors.requests import ConditionRequest, MonitorRequest
from tests.harness.searching import search
from tests.integration.ledger.test_serial_equality import Run
from tests.oracle import Operation, Oracle, Sums
from tests.strategies import ACCOUNTS, Account

WATCHED: list[Account] = [("@A", "USD"), ("@B", "USD"), ("@World", "USD")]


class Asked(NamedTuple):
    """A monitor, as it is drawn."""

    account: Account
    field: str
    operator: str
    threshold: int
    mode: str
    hysteresis: int
    once: bool
    rare: bool
    fire_now: bool


class Naive:
    """A monitor that looks at the oracle's sums after each posting. It shares nothing with the ledger's rules."""

    def __init__(self, asked: Asked, sums: Sums) -> None:
        self.asked, self.on, self.resting, self.fired = asked, False, False, 0
        self.firings: list[tuple[int | None, int | None, int]] = []
        self.last = value(asked.field, sums)
        self.on = self.is_true(self.last)
        if self.on and asked.fire_now:
            self.fire(None, None, self.last)

    def is_true(self, number: int, slack: int = 0) -> bool:
        limit = self.asked.threshold
        match self.asked.operator:
            case ">":
                return number > limit - slack
            case ">=":
                return number >= limit - slack
            case "<":
                return number < limit + slack
            case "<=":
                return number <= limit + slack
            case "=":
                return limit - slack <= number <= limit + slack
            case _:
                return number != limit

    def look(self, position: int, sums: Sums) -> None:
        before, self.last = self.last, value(self.asked.field, sums)
        if self.resting:
            return
        was = self.on
        self.on = self.is_true(self.last) or (was and self.is_true(self.last, self.asked.hysteresis))
        true = self.is_true(self.last)
        if true and (not was or self.asked.mode == "level"):
            self.fire(position, before, self.last)

    def fire(self, position: int | None, before: int | None, after: int) -> None:
        if self.asked.rare and self.fired:
            return
        self.fired += 1
        self.resting = self.asked.once
        self.firings.append((position, before, after))


def value(field: str, sums: Sums) -> int:
    balance = sums.credit - sums.debit
    return {
        "balance": balance,
        "available_balance": balance - sums.inflight_debit,
        "credit_balance": sums.credit,
        "debit_balance": sums.debit,
        "inflight_balance": sums.inflight_credit - sums.inflight_debit,
        "inflight_credit_balance": sums.inflight_credit,
        "inflight_debit_balance": sums.inflight_debit,
    }[field]


FIELDS = [
    *("balance", "balance", "available_balance", "credit_balance", "debit_balance"),
    *("inflight_balance", "inflight_credit_balance", "inflight_debit_balance"),
]
asked_monitors = st.builds(
    Asked,
    account=st.sampled_from(WATCHED),
    field=st.sampled_from(FIELDS),
    operator=st.sampled_from(["<", "<=", ">", ">=", "=", "!="]),
    threshold=st.integers(-4, 4),
    mode=st.sampled_from(["edge", "edge", "level"]),
    hysteresis=st.sampled_from([0, 0, 1, 2]),
    once=st.sampled_from([False, False, True]),
    rare=st.sampled_from([False, False, True]),
    fire_now=st.booleans(),
).map(lambda asked: asked._replace(hysteresis=0) if asked.operator == "!=" else asked)

moves = st.builds(
    Operation,
    kind=st.sampled_from([Kind.TRANSFER, Kind.TRANSFER, Kind.HOLD]),
    source=st.sampled_from(WATCHED),
    destination=st.sampled_from(WATCHED),
    amount=st.integers(1, 3),
    allow_overdraft=st.sampled_from([True, True, False]),
    overdraft_limit=st.none(),
    hold=st.none(),
    refund_of=st.none(),
).filter(lambda op: op.source != op.destination)

steps = st.one_of(
    st.tuples(st.just("accept"), st.lists(moves, min_size=1, max_size=4), st.booleans(), st.booleans()),
    st.tuples(st.just("settle"), st.integers(0, 30), st.sampled_from([Kind.COMMIT_INFLIGHT, Kind.VOID_INFLIGHT])),
    st.tuples(st.just("drain"), st.integers(0, 7), st.integers(1, 4)),
    st.tuples(st.just("drain"), st.integers(0, 7), st.integers(1, 4)),
    st.tuples(st.just("watch"), asked_monitors),
)


class Watching(Run):
    """A run whose oracle tells naive monitors of each posting."""

    def __init__(self, engine: Engine, routes: dict[Account, int]) -> None:
        super().__init__(engine, routes)
        self.naive: dict[str, Naive] = {}
        self.holds: list[int] = []
        self.seen: list[tuple[int, Account, Sums]] = []
        """The sums of each balance after each position that touched it."""

    def watch(self, asked: Asked) -> None:
        """Make a monitor here and there. It looks at everything from the first undecided posting of its balance on."""
        first = self._first_undecided(asked.account)
        with begin(self.engine) as conn:
            balance = balance_store.find_keys(conn, [self.keys[asked.account]])[self.keys[asked.account]]
            condition = ConditionRequest(
                field=asked.field, operator=asked.operator, value=Decimal(asked.threshold) / 4, precision=Decimal(4)
            )
            request = MonitorRequest(
                balance_id=balance.balance_id,
                condition=condition,
                mode=asked.mode,
                hysteresis=Decimal(asked.hysteresis) / 4,
                min_interval=Decimal(1_000_000 if asked.rare else 0),
                once=asked.once,
                fire_now=asked.fire_now,
            )
            row = monitors.create(conn, request, check_precision=False)
        of_balance = [(position, sums) for position, account, sums in self.seen if account == asked.account]
        before = [sums for position, sums in of_balance if position < first]
        naive = self.naive[row.monitor_id] = Naive(asked, before[-1] if before else Sums())
        for position, sums in of_balance:
            if position >= first:
                naive.look(position, sums)

    def _first_undecided(self, account: Account) -> int:
        key = self.keys[account]
        for position, row in enumerate(self._rows()):
            if row.outcome is None and key in (row.source_key, row.destination_key):
                return position
        return len(self.oracle.operations)

    def take(self, operations: Sequence[Operation], *, together: bool, now: bool) -> None:
        """Accept operations, alone or as one atomic group. The naive monitors look at each in turn."""
        groups = [tuple(operations)] if together else [(each,) for each in operations]
        shadow = _shadow(self.oracle)
        for group in groups:
            first = len(shadow.operations)
            before = dict(shadow.sums)
            shadow.accept(*group)
            if shadow.verdicts[first].reason is None:
                self._look(_replayed(before, shadow, range(first, len(shadow.operations))))
        self.holds += self.accept(*groups, now=[now] * len(groups))

    def _look(self, seen: list[tuple[int, Account, Sums]]) -> None:
        self.seen += seen
        for position, account, sums in seen:
            for naive in self.naive.values():
                if naive.asked.account == account:
                    naive.look(position, sums)

    def firings(self, monitor_id: str) -> list[tuple[int | None, int | None, int]]:
        with reading(self.engine) as conn:
            rows = monitors.firings(conn, monitor_id, after=None, limit=10_000)
        return [(None if row.seq is None else row.seq - self.seq(0), row.before, row.after) for row in reversed(rows)]


def _shadow(oracle: Oracle) -> Oracle:
    copy = Oracle()
    copy.operations, copy.verdicts = list(oracle.operations), list(oracle.verdicts)
    copy.sums, copy.held, copy.moved = dict(oracle.sums), dict(oracle.held), dict(oracle.moved)
    return copy


def _replayed(before: dict[Account, Sums], shadow: Oracle, positions: range) -> list[tuple[int, Account, Sums]]:
    """List what each balance of decided operations had after each of them, one at a time."""
    sums, seen = before, []
    for position in positions:
        op, amount = shadow.operations[position], shadow.verdicts[position].amount
        source, destination = shadow.sides(op)
        s, d = sums.get(source, Sums()), sums.get(destination, Sums())
        if op.kind is Kind.HOLD:
            s, d = (
                s._replace(inflight_debit=s.inflight_debit + amount),
                d._replace(inflight_credit=d.inflight_credit + amount),
            )
        else:
            if op.hold is not None:
                s = s._replace(inflight_debit=s.inflight_debit - amount)
                d = d._replace(inflight_credit=d.inflight_credit - amount)
            if op.kind is not Kind.VOID_INFLIGHT:
                s, d = s._replace(debit=s.debit + amount), d._replace(credit=d.credit + amount)
        sums[source], sums[destination] = s, d
        seen += [(position, source, s), (position, destination, d)]
    assert all(shadow.sums[name] == now for name, now in sums.items())
    return seen


def _play(engine: Engine, routes: tuple[int, ...], drawn: Sequence[tuple[object, ...]]) -> None:
    run = Watching(engine, dict(zip(ACCOUNTS, (*routes, *[0] * len(ACCOUNTS)), strict=False)))
    with reading(engine) as conn:
        queues = len(queue_store.cursors(conn))
    for kind, *more in drawn:
        if kind == "accept":
            operations, together, now = more
            run.take(operations, together=together, now=now)
        elif kind == "settle" and run.holds:
            position, settles = more
            run.take([Operation(settles, hold=run.holds[position % len(run.holds)])], together=False, now=False)
        elif kind == "drain":
            queue, limit = more
            with begin(engine) as conn:
                drain.drain_batch(conn, {queue % queues}, limit=limit, wait=False)
        elif kind == "watch" and len(run.naive) < 6:
            run.watch(more[0])
    run.drain()
    run.compare_all()
    for monitor_id, naive in run.naive.items():
        assert run.firings(monitor_id) == naive.firings, naive.asked
        with reading(engine) as conn:
            state = monitors.found(conn, monitor_id).state
        assert (state.fired, state.active) == (naive.fired, not naive.resting)
        assert naive.resting or state.triggered == naive.on


routes = st.tuples(*[st.integers(0, MAX_QUEUES - 1)] * 4)
runs = st.tuples(asked_monitors, st.lists(steps, min_size=4, max_size=25)).map(
    lambda drawn: [("watch", drawn[0]), *drawn[1]]
)


SEARCH = search(25)
MUTANT = settings(SEARCH, max_examples=300, derandomize=True, phases=[Phase.generate], print_blob=False)


@pytest.mark.parametrize("queues", [1, 3])
def test_monitors_fire_as_after_each_posting_of_the_serial_run(engine: Engine, queues: int) -> None:
    _search(engine, queues, SEARCH)


def test_the_comparison_notices_when_a_drain_does_not_wait_for_an_earlier_posting(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_store, "first_undecided", lambda conn, befores: {})
    with pytest.raises(AssertionError):
        _search(engine, 3, MUTANT)


def _search(engine: Engine, queues: int, how: settings) -> None:
    with begin(engine) as conn:
        queue_store.resize(conn, queues)

    @how
    @given(routes, runs)
    def every_interleaving(routes: tuple[int, ...], drawn: Sequence[tuple[object, ...]]) -> None:
        _play(engine, routes, drawn)

    every_interleaving()
