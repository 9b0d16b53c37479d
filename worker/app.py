"""The Celery application of workers and beat, and what one worker process keeps: an engine and a Redis client."""

import gc
import json
import logging
import os
from contextlib import suppress
from functools import cache
from typing import Any

import structlog
from celery import Celery
from celery.signals import after_setup_logger, heartbeat_sent, worker_process_init, worker_ready
from redis import Redis, RedisError
from sqlalchemy import Engine

import celeryconfig
from core.base.db import begin, connect
from core.base.errors import TransientError
from core.ledger.rules import chain
from core.ledger.store import queues as queue_store

logger = structlog.get_logger()

app = Celery("pacioli", include=["worker.tasks"])
app.config_from_object(celeryconfig)


try:
    CHAIN_KEY = chain.key_of(os.environ.get("PACIOLI_CHAIN_KEY"))
    """What signs checkpoints."""
except ValueError as error:
    raise SystemExit(f"PACIOLI_CHAIN_KEY {error}") from None


@cache
def engine() -> Engine:
    """The process's engine."""
    return connect(os.environ["DATABASE_URL"], pool_size=2, readers=2)


@cache
def redis() -> "Redis | None":
    """For telling what was decided; None where the broker is not Redis."""
    url = os.environ.get("REDIS_URL")
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
def _quiet(**_: Any) -> None:
    """Without this, every doorbell is two lines of the log."""
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
        queue_store.beat(conn, name or f"pid {os.getpid()}")
