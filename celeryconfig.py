"""The configuration of Celery for web, workers and beat: queues, routes, schedule, delivery.

A message never carries money, only "queue 7 has work". So a lost one costs until the next sweep, a repeated one an empty
look, a reordered one nothing; the settings below keep messages few and failures short, and lean on no broker for order.

The names of queues carry the ledger's identity, which is in its database. ``settings_of`` returns the settings that do;
web and worker add them to Celery's configuration before they declare a queue. Until then nothing can be sent.
"""

import os
from typing import Any

from kombu import Queue  # type: ignore[attr-defined]

from core.base import redis_url
from core.base.environment import SettingsError, read
from core.base.errors import TransientError
from core.doors import clients
from core.doors.names import Names
from core.ledger.rules.routing import MAX_QUEUES

DRAIN = "pacioli.drain"
TICK = "pacioli.tick"
SWEEP = "pacioli.sweep"
DUE = "pacioli.due"
FUND = "pacioli.fund"
SNAPSHOT = "pacioli.snapshot"
VERIFY = "pacioli.verify"

TICK_INTERVAL_S = 1.0
"""A due date is answered at most so late while nothing is wrong. It may be one of a funding job."""


try:
    SETTINGS = read(os.environ)
except SettingsError as error:
    raise SystemExit(str(error)) from None

ON_REDIS = SETTINGS.broker_is_redis

broker_url = SETTINGS.broker
broker_use_ssl = None
broker_transport_options: dict[str, Any] = {}
if ON_REDIS:
    _of_url = clients.celery_settings(redis_url.parse(SETTINGS.broker))
    broker_url, broker_use_ssl = _of_url["broker_url"], _of_url["broker_use_ssl"]
    broker_transport_options = {
        **_of_url["broker_transport_options"],
        # Kombu compares the clocks of two hosts when it delivers an unanswered message again. Nothing waits for that,
        # because the next tick and the sweep do what a lost message asked for.
        "visibility_timeout": 86_400,
        "queue_order_strategy": "round_robin",
        "priority_steps": [0],
        "unacked_restore_throttle": 1,
    }
elif broker_url.startswith("filesystem:"):
    # Without Redis, `pacioli up` names a folder in BROKER_FOLDER for kombu's transport over files.
    assert SETTINGS.broker_folder is not None
    broker_transport_options = {
        "data_folder_in": SETTINGS.broker_folder,
        "data_folder_out": SETTINGS.broker_folder,
        "control_folder": os.path.join(SETTINGS.broker_folder, "control"),
    }

task_create_missing_queues = False


def _unnamed(name: str, *_: Any, **__: Any) -> Any:
    raise TransientError(f"the ledger's identity is not known yet, so {name} has no queue")


task_routes: Any = (_unnamed,)


def settings_of(names: Names) -> dict[str, Any]:
    """Return the settings that carry the identity of a ledger.

    The queues use the nameless exchange, so that a flushed Redis loses no binding. On RabbitMQ a queue holds one doorbell
    or tick at most; on Redis doorbell.py and worker/bells.py make sure of that.

    On Redis every key of Celery's has the prefix, those of messages that are not acknowledged among them. Else one ledger
    would restore the messages of another.
    """
    capped = [*map(names.postings, range(MAX_QUEUES)), names.ticks, names.deliveries]

    def route(
        name: str, args: tuple[Any, ...], kwargs: dict[str, Any], options: Any, task: Any = None, **_: Any
    ) -> Any:
        """Route doorbells of drains to that of their postings, ticks to theirs, and all else to maintenance."""
        if name == DRAIN:
            return {"queue": names.postings(args[0])}
        return {"queue": names.ticks if name == TICK else names.maintenance}

    return {
        "task_queues": [
            *(Queue(name, routing_key=name, queue_arguments={"x-max-length": 1}) for name in capped),
            Queue(names.maintenance, routing_key=names.maintenance),
        ],
        "task_default_queue": names.maintenance,
        "task_routes": (route,),
        "control_exchange": f"{names.queue_prefix}celery",
        "event_exchange": f"{names.queue_prefix}celeryev",
        "broker_transport_options": broker_transport_options | ({"global_keyprefix": names.prefix} if ON_REDIS else {}),
    }


# Beat only says that a second is over. A worker decides by the table of ticks what is due, with the database's clock.
beat_schedule = {"tick": {"task": TICK, "schedule": TICK_INTERVAL_S}}
beat_scheduler = "worker.beat:Beat"

task_serializer = "json"
accept_content = ["json"]
task_ignore_result = True
result_backend = None
task_acks_late = True
task_reject_on_worker_lost = True
worker_prefetch_multiplier = 1
worker_soft_shutdown_timeout = 10
worker_enable_soft_shutdown_on_idle = False
worker_cancel_long_running_tasks_on_connection_loss = False
worker_hijack_root_logger = False
worker_redirect_stdouts = False  # A line of our log has a time and a level already, and would get Celery's in front.
worker_send_task_events = False
worker_enable_remote_control = False  # Whoever may write to the broker could stop the workers.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_connection_timeout = 2
# A Redis that is full, or a replica that cannot be written, refuses, and gets well again.
broker_channel_error_retry = True
worker_consumer = "worker.consumer:Consumer"
enable_utc = True
timezone = "UTC"
