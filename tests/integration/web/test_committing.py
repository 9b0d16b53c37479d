"""A commit that fails costs only the requests that are to blame, and no request waits for ever."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from core.base.errors import ErrorCode, InvalidRequest, LedgerError, TransientError
from core.ledger import append as core_append
from core.ledger import intake
from core.ledger.append import Submission
from tests.harness.factories import Ledger, transaction
from tests.harness.processes import wait_until
from web.accept import committer as committing
from web.accept.committer import Committer

WITHIN_S = 30


class Gate:
    """Replaces the append of a committer. It fails for the references that a test names, and can be held shut."""

    def __init__(self) -> None:
        self.errors: dict[str, BaseException] = {}
        self.largest: dict[int, BaseException] = {}
        """The error of a group that has more submissions than the key."""
        self.sizes: list[int] = []
        self.open = threading.Event()
        self.open.set()
        self.reached = threading.Event()

    def append(self, conn: Any, submissions: list[Submission]) -> None:
        self.sizes.append(len(submissions))
        self.reached.set()
        assert self.open.wait(WITHIN_S)
        for limit, error in self.largest.items():
            if len(submissions) > limit:
                raise type(error)(*error.args)
        for submission in submissions:
            references = [draft.row.reference for draft in submission.drafts]
            if (error := self.errors.get(next(iter(references), ""))) is not None:
                raise type(error)(*error.args)
        core_append.append(conn, submissions)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    monkeypatch.setattr(committing, "append", gate)
    return gate


@pytest.fixture
def rung() -> list[int]:
    return []


@pytest.fixture
def committer(engine: Engine, rung: list[int]) -> Committer:
    return Committer(engine, rung.extend)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


def together(
    gate: Gate, committer: Committer, pool: ThreadPoolExecutor, submissions: list[Submission]
) -> list[Future[None]]:
    """Submit all so that they are one group: they gather behind a first one, which is held up."""
    gate.open.clear()
    first = pool.submit(committer.submit, Submission([]))
    assert gate.reached.wait(WITHIN_S)
    futures = [pool.submit(committer.submit, submission) for submission in submissions]
    wait_until(lambda: committer.waiting == len(submissions))
    gate.sizes.clear()
    gate.open.set()
    first.result(WITHIN_S)
    return futures


def submissions_of(ledger: Ledger, *references: str) -> list[Submission]:
    return [Submission(intake.draft_all([transaction(reference=each)], ledger.directory)) for each in references]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (psycopg.errors.OutOfMemory("out of memory"), ErrorCode.GEN_UNAVAILABLE),
        (psycopg.errors.QueryCanceled("statement timeout"), ErrorCode.GEN_UNAVAILABLE),
        (psycopg.errors.ProgramLimitExceeded("index row size exceeds maximum"), ErrorCode.GEN_PAYLOAD_TOO_LARGE),
        (psycopg.OperationalError("sending failed: message too large"), ErrorCode.GEN_PAYLOAD_TOO_LARGE),
        (psycopg.OperationalError("cannot allocate: out of memory"), ErrorCode.GEN_UNAVAILABLE),
        (MemoryError(), ErrorCode.GEN_UNAVAILABLE),
        (OverflowError("too large to convert"), ErrorCode.GEN_PAYLOAD_TOO_LARGE),
    ],
    ids=lambda each: type(each).__name__,
)
def test_one_that_does_not_fit_fails_alone(
    ledger: Ledger, committer: Committer, gate: Gate, pool: ThreadPoolExecutor, error: BaseException, code: ErrorCode
) -> None:
    gate.errors["bad"] = error
    submissions = submissions_of(ledger, *(f"good-{i}" for i in range(12)), "bad", "last")
    futures = together(gate, committer, pool, submissions)
    for future in futures[:-2] + futures[-1:]:
        future.result(WITHIN_S)
    with pytest.raises(LedgerError) as caught:
        futures[-2].result(WITHIN_S)
    assert caught.value.code is code
    assert sorted(each.accepted[0].seq for each in submissions if each.accepted) == list(range(1, 14))
    assert len(gate.sizes) <= 9  # Halving costs few commits. One by one would cost 15.
    assert committer.refused == 1 and committer.loop.failures == 0


def test_a_group_that_is_too_large_as_a_whole_is_appended_in_halves(
    ledger: Ledger, committer: Committer, gate: Gate, pool: ThreadPoolExecutor, rung: list[int]
) -> None:
    gate.largest[3] = psycopg.errors.OutOfMemory("out of memory")
    submissions = submissions_of(ledger, *(f"good-{i}" for i in range(8)))
    for future in together(gate, committer, pool, submissions):
        future.result(WITHIN_S)
    assert gate.sizes == [8, 4, 2, 2, 4, 2, 2]
    assert sorted(each.accepted[0].seq for each in submissions) == list(range(1, 9))
    wait_until(lambda: set(rung) >= set().union(*(each.queues() for each in submissions)))
    assert committer._group_rows < committing.GROUP_ROWS


def test_a_bug_costs_only_the_submission_that_has_it(
    ledger: Ledger, committer: Committer, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    gate.errors["bad"] = ZeroDivisionError()
    futures = together(gate, committer, pool, submissions_of(ledger, "a", "bad", "b"))
    with pytest.raises(ZeroDivisionError):
        futures[1].result(WITHIN_S)
    for future in (futures[0], futures[2]):
        future.result(WITHIN_S)


def test_what_a_lost_commit_had_in_it_is_no_conflict(
    ledger: Ledger, committer: Committer, gate: Gate, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other transaction of the reference was in the same commit, and may never be stored."""

    def lose(conn: Any, submissions: list[Submission]) -> None:
        core_append.append(conn, submissions)
        if len(submissions) > 1:
            raise TransientError("away")

    submissions = [
        Submission(intake.draft_all([transaction(reference="same", precise_amount=amount)], ledger.directory))
        for amount in (1, 2)
    ]
    gate.open.clear()
    first = pool.submit(committer.submit, Submission([]))
    assert gate.reached.wait(WITHIN_S)
    monkeypatch.setattr(gate, "append", lose)
    futures = [pool.submit(committer.submit, each) for each in submissions]
    wait_until(lambda: committer.waiting == len(submissions))
    gate.open.set()
    first.result(WITHIN_S)
    for future in futures:
        with pytest.raises(TransientError):
            future.result(WITHIN_S)


def test_a_database_that_is_away_is_not_asked_again_by_halves(
    ledger: Ledger, committer: Committer, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    gate.errors["a"] = psycopg.errors.DiskFull("no space left")
    futures = together(gate, committer, pool, submissions_of(ledger, "a", "b"))
    for future in futures:
        with pytest.raises(TransientError):
            future.result(WITHIN_S)
    assert gate.sizes == [2]


def test_each_request_of_a_group_that_fails_has_an_error_of_its_own(
    ledger: Ledger, committer: Committer, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    """A view adds to the details, such as the ID of its batch, and another request must not be answered with that."""
    gate.largest[1] = psycopg.errors.AdminShutdown("terminating connection")
    errors = [each.exception(WITHIN_S) for each in together(gate, committer, pool, submissions_of(ledger, *"abc"))]
    assert {type(each) for each in errors} == {TransientError}
    assert len({id(each) for each in errors}) == 3
    assert {str(each) for each in errors} == {str(errors[0])}
    assert all(each is not None and each.__cause__ is not None for each in errors)


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), GeneratorExit()])
def test_the_committer_goes_on_after_what_should_end_it(
    ledger: Ledger, committer: Committer, gate: Gate, error: BaseException
) -> None:
    gate.errors["bad"] = error
    bad, good = submissions_of(ledger, "bad", "good")
    with pytest.raises(TransientError):
        committer.submit(bad)
    committer.submit(good)
    assert committer.loop.starts == 1 and committer.loop.failures == 1


def test_a_committer_whose_ring_fails_goes_on(ledger: Ledger, engine: Engine) -> None:
    def ring(queues: object) -> None:
        raise RuntimeError("a bug")

    committer = Committer(engine, ring)
    for submission in submissions_of(ledger, "one", "two", "three"):
        committer.submit(submission)
    wait_until(lambda: committer.loop.failures == 3)


def test_a_request_gives_up_when_the_committer_is_stuck(
    ledger: Ledger, committer: Committer, gate: Gate, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "PATIENCE_S", 0.2)
    taken, withdrawn, later = submissions_of(ledger, "taken", "withdrawn", "later")
    gate.open.clear()
    first = pool.submit(committer.submit, taken)
    assert gate.reached.wait(WITHIN_S)
    assert committer.busy_since is not None
    with pytest.raises(TransientError, match="nothing of it was accepted"):
        committer.submit(withdrawn)
    with pytest.raises(TransientError, match="not known whether"):
        first.result(WITHIN_S)
    gate.open.set()
    monkeypatch.setattr(committing, "PATIENCE_S", 30.0)
    committer.submit(later)
    assert taken.accepted[0].seq == 1 and later.accepted[0].seq == 2
    assert withdrawn.accepted == []
    assert committer.busy_since is None


def test_a_submission_starts_a_committer_that_has_ended(
    ledger: Ledger, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("core.base.threads.Loop._run", lambda self: None)
        committer = Committer(engine, lambda queues: None)
        wait_until(lambda: not committer.loop.is_alive)
    (submission,) = submissions_of(ledger, "one")
    committer.submit(submission)
    assert submission.accepted[0].seq == 1
    assert committer.loop.starts == 2


def test_the_commits_are_counted(ledger: Ledger, committer: Committer) -> None:
    seen: list[tuple[int, float]] = []
    committer.committed = lambda rows, seconds: seen.append((rows, seconds))
    committer.submit(*submissions_of(ledger, "one", "two"))
    assert committer.rows == 2
    assert sum(rows for rows, _ in seen) == 2


def test_an_observer_that_fails_fails_no_request(ledger: Ledger, committer: Committer) -> None:
    def fail(rows: int, seconds: float) -> None:
        raise ZeroDivisionError

    committer.committed = fail
    (submission,) = submissions_of(ledger, "one")
    committer.submit(submission)
    assert submission.accepted[0].seq == 1


def test_a_reference_too_long_for_an_index_is_refused_and_not_an_error(ledger: Ledger, committer: Committer) -> None:
    """A real limit of Postgres: an index row has at most 2,704 bytes. Requests with such texts are refused before."""
    (submission,) = submissions_of(ledger, "one")
    noise = "".join(chr(0x4E00 + (i * 7919) % 20000) for i in range(4000))
    submission.drafts = [draft.with_row(reference=noise) for draft in submission.drafts]
    with pytest.raises(InvalidRequest) as caught:
        committer.submit(submission)
    assert caught.value.code is ErrorCode.GEN_PAYLOAD_TOO_LARGE
