"""The application in this process, for tests over HTTP. The tests call what a worker or beat would do."""

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ops.cli import service
from tests.harness.api import Api, close
from tests.harness.cli import Nearby, Run, runner
from web import app as web_app
from web.accept.doorbell import Doorbell
from web.app import create_app

web_app.SLOW_S = 3600.0  # A request that a busy machine holds up adds no line to the log of a test.


@pytest.fixture
def app(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The application without workers. No doorbell is rung."""
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    monkeypatch.setattr(Doorbell, "wake", lambda self, task: None)
    app = create_app({"DATABASE_URL": database_url})
    yield app
    close(app)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def api(app: Flask) -> Api:
    return Api(app, app.test_client())


@pytest.fixture
def run(database_url: str, app: Flask, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``pacioli`` against the test's database and the application on it."""
    monkeypatch.setattr(service, "TRANSPORT", Nearby(app))
    for name in ("PACIOLI_KEY", "PACIOLI_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    return runner(database_url)
