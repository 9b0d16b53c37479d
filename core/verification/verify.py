"""Verify the ledger: recompute it from its history and report every difference. Nothing is repaired.

A verification reads one snapshot while drains go on. ``verify_all`` decides the whole log again with the same engine. It
proves that queues and workers do not change an outcome, and it finds every row that was altered. It also computes
every digest and every hash of the chains again, and compares them with the checkpoints.

``verify_since_checkpoint`` goes on from a checkpoint. It decides nothing again, and checks instead that each outcome goes
on from the one before it. Rows are streamed; memory holds one entry for each balance and each hold.
"""

from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from core.base.db import snapshot
from core.verification import checkpoint_store, checkpoints, compare, crew, history_store, pieces
from core.verification.agreement import compare_checkpoints
from core.verification.audit import NEWEST, check_audit
from core.verification.checkpoints import NOTHING, Checkpoint
from core.verification.continuation import Continuation
from core.verification.crew import Task
from core.verification.flows import check_flows
from core.verification.funding import check_jobs, check_runs
from core.verification.kept import Keeper
from core.verification.old_names import warn_of_old_names
from core.verification.pending import check_pending
from core.verification.pieces import Course, Done
from core.verification.report import Report, TellProgress, silent
from core.verification.sealed import Known, check_seals
from core.verification.snapshots import check_snapshots
from core.verification.spans import check_spans
from core.verification.standing import check_standing
from core.verification.tally import is_followed, new_salt
from core.verification.walk import Walk

NOTHING_KNOWN = Known()

LONG_CHECKS = (check_flows, check_snapshots, check_spans)
"""These read the whole log again, the longest first. Several processes do them side by side."""


class Effort(NamedTuple):
    """How a whole verification is done."""

    jobs: int = 1
    """The number of processes that verify side by side."""
    keep: Path | None = None
    """A file that has how far it has come, for a verification after one that was killed."""


ALONE = Effort()


def verify_all(
    engine: Engine,
    *,
    key: bytes | None = None,
    known: Known = NOTHING_KNOWN,
    progress: TellProgress = silent,
    effort: Effort = ALONE,
) -> Report:
    """Verify the whole ledger in one snapshot, and return a report of every problem.

    ``key`` is the key that signs checkpoints. Without it their signatures are not checked. ``known`` is what is known of the
    notary's seals from outside.

    Raises:
        TransientError: the database went away.
    """
    report = Report()
    with snapshot(engine, within_s=crew.WITHIN_S) as conn:
        valid = _valid_checkpoints(conn, report, key)
        keeper = Keeper(effort.keep, conn)
        course = keeper.load()
        if course is None:
            course = Course(salt=new_salt())
        else:
            report.went_on_after = course.position
        state = _walk(engine, conn, report, course, (effort.jobs, keeper, progress))
        compare_checkpoints(conn, report, valid)
        check_seals(conn, report, known, all_of_them=True)
        check_pending(conn, report)
        check_standing(conn, report)
        standing = course.standing
        ends = [(key, sums.version, sums.credit - sums.debit) for key, sums in standing.sums.items()]
        follows = course.is_whole and is_followed(course.after, course.before, course.salt, ends)
        compare.compare_balances(conn, report, standing.sums, progress)
        compare.compare_holds(conn, report, standing.holds, progress)
        compare.compare_refunds(conn, report, standing.refunds)
        compare.check_dates(conn, report)
        check_jobs(conn, report, all_of_them=True)
        check_runs(conn, report)
        if not follows:
            compare.check_statements(conn, report, progress)
        check_audit(conn, report, progress)
        for found in state:
            report.take(found.problems, found.problem_count)
        warn_of_old_names(conn, report)
        keeper.forget()
    return report


def _walk(
    engine: Engine, conn: Connection, report: Report, course: Course, how: tuple[int, Keeper, TellProgress]
) -> list[Report]:
    """Verify the log and its outcomes, and put what was found into the report. Return those of ``LONG_CHECKS``."""
    jobs, keeper, progress = how
    last_seq = history_store.last_seq(conn)

    def after_each(done: Done) -> None:
        if done.piece.until is not None:
            keeper.save(course)
        progress("transactions", min(course.position, last_seq), last_seq)

    worth_it = (last_seq - course.position) // pieces.ROWS  # A process takes longer to start than a few pieces take.
    last, found = crew.run(engine, conn, Task(course, LONG_CHECKS, min(jobs, worth_it), after_each, keeper.is_due))
    course.tell(report)
    report.reached = last.reached
    return found


def verify_since_checkpoint(
    engine: Engine,
    *,
    key: bytes | None = None,
    known: Known = NOTHING_KNOWN,
    limit: int | None = None,
    progress: TellProgress = silent,
) -> Report:
    """Verify the log from the newest valid checkpoint on, and stop after ``limit`` rows or a little later.

    It computes every digest and hash again. It checks that every outcome goes on from the one before it, that each touched
    balance is what its last outcome left, and that all balances add up to zero. It does not decide the log again, which
    takes the whole log.

    Raises:
        TransientError: the database went away.
    """
    report = Report()
    with snapshot(engine, within_s=crew.WITHIN_S) as conn:
        found, wrong = checkpoints.newest(conn, key)
        for row, expected in wrong:
            report.add("checkpoints", f"id {row.id}", "signature", expected=expected, found=row.signature)
        report.checkpoint = found
        since = found.heads if found is not None else NOTHING
        continuation = Continuation(conn, report, since)
        Walk(conn, report, continuation, since).run(limit=limit, progress=progress)
        continuation.check_touched()
        check_seals(conn, report, known, all_of_them=False)
        check_pending(conn, report)
        check_jobs(conn, report, all_of_them=False)
        check_standing(conn, report)
        compare.check_totals(conn, report)
        compare.check_dates(conn, report)
        check_audit(conn, report, progress, newest=NEWEST)
        warn_of_old_names(conn, report, after=since.sequence)
    return report


def _valid_checkpoints(conn: Connection, report: Report, key: bytes | None) -> list[Checkpoint]:
    """Return the valid checkpoints in the order of their positions in the log. Report the others."""
    valid, before = [], None
    for row in checkpoint_store.every(conn):
        found = checkpoints.read(row, before, key)
        before = row
        if isinstance(found, Checkpoint):
            valid.append(found)
            report.checkpoint = found
        else:
            report.add("checkpoints", f"id {row.id}", "signature", expected=found, found=row.signature)
    return sorted(valid, key=lambda checkpoint: checkpoint.heads.sequence)
