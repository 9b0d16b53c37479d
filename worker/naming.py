"""Names the queues of workers and beat after the ledger, whose identity is in its database."""

import os
import time
from collections.abc import Mapping
from typing import Any

import structlog
from celery.signals import celeryd_init
from celery.worker import state

import celeryconfig
from celeryconfig import SETTINGS
from core.base.environment import missing
from core.doors.identity import LOOK_S
from core.doors.names import Names
from worker.app import app, identity, set_up_log

AGAIN_S = 1.0
"""The pause before another look at a database that has not told the identity yet."""

logger = structlog.get_logger()

_named: Names | None = None


@celeryd_init.connect
def learn(options: Mapping[str, Any] | None = None, **_: Any) -> None:
    """Wait for the identity of the ledger before a worker declares its queues. Without a database it is refused.

    A delivering process consumes the queue of deliveries alone, and all others leave it out.
    """
    if SETTINGS.database_url is None:
        raise SystemExit(missing("DATABASE_URL"))
    set_up_log()
    while not _name(identity().look()):
        time.sleep(AGAIN_S)
    assert _named is not None
    if (options or {}).get("deliver"):
        app.amqp.queues.select([_named.deliveries])
    else:
        app.amqp.queues.deselect([_named.deliveries])


def is_named() -> bool:
    """Tell whether the queues have names, so that something can be sent."""
    return _named is not None


def keep_named() -> float:
    """Take the names of the ledger, also when they have changed, for beat. Returns the pause until the next look."""
    return LOOK_S if _name(identity().look()) else AGAIN_S


def end_when_renamed() -> float:
    """End the worker when the ledger has another identity. One that is started again listens to the new queues.

    Returns the pause until the next look.
    """
    if identity().look() != _named and state.should_stop is None:
        logger.error("the worker ends, for the ledger was given another identity: start it again")
        state.should_stop = os.EX_TEMPFAIL
    return LOOK_S


def _name(names: Names | None) -> bool:
    """Name the queues, if there are names. What Celery has made of earlier names goes."""
    global _named
    if names is not None and names != _named:
        app.conf.update(celeryconfig.settings_of(names))
        app.__dict__.pop("amqp", None)
        app._pool = None
        _named = names
    return names is not None
