"""No thread of ours ends on an exception, and a fork leaves no process without its threads."""

import os
import threading
from collections.abc import Iterator
from functools import partial

import pytest
import structlog

from core.base import threads
from core.base.threads import Loop, Threads, loops
from tests.harness.processes import wait_until

WITHIN_S = 30


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "PAUSE_S", 0.001)


class Steps:
    """A step that fails as told, and then waits to be let go on."""

    def __init__(self, *failures: BaseException) -> None:
        self._failures: Iterator[BaseException] = iter(failures)
        self.succeeded = threading.Event()
        self.more = threading.Event()

    def __call__(self) -> None:
        failure = next(self._failures, None)
        if failure is not None:
            raise failure
        self.succeeded.set()
        self.more.wait(WITHIN_S)


@pytest.mark.parametrize(
    "failure",
    [
        ValueError("a bug"),
        MemoryError(),
        SystemExit(1),
        KeyboardInterrupt(),
        RecursionError(),
        OSError(28, "disk full"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_a_loop_outlives_any_exception(failure: BaseException) -> None:
    steps = Steps(failure, failure, failure)
    loop = Loop("a test", steps)
    assert steps.succeeded.wait(WITHIN_S)
    assert (loop.failures, loop.starts, loop.is_alive) == (3, 1, True)
    assert loop in loops()


def test_a_stopped_loop_ends_while_its_step_waits_and_nothing_starts_it_again() -> None:
    work, steps = threading.Event(), []

    def step() -> None:
        work.wait()
        steps.append(1)

    loop = Loop("a test", step, wake=work.set)
    loop.stop()
    wait_until(lambda: not loop.is_alive)
    loop.ensure()
    assert (loop.is_alive, len(steps) <= 1) == (False, True)


@pytest.mark.parametrize(
    "failure", [OSError(28, "no space"), BrokenPipeError(), ValueError("closed file"), SystemExit()]
)
def test_a_loop_outlives_its_own_log_call(monkeypatch: pytest.MonkeyPatch, failure: BaseException) -> None:
    class Full:
        def error(self, *args: object, **fields: object) -> None:
            raise failure

    monkeypatch.setattr(threads, "logger", Full())
    steps = Steps(ValueError("a bug"), ValueError("another"))
    loop = Loop("a test", steps)
    assert steps.succeeded.wait(WITHIN_S)
    assert (loop.failures, loop.starts) == (2, 1)


def test_a_loop_says_what_failed() -> None:
    with structlog.testing.capture_logs() as lines:
        steps = Steps(ValueError("a bug"))
        Loop("a test", steps)
        assert steps.succeeded.wait(WITHIN_S)
    assert [(line["event"], line["thread"]) for line in lines] == [("a thread failed and goes on", "a test")]


def test_a_thread_that_ended_is_started_by_whoever_hands_work_over(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = threading.Semaphore(0)
    monkeypatch.setattr(Loop, "_run", lambda self: ran.release())
    loop = Loop("a test", lambda: None)
    for starts in (1, 2, 3):
        assert ran.acquire(timeout=WITHIN_S)
        wait_until(lambda: not loop.is_alive)
        assert loop.starts == starts
        loop.ensure()


def test_a_forked_process_has_the_threads_of_its_parent() -> None:
    reader, writer = os.pipe()
    forked: list[int] = []
    steps = Steps()
    loop = Loop("a test", steps, after_fork=lambda: forked.append(1))
    assert steps.succeeded.wait(WITHIN_S)
    loop._lock.acquire()  # Another thread holds it while the process forks.
    child = os.fork()
    if child == 0:
        os.write(writer, b"alive" if loop.is_alive and forked == [1] else b"dead")
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 10) == b"alive"
    os.waitpid(child, 0)
    assert forked == []


def test_threads_are_started_on_demand_and_no_work_waits_while_there_may_be_one_more() -> None:
    threads, go_on, begun = Threads("a test", 3), threading.Event(), []

    def work(number: int) -> None:
        begun.append(number)
        assert go_on.wait(WITHIN_S)

    for number in range(4):
        threads.run(partial(work, number))
    wait_until(lambda: len(begun) == 3)
    assert threads.count == 3
    go_on.set()
    wait_until(lambda: len(begun) == 4)


def test_threads_that_have_nothing_to_do_end_and_work_that_fails_ends_none() -> None:
    threads, done = Threads("a test", 2, idle_s=0.05), threading.Event()

    def fails() -> None:
        raise SystemExit

    for each in (fails, fails, fails, done.set):
        threads.run(each)
    assert done.wait(WITHIN_S)
    wait_until(lambda: threads.count == 0)
    done.clear()
    threads.run(done.set)
    assert done.wait(WITHIN_S)


def test_work_for_which_no_thread_can_be_started_is_done_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, done = Threads("a test", 2), list[int]()

    def refuses(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuses)
        for number in range(3):
            threads.run(partial(done.append, number))
    assert threads.count == 0
    threads.run(partial(done.append, 3))
    wait_until(lambda: len(done) == 4)
    assert sorted(done) == [0, 1, 2, 3]
