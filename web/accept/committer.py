"""Groups the appends of waiting requests into one commit.

Request threads hand over their drafts and sleep. One thread takes all waiting drafts, appends them in one transaction,
and wakes the request threads. A draft is committed alone, at once, when no other waits or is expected (``gathering.py``).

A request waits for a bounded time. A group that fails is halved and tried again, down to one submission, so that one that
cannot be appended fails alone. A submission is never split, because it is accepted whole.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from enum import IntEnum
from queue import SimpleQueue

import structlog
from sqlalchemy import Engine
from structlog.contextvars import bind_contextvars

from core.base import logs, tracing
from core.base.errors import ErrorCode, InvalidRequest, LedgerError, TransientError
from core.base.faults import Fault, fault_of
from core.base.fence import in_transaction, stands_still
from core.base.quick import about_to_wait
from core.base.threads import Loop
from core.ledger import append, drain, trail
from core.ledger.append import Submission
from core.ledger.drain import Announce
from web.accept.gathering import Gathering
from web.accept.pressure import Gauge
from web.accept.sending import let_go_on
from web.accept.sharing import again

GROUP_ROWS = 2_000
"""The number of rows at which a commit leaves the rest to the next one. A bulk is never split."""

PATIENCE_S = 15.0
"""A request waits for its commit for at most so long. The thread that commits may be stuck, or the database."""

logger = structlog.get_logger()


class _Place(IntEnum):
    """How far the submission of a waiting request has come."""

    WAITING = 0
    TAKEN = 1
    """It is being appended, or was."""
    WITHDRAWN = 2
    """The request gave it up before it was taken, so it is never appended."""


class _Entry:
    """A submission that waits for its commit."""

    __slots__ = ("answers", "ended", "place", "submission")

    def __init__(self, submission: Submission, ended: Callable[[], None], *, answers: bool = False) -> None:
        self.submission = submission
        self.ended = ended
        """It is called once, when the submission is committed or has its error."""
        self.answers = answers
        """Whether that makes an answer, in place of waking a thread that does."""
        self.place = _Place.WAITING


class Committer:
    """Commits for all threads of a web process. After a commit it calls ``ring`` with the queues that got work.

    ``health`` and metrics read the attributes that have a docstring.
    """

    def __init__(
        self,
        engine: Engine,
        ring: Callable[[Iterable[int]], None],
        gauge: Gauge | None = None,
        announce: Announce = lambda cursors: None,
    ) -> None:
        self.gauge = gauge
        """Knows how much waits, and refuses more than its limits allow."""
        self.committed: Callable[[int, float], None] = lambda rows, seconds: None
        """An observer, which gets the number of rows and the time of each commit."""
        self.groups = 0
        """The number of commits since the process started."""
        self.rows = 0
        """The number of rows that they appended."""
        self.refused = 0
        """The number of submissions that could not be appended, for want of the database or because of what they are."""
        self.busy_since: float | None = None
        """The monotonic time at which the present group was taken, or None. A value of long ago says that it is stuck."""
        self._engine = engine
        self._ring = ring
        self._announce = announce
        self._group_rows = GROUP_ROWS
        self._forked()
        self.loop = Loop("committer", self._step, after_fork=self._forked, wake=lambda: self._work.set())
        self.answers = Loop("answers", self._answer, wake=lambda: self._ended.put([]))

    @property
    def waiting(self) -> int:
        """The number of submissions that wait for a commit."""
        return len(self._waiting)

    def submit(self, *submissions: Submission) -> None:
        """Append submissions, each on its own, and return when they are committed. ``accepted`` of each then has its places.

        Raises:
            ReferenceConflict: a reference names another transaction. Nothing of that submission was accepted.
            Backpressure: too much waits already. Nothing was accepted.
            TransientError: it is not known whether they were accepted. The same references may be sent again.
        """
        admitted = self.gauge.admit(submissions) if self.gauge is not None else 0
        try:
            self._submit(submissions)
        finally:
            if admitted and self.gauge is not None:
                self.gauge.release(admitted)

    def submit_later(self, submission: Submission, ended: Callable[[], None]) -> Callable[[], Exception]:
        """Append a submission, and return at once. ``ended`` is called when ``accepted`` or ``error`` of it is there.

        Returns what gives it up, and tells by an error whether it is known that nothing was accepted.

        Raises:
            Backpressure: too much waits already. Nothing was accepted.
        """
        gauge = self.gauge
        admitted = gauge.admit([submission]) if gauge is not None else 0

        def end() -> None:
            if admitted and gauge is not None:
                gauge.release(admitted)
            ended()

        entries = [_Entry(submission, end if admitted else ended, answers=True)]
        self._enter(entries)
        return lambda: self._given_up(entries)

    def _submit(self, submissions: Sequence[Submission]) -> None:
        about_to_wait()
        # Locks cost a request 7 µs less of CPU than Futures do, in a process of 32 threads.
        locks = [threading.Lock() for _ in submissions]
        for lock in locks:
            lock.acquire()
        entries = [_Entry(submission, lock.release) for submission, lock in zip(submissions, locks, strict=True)]
        self._enter(entries)
        deadline = time.monotonic() + PATIENCE_S
        for lock in locks:
            if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise self._given_up(entries)
        for submission in submissions:
            if submission.error is not None:
                raise submission.error

    def _enter(self, entries: Sequence[_Entry]) -> None:
        for entry in entries:
            self._waiting.append(entry)
        self._gathering.came()
        if entries and not self._work.is_set():
            self._work.set()
        self.loop.ensure()
        self.answers.ensure()

    def _forked(self) -> None:
        """Begin without work. What waited when the process forked is the parent's."""
        self._waiting: deque[_Entry] = deque()
        self._work = threading.Event()
        self._ended: SimpleQueue[list[_Entry]] = SimpleQueue()
        self._gathering = Gathering(lambda: len(self._waiting))
        self._placing = threading.Lock()
        self.busy_since = None

    def _given_up(self, entries: Sequence[_Entry]) -> TransientError:
        """Withdraw what was not taken yet. Returns an error that says whether it is known that nothing was accepted."""
        with self._placing:
            for entry in entries:
                if entry.place is _Place.WAITING:
                    entry.place = _Place.WITHDRAWN
        known = all(entry.place is _Place.WITHDRAWN for entry in entries)
        logger.warning("a request was not committed in time", waited_s=PATIENCE_S, withdrawn=known)
        text = "nothing of it was accepted" if known else "it is not known whether it was accepted"
        return TransientError(
            f"the request could not be committed in time, and {text}; try again with the same reference"
        )

    def _step(self) -> None:
        """Append everything that waits, in groups."""
        if not self._waiting:  # They wait already when the step before this one failed.
            self._work.wait()
        self._work.clear()
        while self._waiting:
            self._gathering.wait()
            group = self._gather()
            queues: set[int] = set()
            # The doorbell tells it to the worker.
            bind_contextvars(**{logs.REQUEST_ID: group[0].submission.request_id})
            traces = [entry.submission.trace for entry in group]
            with tracing.span("append", parent=traces[0], links=traces[1:], submissions=len(group)):
                try:
                    self.busy_since = time.monotonic()
                    self._append(group)
                    for entry in group:
                        queues.update(one.queue for one in entry.submission.undecided() if not one.replayed)
                except BaseException as error:
                    _fail(group, error)
                    raise
                finally:
                    self.busy_since = None
                    for entry in group:
                        if not entry.answers:
                            entry.ended()
                    later = [entry for entry in group if entry.answers]
                    self._gathering.served(len(later))
                    if later:
                        self._ended.put(later)
                self._ring(queues)

    def _answer(self) -> None:
        """Let the requests of a group go on. The next one is committed meanwhile."""
        let_go_on(self._ended.get(), "commit")

    def _gather(self) -> list[_Entry]:
        group: list[_Entry] = []
        rows = 0
        while self._waiting and rows < self._group_rows:
            group.append(self._waiting.popleft())
            rows += group[-1].submission.size()
        return group

    def _append(self, group: Sequence[_Entry]) -> None:
        """Append all in one commit. If one of them may be what makes the commit fail, append each half by itself."""
        with self._placing:
            group = [entry for entry in group if entry.place is not _Place.WITHDRAWN]
            for entry in group:
                entry.place = _Place.TAKEN
        if not group:
            return
        submissions = [entry.submission for entry in group]
        started = time.monotonic()
        failure: Exception | None = None
        try:
            in_transaction(self._engine, lambda conn: append.append(conn, submissions))
        except Exception as error:
            failure = error
        if failure is not None:  # Outside of the handler, so that the errors of halves are not chained to each other.
            for submission in submissions:
                submission.error = None  # A conflict may be with a row of this commit, which nobody will ever see.
            self._halve(group, failure, time.monotonic() - started)
            return
        rows = sum(each.size() for each in submissions)
        self.groups += 1
        self.rows += rows
        if self._group_rows < GROUP_ROWS and rows >= self._group_rows:
            self._group_rows = min(self._group_rows + self._group_rows // 8 + 1, GROUP_ROWS)
        try:
            took_s = time.monotonic() - started
            self.committed(rows, took_s)
            trail.accepted(submissions)
            if (immediate := submissions[0].immediate) is not None:
                drain.report(immediate.decision.postings, immediate.decision.outcomes, took_s)
                self._announce(immediate.cursors)
        except Exception:  # They are committed, whatever an observer or the log says.
            with suppress(Exception):
                logger.exception("a commit could not be reported")

    def _halve(self, group: Sequence[_Entry], error: Exception, took_s: float) -> None:
        fault = fault_of(error)
        if fault is Fault.NOT_NOW:
            text = "this process stood still with the append lock, and lost it" if stands_still(error, took_s) else ""
            logger.warning(text or "a group was not appended", submissions=len(group), error=repr(error.__cause__))
            self._refuse(group, error)
            return
        if len(group) == 1:
            logger.error("a submission cannot be appended", rows=group[0].submission.size(), exc_info=error)
            self._refuse(group, _explained(error, fault))
            return
        logger.warning("a group could not be appended, and is halved", submissions=len(group), error=repr(error))
        if fault is not Fault.OTHER:
            self._group_rows = max(1, sum(entry.submission.size() for entry in group) // 2)
        # Until their turn comes, requests may withdraw them.
        for entry in group:
            entry.place = _Place.WAITING
        middle = len(group) // 2
        for half in (group[:middle], group[middle:]):
            self._append(half)

    def _refuse(self, group: Sequence[_Entry], error: Exception) -> None:
        self.refused += len(group)
        _fail(group, error)


def _explained(error: Exception, fault: Fault) -> Exception:
    """Return the error that the client gets for a submission that cannot be appended alone."""
    if fault is Fault.TOO_LARGE:
        text = "is too large for the database; make its texts shorter, or send fewer transactions at once"
        return InvalidRequest([("", f"the request {text}")], ErrorCode.GEN_PAYLOAD_TOO_LARGE)
    if fault is Fault.TOO_MUCH and not isinstance(error, LedgerError):
        short = TransientError("there is too little memory for the request; try again, or send less at once")
        short.__cause__ = error
        return short
    return error


def _fail(group: Sequence[_Entry], error: BaseException) -> None:
    if not isinstance(error, Exception):  # A thread that is made to exit must not make requests exit.
        unknown = TransientError("it is not known whether the request was accepted; try again with the same reference")
        unknown.__cause__ = error
        error = unknown
    for entry in group:
        entry.submission.accepted = []
        if not isinstance(entry.submission.error, LedgerError):
            entry.submission.error = again(error) if isinstance(error, TransientError) else error
