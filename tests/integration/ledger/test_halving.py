"""A batch that does not fit is halved, and a posting that cannot be decided stops its own queue alone."""

import psycopg
import pytest
from sqlalchemy import Connection
from structlog.testing import capture_logs

from core.base.errors import TransientError
from core.ledger import drain
from core.ledger.deciding import Opened
from core.ledger.rules.model import Accepted, Posting, Status
from tests.harness.factories import Ledger, name_in


class Limits:
    """Makes a batch fail by its size, or by a posting in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows = 1_000_000
        self.poison: set[int] = set()
        self.error: BaseException = MemoryError()
        self.tried: list[int] = []
        self._open_book = drain.open_book
        monkeypatch.setattr(drain, "open_book", self)

    def __call__(self, conn: Connection, postings: list[Posting]) -> Opened:
        self.tried.append(len(postings))
        if len(postings) > self.rows or self.poison & {posting.seq for posting in postings}:
            raise type(self.error)(*self.error.args)
        return self._open_book(conn, postings)


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    return Limits(monkeypatch)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        psycopg.errors.OutOfMemory("out of memory"),
        psycopg.errors.QueryCanceled("canceling statement due to statement timeout"),
        psycopg.errors.ProgramLimitExceeded("too many"),
        psycopg.OperationalError("message too large"),
        OverflowError(),
        ZeroDivisionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_batch_that_does_not_fit_is_halved(ledger: Ledger, limits: Limits, error: BaseException) -> None:
    limits.error, limits.rows = error, 3
    posted = [_post(ledger, 0) for _ in range(20)]
    drain.drain(ledger.engine, 0)
    assert {_status(ledger, each) for each in posted} == {Status.APPLIED}
    assert limits.tried[:4] == [20, 10, 5, 2]


@pytest.mark.parametrize("together", [0, 500])
def test_a_posting_that_cannot_be_decided_stops_its_own_queue_alone(
    ledger: Ledger, limits: Limits, together: int
) -> None:
    before = [_post(ledger, 0) for _ in range(3)]
    others = [_post(ledger, queue) for queue in (1, 2) for _ in range(3)]
    bad = _post(ledger, 0)
    behind = _post(ledger, 0)
    others += [_post(ledger, queue) for queue in (1, 2) for _ in range(3)]
    limits.poison = {bad.seq}
    with capture_logs() as lines, pytest.raises(MemoryError):
        drain.drain(ledger.engine, 0, together=together)
    assert {_status(ledger, each) for each in before} == {Status.APPLIED}
    assert {_status(ledger, each) for each in (bad, behind)} == {Status.QUEUED}
    assert {_status(ledger, each) for each in others} == ({Status.APPLIED} if together else {Status.QUEUED})
    (line,) = (line for line in lines if line["log_level"] == "error")
    assert (line["queue"], line["seq"]) == (0, bad.seq)

    limits.poison = set()
    drain.drain(ledger.engine, 0, together=together)
    assert {_status(ledger, each) for each in (bad, behind)} == {Status.APPLIED}


def test_a_queue_that_waits_for_one_that_stands_still_does_not_turn_for_ever(ledger: Ledger, limits: Limits) -> None:
    """The posting of queue 1 is short of the money that the undecidable posting of queue 0 would bring."""
    payer = name_in(ledger, 1)
    bad = ledger.post(source=name_in(ledger, 0), destination=payer)
    short = ledger.post(source=payer, destination="@Elsewhere", allow_overdraft=False)
    limits.poison = {bad.seq}
    with pytest.raises(MemoryError):
        drain.drain(ledger.engine, 1, together=500)
    assert {_status(ledger, each) for each in (bad, short)} == {Status.QUEUED}
    limits.poison = set()
    drain.drain(ledger.engine, 1)
    assert {_status(ledger, each) for each in (bad, short)} == {Status.APPLIED}


def test_whoever_waits_for_a_posting_that_cannot_be_decided_gets_its_error(ledger: Ledger, limits: Limits) -> None:
    bad = _post(ledger, 0)
    limits.poison, limits.error = {bad.seq}, ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        drain.drain_until(ledger.engine, 0, bad.seq)


def test_a_database_that_is_away_is_not_asked_again_by_halves(ledger: Ledger, limits: Limits) -> None:
    for _ in range(4):
        _post(ledger, 0)
    limits.rows, limits.error = 0, psycopg.errors.DiskFull("no space left")
    with pytest.raises(TransientError):
        drain.drain(ledger.engine, 0)
    assert limits.tried == [4]


def _post(ledger: Ledger, queue: int) -> Accepted:
    return ledger.post(source=name_in(ledger, queue))


def _status(ledger: Ledger, accepted: Accepted) -> Status:
    return ledger.transaction(accepted.transaction_id).status
