"""An application that can tokenize."""

from collections.abc import Iterator

import pytest

from tests.harness.api import Api, close
from web.accept.doorbell import Doorbell
from web.app import create_app

SECRET = "3b6f1c0e9d2a47c58e0f71a2b3c4d5e6"


@pytest.fixture
def vault(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_TOKENIZATION_SECRET": SECRET})
    yield Api(app, app.test_client())
    close(app)
