"""A service with a master key, without workers."""

from collections.abc import Iterator

import pytest
from flask import Flask

from tests.harness.api import close
from tests.harness.key_ring import Keys
from tests.harness.keys import KEY
from web.accept.doorbell import Doorbell
from web.app import create_app


@pytest.fixture
def app(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    monkeypatch.setattr(Doorbell, "wake", lambda self, task: None)
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    yield app
    close(app)


@pytest.fixture
def keys(app: Flask) -> Keys:
    return Keys(app)
