"""Answers requests that want to read at the same moment by one read for all of them.

A request that finds nobody at work reads at once, in its own thread. Those that come meanwhile wait, and are answered by the
next read, which begins after they came: so each sees all that was committed before it.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog
from sqlalchemy import Connection, Engine

from core.base.db import reading
from core.base.errors import TransientError
from core.base.threads import Loop
from web.accept.gathering import Gathering
from web.accept.sending import let_go_on, nothing

PATIENCE_S = 15.0
"""A request waits for its read for at most so long. A use of the database ends earlier, with an error."""

ROUNDS = 100
"""A thread hands the reading over to another one after so many reads for others."""

Row = TypeVar("Row")

logger = structlog.get_logger()


class Ask(Generic[Row]):
    """A request that waits for its row. ``row`` is None where there is none."""

    __slots__ = ("ended", "error", "key", "row")

    def __init__(self, key: str) -> None:
        self.key = key
        self.row: Row | None = None
        self.error: Exception | None = None
        self.ended: Callable[[], None] = nothing
        """It is called once, when the row or the error is there."""

    def result(self) -> Row | None:
        """Return the row.

        Raises:
            TransientError: the database was busy or gone.
        """
        if self.error is not None:
            raise self.error
        return self.row


class Shared(Generic[Row]):
    """Reads rows by their IDs for all threads of a process."""

    def __init__(
        self, name: str, engine: Engine, read: Callable[[Connection, Sequence[str]], dict[str, Row]], most: int
    ) -> None:
        """``read`` reads at most ``most`` rows, and leaves out those that are not there."""
        self.reads = 0
        """The number of reads since the process started."""
        self.rows = 0
        """The number of rows that were asked for."""
        self._engine = engine
        self._read = read
        self._most = most
        self._forked()
        self.loop = Loop(name, self._step, after_fork=self._forked, wake=lambda: self._work.set())

    @property
    def waiting(self) -> int:
        """The number of requests that wait for a read which has not begun."""
        return len(self._waiting)

    def find(self, ask: Ask[Row]) -> Row | None:
        """Read a row, and wait for that.

        Raises:
            TransientError: the database was busy or gone.
        """
        there = threading.Lock()
        there.acquire()
        self.ask(ask, there.release, rounds=1)
        if not there.acquire(timeout=PATIENCE_S):
            raise TransientError("the database is not available right now; try again")
        return ask.result()

    def ask(self, ask: Ask[Row], ended: Callable[[], None], *, rounds: int = ROUNDS) -> None:
        """Read a row in this thread or another. ``ended`` is called there, when ``result`` has it.

        This thread may read so many ``rounds`` for others before the call returns. With 0 it does not wait for the database.
        """
        ask.ended = ended
        self._waiting.append(ask)
        self._gathering.came()
        try:
            self._lead(rounds)
        finally:
            if self._waiting and not self._leads.locked():
                self._work.set()
                self.loop.ensure()

    def _forked(self) -> None:
        """Begin without work. What waited when the process forked is the parent's."""
        self._waiting: deque[Ask[Row]] = deque()
        self._gathering = Gathering(lambda: len(self._waiting))
        self._leads = threading.Lock()
        self._work = threading.Event()

    def _step(self) -> None:
        """Go on where a thread that had something else to do has stopped."""
        if not self._waiting:  # They wait already when the step before this one failed.
            self._work.wait()
        self._work.clear()
        while self._waiting and not self._leads.locked():
            self._lead(ROUNDS)

    def _lead(self, rounds: int) -> None:
        """Read for all that wait, unless another thread does."""
        # Whoever comes after the last look of this thread finds the lock free, or is seen by the look after it.
        while rounds and self._waiting and self._leads.acquire(blocking=False):
            try:
                while rounds and self._waiting:
                    self._serve()
                    rounds -= 1
            finally:
                self._leads.release()

    def _serve(self) -> None:
        """Read once, for those that wait now or are about to come."""
        self._gathering.wait()
        group: list[Ask[Row]] = []
        keys: dict[str, None] = {}
        while self._waiting and len(keys) < self._most:
            group.append(self._waiting.popleft())
            keys[group[-1].key] = None
        try:
            self._find(group, list(keys))
        except BaseException as error:
            for ask in group:
                ask.error = _unknown(error)
            raise
        finally:
            self._gathering.served(len(group))
            let_go_on(group, "read")

    def _find(self, group: Sequence[Ask[Row]], keys: list[str]) -> None:
        self.reads += 1
        self.rows += len(group)
        try:
            with reading(self._engine) as conn:
                found = self._read(conn, keys)
        except TransientError as error:
            for ask in group:
                ask.error = again(error)
            return
        except Exception as error:
            if len(keys) == 1:
                for ask in group:
                    ask.error = error
                return
            logger.warning("a shared read failed, and each row is read alone", rows=len(keys), error=repr(error))
            for key in keys:
                self._find([ask for ask in group if ask.key == key], [key])
            return
        for ask in group:
            ask.row = found.get(ask.key)


def again(error: TransientError) -> TransientError:
    """Copy an error, because each request raises its own, and may add to its details."""
    copy = TransientError(error.message)
    copy.__cause__ = error.__cause__
    return copy


def _unknown(error: BaseException) -> TransientError:
    unknown = TransientError("the database is not available right now; try again")
    unknown.__cause__ = error
    return unknown
