"""Celery, for the web's doorbells, the workers and beat alike: queues, routes, schedule, delivery.

A message never carries money, only "queue 7 has work". So a lost one costs until the next sweep, a repeated one an empty
look, a reordered one nothing; the settings below keep messages few and failures short, and lean on no broker for order.
"""

import os
from typing import Any

from celery.schedules import crontab
from kombu import Queue  # type: ignore[attr-defined]

from core.base.settings import SettingsError, read
from core.ledger.rules.routing import MAX_QUEUES

DRAIN = "pacioli.drain"
SWEEP = "pacioli.sweep"
DUE = "pacioli.due"
FUND = "pacioli.fund"
SNAPSHOT = "pacioli.snapshot"
VERIFY = "pacioli.verify"
MAINTENANCE = "maintenance"

SWEEP_INTERVAL_S = 1.0
DUE_INTERVAL_S = 1.0
"""A due date, also one of a funding job, is answered so late at most while nothing is wrong."""

VERIFY_INTERVAL_S = 3600.0
"""An altered row can go unnoticed for so long, if nobody asks before."""

BELL_KEY = "pacioli:bell"
"""Redis key that says a doorbell is waiting. Set by the web, removed by the worker before it looks at all queues."""
BELL_TTL_S = 2
"""After this long an unanswered doorbell counts as lost."""

DECIDED_CHANNEL = "pacioli:decided"
"""Redis channel on which every drain tells the new cursors of its queues, as JSON ``{queue: cursor}``."""


def postings_queue(number: int) -> str:
    """The Celery queue of a posting queue's doorbells."""
    return f"postings.{number}"


def route(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], options: Any, task: Any = None, **_: Any) -> Any:
    """A doorbell goes to its posting queue's own Celery queue, everything else to maintenance."""
    return {"queue": postings_queue(args[0]) if name == DRAIN else MAINTENANCE}


try:
    SETTINGS = read(os.environ)
except SettingsError as error:
    raise SystemExit(str(error)) from None

broker_url = SETTINGS.broker

# They hang on the nameless exchange, so that a flushed Redis loses no binding. On RabbitMQ a queue holds one doorbell
# at most; on Redis doorbell.py sees to that.
task_queues = [
    Queue(name, routing_key=name, queue_arguments={"x-max-length": 1})
    for name in map(postings_queue, range(MAX_QUEUES))
] + [Queue(MAINTENANCE, routing_key=MAINTENANCE)]
task_default_queue = MAINTENANCE
task_create_missing_queues = False
task_routes = (route,)

beat_schedule = {
    # An unread one is worth nothing once the next is there, so it expires.
    "sweep": {"task": SWEEP, "schedule": SWEEP_INTERVAL_S, "options": {"expires": 5 * SWEEP_INTERVAL_S}},
    "due": {"task": DUE, "schedule": DUE_INTERVAL_S, "options": {"expires": 5 * DUE_INTERVAL_S}},
    "fund": {"task": FUND, "schedule": DUE_INTERVAL_S, "options": {"expires": 5 * DUE_INTERVAL_S}},
    # Of balances that changed since yesterday. No answer depends on when, or on whether, they are taken.
    "snapshot": {"task": SNAPSHOT, "schedule": crontab(minute="5", hour="0"), "options": {"expires": 12 * 3600}},
    "verify": {"task": VERIFY, "schedule": VERIFY_INTERVAL_S, "options": {"expires": VERIFY_INTERVAL_S}},
}

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
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_connection_timeout = 2
broker_transport_options = {
    "visibility_timeout": 30,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "queue_order_strategy": "round_robin",
    "priority_steps": [0],
    "unacked_restore_throttle": 1,
}
if broker_url.startswith("filesystem:"):
    # Where no Redis can be had: kombu's transport over folders, which `pacioli up` names in BROKER_FOLDER.
    assert SETTINGS.broker_folder is not None
    broker_transport_options = {
        "data_folder_in": SETTINGS.broker_folder,
        "data_folder_out": SETTINGS.broker_folder,
        "control_folder": os.path.join(SETTINGS.broker_folder, "control"),
    }
enable_utc = True
timezone = "UTC"
