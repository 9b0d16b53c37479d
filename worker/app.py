"""The Celery application of workers and beat, and the engine and Redis client of a worker process."""

import gc
import json
import logging
import os
from contextlib import suppress
from functools import cache
from typing import Any

from celery import Celery
from celery.signals import (
    heartbeat_sent,
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
)
from redis import Redis, RedisError
from sqlalchemy import Engine

import celeryconfig
from celeryconfig import SETTINGS
from core.base import lines, logs
from core.base.db import begin, connect
from core.base.errors import TransientError
from core.base.settings import missing
from core.ledger.store import queues as queue_store
from worker.ledger_task import LedgerTask

app = Celery("pacioli", include=["worker.tasks"], task_cls=LedgerTask)
app.config_from_object(celeryconfig)


CHAIN_KEY = SETTINGS.chain_key
"""The key that signs checkpoints."""


@worker_init.connect
def _check_settings(**_: Any) -> None:
    """Refuse to start a worker without a database. Beat imports this module too, and needs none."""
    if SETTINGS.database_url is None:
        raise SystemExit(missing("DATABASE_URL"))


@cache
def engine() -> Engine:
    """Return the engine of this process."""
    assert SETTINGS.database_url is not None
    return connect(SETTINGS.database_url, pool_size=2, readers=2)


@cache
def redis() -> "Redis | None":
    """Return the Redis client of this process, or None where the broker is not Redis."""
    url = SETTINGS.redis_url
    return Redis.from_url(url, socket_timeout=2, socket_connect_timeout=1) if url else None


def announce(cursors: dict[int, int]) -> None:
    """Publish how far the queues are decided. A lost message only makes those who wait poll."""
    if (client := redis()) is not None:
        with suppress(RedisError, OSError):
            client.publish(celeryconfig.DECIDED_CHANNEL, json.dumps(cursors))


def answer() -> None:
    """Remove the mark of the doorbell before a drain looks, so that later transactions ring again."""
    if (client := redis()) is not None:
        with suppress(RedisError, OSError):
            client.delete(celeryconfig.BELL_KEY)


@setup_logging.connect
def _set_up_log(**_: Any) -> None:
    """Configure the log by the settings, instead of Celery's own. Celery's lines for each doorbell and tick are left out."""
    logs.configure(SETTINGS.log_format, level=SETTINGS.log_level)
    for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat"):
        logging.getLogger(name).setLevel(logging.WARNING)


@worker_process_init.connect
def _after_fork(**_: Any) -> None:
    """Drop the connections of the parent process, and tune the garbage collector."""
    if engine.cache_info().currsize:
        engine().dispose(close=False)
    redis.cache_clear()
    # A drain makes tens of thousands of tuples and no cycles, and a search for cycles costs a tenth of its time.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


@worker_process_shutdown.connect
def _write_last_lines(**_: Any) -> None:
    """Write the last lines of a child, which ends without Python's own exit."""
    lines.flush()


@worker_ready.connect
@heartbeat_sent.connect
def _record_heartbeat(sender: Any = None, **_: Any) -> None:
    """Record the heartbeat of this worker in the database, where `/health` reads it."""
    name = getattr(sender, "hostname", None) or getattr(getattr(sender, "eventer", None), "hostname", None)
    with suppress(TransientError), begin(engine()) as conn:
        queue_store.record_heartbeat(conn, name or f"pid {os.getpid()}")
