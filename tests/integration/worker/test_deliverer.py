"""The deliverer consumes a queue of its own alone, decides nothing, and no other worker consumes it."""

from types import SimpleNamespace

import pytest
from sqlalchemy import Engine

from core.doors.identity import Identity
from worker import naming
from worker.app import app
from worker.deliverer import Deliverer
from worker.keeper import Keeper


@pytest.mark.parametrize("deliver", [False, True])
def test_a_node_consumes_the_queues_of_its_kind(engine: Engine, monkeypatch: pytest.MonkeyPatch, deliver: bool) -> None:
    identity = Identity(engine, on_redis=True)
    monkeypatch.setattr(naming, "identity", lambda: identity)
    monkeypatch.setattr(naming, "set_up_log", lambda: None)
    monkeypatch.setattr(naming, "_named", None)
    monkeypatch.setattr(naming, "SETTINGS", SimpleNamespace(database_url="set"))
    before = app.conf.task_queues
    try:
        naming.learn({"deliver": deliver})
        assert identity.names is not None
        consumed = set(app.amqp.queues.consume_from)
        assert (identity.names.deliveries in consumed) == deliver
        assert (identity.names.ticks in consumed) != deliver
        assert len(consumed) == 1 or not deliver
    finally:
        app.conf.task_queues = before
        app.__dict__.pop("amqp", None)
        naming._named = None


@pytest.mark.parametrize("deliver", [False, True])
def test_a_node_has_a_keeper_or_delivers(deliver: bool) -> None:
    worker = SimpleNamespace()
    assert Keeper(worker, deliver=deliver).enabled is not deliver
    assert Deliverer(worker, deliver=deliver).enabled is deliver
