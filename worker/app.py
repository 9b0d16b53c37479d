"""The Celery application of workers and beat, and the engine and Redis client of a worker process."""

import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import structlog
from celery import Celery
from celery.signals import (
    setup_logging,
    task_postrun,
    task_prerun,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
)
from click import Option
from sqlalchemy import Engine

import celeryconfig
from celeryconfig import SETTINGS
from core.base import lines, logs, tracing
from core.base.db import connect
from core.base.environment import open_files
from core.doors import clients, metrics, watches
from core.doors.identity import Identity
from core.doors.notes import Notes
from core.verification.sealed import Known
from worker import envelopes
from worker.children import Children
from worker.ledger_task import LedgerTask

logger = structlog.get_logger()

envelopes.install()
watches.hand_in()
app = Celery("pacioli", include=["worker.tasks", "worker.naming"], task_cls=LedgerTask)
app.config_from_object(celeryconfig)
app.steps["worker"].update({"worker.keeper:Keeper", "worker.deliverer:Deliverer"})
app.user_options["worker"].add(
    Option(["--deliver"], is_flag=True, help="Deliver webhooks and hooks, and decide no transactions.")
)

children = Children()
"""The work of the children of this worker."""


def chain_key() -> bytes | None:
    """Return the key that signs checkpoints."""
    return SETTINGS.chain_key.reveal() if SETTINGS.chain_key is not None else None


def known() -> Known:
    """Return what is known of the notary's seals outside the database."""
    return Known(keys=SETTINGS.notary_public_key or frozenset())


@cache
def engine() -> Engine:
    """Return the engine of this process."""
    assert SETTINGS.database_url is not None
    return connect(
        SETTINGS.database_url.reveal(),
        connections=SETTINGS.worker_connections,
        statement_timeout_s=SETTINGS.statement_timeout_s,
        within_s=SETTINGS.statement_timeout_s + 5.0,
        pooler=SETTINGS.pooler,
    )


@contextmanager
def notary() -> Iterator[Engine]:
    """Open an engine for the role that adds checkpoints. It is needed now and then, so it keeps no connection."""
    if SETTINGS.notary_url is None:
        yield engine()
        return
    opened = connect(SETTINGS.notary_url.reveal(), connections=1, pooler=SETTINGS.pooler)
    try:
        yield opened
    finally:
        opened.dispose()


@cache
def identity() -> Identity:
    """Return the identity of the ledger, as this process knows it."""
    return Identity(engine(), on_redis=celeryconfig.ON_REDIS)


@cache
def notes() -> Notes:
    """Return what sends notes over Redis for this process."""
    redis = clients.connect(SETTINGS.redis) if SETTINGS.redis is not None else None
    return Notes(redis, identity())


def announce(cursors: dict[int, int]) -> None:
    """Publish how far the queues are decided. A lost message only makes those who wait poll, and webhooks come a second later."""
    notes().announce(cursors)


def answer() -> None:
    """Remove the mark of the doorbell before a drain looks, so that later transactions ring again."""
    notes().answer()


@setup_logging.connect
def set_up_log(**_: Any) -> None:
    """Configure the log by the settings, instead of Celery's own. Celery's lines for each doorbell and tick are left out."""
    logs.configure(SETTINGS.log_format, level=SETTINGS.log_level)
    for warning in open_files(os.environ):
        logger.warning(warning)
    for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat"):
        logging.getLogger(name).setLevel(logging.WARNING)


@worker_ready.connect
def _serve_metrics(**_: Any) -> None:
    """Serve the metrics of this host's processes on a port of their own, for a host that has no web process."""
    if SETTINGS.metrics_port is not None:
        key = SETTINGS.secret_key
        metrics.serve(SETTINGS.metrics_port, key.reveal() if key else None)


@worker_process_init.connect
def _after_fork(**_: Any) -> None:
    """Leave the connections to the parent process, tune the garbage collector, and show signs of life."""
    if engine.cache_info().currsize:
        _of_parent.append(engine())
        engine.cache_clear()
    notes.cache_clear()
    tracing.configure(SETTINGS.traces_url, "worker")
    # A drain makes tens of thousands of tuples and no cycles, and a search for cycles costs a tenth of its time.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    children.enter()


_of_parent: list[Engine] = []
"""Keeps the parent's engine from being collected in a child, which would close the parent's connections."""


@task_prerun.connect
def _begin_task(task: Any = None, args: Any = (), **_: Any) -> None:
    children.begin_task(task.name, args[0] if task.name == celeryconfig.DRAIN and args else None)


@task_postrun.connect
def _end_task(**_: Any) -> None:
    children.end_task()


@worker_process_shutdown.connect
def _write_last_lines(**_: Any) -> None:
    """Write the last lines of a child, which ends without Python's own exit."""
    tracing.flush()
    lines.flush()
