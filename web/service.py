"""The things that views work with: the engine, the directory, and the threads that commit, ring and wake."""

import gc
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from flask import current_app
from redis import Redis, RedisError
from sqlalchemy import Engine

import celeryconfig
from core.base import logs
from core.base.db import connect
from core.base.settings import SettingsError, read
from core.ledger.directory import Directory
from web.accept.committer import Committer
from web.accept.doorbell import Doorbell
from web.accept.waiting import Waiting

THREADS = 32
"""Threads that a web process is started with (Procfile, ops/server/up.py). Each may read without waiting for a connection."""

WAITING_PLACES = THREADS // 2
"""Long polls that one process holds at a time."""


@dataclass
class Service:
    """One for each web process."""

    engine: Engine
    redis: "Redis | None"
    directory: Directory
    committer: Committer
    doorbell: Doorbell
    waiting: Waiting
    secret_key: str | None
    chain_key: bytes | None

    def announce(self, cursors: dict[int, int]) -> None:
        """Tell whoever waits what a drain in this process has decided. Nobody is harmed if the message is lost."""
        self.waiting.moved(cursors)
        if self.redis is not None:
            with suppress(RedisError, OSError):
                self.redis.publish(celeryconfig.DECIDED_CHANNEL, json.dumps(cursors))


def start(environ: Mapping[str, str] = os.environ) -> Service:
    """Connect and start the threads, as the environment says.

    Raises:
        SystemExit: some settings are missing or wrong; it names them all.
    """
    try:
        settings = read(environ, required=["DATABASE_URL"])
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    logs.configure(settings.log_format)
    # A request makes hundreds of objects and no cycles; looking for those is a waste of the one lock there is.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    assert settings.database_url is not None
    engine = connect(settings.database_url, pool_size=8, readers=THREADS)
    url = settings.redis_url
    redis = Redis.from_url(url, socket_timeout=2, socket_connect_timeout=1) if url else None
    doorbell = Doorbell(redis)
    return Service(
        engine,
        redis,
        Directory(engine, check_precision=settings.precision_check),
        Committer(engine, doorbell.ring),
        doorbell,
        Waiting(engine, redis, WAITING_PLACES),
        settings.secret_key,
        settings.chain_key,
    )


def service() -> Service:
    """The service of the application that answers the current request."""
    found: Service = current_app.extensions["pacioli"]
    return found
