"""One application and one database for all tests of a module: each test looks only at what it changes."""

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.harness.api import close
from tests.harness.bad_input import post
from tests.harness.databases import new_database
from tests.harness.junk import good_transaction
from web.accept.doorbell import Doorbell
from web.app import create_app
from web.service import Service


@pytest.fixture(scope="module")
def app(postgres: str) -> Iterator[Flask]:
    """The application without workers, on one database for all tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Doorbell, "ring", lambda self, queues: None)
        patch.setattr(Doorbell, "wake", lambda self, task: None)
        app = create_app({"DATABASE_URL": new_database(postgres)})
        yield app
    close(app)


@pytest.fixture
def service(app: Flask) -> Service:
    service: Service = app.extensions["pacioli"]
    return service


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client that has posted once, so that USD has its precision."""
    client = app.test_client()
    assert post(client, good_transaction()).status_code == 201
    return client
