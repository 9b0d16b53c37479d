"""An application with webhooks, and deliverers in this process that are in a hurry."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from core.base.threads import Loop
from core.webhooks.addresses import Guard
from core.webhooks.dispatcher import PART, Dispatcher
from core.webhooks.operator import Operator
from core.webhooks.signing import Safe
from core.webhooks.turn import Means, Plan
from tests.harness.api import Api, close, ok
from tests.harness.keys import KEY
from web.accept.doorbell import Doorbell
from web.app import create_app

PEPPER = "4f1d8a07c93e5b62"
QUICK = Plan(schedule_s=(0.05, 0.1, 0.2, 0.4), probe_s=0.05, wait_s=0.05)
OPERATOR = Operator(guard=Guard(private=True), master_key=KEY)
SAFE = Safe(PEPPER.encode())


@pytest.fixture
def api(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    environ = {"DATABASE_URL": database_url, "PACIOLI_PEPPER": PEPPER, "PACIOLI_WEBHOOK_ALLOW_PRIVATE": "on"}
    app = create_app({**environ, "PACIOLI_SECRET_KEY": KEY, "PACIOLI_ALLOWED_HOSTS": "localhost"})
    client = app.test_client()
    client.environ_base["HTTP_X_BLNK_KEY"] = KEY
    yield Api(app, client)
    close(app)


class Deliverer:
    """A delivering process, in a thread of this one."""

    def __init__(self, engine: Engine, name: str, operator: Operator, plan: Plan) -> None:
        means = Means(engine=engine, by=name, safe=SAFE, operator=operator, plan=plan)
        self.dispatcher, self._ended = Dispatcher(means), threading.Event()
        self.loop = Loop("leases", self._look, wake=self._ended.set)

    def _look(self) -> None:
        self.dispatcher.look()
        self._ended.wait(0.05)

    def stop(self) -> None:
        self.loop.stop()
        self.dispatcher.stop()


Deliver = Callable[..., Deliverer]


@pytest.fixture
def deliver(engine: Engine) -> Iterator[Deliver]:
    """Start deliverers. They end with the test."""
    started: list[Deliverer] = []

    def start(name: str = f"{PART}@test:1", operator: Operator = OPERATOR, plan: Plan = QUICK) -> Deliverer:
        started.append(Deliverer(engine, name, operator, plan))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def hook_up(api: Api) -> Callable[..., dict[str, Any]]:
    """Create an endpoint."""

    def create(url: str, **fields: Any) -> dict[str, Any]:
        made: dict[str, Any] = ok(api.client.post("/webhooks", json={"url": url, **fields}), 201)
        return made

    return create


def settle(api: Api, webhook_id: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/webhooks/{webhook_id}")
    return found
