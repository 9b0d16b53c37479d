"""``pacioli top`` against the application: once, as JSON, and live in a terminal until q is pressed."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask

from ops.cli import top
from tests.harness.api import Api, ok
from tests.harness.cli import Run, served
from tests.harness.probing import live
from web.probing.prober import Severity, Trouble
from web.service import Service


@pytest.fixture
def seen(app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger whose parts live, with one transaction that waits. The second look comes at once."""
    service: Service = app.extensions["pacioli"]
    live(service.engine)
    list(service.probe._read())
    ok(api.post(), 201)
    monkeypatch.setattr(top, "EVERY_S", 0.01)


@pytest.mark.usefixtures("seen")
def test_one_page_is_printed(run: Run) -> None:
    shown = run("top", "--once")
    assert shown.exit_code == 0, shown.output
    for part in ("accepted 0/s", "waiting 1", "worker", "sweep", "sound up to 100"):
        assert part in shown.output, shown.output


@pytest.mark.usefixtures("seen")
def test_programs_get_json(run: Run) -> None:
    shown = run("top", "--json")
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.output)
    assert found["accepted_per_s"] == 0
    assert sum(queue["depth"] for queue in found["queues"]) == 1
    assert {tick["name"] for tick in found["parts"]["ticks"]} == {"sweep", "due", "fund"}
    assert found["parts"]["verification"]["last_sequence"] == 100


def test_a_service_that_is_down_is_told_and_exits_with_1(app: Flask, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    service: Service = app.extensions["pacioli"]
    monkeypatch.setattr(top, "EVERY_S", 0.01)
    monkeypatch.setattr(service.prober, "troubles", _down(service))
    shown = run("top", "--once")
    assert shown.exit_code == 1, shown.output
    assert "DOWN" in shown.output
    assert "cannot be read" in shown.output


def _down(service: Service) -> Callable[[], Any]:
    trouble = Trouble(
        part="database", severity=Severity.DOWN, what="it is gone", advice="bring it back", since=datetime.now(UTC)
    )
    return lambda: [trouble]


@pytest.mark.usefixtures("seen")
def test_the_live_page_ends_with_q_and_leaves_the_terminal_as_it_was(app: Flask) -> None:
    ours, theirs = pty.openpty()
    with served(app) as url:
        command = [sys.executable, "-m", "ops.cli", "top", "--url", url]
        environ = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ) as process:
            os.close(theirs)
            shown = b""
            while b"up to 100" not in shown:
                shown += os.read(ours, 65_536)
            os.write(ours, b"xq")
            assert process.wait(30) == 0
            while b"\x1b[?1049l" not in shown:  # It leaves the screen of its own.
                shown += os.read(ours, 65_536)
    os.close(ours)
    assert b"Traceback" not in shown


@pytest.mark.usefixtures("seen")
def test_parts_say_what_processes_record(app: Flask, api: Api) -> None:
    found = api.get("/parts")
    assert found["known"] is True
    (process,) = found["processes"]
    assert (process["name"], process["part"], process["host"], process["children"]) == ("celery@a", "worker", "a", [])
    service: Service = app.extensions["pacioli"]
    service.probe.facts = None
    assert api.get("/parts") == {"known": False, "processes": [], "ticks": [], "verification": None, "seal": None}
