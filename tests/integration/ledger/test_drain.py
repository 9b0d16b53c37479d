"""Draining: one at a queue, several at once, widening, atomic groups, and a crash at any point."""

import threading
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import Random
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from core.base.db import begin, reading
from core.ledger import drain
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import Accepted, RejectReason, Status
from core.ledger.store import log as log_store
from core.ledger.store import outcomes as outcome_store
from core.ledger.store import queues as queue_store
from core.ledger.store import taking
from core.ledger.store import waiting as waiting_store
from tests.harness.factories import Ledger, name_in, start_until_blocked, transaction

QUEUES = 3


@pytest.fixture
def ledger(ledger: Ledger) -> Ledger:
    """A ledger with three queues. A test picks one of them for each balance."""
    with begin(ledger.engine) as conn:
        queue_store.resize(conn, QUEUES)
    return ledger


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


# One queue


def test_a_queue_is_left_to_the_drain_that_is_at_it(ledger: Ledger) -> None:
    posted = ledger.post(source=name_in(ledger, 0))
    with begin(ledger.engine) as conn:
        queue_store.lock_heads(conn, [0], wait=True)
        assert drain.drain(ledger.engine, 0) == set()
        assert _status(ledger, posted) is Status.QUEUED
    drain.drain(ledger.engine, 0)
    assert _status(ledger, posted) is Status.APPLIED


def test_whoever_needs_an_outcome_waits_for_the_drain_that_is_at_the_queue(
    ledger: Ledger, threads: ThreadPoolExecutor
) -> None:
    posted, later = ledger.post(source=name_in(ledger, 0)), ledger.post(source=name_in(ledger, 0))
    with begin(ledger.engine) as conn:
        queue_store.lock_heads(conn, [0], wait=True)
        waiting = start_until_blocked(
            ledger.engine, threads, lambda: drain.drain_until(ledger.engine, 0, posted.seq, batch=1)
        )
        assert not waiting.done()
    assert waiting.result() == {0}
    assert [_status(ledger, each) for each in (posted, later)] == [Status.APPLIED, Status.QUEUED]


@pytest.mark.parametrize("idle", ["3 hours", "40 years", "-1 hour", "-3 hours"])
def test_a_queue_is_drained_however_long_ago_it_was_drained_last(ledger: Ledger, idle: str) -> None:
    payer = name_in(ledger, 0)
    ledger.post(source=payer)
    drain.drain(ledger.engine, 0)
    with begin(ledger.engine) as conn:
        conn.execute(text("UPDATE queues SET drained_at = clock_timestamp() - CAST(:idle AS interval)"), {"idle": idle})
    posted = ledger.post(source=payer)
    drain.drain(ledger.engine, 0)
    assert _status(ledger, posted) is Status.APPLIED
    with reading(ledger.engine) as conn:
        assert 0.09 < queue_store.states(conn)[0].rate <= 0.2


def test_drains_of_one_queue_at_once_do_no_harm(ledger: Ledger, threads: ThreadPoolExecutor) -> None:
    payer, payee = name_in(ledger, 0), name_in(ledger, 1)
    posted = ledger.bulk(*[transaction(source=payer, destination=payee) for _ in range(150)])
    start = threading.Barrier(4)

    def race() -> set[int]:
        start.wait()
        return drain.drain(ledger.engine, 0, batch=2)

    assert [future.result() for future in [threads.submit(race) for _ in range(4)]] == [set()] * 4
    assert {_status(ledger, each) for each in posted} == {Status.APPLIED}
    assert (ledger.balance(payer).balance, ledger.balance(payee).balance) == (-150, 150)
    assert ledger.balance(payer).version == 151


def test_what_is_accepted_during_a_drain_is_decided_before_it_leaves(ledger: Ledger) -> None:
    payer = name_in(ledger, 0)
    posted = [ledger.post(source=payer)]

    def announce(cursors: dict[int, int]) -> None:
        if len(posted) < 3:
            posted.append(ledger.post(source=payer))

    drain.drain(ledger.engine, 0, announce=announce)
    assert [_status(ledger, each) for each in posted] == [Status.APPLIED] * 3


def test_an_outcome_is_announced_after_it_is_committed(ledger: Ledger) -> None:
    posted = [ledger.post(source=name_in(ledger, 0)) for _ in range(3)]
    announced: list[tuple[dict[int, int], list[Status]]] = []
    drain.drain(
        ledger.engine,
        0,
        announce=lambda cursors: announced.append((cursors, [_status(ledger, each) for each in posted])),
        batch=2,
    )
    assert announced == [
        ({0: 2}, [Status.APPLIED, Status.APPLIED, Status.QUEUED]),
        ({0: 3}, [Status.APPLIED] * 3),
    ]


def test_a_posting_of_a_clock_that_was_ahead_is_decided_at_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two transactions, the later with the earlier time, as after a move to a host whose clock is behind."""
    lock_head = log_store.lock_head

    def ahead(conn: Connection, references: Collection[str]) -> tuple[log_store.LogHead, dict[str, LogRow]]:
        head, prior = lock_head(conn, references)
        return head._replace(now=head.now + timedelta(hours=1)), prior

    monkeypatch.setattr(log_store, "lock_head", ahead)
    posted = ledger.post(source=name_in(ledger, 0))
    drain.drain(ledger.engine, 0)
    assert _status(ledger, posted) is Status.APPLIED


# Widening


def test_a_short_posting_takes_the_queue_of_an_earlier_credit_along(ledger: Ledger) -> None:
    payer, world, shop = name_in(ledger, 0), name_in(ledger, 1), name_in(ledger, 2)
    funding = ledger.post(source=world, destination=payer, precise_amount=5)
    spending = ledger.post(source=payer, destination=shop, precise_amount=5, allow_overdraft=False)
    unrelated = ledger.post(source=world, destination=shop)
    announced: list[dict[int, int]] = []
    assert drain.drain(ledger.engine, 0, announce=announced.append) == {1}
    assert [_status(ledger, each) for each in (funding, spending)] == [Status.APPLIED] * 2
    assert _status(ledger, unrelated) is Status.APPLIED  # It was in the queue that was held anyway.
    assert announced == [{0: 3, 1: 3}]


def test_widening_goes_on_to_the_credit_that_the_credit_needs(ledger: Ledger) -> None:
    first, second, third = name_in(ledger, 0), name_in(ledger, 1), name_in(ledger, 2)
    posted = [
        ledger.post(source=first, destination=second, precise_amount=5),
        ledger.post(source=second, destination=third, precise_amount=5, allow_overdraft=False),
        ledger.post(source=third, destination=first, precise_amount=5, allow_overdraft=False),
    ]
    assert drain.drain(ledger.engine, 2) == {0, 1}
    assert [_status(ledger, each) for each in posted] == [Status.APPLIED] * 3


def test_an_announced_cursor_never_goes_back(ledger: Ledger) -> None:
    payer, middle, world = (name_in(ledger, queue) for queue in range(QUEUES))
    ledger.post(source=world, destination=middle, precise_amount=5)
    quick = ledger.post(source=middle, destination=world, precise_amount=1)
    announced: list[dict[int, int]] = []
    drain.drain(ledger.engine, 1, announce=announced.append)
    ledger.post(source=middle, destination=payer, precise_amount=4, allow_overdraft=False)
    last = ledger.post(source=payer, destination=world, precise_amount=4, allow_overdraft=False)
    assert drain.drain(ledger.engine, 0, announce=announced.append, batch=1) == {1, 2}
    assert _status(ledger, last) is Status.APPLIED
    of_the_middle = [cursors[1] for cursors in announced if 1 in cursors]
    assert of_the_middle[0] == quick.seq
    assert of_the_middle == sorted(of_the_middle)


@pytest.mark.parametrize("batch", [1, 2, 3, drain.BATCH])
def test_widening_reaches_a_credit_far_back_in_small_batches(ledger: Ledger, batch: int) -> None:
    payer, world, shop = name_in(ledger, 0), name_in(ledger, 1), name_in(ledger, 2)
    others = [ledger.post(source=world, destination=shop) for _ in range(5)]
    ledger.post(source=world, destination=payer, precise_amount=5)
    spending = ledger.post(source=payer, destination=shop, precise_amount=5, allow_overdraft=False)
    assert drain.drain(ledger.engine, 0, batch=batch) == {1}
    assert _status(ledger, spending) is Status.APPLIED
    assert {_status(ledger, each) for each in others} == {Status.APPLIED}


@pytest.mark.parametrize(
    "spend",
    [
        pytest.param({"precise_amount": 3, "allow_overdraft": False}, id="covered"),
        pytest.param({"precise_amount": 30}, id="unlimited"),
        pytest.param({"precise_amount": 13, "overdraft_limit": "0.10"}, id="within its limit"),
    ],
)
def test_a_posting_that_is_not_short_waits_for_nobody(ledger: Ledger, spend: dict[str, Any]) -> None:
    payer, world, shop = name_in(ledger, 0), name_in(ledger, 1), name_in(ledger, 2)
    ledger.post(source=world, destination=payer, precise_amount=3)
    ledger.drain()
    funding = ledger.post(source=world, destination=payer, precise_amount=100)
    spending = ledger.post(source=payer, destination=shop, **spend)
    assert drain.drain(ledger.engine, 0) == set()
    assert [_status(ledger, each) for each in (funding, spending)] == [Status.QUEUED, Status.APPLIED]


def test_a_short_posting_waits_for_nothing_that_does_not_credit_it_earlier(ledger: Ledger) -> None:
    payer, world, shop = name_in(ledger, 0), name_in(ledger, 1), name_in(ledger, 2)
    waiting = [
        ledger.post(source=world, destination=shop),
        ledger.post(source=world, destination=payer, precise_amount=5, inflight=True),
    ]
    spending = ledger.post(source=payer, destination=shop, precise_amount=5, allow_overdraft=False)
    waiting.append(ledger.post(source=world, destination=payer, precise_amount=5))
    assert drain.drain(ledger.engine, 0) == set()
    assert _reason(ledger, spending) is RejectReason.INSUFFICIENT_FUNDS
    assert [_status(ledger, each) for each in waiting] == [Status.QUEUED] * 3


def test_a_short_posting_waits_for_an_earlier_commit_of_a_hold(ledger: Ledger) -> None:
    payer, world, shop = name_in(ledger, 0), name_in(ledger, 1), name_in(ledger, 2)
    hold = ledger.post(source=world, destination=payer, precise_amount=5, inflight=True)
    ledger.settle(hold.transaction_id, "commit")
    spending = ledger.post(source=payer, destination=shop, precise_amount=5, allow_overdraft=False)
    assert drain.drain(ledger.engine, 0) == {1}
    assert [_status(ledger, each) for each in (hold, spending)] == [Status.APPLIED] * 2


@pytest.mark.parametrize("settled", [False, True], ids=["transfer", "commit of a hold"])
def test_a_later_credit_that_was_quicker_is_left_out(ledger: Ledger, settled: bool) -> None:
    payer, world, shop = name_in(ledger, 0), name_in(ledger, 1), name_in(ledger, 2)
    hold = ledger.post(source=world, destination=payer, precise_amount=3, inflight=True)
    ledger.post(source=world, destination=payer, precise_amount=4)
    spending = ledger.post(source=payer, destination=shop, precise_amount=5, allow_overdraft=False)
    if settled:
        ledger.settle(hold.transaction_id, "commit")
    else:
        ledger.post(source=world, destination=payer, precise_amount=3)
    drain.drain(ledger.engine, 1)
    assert ledger.balance(payer).balance == 7
    assert drain.drain(ledger.engine, 0) == set()
    row = ledger.transaction(spending.transaction_id)
    assert row.rejection is not None
    assert (row.rejection.available, row.rejection.short_by) == (4, 1)


# Atomic groups


def test_a_group_that_is_larger_than_the_batch_is_decided_whole(ledger: Ledger) -> None:
    payer = name_in(ledger, 0)
    group = ledger.bulk(*[transaction(source=payer) for _ in range(10)], atomic=True)
    after = ledger.post(source=payer)
    announced: list[dict[int, int]] = []
    drain.drain(ledger.engine, 0, announce=announced.append, batch=3)
    assert announced == [{0: group[-1].seq}, {0: after.seq}]
    assert {_status(ledger, each) for each in group} == {Status.APPLIED}


@pytest.mark.parametrize("ahead", range(6))
def test_a_group_that_the_batch_cuts_is_decided_whole(ledger: Ledger, ahead: int) -> None:
    payers = [name_in(ledger, queue) for queue in range(QUEUES)]
    for number in range(ahead):
        ledger.post(source=payers[number % 2])
    group = ledger.bulk(*[transaction(source=payers[number % 3]) for number in range(5)], atomic=True)
    after = ledger.post(source=payers[0])
    announced: list[dict[int, int]] = []
    drain.drain(ledger.engine, 0, announce=announced.append, batch=4)
    inside = range(group[0].seq, group[-1].seq)
    assert not [cursor for cursors in announced for cursor in cursors.values() if cursor in inside]
    assert {_status(ledger, each) for each in [*group, after]} == {Status.APPLIED}


def test_a_group_of_several_sources_takes_all_their_queues(ledger: Ledger) -> None:
    payers = [name_in(ledger, queue) for queue in range(QUEUES)]
    group = ledger.bulk(*[transaction(source=payer) for payer in payers], atomic=True)
    assert drain.drain(ledger.engine, 1) == {0, 2}
    assert {_status(ledger, each) for each in group} == {Status.APPLIED}


def test_a_member_may_spend_what_an_earlier_member_brings(ledger: Ledger) -> None:
    world, payer, shop = name_in(ledger, 0), name_in(ledger, 1), name_in(ledger, 2)
    group = ledger.bulk(
        transaction(source=world, destination=payer, precise_amount=5),
        transaction(source=payer, destination=shop, precise_amount=5, allow_overdraft=False),
        atomic=True,
    )
    ledger.drain()
    assert {_status(ledger, each) for each in group} == {Status.APPLIED}
    assert [ledger.balance(name).balance for name in (world, payer, shop)] == [-5, 0, 5]


def test_a_group_waits_for_an_earlier_credit_of_a_member(ledger: Ledger) -> None:
    payer, poor, world = (name_in(ledger, queue) for queue in range(QUEUES))
    ledger.post(source=world, destination=poor, precise_amount=5)
    group = ledger.bulk(
        transaction(source=payer),
        transaction(source=poor, precise_amount=5, allow_overdraft=False),
        atomic=True,
    )
    assert drain.drain(ledger.engine, 0) == {1, 2}
    assert {_status(ledger, each) for each in group} == {Status.APPLIED}


def test_a_group_that_fails_leaves_no_trace(ledger: Ledger) -> None:
    world, payee, holder, poor = (name_in(ledger, 0) for _ in range(4))
    members = [
        {"source": world, "destination": payee, "precise_amount": 5},
        {"source": world, "destination": holder, "precise_amount": 5, "inflight": True},
        {"source": poor, "destination": payee, "precise_amount": 7, "allow_overdraft": False},
        {"source": world, "destination": payee, "precise_amount": 5},
    ]
    group = ledger.bulk(*[transaction(**fields) for fields in members], atomic=True)
    commit = ledger.settle(group[1].transaction_id, "commit")
    spending = ledger.post(source=payee, destination=poor, precise_amount=5, allow_overdraft=False)
    ledger.drain()
    rejections = [ledger.transaction(each.transaction_id).rejection for each in group]
    assert [each and each.reason for each in rejections] == [
        RejectReason.ATOMIC_GROUP,
        RejectReason.ATOMIC_GROUP,
        RejectReason.INSUFFICIENT_FUNDS,
        RejectReason.ATOMIC_GROUP,
    ]
    assert [each and each.culprit for each in rejections] == [group[2].seq, group[2].seq, None, group[2].seq]
    assert rejections[2] is not None
    assert (rejections[2].available, rejections[2].short_by) == (0, 7)
    assert _reason(ledger, commit) is RejectReason.NOT_INFLIGHT
    assert _reason(ledger, spending) is RejectReason.INSUFFICIENT_FUNDS
    for name in (world, payee, holder, poor):
        balance = ledger.balance(name)
        assert (balance.credit_balance, balance.debit_balance, balance.version) == (0, 0, 1)
        assert (balance.inflight_credit_balance, balance.inflight_debit_balance) == (0, 0)
    assert _count(ledger.engine, "holds") == 0


def test_a_group_that_fails_keeps_what_the_same_batch_decided_before_it(ledger: Ledger) -> None:
    world, payee, poor = (name_in(ledger, 0) for _ in range(3))
    ledger.post(source=world, destination=payee, precise_amount=5)
    ledger.bulk(
        transaction(source=world, destination=payee, precise_amount=10),
        transaction(source=poor, destination=payee, allow_overdraft=False),
        atomic=True,
    )
    ledger.post(source=world, destination=payee, precise_amount=1)
    ledger.drain()
    assert (ledger.balance(world).balance, ledger.balance(payee).balance) == (-6, 6)
    assert ledger.balance(payee).version == 3


# Crashes


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (outcome_store, "write"),
        (outcome_store, "write_balances"),
        (outcome_store, "write_holds"),
        (queue_store, "advance"),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_before_the_commit_leaves_everything_undecided(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, when: str
) -> None:
    world, payee = name_in(ledger, 0), name_in(ledger, 1)
    posted = [
        ledger.post(source=world, destination=payee, precise_amount=5),
        ledger.post(source=world, destination=payee, precise_amount=5, inflight=True),
    ]
    write = getattr(module, name)

    def crash(*args: Any) -> None:
        if when == "after":
            write(*args)
        raise SystemExit  # The process ends. After an ordinary exception, a batch is halved.

    with monkeypatch.context() as patch:
        patch.setattr(module, name, crash)
        with pytest.raises(SystemExit):
            drain.drain(ledger.engine, 0)
    assert [_status(ledger, each) for each in posted] == [Status.QUEUED] * 2
    assert (_count(ledger.engine, "outcomes"), _count(ledger.engine, "holds")) == (0, 0)
    assert (ledger.balance(world).version, ledger.balance(payee).version) == (1, 1)

    drain.drain(ledger.engine, 0)
    assert [_status(ledger, each) for each in posted] == [Status.APPLIED, Status.INFLIGHT]
    assert (ledger.balance(world).balance, ledger.balance(payee).balance) == (-5, 5)
    assert (ledger.balance(world).version, ledger.balance(payee).version) == (3, 3)


def test_a_crash_after_the_commit_repeats_nothing(ledger: Ledger) -> None:
    payer = name_in(ledger, 0)
    posted = [ledger.post(source=payer) for _ in range(4)]

    def crash(cursors: dict[int, int]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drain.drain(ledger.engine, 0, announce=crash, batch=2)
    assert [_status(ledger, each) for each in posted] == [Status.APPLIED] * 2 + [Status.QUEUED] * 2
    drain.drain(ledger.engine, 0)
    assert {_status(ledger, each) for each in posted} == {Status.APPLIED}
    assert ledger.balance(payer).balance == -4


# Deadlocks


@pytest.mark.parametrize("downhill", [False, True])
def test_a_drain_that_waits_for_a_balance_holds_none_after_it(
    ledger: Ledger, threads: ThreadPoolExecutor, downhill: bool
) -> None:
    names = [name_in(ledger, 0) for _ in range(6)]
    low, *others = sorted(_key(ledger, name) for name in names)
    by_key = {_key(ledger, name): name for name in names}
    for key in others:
        pair = (by_key[key], by_key[low])
        source, destination = pair if downhill else pair[::-1]
        ledger.post(source=source, destination=destination)
    with begin(ledger.engine) as conn:
        outcome_store.lock_balances(conn, [low])
        waiting = start_until_blocked(ledger.engine, threads, lambda: drain.drain(ledger.engine, 0))
        assert not waiting.done()
        with begin(ledger.engine) as other:
            free = other.execute(
                text("SELECT id FROM balances WHERE id = ANY(:keys) FOR NO KEY UPDATE SKIP LOCKED"), {"keys": others}
            )
            assert sorted(free.scalars()) == others
    waiting.result()


def test_a_drain_that_waits_for_a_queue_holds_none_after_it(ledger: Ledger, threads: ThreadPoolExecutor) -> None:
    payer, world = name_in(ledger, 2), name_in(ledger, 0)
    ledger.post(source=world, destination=payer)
    spending = ledger.post(source=payer, destination=name_in(ledger, 1), allow_overdraft=False)
    with begin(ledger.engine) as conn:
        queue_store.lock_heads(conn, [0], wait=True)
        waiting = start_until_blocked(ledger.engine, threads, lambda: drain.drain(ledger.engine, 2))
        assert not waiting.done()
        with begin(ledger.engine) as other:
            assert queue_store.lock_heads(other, [1, 2], wait=False).keys() == {1, 2}
    assert waiting.result() == {0}
    assert _status(ledger, spending) is Status.APPLIED


def test_drains_of_crossing_transfers_do_not_deadlock(ledger: Ledger, threads: ThreadPoolExecutor) -> None:
    names = [name_in(ledger, number % QUEUES) for number in range(6)]
    random = Random(1)
    for _ in range(5):
        pairs = [random.sample(names, 2) for _ in range(60)]
        ledger.bulk(
            *[
                transaction(source=source, destination=destination, allow_overdraft=random.random() < 0.4)
                for source, destination in pairs
            ]
        )
        for _ in range(5):
            sources = random.sample(names, 3)
            ledger.bulk(*[transaction(source=source, destination="@Sink") for source in sources], atomic=True)
    start = threading.Barrier(4)

    def drain_all(order: list[int]) -> None:
        start.wait()
        for queue in order * 2:
            drain.drain(ledger.engine, queue, batch=5)

    for future in [threads.submit(drain_all, random.sample(range(QUEUES), QUEUES)) for _ in range(4)]:
        future.result()
    ledger.drain()
    assert _count(ledger.engine, "outcomes") == _count(ledger.engine, "log") == 375
    assert sum(ledger.balance(name).balance for name in [*names, "@Sink"]) == 0


def _key(ledger: Ledger, name: str) -> int:
    ref = ledger.directory.balance((name, "USD"))
    assert ref is not None
    return ref.key


def _status(ledger: Ledger, accepted: Accepted) -> Status:
    return ledger.transaction(accepted.transaction_id).status


def _reason(ledger: Ledger, accepted: Accepted) -> RejectReason | None:
    rejection = ledger.transaction(accepted.transaction_id).rejection
    return rejection.reason if rejection is not None else None


def _count(engine: Engine, table: str) -> int:
    with reading(engine) as conn:
        count: int = conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
    return count


# Together: what little waits in many queues


def test_one_bell_has_every_queue_decided_also_when_its_own_is_empty(ledger: Ledger) -> None:
    posted = [ledger.post(source=name_in(ledger, queue)) for queue in range(1, QUEUES)]
    announced: list[dict[int, int]] = []
    assert drain.drain(ledger.engine, 0, announce=announced.append, together=500) == set()
    assert [_status(ledger, each) for each in posted] == [Status.APPLIED] * len(posted)
    assert len(announced) == 1  # In one commit.


def test_a_long_line_is_drained_alone_and_the_other_queues_are_returned_to_be_rung(ledger: Ledger) -> None:
    mine = [ledger.post(source=name_in(ledger, 0)) for _ in range(6)]
    theirs = [ledger.post(source=name_in(ledger, 1)) for _ in range(6)]
    assert drain.drain(ledger.engine, 0, together=4, batch=2) == {1}
    assert [_status(ledger, each) for each in mine] == [Status.APPLIED] * 6
    assert _status(ledger, theirs[-1]) is Status.QUEUED
    drain.drain(ledger.engine, 1, together=4)
    assert _status(ledger, theirs[-1]) is Status.APPLIED


def test_a_queue_that_another_drain_holds_is_left_and_the_free_ones_are_decided(ledger: Ledger) -> None:
    source = name_in(ledger, 1)
    held, free = ledger.post(source=name_in(ledger, 0)), ledger.post(source=source)
    meanwhile: list[Accepted] = []

    def accept_one_more(_: dict[int, int]) -> None:
        if not meanwhile:
            meanwhile.append(ledger.post(source=source))

    with begin(ledger.engine) as conn:
        queue_store.lock_heads(conn, {0}, wait=True)
        assert drain.drain(ledger.engine, 0, announce=accept_one_more, together=500) == set()
        assert _status(ledger, free) is Status.APPLIED
        assert _status(ledger, meanwhile[0]) is Status.APPLIED  # Whose bell may have found the queue held.
        assert _status(ledger, held) is Status.QUEUED


def test_a_bell_that_finds_all_queues_held_takes_one_look(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.post(source=name_in(ledger, 0))
    looks: list[str] = []
    for module, name in ((taking, "take_all_free"), (taking, "take"), (waiting_store, "with_work")):
        look = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *a, _name=name, _look=look, **k: (looks.append(_name), _look(*a, **k))[1]
        )
    with begin(ledger.engine) as conn:
        queue_store.lock_heads(conn, range(QUEUES), wait=True)
        assert drain.drain(ledger.engine, 0, together=500) == set()
    assert looks == ["take_all_free"]


def test_each_queue_that_is_locked_for_a_look_is_returned(
    ledger: Ledger, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a drain would leave without another look at a queue that it has kept from others."""
    slow = f"pg_advisory_xact_lock_shared({SLOW}) IS NOT NULL AND seq IS NOT NULL"
    statement = taking._TAKE_FREE_WITH_WORK.replace(
        "LIMIT 1\n    ) IS NOT NULL", f"LIMIT 1) > 0 AND (SELECT {slow} FROM log LIMIT 1)"
    )
    assert slow in statement
    monkeypatch.setattr(taking, "_TAKE_FREE_WITH_WORK", statement)
    posted = ledger.post(source=name_in(ledger, 0))
    with begin(ledger.engine) as conn:
        conn.execute(text(f"SELECT pg_advisory_xact_lock({SLOW})"))
        found = start_until_blocked(ledger.engine, threads, lambda: _taken_and_left(ledger.engine))
        drain.drain(ledger.engine, 0)
    assert _status(ledger, posted) is Status.APPLIED
    assert found.result() == ({0: posted.seq}, 0)


SLOW = 99
"""The key of a lock for which a look waits between its choice of queues and their locks."""


def _taken_and_left(engine: Engine) -> tuple[dict[int, int], int]:
    """Take all queues with work. Returns their cursors, and the number of postings that wait."""
    with begin(engine) as conn:
        heads, postings = taking.take_all_free(conn, 500)
    return {number: head.cursor for number, head in heads.items()}, len(postings)
