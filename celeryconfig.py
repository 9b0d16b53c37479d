"""The configuration of Celery for web, workers and beat: queues, routes, schedule, delivery.

A message never carries money, only "queue 7 has work". So a lost one costs until the next sweep, a repeated one an empty
look, a reordered one nothing; the settings below keep messages few and failures short, and lean on no broker for order.
"""

import os
from typing import Any

from kombu import Queue  # type: ignore[attr-defined]

from core.base.settings import SettingsError, read
from core.ledger.rules.routing import MAX_QUEUES

DRAIN = "pacioli.drain"
TICK = "pacioli.tick"
SWEEP = "pacioli.sweep"
DUE = "pacioli.due"
FUND = "pacioli.fund"
SNAPSHOT = "pacioli.snapshot"
VERIFY = "pacioli.verify"
MAINTENANCE = "maintenance"
TICKS = "ticks"
"""The queue of ticks. It holds one at most, so that none pile up while workers are away."""

TICK_INTERVAL_S = 1.0
"""A due date is answered at most so late while nothing is wrong. It may be one of a funding job."""

BELL_KEY = "pacioli:bell"
"""The Redis key of a waiting doorbell. The web sets it, and a worker removes it before it looks at all queues."""
BELL_TTL_S = 2
"""An unanswered doorbell counts as lost after so long."""

DECIDED_CHANNEL = "pacioli:decided"
"""The Redis channel where a drain publishes the new cursors of its queues, as JSON ``{queue: cursor}``."""


def postings_queue(number: int) -> str:
    """Return the Celery queue for the doorbells of a posting queue."""
    return f"postings.{number}"


def route(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], options: Any, task: Any = None, **_: Any) -> Any:
    """Route a doorbell to the Celery queue of its posting queue, a tick to that of ticks, and all else to maintenance."""
    if name == DRAIN:
        return {"queue": postings_queue(args[0])}
    return {"queue": TICKS if name == TICK else MAINTENANCE}


try:
    SETTINGS = read(os.environ)
except SettingsError as error:
    raise SystemExit(str(error)) from None

broker_url = SETTINGS.broker

# The queues use the nameless exchange, so that a flushed Redis loses no binding. On RabbitMQ a queue holds one
# doorbell or tick at most; on Redis doorbell.py and worker/bells.py make sure of that.
task_queues = [
    Queue(name, routing_key=name, queue_arguments={"x-max-length": 1})
    for name in [*map(postings_queue, range(MAX_QUEUES)), TICKS]
] + [Queue(MAINTENANCE, routing_key=MAINTENANCE)]
task_default_queue = MAINTENANCE
task_create_missing_queues = False
task_routes = (route,)

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
broker_transport_options = {
    # Kombu compares the clocks of two hosts when it delivers an unanswered message again. Nothing waits for that, because
    # the next tick and the sweep do what a lost message asked for.
    "visibility_timeout": 86_400,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "queue_order_strategy": "round_robin",
    "priority_steps": [0],
    "unacked_restore_throttle": 1,
}
if broker_url.startswith("filesystem:"):
    # Without Redis, `pacioli up` names a folder in BROKER_FOLDER for kombu's transport over files.
    assert SETTINGS.broker_folder is not None
    broker_transport_options = {
        "data_folder_in": SETTINGS.broker_folder,
        "data_folder_out": SETTINGS.broker_folder,
        "control_folder": os.path.join(SETTINGS.broker_folder, "control"),
    }
enable_utc = True
timezone = "UTC"
