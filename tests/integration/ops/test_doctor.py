"""``pacioli doctor`` finds what weakens an installation, and says what to do."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from core import migrations
from core.base import disks
from core.base.db import begin, connect
from ops.cli import doctor
from ops.cli.main import main
from tests.harness import databases
from tests.harness.databases import QuickPostgres, as_role

KEY = "ab" * 32


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server of the tests, which is quick because it is not safe."""
    with QuickPostgres(tmp_path_factory.mktemp("doctor")) as server:
        yield server


@pytest.fixture(scope="module")
def provided(server: QuickPostgres) -> str:
    url = databases.bare_database(server.url)
    engine = connect(url)
    migrations.upgrade(engine, roles=databases.ROLES)
    engine.dispose()
    return url


def examined(tmp_path: Path, **env: str) -> dict[str, list[str]]:
    """Run the command. Returns what it found wrong, by part."""
    env = {"PACIOLI_CHAIN_KEY": KEY, "BROKER_URL": "amqp://nowhere", "REDIS_URL": "", **env}
    result = CliRunner().invoke(main, ["doctor", "--json", "--data", str(tmp_path)], env=env)
    found = json.loads(result.stdout)["findings"]
    wrong: dict[str, list[str]] = {}
    for each in found:
        assert each["ok"] or (each["why"] and each["todo"])
        if not each["ok"]:
            wrong.setdefault(each["part"], []).append(each["what"])
    assert result.exit_code == (1 if wrong else 0)
    return wrong


def three(url: str) -> dict[str, str]:
    return {"DATABASE_URL": as_role(url, databases.APP), **databases.urls_of_others(url)}


def test_a_server_that_may_lose_what_was_committed_is_named_and_nothing_else(provided: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert examined(tmp_path, **three(provided)) == {"postgres": ["fsync is off", "full_page_writes is off"]}


def test_a_default_that_loses_commits_is_named(server: QuickPostgres, tmp_path: Path) -> None:
    url = databases.bare_database(server.url)
    engine = connect(url)
    migrations.upgrade(engine, roles=databases.ROLES)
    with begin(engine) as conn:
        database = make_url(url).database
        conn.execute(text(f"ALTER ROLE {databases.APP} IN DATABASE {database} SET synchronous_commit = off"))
    engine.dispose()
    assert "synchronous_commit is off" in examined(tmp_path, **three(url))["postgres"]


def test_one_role_for_everything_may_too_much(provided: str, tmp_path: Path) -> None:
    (what,) = examined(tmp_path, DATABASE_URL=provided)["role postgres"]
    assert "is a superuser" in what
    assert "owns the tables" in what


def test_a_right_too_many_and_one_too_few_are_named(server: QuickPostgres, tmp_path: Path) -> None:
    url = databases.bare_database(server.url)
    engine = connect(url)
    migrations.upgrade(engine, roles=databases.ROLES)
    engine.dispose()
    admin = create_engine(make_url(url), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as conn:
        conn.execute(text(f"REVOKE INSERT ON refunds FROM {databases.APP}"))
    assert examined(tmp_path, **three(url))["role test_app"] == ["the service lacks INSERT of refunds"]
    with admin.connect() as conn:
        conn.execute(text(f"GRANT UPDATE (amount), DELETE ON outcomes TO {databases.APP}"))
        conn.execute(text(f"GRANT CREATE ON SCHEMA public TO {databases.APP}"))
    (what,) = examined(tmp_path, **three(url))["role test_app"]
    assert what == (
        "the service may too much: makes tables and functions, DELETE of outcomes, UPDATE of outcomes.amount"
    )


def test_a_service_that_can_add_no_checkpoint_is_named(provided: str, tmp_path: Path) -> None:
    found = examined(tmp_path, DATABASE_URL=as_role(provided, databases.APP), PACIOLI_OWNER_URL=provided)
    assert found["checkpoints"] == ["nobody adds checkpoints: the service may not, and there is no notary"]


def test_keys_that_are_missing_are_named(provided: str, tmp_path: Path) -> None:
    found = examined(tmp_path, **three(provided), PACIOLI_CHAIN_KEY="", PACIOLI_ALLOWED_HOSTS="ledger.example.com")
    assert {"key", "chain key"} <= set(found)


def test_a_data_folder_that_others_may_write_is_named(provided: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert "others may write" in examined(tmp_path, **three(provided))["data folder"][0]
    tmp_path.chmod(0o700)
    (tmp_path / "chain.key").touch()
    (tmp_path / "chain.key").chmod(0o644)
    assert "others may read" in examined(tmp_path, **three(provided))["data folder"][0]


def test_a_disk_that_is_nearly_full_is_named(provided: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "ROOM_SHARE", 1.1)
    monkeypatch.setattr(disks, "ROOM_BYTES", 2**80)
    assert f"the disk of {tmp_path} has " in examined(tmp_path, **three(provided))["disk"][0]


def test_a_clock_that_is_off_is_named(provided: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.clock, "off_s", lambda conn: -7.0)
    assert examined(tmp_path, **three(provided))["clock"] == ["the clock of this host is -7.000 s off the database's"]


def test_more_connections_than_there_are_are_named(
    provided: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = connect(as_role(provided, databases.APP))
    with begin(engine) as conn:
        for number in range(3):
            conn.execute(text(f"INSERT INTO heartbeats (worker, at, part) VALUES ('web{number}', now(), 'web')"))
    engine.dispose()
    found = examined(tmp_path, **three(provided), PACIOLI_WEB_CONNECTIONS="900")
    assert "open 2700 connections" in found["connections"][0]


def test_a_table_is_for_people(provided: str, tmp_path: Path) -> None:
    env = {**three(provided), "PACIOLI_CHAIN_KEY": KEY, "BROKER_URL": "amqp://nowhere"}
    result = CliRunner().invoke(main, ["doctor", "--data", str(tmp_path)], env=env)
    assert (result.exit_code, "why it matters" in result.stdout, "WRONG" in result.stdout) == (1, True, True)


@pytest.mark.parametrize("command", ["doctor", "verify", "migrate"])
def test_a_database_that_is_away_is_one_sentence(tmp_path: Path, command: str) -> None:
    env = {"DATABASE_URL": "postgresql://me@127.0.0.1:1/db"}
    result = CliRunner().invoke(main, [command, "--data", str(tmp_path)], env=env)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: the database does not answer (") and result.stderr.count("\n") == 1
