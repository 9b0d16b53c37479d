"""Sends a message unless one like it waits already, so that messages do not pile up while workers are away or busy.

RabbitMQ caps its queues itself. No message expires, because that would compare the clocks of two hosts.
"""

import structlog
from celery import Celery
from kombu.transport.virtual import Channel

logger = structlog.get_logger()


def send_alone(app: Celery, task: str, *args: int) -> bool:
    """Send the message of a task unless its queue holds one, and return whether the broker has one now.

    It takes a few seconds at most, and never raises for a broker that is away or full. What a message asks for is in the
    database, and is found there later.
    """
    return _send(app, task, args, alone=True)


def send(app: Celery, task: str, *args: int) -> bool:
    """Send the message of a task, as ``send_alone`` does."""
    return _send(app, task, args, alone=False)


def _send(app: Celery, task: str, args: tuple[int, ...], *, alone: bool) -> bool:
    try:
        queue = app.amqp.router.route({}, task, args=args)["queue"].name
        with app.pool.acquire(block=True, timeout=2) as connection:
            if alone:
                channel = connection.default_channel
                if isinstance(channel, Channel) and channel.queue_declare(queue).message_count:
                    return True
            app.send_task(task, args, connection=connection, retry=False)
    except Exception as error:  # The drivers of brokers raise errors of many types.
        logger.warning("the broker did not take a message; the next tick does the work", task=task, error=repr(error))
        return False
    return True
