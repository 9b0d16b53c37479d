"""Connects and starts what views work with: the engine, the directory, and the threads that commit, ring and wake."""

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
from web.probing.checks import Probe
from web.probing.prober import Prober

THREADS = 32
"""The number of threads of a web process (Procfile, ops/server/up.py). Each can read without waiting for a connection."""

WAITING_PLACES = THREADS // 2
"""The number of long polls that one process holds at a time."""


@dataclass
class Service:
    """The connections, threads and keys of a web process."""

    engine: Engine
    redis: "Redis | None"
    directory: Directory
    committer: Committer
    doorbell: Doorbell
    waiting: Waiting
    secret_key: str | None
    chain_key: bytes | None
    probe: Probe
    prober: Prober

    def announce(self, cursors: dict[int, int]) -> None:
        """Wake the requests that wait for what a drain in this process has decided. A lost message does no harm."""
        self.waiting.moved(cursors)
        if self.redis is not None:
            with suppress(RedisError, OSError):
                self.redis.publish(celeryconfig.DECIDED_CHANNEL, json.dumps(cursors))


def start(environ: Mapping[str, str] = os.environ) -> Service:
    """Connect and start the threads, as the environment says.

    Raises:
        SystemExit: some settings are missing or wrong. The message names them all.
    """
    try:
        settings = read(environ, required=["DATABASE_URL"])
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    logs.configure(settings.log_format, level=settings.log_level)
    # A request makes hundreds of objects and no cycles. The search for cycles would hold the GIL for nothing.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    assert settings.database_url is not None
    engine = connect(settings.database_url, connections=10, within_s=10.0)
    url = settings.redis_url
    redis = Redis.from_url(url, socket_timeout=2, socket_connect_timeout=1) if url else None
    doorbell = Doorbell(redis)
    # The checks have connections of their own, so that they see the database when requests have taken all others.
    probe = Probe(connect(settings.database_url, connections=2, within_s=5.0, statement_timeout_s=4), redis)
    prober = probe.prober()
    prober.start()
    return Service(
        engine,
        redis,
        Directory(engine, check_precision=settings.precision_check),
        Committer(engine, doorbell.ring),
        doorbell,
        Waiting(engine, redis, WAITING_PLACES),
        settings.secret_key,
        settings.chain_key,
        probe,
        prober,
    )


def service() -> Service:
    """Return the service of the application that answers the current request."""
    found: Service = current_app.extensions["pacioli"]
    return found
