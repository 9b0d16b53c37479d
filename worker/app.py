"""The Celery application of workers and beat, and what one worker process keeps: an engine and a Redis client."""

import gc
import json
import logging
import os
from contextlib import suppress
from functools import cache
from typing import Any

from celery import Celery
from celery.signals import after_setup_logger, heartbeat_sent, worker_init, worker_process_init, worker_ready
from redis import Redis, RedisError
from sqlalchemy import Engine

import celeryconfig
from celeryconfig import SETTINGS
from core.base import logs
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
    """A worker needs a database. Beat does not, and imports this module too."""
    if SETTINGS.database_url is None:
        raise SystemExit(missing("DATABASE_URL"))


@cache
def engine() -> Engine:
    """The process's engine."""
    assert SETTINGS.database_url is not None
    return connect(SETTINGS.database_url, pool_size=2, readers=2)


@cache
def redis() -> "Redis | None":
    """For telling what was decided; None where the broker is not Redis."""
    url = SETTINGS.redis_url
    return Redis.from_url(url, socket_timeout=2, socket_connect_timeout=1) if url else None


def announce(cursors: dict[int, int]) -> None:
    """Tell whoever waits how far the queues are decided. Nobody is harmed if the message is lost."""
    if (client := redis()) is not None:
        with suppress(RedisError, OSError):
            client.publish(celeryconfig.DECIDED_CHANNEL, json.dumps(cursors))


def answer() -> None:
    """Take the mark off the doorbell, before looking: what is accepted from now on rings again."""
    if (client := redis()) is not None:
        with suppress(RedisError, OSError):
            client.delete(celeryconfig.BELL_KEY)


@after_setup_logger.connect
def _set_up_log(**_: Any) -> None:
    """Have the log written as the settings say, and every doorbell without two lines of Celery's in it."""
    logs.configure(SETTINGS.log_format)
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)


@worker_process_init.connect
def _after_fork(**_: Any) -> None:
    """Connections of the parent belong to the parent."""
    if engine.cache_info().currsize:
        engine().dispose(close=False)
    redis.cache_clear()
    # A batch makes tens of thousands of tuples and no cycles: looking for those that often costs a tenth of the drain.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


@worker_ready.connect
@heartbeat_sent.connect
def _beat(sender: Any = None, **_: Any) -> None:
    """Say in the database that this worker lives. `/health` reads it."""
    name = getattr(sender, "hostname", None) or getattr(getattr(sender, "eventer", None), "hostname", None)
    with suppress(TransientError), begin(engine()) as conn:
        queue_store.record_heartbeat(conn, name or f"pid {os.getpid()}")
