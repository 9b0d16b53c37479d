"""Web, workers and beat learn the ledger's name, wait for it, and notice another one."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Engine
from structlog.testing import capture_logs

import celeryconfig
from core.base.db import begin, connect
from core.doors import identity as identity_module
from core.doors.identity import Identity
from core.doors.names import names_of
from core.ledger.store import identity as identity_store
from tests.harness.api import Api
from tests.harness.factories import identified
from tests.harness.processes import wait_until
from tests.harness.redis_servers import names
from web.accept import waiting
from web.app import create_app
from web.service import Service
from worker import naming
from worker.app import app


@pytest.fixture
def unnamed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The worker's application, which has no name yet, and gets its settings back."""
    monkeypatch.setattr(naming, "_named", None)
    monkeypatch.setattr(naming.state, "should_stop", None)
    before = {name: app.conf[name] for name in celeryconfig.settings_of(names())}
    yield
    app.conf.update(before)
    app.__dict__.pop("amqp", None)
    app._pool = None


def renew(engine: Engine) -> None:
    with begin(engine) as conn:
        identity_store.renew(conn)


def away() -> Engine:
    return connect("postgresql://nobody@127.0.0.1:1/nothing")


def test_a_database_that_is_away_is_told_once_and_asked_again(engine: Engine) -> None:
    gone = away()
    identity = Identity(gone, on_redis=True)
    with capture_logs() as logs:
        assert [identity.look(), identity.look()] == [None, None]
    assert [line["log_level"] for line in logs] == ["warning"]
    identity._engine = engine
    found = identity.look()
    assert found is not None
    identity._engine = gone
    with capture_logs() as logs:
        assert identity.look() == found
    assert logs == []
    gone.dispose()


def test_a_database_that_is_not_migrated_has_no_names_yet(postgres: str) -> None:
    empty = connect(postgres)
    assert Identity(empty, on_redis=True).look() is None
    empty.dispose()


def test_a_worker_waits_for_its_name_and_ends_when_it_changes(
    engine: Engine, unnamed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, gone = Identity(engine, on_redis=True), away()
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        identity._engine = engine

    identity._engine = gone
    monkeypatch.setattr(naming, "identity", lambda: identity)
    monkeypatch.setattr(naming, "time", type("", (), {"sleep": staticmethod(pause)}))
    monkeypatch.setattr(naming, "set_up_log", lambda: None)
    monkeypatch.setattr(naming, "SETTINGS", type("", (), {"database_url": "set"}))
    naming.learn()
    assert len(pauses) == 1
    assert identity.names is not None
    assert app.amqp.router.route({}, celeryconfig.TICK)["queue"].name == identity.names.ticks
    naming.end_when_renamed()
    assert naming.state.should_stop is None
    identity._engine = gone
    naming.end_when_renamed()
    assert naming.state.should_stop is None
    identity._engine = engine
    renew(engine)
    naming.end_when_renamed()
    assert naming.state.should_stop == 75
    gone.dispose()


def test_beat_sends_nothing_without_a_name_and_takes_another_one(
    engine: Engine, unnamed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = away()
    identity = Identity(gone, on_redis=True)
    monkeypatch.setattr(naming, "identity", lambda: identity)
    assert naming.keep_named() == naming.AGAIN_S
    assert not naming.is_named()
    identity._engine = engine
    prefixes = set()
    for _ in range(2):
        assert naming.keep_named() == identity_module.LOOK_S
        assert naming.is_named()
        prefixes.add(app.conf.broker_transport_options["global_keyprefix"])
        renew(engine)
    assert len(prefixes) == 2
    gone.dispose()


def test_the_web_starts_without_the_database_and_rings_when_it_comes(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "POLL_S", 0.05)
    web = create_app({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"})
    service = _service(web)
    assert web.test_client().get("/balances").status_code == 503
    assert service.identity.names is None
    service.identity._engine = engine
    wait_until(lambda: service.identity.names is not None)
    service.engine.dispose()


def test_the_web_takes_another_name(engine: Engine, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOK_S", 0.05)
    service = _service(api.app)
    wait_until(lambda: service.identity.names is not None)
    before = service.doorbell._celery()
    assert service.doorbell._celery() is before
    renew(engine)
    renamed = identified(engine).names
    assert renamed is not None
    wait_until(lambda: service.identity.names == renamed)
    after = service.doorbell._celery()
    assert after.conf.broker_transport_options["global_keyprefix"] == renamed.prefix
    assert before.conf.broker_transport_options["global_keyprefix"] != renamed.prefix


def _service(web: Flask) -> Service:
    found: Service = web.extensions["pacioli"]
    return found


@pytest.mark.smoke
def test_queues_carry_the_name_on_a_broker_without_keys() -> None:
    settings = celeryconfig.settings_of(names_of(UUID("0123456789ab4def8123456789abcdef"), on_redis=False))
    assert {queue.name.rpartition(".")[0] for queue in settings["task_queues"]} == {
        "pacioli.0123456789ab", "pacioli.0123456789ab.postings"
    }  # fmt: skip
    assert settings["control_exchange"] == "pacioli.0123456789ab.celery"
