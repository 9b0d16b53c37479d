"""A session of faults with planted secrets: no output, log line, error, answer or page shows one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from sqlalchemy import make_url

from core.base import secrets
from ops.cli.main import main
from tests.harness.databases import _create, new_database
from web import transactions
from web.app import create_app

ROOT = Path(__file__).parents[3]

KEY = "pl4nt-9c27e1d05b-key"
CHAIN = "c0ffee5afe" * 7
URL_PASSWORD = "pl4nt/url@5f3c9:word?x"
CODED = "pl4nt%2Furl%405f3c9%3Aword%3Fx"
PIECES = ("pl4nt", "5f3c9", "9c27e1d05b", "c0ffee5afe")

ENVIRON = {
    "PACIOLI_SECRET_KEY": KEY,
    "PACIOLI_KEY": KEY,
    "PACIOLI_CHAIN_KEY": CHAIN,
    "REDIS_URL": f"redis://:{CODED}@127.0.0.1:1/0",
    "BROKER_URL": f"redis://127.0.0.1:1/0?password={CODED}",
    "PACIOLI_LOG_LEVEL": "debug",
}

WRONG_URLS = [
    {"DATABASE_URL": f"postgresql://me:{CODED}@127.0.0.1:1/db"},
    {"DATABASE_URL": f"postgresql://127.0.0.1:1/db?user=me&password={CODED}"},
    {"DATABASE_URL": f"postgresql://me:{URL_PASSWORD}@127.0.0.1:1/db"},
    {"DATABASE_URL": f"mysql://me:{CODED}@h/db"},
    {"REDIS_URL": f"redis://:{URL_PASSWORD}@h"},
    {"REDIS_URL": f"http://:{CODED}@h"},
    {"REDIS_URL": f"redis://h?pass={CODED}"},
    {"BROKER_URL": f"{CODED}"},
    {"PACIOLI_CHAIN_KEY": CHAIN[:-10] + "x"},
]


def shown(text: str) -> list[str]:
    """List the lines of a text that have a piece of a planted secret."""
    return [line for line in text.splitlines() if any(piece in line for piece in PIECES)]


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hiding place is tried without the others' knowledge."""
    monkeypatch.setattr(secrets, "_known", set())


def commands(group: click.Command = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """List the words of every command."""
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            if (command := group.get_command(context, name)) is not None:
                yield from commands(command, (*path, name))
    else:
        yield path


@pytest.mark.parametrize("words", sorted(commands()), ids=" ".join)
def test_no_command_shows_one(words: tuple[str, ...], tmp_path: Path) -> None:
    environ = ENVIRON | {"PACIOLI_DATA": str(tmp_path), "PACIOLI_URL": "http://127.0.0.1:1"}
    environ["DATABASE_URL"] = f"postgresql://me:{CODED}@127.0.0.1:1/db"
    runner = CliRunner(env=environ)
    tries = [["--nonsense"], ["--help"], ["surplus"] * 9]
    if words[0] not in ("up", "bench", "torture", "docs", "watch", "top"):
        tries.append([])
    for arguments in tries:
        done = runner.invoke(main, [*words, *arguments])
        assert shown(done.output + done.stderr + repr(done.exception)) == []


@pytest.mark.parametrize("wrong", WRONG_URLS, ids=lambda wrong: " ".join(wrong))
@pytest.mark.parametrize("command", [["queues"], ["settings"], ["up", "--port", "0"]], ids=" ".join)
def test_no_wrong_setting_is_shown(wrong: dict[str, str], command: list[str], tmp_path: Path) -> None:
    if command[0] == "up" and "DATABASE_URL" not in wrong:
        command = ["migrate"]
    environ = ENVIRON | {"DATABASE_URL": "postgresql://127.0.0.1:1/db", "PACIOLI_DATA": str(tmp_path)} | wrong
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli", *command],
        cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout + done.stderr
    assert shown(done.stdout + done.stderr) == []


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_fault_of_the_web_service_shows_one(
    postgres: str, log_format: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    url = make_url(new_database(postgres)).set(password=URL_PASSWORD).render_as_string(hide_password=False)
    app = create_app(ENVIRON | {"DATABASE_URL": url, "PACIOLI_LOG": log_format})
    service = app.extensions["pacioli"]
    assert shown(repr(service)) == []

    def broken(*_: object, **__: object) -> None:
        local = service  # A traceback with the values of variables would show it.
        settings = dict(ENVIRON)
        raise RuntimeError(f"a bug {len(settings)} {local is service}")

    client = app.test_client()
    right = {"X-Blnk-Key": KEY}
    answers = [
        client.get(path, headers=right) for path in ("/", "/health", "/metrics", "/openapi.json", "/docs", "/no/such")
    ]
    answers.append(client.get("/ledgers", headers={"X-Blnk-Key": KEY[:-1]}))
    answers.append(client.get("/ledgers"))
    monkeypatch.setattr(transactions, "service", broken)
    posted = client.post("/transactions", json={"amount": 1}, headers=right)
    assert posted.status_code in (400, 500)
    answers.append(client.get("/transactions/txn_x", headers=right))
    assert answers[-1].status_code == 500
    with monkeypatch.context() as patch:
        patch.setattr(service.engine, "connect", broken)
        answers.append(client.get("/ledgers", headers=right))
    texts = [posted.text, *(each.text for each in answers), *(str(each.headers) for each in answers)]
    logged = capfd.readouterr()
    assert "a bug" in logged.out
    assert shown("\n".join([*texts, logged.out, logged.err])) == []


def test_no_start_on_an_unmigrated_database_shows_one(postgres: str, capfd: pytest.CaptureFixture[str]) -> None:
    url = make_url(_create(postgres, "")).set(password=URL_PASSWORD).render_as_string(hide_password=False)
    with pytest.raises(SystemExit) as caught:
        create_app(ENVIRON | {"DATABASE_URL": url})
    logged = capfd.readouterr()
    assert shown(f"{caught.value}\n{logged.out}\n{logged.err}") == []
