"""A service with a rate, and an address that guesses keys."""

import pytest
from flask.testing import FlaskClient

from tests.harness.api import close, ok, refused
from tests.harness.keys import KEY
from web.accept.doorbell import Doorbell
from web.app import create_app


@pytest.fixture(autouse=True)
def _silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)


def test_a_key_that_sends_too_much_is_told_when_to_come_again(database_url: str) -> None:
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY, "PACIOLI_RATE": "1/4"})
    client, headers = app.test_client(), {"X-Blnk-Key": KEY}
    answers = [client.get("/ledgers", headers=headers) for _ in range(20)]
    assert answers[0].status_code == 200
    detail = refused(answers[-1], 429, "GEN_RATE_LIMITED")
    assert "PACIOLI_RATE" in detail["message"] and 1 <= int(answers[-1].headers["Retry-After"]) <= 2
    assert client.get("/health/live").status_code == 200
    close(app)


def test_an_address_that_guesses_is_told_to_stop_and_the_right_key_still_opens(database_url: str) -> None:
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    client = app.test_client()
    answers = [client.get("/ledgers", headers={"X-Blnk-Key": f"guess {number}"}) for number in range(12)]
    assert [each.status_code for each in answers] == [401] * 10 + [429] * 2
    refused(answers[-1], 429, "GEN_RATE_LIMITED")
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    other = {"REMOTE_ADDR": "192.0.2.7"}
    assert client.get("/ledgers", headers={"X-Blnk-Key": "x"}, environ_overrides=other).status_code == 401
    assert ok(client.get("/ledgers", headers={"X-Blnk-Key": KEY}), 200)
    close(app)


def test_clients_behind_a_trusted_proxy_are_counted_one_by_one_and_nobody_forges_an_address(database_url: str) -> None:
    app = create_app(
        {"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY, "PACIOLI_TRUSTED_PROXIES": "192.0.2.0/24"}
    )
    client = app.test_client()

    def guess(peer: str, forwarded: str) -> int:
        headers = {"X-Blnk-Key": "guess", "X-Forwarded-For": forwarded}
        return client.get("/ledgers", headers=headers, environ_overrides={"REMOTE_ADDR": peer}).status_code

    assert [guess("192.0.2.1", "198.51.100.1") for _ in range(11)] == [401] * 10 + [429]
    assert guess("192.0.2.1", "198.51.100.2") == 401
    assert guess("192.0.2.1", "198.51.100.9, 198.51.100.1") == 429
    forged = [guess("203.0.113.1", f"198.51.100.{number}") for number in range(11)]
    assert forged == [401] * 10 + [429]
    close(app)


def test_a_proxy_on_this_machine_does_not_open_a_service_without_a_key(client: FlaskClient) -> None:
    for header in ({"X-Forwarded-For": "203.0.113.1"}, {"Forwarded": "for=203.0.113.1"}):
        refused(client.get("/ledgers", headers=header), 401, "AUTH_MISSING_API_KEY")
    assert client.get("/ledgers", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 200
