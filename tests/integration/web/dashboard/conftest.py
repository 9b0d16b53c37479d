"""A service with a key, and browsers that are signed in to its dashboard."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.harness.api import close
from tests.harness.key_ring import later
from tests.harness.keys import HEADERS, KEY
from web.accept.doorbell import Doorbell
from web.app import create_app

Post = Callable[..., Any]


@pytest.fixture
def locked(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """A service with a key."""
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    monkeypatch.setattr(Doorbell, "wake", lambda self, task: None)
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    yield app
    close(app)


class Browser:
    """Somebody who has signed in, or not."""

    def __init__(self, app: Flask) -> None:
        self.client: FlaskClient = app.test_client()

    def sign_in(self, key: str = KEY, **more: str) -> Any:
        return self.client.post("/dashboard/sign-in", data={"key": key, **more})

    def get(self, path: str, status: int = 200) -> str:
        response = self.client.get(path)
        assert response.status_code == status, response.text
        return response.text

    def post(self, path: str, status: int = 303, **form: str) -> Any:
        """Send a form with the token of the page of its path."""
        response = self.client.post(path, data={"csrf": self.token(), **form})
        assert response.status_code == status, response.text
        return response

    def token(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.get("/dashboard"))
        assert found is not None
        return found[1]

    def stored_key(self, *scopes: str, **reach: Any) -> str:
        """Make a key with these scopes, and return it."""
        body = {"name": "test", "owner": "ada", "scopes": list(scopes), "expires_at": later(days=90), **reach}
        made = self.client.post("/api-keys", json=body, headers=HEADERS)
        assert made.status_code == 201, made.text
        return str(made.json["key"])


@pytest.fixture
def browser(locked: Flask) -> Browser:
    """Somebody who has signed in with the master key."""
    found = Browser(locked)
    found.sign_in()
    return found


@pytest.fixture
def stranger(locked: Flask) -> Browser:
    """Somebody who has not signed in."""
    return Browser(locked)
