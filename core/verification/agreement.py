"""Compare checkpoints with the log and the outcomes: each digest and hash that a checkpoint names must still be there.

A verification computes every stored digest and hash again. So those that it finds right need no second computation here.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from core.ledger.rules import chain
from core.verification import history_store
from core.verification.checkpoints import Checkpoint
from core.verification.report import Report
from core.verification.walk import check_log_reaches

_AT_A_TIME = 500


def compare_checkpoints(conn: Connection, report: Report, checkpoints: Sequence[Checkpoint]) -> None:
    """Compare checkpoints, which come in the order of their positions, and report each difference."""
    last_seq = history_store.last_seq(conn)
    reached = [checkpoint for checkpoint in checkpoints if checkpoint.heads.sequence <= last_seq]
    for first in range(0, len(reached), _AT_A_TIME):
        _compare(conn, report, reached[first : first + _AT_A_TIME])
    if len(reached) < len(checkpoints):
        checkpoint = checkpoints[-1]
        check_log_reaches(report, last_seq, checkpoint.heads.sequence, f"checkpoint {checkpoint.id}")


def _compare(conn: Connection, report: Report, checkpoints: Sequence[Checkpoint]) -> None:
    digests = history_store.digests(conn, {checkpoint.heads.sequence for checkpoint in checkpoints})
    seqs = {seq for checkpoint in checkpoints for seq, _ in checkpoint.heads.queues.values()}
    decided = history_store.decided_in(conn, seqs)
    for checkpoint in checkpoints:
        where, key = f"at sequence {checkpoint.heads.sequence}", f"id {checkpoint.id}"
        digest = digests.get(checkpoint.heads.sequence) or chain.START
        if digest != checkpoint.heads.digest:
            expected, found = checkpoint.heads.digest.hex(), digest.hex()
            report.add("checkpoints", key, f"{where}, of the log", expected=expected, found=found)
        for number, (seq, hash) in sorted(checkpoint.heads.queues.items()):
            queue, stored = decided.get(seq, (None, None))
            if (queue, stored or chain.START) != (number, hash):
                found = "no outcome" if queue != number else f"{(stored or chain.START).hex()} of seq {seq}"
                expected = f"{hash.hex()} of seq {seq}"
                report.add("checkpoints", key, f"{where}, of queue {number}", expected=expected, found=found)
