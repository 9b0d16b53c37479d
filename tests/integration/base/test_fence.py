"""Locks outlive no one: a frozen process loses them within seconds, others go on, and it says so when it wakes.

Each test takes some seconds, because a real process freezes and the locks are waited for.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest
from sqlalchemy import Engine, text

from core import migrations
from core.base import fence
from core.base.db import begin, connect, driver, reading
from core.base.errors import TransientError
from core.base.locks import AdvisoryLock, take
from core.funding import runs
from core.ledger import drain, intake, queues
from core.ledger.append import Submission
from core.ledger.rules.model import Status
from core.verification import checkpoints
from core.verification.verify import verify_all, verify_since_checkpoint
from tests.harness.factories import Ledger, new_run, run_of, transaction
from tests.harness.frozen import PLACES
from web.accept.committer import Committer

WITHIN_S = 30


class Frozen:
    """A real process that has frozen in the middle of its work."""

    def __init__(self, url: str, where: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.frozen", url, where], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._lines = self._process.stdout
        while (line := self._lines.readline()) != "frozen\n":
            assert line, "it ended before it froze"

    def wake(self) -> str:
        """Let it go on, and return what it prints to its end."""
        self._process.send_signal(signal.SIGCONT)
        printed = self._lines.read()
        self._process.wait(WITHIN_S)
        return printed

    def end(self) -> None:
        self._process.kill()
        self._process.wait(WITHIN_S)
        self._lines.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "STANDS_STILL_S", 1.0)
    monkeypatch.setattr(fence, "WORKS_FOR_S", 1.0)
    monkeypatch.setattr(fence, "_SECOND_LOOK_S", 0.1)


@pytest.fixture
def freeze(database_url: str) -> Iterator[Callable[[str], Frozen]]:
    made: list[Frozen] = []

    def start(where: str) -> Frozen:
        made.append(Frozen(database_url, where))
        return made[-1]

    yield start
    for each in made:
        each.end()


@pytest.mark.parametrize("where", [where for where in PLACES if where.startswith("append")])
def test_an_append_that_freezes_keeps_nobody_out(ledger: Ledger, freeze: Callable[[str], Frozen], where: str) -> None:
    ledger.post(reference="before")
    frozen = freeze(where)
    committer = Committer(ledger.engine, lambda queues: None)
    started = time.monotonic()
    submission = Submission(intake.draft_all([transaction(reference="after")], ledger.directory))
    committer.submit(submission)
    assert time.monotonic() - started < 10 * fence.STANDS_STILL_S
    assert submission.accepted[0].seq == 2

    printed = frozen.wake()
    assert "lost" in printed and "done" not in printed
    assert "stood still with the append lock" in printed
    assert _count(ledger.engine, "log") == 2
    ledger.drain()
    assert verify_all(ledger.engine).problems == []


@pytest.mark.parametrize("where", [where for where in PLACES if where.startswith("drain")])
def test_a_drain_that_freezes_keeps_no_queue(ledger: Ledger, freeze: Callable[[str], Frozen], where: str) -> None:
    posted = [ledger.post(source=f"@S{number}", destination=f"@D{number}") for number in range(8)]
    frozen = freeze(where)
    later = ledger.post(source="@S1", destination="@D9")  # It is accepted while the drain stands still.
    _until(
        lambda: _decided(ledger, later.transaction_id), lambda: drain.drain(ledger.engine, later.queue, together=500)
    )
    assert all(_decided(ledger, each.transaction_id) for each in posted)

    printed = frozen.wake()
    assert "lost" in printed and "lost its queues" in printed
    assert _count(ledger.engine, "outcomes") == 9
    assert verify_all(ledger.engine).problems == []


def test_a_posting_that_waits_for_a_frozen_drain_is_decided(ledger: Ledger, freeze: Callable[[str], Frozen]) -> None:
    """The one that waits wants the very row, as ``skip_queue`` does."""
    posted = ledger.post()
    frozen = freeze("drain before the commit")
    drain.drain_until(ledger.engine, posted.queue, posted.seq)
    assert _decided(ledger, posted.transaction_id)
    assert "lost" in frozen.wake()


@pytest.mark.parametrize("where", ["funding step", "funding append"])
def test_a_funding_step_that_freezes_stops_no_other(
    ledger: Ledger, freeze: Callable[[str], Frozen], where: str
) -> None:
    run = new_run(ledger, "@A", "@B", "@C")
    frozen = freeze(where)
    _until(lambda: run_of(ledger, run.run_id).status == "COMPLETED", lambda: _fund(ledger))
    assert "lost" in frozen.wake()
    assert _count(ledger.engine, "log") == 3
    assert verify_all(ledger.engine).problems == []


def test_a_resize_that_freezes_keeps_nobody_out(ledger: Ledger, freeze: Callable[[str], Frozen]) -> None:
    frozen = freeze("resize")
    Committer(ledger.engine, lambda queues: None).submit(
        Submission(intake.draft_all([transaction()], ledger.directory))
    )
    ledger.drain()
    assert "lost" in frozen.wake()
    assert queues.resize(ledger.engine, 3) != 3


def test_a_migration_that_freezes_keeps_no_other_out(engine: Engine, freeze: Callable[[str], Frozen]) -> None:
    frozen = freeze("migrate")
    impatient = connect(engine.url.render_as_string(hide_password=False), lock_timeout_s=1)
    migrations.upgrade(impatient)
    impatient.dispose()
    assert "lost" in frozen.wake()


def test_a_checkpoint_that_freezes_keeps_no_other_out(ledger: Ledger, freeze: Callable[[str], Frozen]) -> None:
    ledger.post()
    ledger.drain()
    frozen = freeze("checkpoint")
    impatient = connect(ledger.engine.url.render_as_string(hide_password=False), lock_timeout_s=1)
    _until(lambda: _count(ledger.engine, "checkpoints") == 1, lambda: _checkpoint(impatient))
    impatient.dispose()
    assert "lost" in frozen.wake()
    assert _count(ledger.engine, "checkpoints") == 1


# Who is left alone


def test_a_holder_that_works_in_the_server_is_left_alone(ledger: Ledger) -> None:
    with begin(ledger.engine) as conn, ThreadPoolExecutor(1) as pool:
        take(conn, AdvisoryLock.APPEND)
        working = pool.submit(conn.execute, text("SELECT pg_sleep(3)"))
        while not working.done():
            assert fence.end_still_sessions(ledger.engine) == 0
        working.result()


def test_a_copy_that_moves_on_is_left_alone(ledger: Ledger) -> None:
    """Its server waits for its client now and then, and the statement is old, but the rows come."""
    with begin(ledger.engine) as conn, ThreadPoolExecutor(1) as pool:
        take(conn, AdvisoryLock.APPEND)
        cursor = driver(conn).cursor()
        with cursor.copy("COPY annotations (id, meta_data) FROM STDIN") as copy:
            looking = pool.submit(_look_for, ledger.engine, 2 * fence.STANDS_STILL_S)
            pause = threading.Event()
            number = 0
            while not looking.done():
                for _ in range(500):
                    number += 1
                    copy.write(f"00000000-0000-0000-0000-{number:012}\t{{}}\n")
                pause.wait(0.01)
        assert looking.result() == 0


def test_a_holder_that_computes_for_long_is_left_alone_unless_all_wait_for_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A funding run plans a hundred thousand rows between two statements."""
    monkeypatch.setattr(fence, "WORKS_FOR_S", 60.0)
    with begin(ledger.engine) as conn:
        for lock in (AdvisoryLock.FUND, AdvisoryLock.CHECKPOINT, AdvisoryLock.MIGRATE):
            take(conn, lock)
        threading.Event().wait(fence.STANDS_STILL_S + 0.2)
        assert fence.end_still_sessions(ledger.engine) == 0


@pytest.mark.parametrize("statement", ["SELECT count(*) FROM queues", "SELECT pg_advisory_xact_lock(1, 2)"])
def test_a_session_that_holds_nothing_of_ours_is_left_alone(
    ledger: Ledger, database_url: str, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    monkeypatch.setattr(fence, "_SECOND_LOOK_S", -1)  # Nobody pauses for it: that would raise.
    with psycopg.connect(database_url.replace("+psycopg", "")) as foreign:
        foreign.execute(statement)  # type: ignore[arg-type]
        threading.Event().wait(fence.STANDS_STILL_S + 0.2)
        assert fence.end_still_sessions(ledger.engine) == 0
        foreign.execute("SELECT 1")


def test_a_session_that_stands_still_with_a_lock_of_another_ledger_is_left_alone(
    ledger: Ledger, own_database_url: str
) -> None:
    other = connect(own_database_url)
    ended = -1
    with suppress(TransientError), begin(other) as conn:
        take(conn, AdvisoryLock.APPEND)
        threading.Event().wait(fence.STANDS_STILL_S + 0.2)
        assert fence.end_still_sessions(ledger.engine) == 0
        ended = fence.end_still_sessions(other)
    assert ended == 1
    other.dispose()


def _look_for(engine: Engine, seconds: float) -> int:
    """Look again and again for so long, and return how many sessions were ended."""
    deadline = time.monotonic() + seconds
    ended = 0
    while time.monotonic() < deadline:
        ended += fence.end_still_sessions(engine)
    return ended


def _checkpoint(engine: Engine) -> None:
    report = verify_since_checkpoint(engine, key=None, limit=100)
    with suppress(TransientError):
        checkpoints.write(engine, report.reached, None)


def _fund(ledger: Ledger) -> None:
    with suppress(TransientError):  # A tick that found the log locked. The next one goes on.
        runs.advance(ledger.engine, for_s=60)


def _decided(ledger: Ledger, transaction_id: str) -> bool:
    return ledger.transaction(transaction_id).status is Status.APPLIED


def _count(engine: Engine, table: str) -> int:
    with reading(engine) as conn:
        return int(conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def _until(is_so: Callable[[], bool], tick: Callable[[], object]) -> None:
    """Tick until it is so, as beat does."""
    pause = threading.Event()
    deadline = time.monotonic() + WITHIN_S
    while not is_so():
        assert time.monotonic() < deadline
        tick()
        pause.wait(0.1)
