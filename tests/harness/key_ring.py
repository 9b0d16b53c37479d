"""Keys of a service in this process: the master key makes them, and each asks for itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.harness.api import Api, ok
from tests.harness.keys import KEY


def later(**duration: float) -> str:
    """A time from now, as the wire has it."""
    return (datetime.now(UTC) + timedelta(**duration)).isoformat()


_TOMORROW = later(days=1)
"""All keys end together, so that one may make another."""


@dataclass
class Holder:
    """Somebody with a key."""

    app: Flask
    secret: str
    key_id: str = ""

    @property
    def client(self) -> FlaskClient:
        client = self.app.test_client()
        client.environ_base["HTTP_X_BLNK_KEY"] = self.secret
        return client

    @property
    def api(self) -> Api:
        """The endpoints, as this key sees them."""
        return Api(self.app, self.client)

    def ask(self, route: str, **arguments: Any) -> TestResponse:
        """``ask("POST /ledgers", json=...)``."""
        method, _, path = route.partition(" ")
        return self.client.open(path, method=method, **arguments)


@dataclass
class Keys:
    """The master key, and what it makes."""

    app: Flask

    @property
    def master(self) -> Holder:
        return Holder(self.app, KEY)

    def make(self, *scopes: str, by: Holder | None = None, **fields: Any) -> Holder:
        """Make a key with scopes, for the owner ``shop`` and a day unless the fields say otherwise."""
        made = ok((by or self.master).ask("POST /api-keys", json=asked(scopes, **fields)), 201)
        return Holder(self.app, made["key"], made["api_key_id"])

    def list(self, owner: str = "shop") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ok(self.master.ask("GET /api-keys", query_string={"owner": owner}), 200)
        return found


def asked(scopes: Iterable[str], **fields: Any) -> dict[str, Any]:
    """The body that makes a key."""
    given = {"name": "till", "owner": "shop", "scopes": list(scopes), "expires_at": _TOMORROW, **fields}
    return {name: value for name, value in given.items() if value is not None}
