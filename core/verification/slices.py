"""Verify the history slice by slice, so that a damaged row is found although nobody asks.

A slice goes on where the last one ended, and begins anew at the end of the log. It checks each row as a verification
from a checkpoint does: digests and hashes, splits, the balances from outcome to outcome, and what each touched balance holds
now. It takes the hashes at its beginning as they are stored, since the slice before has just checked them. A slice that
found a problem is verified again, until it is mended.
"""

import time

from sqlalchemy import Connection, Engine

from core.base.db import snapshot
from core.ledger.rules import chain
from core.verification import history_store, verification_store
from core.verification.checkpoints import NOTHING, Heads
from core.verification.continuation import Continuation
from core.verification.report import Report, seq_key
from core.verification.results import Kind, record
from core.verification.verification_store import VerificationRow
from core.verification.walk import Walk

ROWS = 5_000
"""The rows of the log that a slice reads. They take some tenths of a second."""


def verify_next(engine: Engine, rows: int = ROWS) -> Report:
    """Verify the next slice, keep its result, and return its report.

    Raises:
        TransientError: the database was busy or gone.
    """
    began, report = time.monotonic(), Report()
    with snapshot(engine) as conn:
        since = _begin(conn, report)
        continuation = Continuation(conn, report, since)
        Walk(conn, report, continuation, since).run(limit=rows)
        continuation.check_touched()
    # The next slice begins where no split or atomic group is cut.
    report.to_sequence = report.reached.sequence
    record(engine, Kind.SLICE, report, time.monotonic() - began)
    return report


def _begin(conn: Connection, report: Report) -> Heads:
    """Return the heads from which the next slice goes on."""
    after = _after(verification_store.newest_of(conn, Kind.SLICE))
    if after == 0:
        return NOTHING
    digests = history_store.digests_at(conn, after)
    if not digests:
        report.add("log", seq_key(after), "row", expected="a row, for an earlier verification read it", found="none")
        return NOTHING
    return Heads(after, digests[0] or chain.START, history_store.heads_at(conn, after))


def _after(before: VerificationRow | None) -> int:
    """Return the seq after which the next slice begins."""
    if before is None:
        return 0
    if before.problem_count:
        return before.first_seq - 1
    return 0 if before.complete else before.last_seq
