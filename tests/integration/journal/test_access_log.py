"""Each request has a line of JSON in the log, when that is asked for."""

import json
from typing import Any

import pytest

from core.base import lines, logs
from tests.harness.api import close
from tests.harness.keys import KEY
from web.app import create_app


def _lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    lines.flush(10)
    every = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    return [line for line in every if line["event"] == "access"]


def test_a_line_says_who_asked_for_what_and_what_came_of_it(
    database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY, "PACIOLI_ACCESS_LOG": "on"})
    client = app.test_client()
    key = {"X-Blnk-Key": KEY, "X-Request-Id": "mine-1"}
    answer = client.get("/ledgers/general_ledger_id?x=secret", headers=key)
    client.get("/ledgers/general_ledger_id", headers=key)
    client.get("/nothing/secret", headers=key)
    client.post("/transactions", json={})
    written = _lines(capfd)
    assert answer.status_code == 400
    assert [(line["actor"], line["method"], line["route"], line["status"]) for line in written] == [
        ("master", "GET", "/ledgers/<ledger_id>", 400),
        ("master", "GET", "/ledgers/<ledger_id>", 200),
        ("master", "GET", None, 404),
        ("", "POST", "/transactions", 401),
    ]
    assert written[0]["bytes"] == len(answer.data)
    assert written[0]["request_id"] == "mine-1"
    assert written[0]["took_ms"] > 0
    assert "secret" not in json.dumps(written)
    close(app)


def test_there_is_none_unless_it_is_asked_for(database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    app = create_app({"DATABASE_URL": database_url})
    app.test_client().get("/ledgers")
    assert _lines(capfd) == []
    close(app)


def test_a_line_before_the_log_is_configured_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_lines", None)
    logs.write("{}")
