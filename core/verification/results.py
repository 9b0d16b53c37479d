"""Keep the results of verifications, so that an operator sees the last ones without a new one."""

from enum import StrEnum

import msgspec
from msgspec import Raw, Struct
from sqlalchemy import Engine

from core.base.answers import Time
from core.base.db import begin, reading
from core.journal import record as journal
from core.journal.actions import Action, Event, text_of
from core.journal.event_types import EventType
from core.journal.facts import Fact, tell
from core.verification import verification_store
from core.verification.report import Report


class Kind(StrEnum):
    """The kinds of verifications."""

    SLICE = "slice"
    """A slice of the history, which a worker verifies each minute."""
    CHECKPOINT = "checkpoint"
    """The rows since the last checkpoint, which a worker verifies each hour."""
    FULL = "full"
    """The whole ledger, as ``pacioli verify`` does it."""


class Result(Struct, frozen=True, kw_only=True):
    """The result of a verification that was made before."""

    at: Time
    age_s: float
    kind: str
    first_seq: int
    last_seq: int
    """The verification read the log from ``first_seq`` to ``last_seq``. It read nothing when ``last_seq`` is the lower."""
    complete: bool
    """True when it read the log to its end."""
    problem_count: int
    problems: Raw
    """The first problems."""
    took_s: float


def record(engine: Engine, kind: Kind, report: Report, took_s: float, *, asked: bool = False) -> None:
    """Keep the result of a verification, if this connection may write. One that somebody ``asked`` for is audited.

    Raises:
        TransientError: the database was busy or gone.
    """
    with begin(engine) as conn:
        if verification_store.may_add(conn):
            verification_store.add(
                conn,
                kind=kind,
                seqs=range(report.from_sequence, report.to_sequence + 1),
                complete=report.complete,
                problem_count=report.problem_count,
                problems=msgspec.json.encode(report.problems).decode(),
                took_s=round(took_s, 3),
            )
            if report.problem_count:
                tell(conn, _failed(kind, report))
            if asked:
                journal.record(conn, _event(kind, report))


def record_asked(engine: Engine, kind: Kind, report: Report) -> None:
    """Add to the audit log that somebody has asked for a verification. Its result is not kept elsewhere.

    Raises:
        TransientError: as ``record``.
    """
    with begin(engine) as conn:
        if report.problem_count:
            tell(conn, _failed(kind, report))
        journal.record(conn, _event(kind, report))


def _failed(kind: Kind, report: Report) -> Fact:
    """Make the fact that a verification has found problems. It says how many, and not what they show."""
    data = text_of(
        kind=kind,
        first_seq=report.from_sequence,
        last_seq=report.to_sequence,
        problem_count=report.problem_count,
    )
    return Fact(type=EventType.VERIFICATION_FAILED, data=data)


def _event(kind: Kind, report: Report) -> Event:
    more = {"kind": kind, "from": report.from_sequence, "to": report.to_sequence, "problems": report.problem_count}
    return Event(action=Action.VERIFIED, subject="ledger", more=more)


def last(engine: Engine, limit: int) -> list[Result]:
    """Read the last results, newest first: those of all kinds, and the newest of each kind however old it is.

    Raises:
        TransientError: as ``record``.
    """
    with reading(engine) as conn:
        rows = verification_store.newest(conn, limit)
        kinds = {row.kind for row in rows}
        rows += [row for kind in Kind if kind not in kinds and (row := verification_store.newest_of(conn, kind))]
    return [
        Result(
            at=row.at,
            age_s=round(row.age_s, 1),
            kind=row.kind,
            first_seq=row.first_seq,
            last_seq=row.last_seq,
            complete=row.complete,
            problem_count=row.problem_count,
            problems=Raw(row.problems.encode()),
            took_s=row.took_s,
        )
        for row in rows
    ]


def unsound(results: list[Result]) -> list[Result]:
    """Return the newest result of each kind that found problems, of results that begin with the newest."""
    newest: dict[str, Result] = {}
    for result in results:
        newest.setdefault(result.kind, result)
    return [result for result in newest.values() if result.problem_count]
