"""Runs the pieces of a verification, and then checks of the state: in this process, or in several side by side.

All processes read the same snapshot of the database, which this one exports. Each works on a piece of its own; their tallies
are added in the order of the pieces, so a process waits for the tally before its own, and for nothing else. One process does
the checks first, so that all processes end with pieces, at about the same time.
"""

import gc
import itertools
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine

from core.base.db import connect, export_snapshot, snapshot, source_of
from core.base.errors import TransientError
from core.verification.pieces import Course, Done, Piece, Reader, next_piece
from core.verification.report import Report
from core.verification.tally import Salt

WITHIN_S = 7 * 86_400.0
"""A verification may take so long."""

Check = Callable[[Connection, Report], None]
"""A check of the state that needs nothing but the database. It is a function of a module, so that another process finds it."""


class Task(NamedTuple):
    """The pieces and checks of a verification, and how they are done."""

    course: Course
    """The pieces go on from where it is."""
    checks: Sequence[Check]
    jobs: int
    after_each: Callable[[Done], None]
    """Called with each piece, in order."""
    pauses: Callable[[Course], bool]
    """While it says so, no piece is decided until those before it have ended, so that the course can be kept."""


class Checked(NamedTuple):
    """The result of a check: its position among the checks, and what it has reported."""

    number: int
    report: Report


def run(engine: Engine, conn: Connection, task: Task) -> tuple[Done, list[Report]]:
    """Verify all pieces, and do the checks. Return the last piece, and the report of each check.

    Raises:
        TransientError: the database went away, or a process ended.
    """
    url = source_of(engine)
    with _without_collector():
        if task.jobs > 1 and url is not None:
            return _side_by_side(url, conn, task)
        course, reader, done = task.course, Reader(conn, task.course.salt), None
        while done is None or done.piece.until is not None:
            piece = next_piece(conn, course.ended, course.position)
            done = reader.decide(course.begin(*reader.read(piece)))
            course.end(done)
            task.after_each(done)
        return done, [_checked(conn, each).report for each in enumerate(task.checks)]


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep the garbage collector from looking at the rows of a piece again and again. They have no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _side_by_side(url: str, conn: Connection, task: Task) -> tuple[Done, list[Report]]:
    course = task.course
    pieces, checks = _pieces(conn, course), enumerate(task.checks)
    last: Done | None = None
    with _processes(url, export_snapshot(conn), course.salt, task.jobs) as pipes:
        # A check is long, so the last of them would keep one process at work alone.
        work = {pipe: itertools.chain(pieces, checks) for pipe in pipes} | {pipes[0]: itertools.chain(checks, pieces)}
        at_work: dict[Pipe, Any] = {}
        for pipe in pipes:
            _give(pipe, work[pipe], at_work)
        tallies: dict[int, tuple[Pipe, Any]] = {}
        ended: dict[int, Done] = {}
        checked: dict[int, Report] = {}
        while at_work:
            for pipe in [pipe for pipe in wait(list(at_work)) if isinstance(pipe, Pipe)]:
                found = _receive(pipe)
                if isinstance(found, Done):
                    ended[found.piece.number] = found
                    _give(pipe, work[pipe], at_work)
                elif isinstance(found, Checked):
                    checked[found.number] = found.report
                    _give(pipe, work[pipe], at_work)
                else:
                    tallies[at_work[pipe].number] = pipe, found
            while course.ended in ended:
                last = ended.pop(course.ended)
                course.end(last)
                task.after_each(last)
            while course.tallied in tallies and (course.tallied == course.ended or not task.pauses(course)):
                pipe, (tally, needs) = tallies.pop(course.tallied)
                pipe.send(course.begin(tally, needs))
    assert last is not None
    return last, [checked[number] for number in range(len(task.checks))]


def _pieces(conn: Connection, course: Course) -> Iterator[Piece]:
    number, after = course.ended, course.position
    while True:
        piece = next_piece(conn, number, after)
        yield piece
        if piece.until is None:
            return
        number, after = number + 1, piece.until


def _give(pipe: Pipe, work: Iterator[Any], at_work: dict[Pipe, Any]) -> None:
    """Give a process the next piece or check, or let it end."""
    at_work.pop(pipe, None)
    each = next(work, None)
    pipe.send(each)
    if each is not None:
        at_work[pipe] = each


def _checked(conn: Connection, numbered: tuple[int, Check]) -> Checked:
    """Do a check."""
    (number, check), report = numbered, Report()
    check(conn, report)
    return Checked(number, report)


def _receive(pipe: Pipe) -> Any:
    try:
        found = pipe.recv()
    except (EOFError, OSError) as error:
        raise TransientError("a process of the verification has ended; verify again") from error
    if isinstance(found, Exception):
        raise found
    return found


@contextmanager
def _processes(url: str, of: str, salt: Salt, jobs: int) -> Iterator[list[Pipe]]:
    """Start processes that verify pieces, and end them."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    try:
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(url, of, salt, theirs), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        yield pipes
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(1)
            if process.is_alive():
                process.terminate()
                process.join()


def _work(url: str, of: str, salt: Salt, pipe: Pipe) -> None:
    """Verify the pieces that come through a pipe, and do the checks, until there is nothing more."""
    engine = connect(url, connections=1)
    try:
        with snapshot(engine, within_s=WITHIN_S, of=of) as conn, _without_collector():
            reader = Reader(conn, salt)
            while (work := pipe.recv()) is not None:
                if not isinstance(work, Piece):
                    pipe.send(_checked(conn, work))
                    continue
                pipe.send(reader.read(work))
                pipe.send(reader.decide(pipe.recv()))
    except (EOFError, ConnectionError, KeyboardInterrupt):  # Whoever gave it work has ended, or was killed.
        pass
    except Exception as error:
        pipe.send(TransientError(str(error)) if isinstance(error, TransientError) else RuntimeError(repr(error)))
    finally:
        engine.dispose()
