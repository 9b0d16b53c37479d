"""Whoever may write to the broker can neither stop a worker nor ask it anything."""

from pathlib import Path

from core.doors.names import Names
from tests.harness import parts
from tests.harness.factories import Ledger
from tests.harness.processes import wait_until
from tests.harness.redis_servers import celery_of


def test_a_worker_obeys_no_command_of_the_broker(
    env: dict[str, str], redis_url: str, names: Names, ledger: Ledger, folder: Path
) -> None:
    app = celery_of(redis_url, names)
    with parts.worker(folder, env) as worker:
        wait_until(lambda: " ready." in worker.log)
        app.control.broadcast("shutdown")
        assert app.control.ping(timeout=2) == []
        posted = ledger.post()
        wait_until(lambda: str(ledger.transaction(posted.transaction_id).status) == "APPLIED")
        assert worker.process.poll() is None
    app.close()
