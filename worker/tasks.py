"""The tasks. Each opens its own transactions, and each may come twice, late or never.

When the database is busy or gone, ``LedgerTask`` ends the task with one line in the log.
"""

import time

import structlog

import celeryconfig
from core.base.db import begin, reading
from core.doors import metrics
from core.events import keeping
from core.flows import rollup_store, rollups
from core.funding import job_store, runs
from core.journal import retries
from core.ledger import drain as core_drain
from core.ledger import due as core_due
from core.ledger import history
from core.ledger.store import due as due_store
from core.ledger.store import queues as queue_store
from core.ledger.store import waiting as waiting_store
from core.upkeep.ticks import Tick
from core.verification import checkpoints, results, slices
from core.verification.report import Report
from core.verification.verify import verify_since_checkpoint
from worker import ticking
from worker.app import announce, answer, app, chain_key, engine, known, notary
from worker.bells import send, send_alone

logger = structlog.get_logger()

OVERDUE_S = 1.0
"""A posting that waits longer has lost its doorbell or its worker."""

VERIFIED = 100_000
"""One task verifies so many rows of the log, which takes some seconds."""

TOGETHER = 20_000
"""A worker decides so many postings of all queues together before it drains its own queue alone, and leaves the others to others.

A backlog of some bulks over eight queues takes one commit in place of eleven, which costs a third less for each row. Workers
that share the queues too early also wait for each other's balances.
"""


SNAPSHOT_FOR_S = 5.0
"""One task takes snapshots for so long."""

SPANS_FOR_S = 1.0
NEW_SPANS_FOR_S = 0.2
"""Spans are written for so long: all that are found, and those of balances that are told to have new ones."""


@app.task(name=celeryconfig.DRAIN, cut_short="a drain was cut short")
def drain(queue: int) -> None:
    """Answer a doorbell: decide everything in the queue, and the few postings that wait in others."""
    answer()
    for other in core_drain.drain(engine(), queue, announce=announce, together=TOGETHER):
        ring(other)


def ring(queue: int) -> None:
    """Ring the doorbell of a queue, unless one is ringing."""
    send_alone(app, celeryconfig.DRAIN, queue)


@app.task(name=celeryconfig.TICK, cut_short="a tick could not look")
def tick() -> None:
    """Run what is due now."""
    ticking.run_due()


@app.task(name=celeryconfig.SWEEP, cut_short="a sweep could not look")
def sweep() -> None:
    """Ring for the queues whose oldest posting waits too long."""
    with reading(engine()) as conn:
        overdue = waiting_store.with_work(conn, older_than_s=OVERDUE_S)
    if overdue:
        with begin(engine()) as conn:
            metrics.LOST.inc(len(queue_store.standing_still(conn, overdue, OVERDUE_S)))
    for queue in overdue:
        ring(queue)


@app.task(name=celeryconfig.DUE, cut_short="what is due could not be accepted")
def due() -> None:
    """Accept the scheduled transactions that are due, and settle the holds whose date has come."""
    for queue in core_due.accept_due(engine()):
        ring(queue)


@app.task(name=celeryconfig.FUND, cut_short="funding was cut short")
def fund() -> None:
    """Claim the funding jobs that are due, and post rows of their runs for a second. Another task goes on."""
    progress = runs.advance(engine(), announce=announce)
    metrics.count_funding(progress.posted, (run.status for run in progress.ended))
    for queue in progress.touched:
        ring(queue)
    for run in progress.ended:
        logger.info("funding run", run=run.run_id, status=run.status, posted=run.posted, rows=run.row_count)
    if progress.more:
        send(app, celeryconfig.FUND)


@app.task(name=celeryconfig.SNAPSHOT, cut_short="snapshots were cut short")
def snapshot(size: int = history.BATCH, after: int = 0) -> None:
    """Take snapshots of the balances beyond the key ``after`` that changed, and leave the rest to another task."""
    deadline = time.monotonic() + SNAPSHOT_FOR_S
    last: int | None = after
    while last is not None:
        _, last = history.take_batch(engine(), after=last, size=size)
        if last is not None and time.monotonic() >= deadline:
            ticking.go_on(Tick.SNAPSHOT)
            send(app, celeryconfig.SNAPSHOT, size, last)
            return
    ticking.end(Tick.SNAPSHOT)


@app.task(name=celeryconfig.VERIFY, cut_short="the ledger could not be verified")
def verify() -> None:
    """Verify the log after the last checkpoint, and write the next one if it is sound. Another task goes on."""
    began = time.monotonic()
    report = verify_since_checkpoint(engine(), key=chain_key(), known=known(), limit=VERIFIED)
    results.record(engine(), results.Kind.CHECKPOINT, report, time.monotonic() - began)
    if not report.ok:
        _tell_damage(report)
    else:
        with notary() as as_notary:
            written = checkpoints.write(as_notary, report.reached, chain_key())
        if written is not None:
            logger.info("checkpoint", id=written.id, sequence=written.heads.sequence, signature=written.signature)
            if not report.complete:
                ticking.go_on(Tick.VERIFY)
                send(app, celeryconfig.VERIFY)
                return
    ticking.end(Tick.VERIFY)


def add_to_flows() -> None:
    """Add what is decided to the sums of flows. It is a tick alone, and no task, because it ends within a second.

    The spans that are whole now are written at once, so nothing has to look for them among all balances.
    """
    rollups.add_new(engine(), tell_full=lambda keys: history.write_spans_of(engine(), keys, for_s=NEW_SPANS_FOR_S))


def verify_slice() -> None:
    """Verify the next slice of the history. It is a tick alone, and no task, because it ends within a second."""
    report = slices.verify_next(engine())
    if not report.ok:
        _tell_damage(report)


def forget() -> None:
    """Remove old idempotency keys and events. It is a tick alone, and no task, because there are few."""
    if removed := retries.forget(engine(), celeryconfig.SETTINGS.idempotency_hours):
        logger.info("idempotency keys forgotten", keys=removed)
    if removed := keeping.remove_old(engine(), celeryconfig.SETTINGS.event_days):
        logger.info("events forgotten", events=removed)


def write_spans() -> None:
    """Write the spans that nobody has written, for a second at most, so it is a tick alone.

    A run that leaves some does not end, so the next one goes on after its lease.
    """
    began = time.monotonic()
    if written := history.write_spans(engine(), for_s=SPANS_FOR_S):
        logger.info("spans of balances", written=written)
    if time.monotonic() - began < SPANS_FOR_S:
        ticking.end(Tick.SPANS)


def _tell_damage(report: Report) -> None:
    problems = [str(problem) for problem in report.problems]
    logger.error("the ledger is damaged", problem_count=report.problem_count, problems=problems)


ticking.HAVE_WORK.update(
    {
        Tick.SWEEP: lambda conn: bool(waiting_store.with_work(conn, older_than_s=OVERDUE_S)),
        Tick.DUE: lambda conn: any(due_store.waiting(conn, None)),
        Tick.FUND: lambda conn: any(job_store.has_work(conn, None)),
        Tick.FLOWS: rollup_store.has_news,
    }
)

ticking.RUNS.update(
    {
        Tick.SWEEP: sweep,
        Tick.DUE: due,
        Tick.FUND: fund,
        Tick.FLOWS: add_to_flows,
        Tick.SLICE: verify_slice,
        Tick.VERIFY: verify,
        Tick.FORGET: forget,
        Tick.SPANS: write_spans,
        Tick.SNAPSHOT: snapshot,
    }
)
