"""A service with a rate, and an address that guesses keys."""

import pytest

from tests.harness.api import ok, refused
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
    app.extensions["pacioli"].engine.dispose()


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
    app.extensions["pacioli"].engine.dispose()
