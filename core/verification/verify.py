"""Verify the ledger: recompute everything from the history and say what is wrong; never repair.

One snapshot is read while drains go on. ``verify_all`` decides the log again from nothing, by the same engine as ever, so
it proves the promise that queues and workers change nothing, and finds any row that was altered. Beside that it computes
every digest and every hash of the chains again, and compares them with the checkpoints.

``verify_since_checkpoint`` does not start over: it decides nothing again, and looks instead whether each balance goes on
where it was. Rows are streamed; memory holds one entry for each balance and each hold.
"""

from sqlalchemy import Connection, Engine

from core.base.db import snapshot
from core.verification import checkpoint_store, checkpoints, compare
from core.verification.checkpoints import NOTHING, Checkpoint
from core.verification.continuation import Continuation
from core.verification.replay import Replay
from core.verification.report import Report, TellProgress
from core.verification.walk import Walk


def _silent(what: str, done: int, of: int) -> None:
    """Tell nobody how far it is."""


def verify_all(engine: Engine, *, key: bytes | None = None, progress: TellProgress = _silent) -> Report:
    """Read the whole ledger, in one snapshot, and say all that is wrong with it.

    ``key`` is what checkpoints are signed with; without it their signatures are not checked.

    Raises:
        TransientError: the database went away.
    """
    report = Report()
    with snapshot(engine) as conn:
        replay = Replay(conn, report)
        valid = _valid_checkpoints(conn, report, key)
        Walk(conn, report, progress, replay, NOTHING).run(checkpoints=valid)
        compare.compare_balances(conn, report, replay.sums, progress)
        compare.compare_holds(conn, report, replay.holds, progress)
        compare.compare_refunds(conn, report, replay.refunds)
        compare.check_dates(conn, report)
        compare.check_funding(conn, report)
        compare.check_statements(conn, report, progress)
    return report


def verify_since_checkpoint(
    engine: Engine, *, key: bytes | None = None, limit: int | None = None, progress: TellProgress = _silent
) -> Report:
    """Go on from the newest valid checkpoint, and stop after ``limit`` rows of the log or a little later.

    Every digest and hash is computed again, every outcome goes on where the one before it has left its balances, the
    balances that were touched are what their last outcomes have left, and all add up to zero. What was decided is not
    decided again: that takes the whole log.

    Raises:
        TransientError: the database went away.
    """
    report = Report()
    with snapshot(engine) as conn:
        found, wrong = checkpoints.newest(conn, key)
        for row, expected in wrong:
            report.add("checkpoints", f"id {row.id}", "signature", expected=expected, found=row.signature)
        report.checkpoint = found
        since = found.heads if found is not None else NOTHING
        continuation = Continuation(conn, report, since)
        Walk(conn, report, progress, continuation, since).run(limit=limit)
        continuation.check_touched()
        compare.check_totals(conn, report)
        compare.check_dates(conn, report)
    return report


def _valid_checkpoints(conn: Connection, report: Report, key: bytes | None) -> list[Checkpoint]:
    """Return the valid checkpoints by the position in the log that they vouch for. The others are reported."""
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
