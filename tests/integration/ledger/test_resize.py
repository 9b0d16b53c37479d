"""The number of queues can change while clients post and workers drain."""

import random
import threading

import pytest
from sqlalchemy import Engine

from core.base import fence
from core.base.db import begin, connect, reading
from core.base.errors import InvalidRequest, TransientError
from core.ledger import drain, queues
from core.ledger.rules.routing import MAX_QUEUES
from core.ledger.store import queues as queue_store
from core.ledger.store import waiting as waiting_store
from core.verification.verify import verify_all
from tests.harness.factories import Ledger


def test_resize_while_threads_append_and_drain_loses_and_reorders_nothing(ledger: Ledger) -> None:
    names = [f"@{number}" for number in range(40)]
    for name in names:
        ledger.post(destination=name, precise_amount=20)
    done = threading.Event()
    failures: list[BaseException] = []
    posted = [0, 0]
    steps = threading.Semaphore(0)

    def append(number: int) -> None:
        rng = random.Random(number)
        while not done.is_set():
            source, destination = rng.sample(names, 2)
            ledger.post(source=source, destination=destination, precise_amount=rng.randint(1, 9), allow_overdraft=False)
            posted[number] += 1
            steps.release()

    def work(number: int) -> None:
        rng = random.Random(number)
        while not done.is_set():
            drain.drain(ledger.engine, rng.randrange(MAX_QUEUES), batch=rng.randint(1, 5))

    def guarded(task: object, number: int) -> None:
        try:
            task(number)  # type: ignore[operator]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(task, number)) for task in (append, work) for number in range(2)]
    for thread in threads:
        thread.start()
    sizes = [3, MAX_QUEUES, 1, 16, 5]
    before = 8
    try:
        for count in sizes:
            while steps.acquire(blocking=False):
                pass
            for _ in range(15):
                assert steps.acquire(timeout=60), failures
            assert queues.resize(ledger.engine, count) == before
            before = count
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []

    with reading(ledger.engine) as conn:
        assert list(queue_store.cursors(conn)) == list(range(5))
    ledger.drain()
    report = verify_all(ledger.engine)
    assert report.problems == []
    assert report.transactions == len(names) + sum(posted)
    assert report.undecided == 0
    assert report.rejected > 0


def test_everything_that_waits_is_decided_before_the_change(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        ledger.post(source=f"@{number}")
    monkeypatch.setattr(queues, "LITTLE", 5)
    assert queues.resize(ledger.engine, 2) == 8
    report = verify_all(ledger.engine)
    assert report.problems == []
    assert (report.transactions, report.undecided) == (30, 0)


def test_nothing_is_accepted_between_the_last_look_and_the_change(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.post()
    ledger.drain()
    posting = threading.Thread(target=ledger.post)
    change = queue_store.resize

    def slow_change(conn: object, count: int) -> None:
        posting.start()
        posting.join(0.3)
        assert posting.is_alive(), "an append did not wait for the change"
        change(conn, count)  # type: ignore[arg-type]

    monkeypatch.setattr(queue_store, "resize", slow_change)
    queues.resize(ledger.engine, 3)
    posting.join()
    assert verify_all(ledger.engine).problems == []
    ledger.drain()
    assert verify_all(ledger.engine).undecided == 0


def test_a_drain_that_is_at_a_queue_is_waited_for(ledger: Ledger) -> None:
    ledger.post()
    with begin(ledger.engine) as conn:
        numbers = waiting_store.with_work(conn)
        queue_store.lock_heads(conn, numbers, wait=True)
        resizing = threading.Thread(target=queues.resize, args=(ledger.engine, 3))
        resizing.start()
        resizing.join(0.3)
        assert resizing.is_alive()
    resizing.join()
    report = verify_all(ledger.engine)
    assert (report.problems, report.undecided) == ([], 0)


def test_a_resize_that_does_not_get_its_locks_changes_nothing(
    ledger: Ledger, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence, "PATIENCE_S", 0.0)
    ledger.post()
    impatient = connect(database_url, lock_timeout_s=1)
    with begin(ledger.engine) as conn:
        queue_store.lock_heads(conn, [7], wait=True)
        with pytest.raises(TransientError):
            queues.resize(impatient, 3)
    impatient.dispose()
    with reading(ledger.engine) as conn:
        assert len(queue_store.cursors(conn)) == 8
    ledger.post()
    ledger.drain()
    assert verify_all(ledger.engine).problems == []


@pytest.mark.parametrize("count", [0, -1, MAX_QUEUES + 1])
def test_a_number_of_queues_that_cannot_be_is_refused(engine: Engine, count: int) -> None:
    with pytest.raises(InvalidRequest, match=f"from 1 to {MAX_QUEUES}"):
        queues.resize(engine, count)


def test_the_same_number_changes_nothing(engine: Engine) -> None:
    assert queues.resize(engine, 8) == 8
