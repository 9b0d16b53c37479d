"""Whoever may write to the broker can neither stop a worker nor ask it anything."""

from pathlib import Path

from redis import Redis

from tests.harness import parts
from tests.harness.processes import wait_until


def test_a_worker_listens_for_no_command_of_the_broker(env: dict[str, str], redis: Redis, folder: Path) -> None:
    """Celery binds a mailbox (pidbox) in Redis for each worker that takes commands."""
    with parts.worker(folder, env) as worker:
        wait_until(lambda: " ready." in worker.log)
        assert redis.keys("*kombu.binding*") != []
        assert redis.keys("*pidbox*") == []
