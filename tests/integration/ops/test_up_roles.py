"""`pacioli up` gives its parts roles of their own in the private database."""

import socket
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import make_url

from core.base.db import connect, reading
from core.ledger.directory import Directory
from core.migrations.grants import APP, NOTARY, expanded
from core.migrations.roles import actual
from core.verification import checkpoints
from core.verification.verify import verify_all, verify_since_checkpoint
from ops.server import role_urls, secret_files
from ops.server.embedded import Postgres, discard
from ops.server.parts import Options, service_parts
from tests.harness.factories import Ledger
from tests.harness.history import KEY
from tests.harness.older_ledger import ROWS, load
from tests.integration.ops.test_up import Start, Up, start

__all__ = ["start"]

MIGRATE = "import runpy, sys; sys.argv = ['pacioli', 'migrate']; runpy.run_module('ops.cli', run_name='__main__')"


def roles_have_exactly_their_rights(up: Up) -> None:
    state = up.state()
    app, notary = (make_url(state[name]).username for name in ("database_url", "notary_url"))
    assert (app, notary) == ("pacioli_app", "pacioli_notary")
    owner = connect(state["owner_url"])
    with reading(owner) as conn:
        assert actual(conn, app) == expanded(APP)
        assert actual(conn, notary) == expanded(NOTARY)
    owner.dispose()
    for name, statement in (
        ("database_url", "DELETE FROM log"),
        ("database_url", "COPY (SELECT 1) TO PROGRAM 'cat'"),
        ("notary_url", "DELETE FROM seals"),
        ("notary_url", "TABLE funding_jobs"),
    ):
        url = state[name].replace("+psycopg", "")
        with psycopg.connect(url) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(statement)
    assert up.given("worker", "DATABASE_URL") == state["database_url"]
    assert not [name for name in psutil.Process(up.pid("worker")).environ() if name.startswith(role_urls.OWNER)]


def test_only_workers_and_the_notary_can_connect_as_the_notary_and_workers_stop_last(tmp_path: Path) -> None:
    with socket.socket() as listener:
        options = Options("127.0.0.1", 1, tmp_path, 1, listener)
        env = secret_files.moved(role_urls.of_private("postgresql://postgres@/pacioli"), tmp_path / "secrets")
        parts = service_parts(options, env, discard)
    assert [part.name for part in parts if part.env and f"{role_urls.NOTARY}_FILE" in part.env] == [
        "worker",
        "notary",
    ]
    assert {part.name: part.outlives for part in parts if part.outlives} == {"worker": {"web", "beat"}}
    holders = [part.name for part in parts if any("NOTARY_KEY" in name for name in part.env or {})]
    assert holders == ["notary"]


def test_the_data_of_a_release_with_one_role_are_taken_over(start: Start, tmp_path: Path) -> None:
    with Postgres(tmp_path / "data") as postgres:
        engine = connect(postgres.url)
        load(engine)
        engine.dispose()
    up = start(migrate=MIGRATE).wait_ready()
    roles_have_exactly_their_rights(up)
    app, notary = (connect(up.state()[name]) for name in ("database_url", "notary_url"))
    for report in (verify_all(app, key=KEY), verify_since_checkpoint(app, key=KEY)):
        assert (report.problems, report.complete) == ([], True)
    ledger = Ledger(app, Directory(app))
    ledger.drain()
    ledger.post(precise_amount=1)
    ledger.drain()
    report = verify_all(app, key=KEY)
    assert (report.problems, report.transactions, report.undecided) == ([], ROWS + 1, 0)
    assert checkpoints.write(app, report.reached, KEY) is None
    assert checkpoints.write(notary, report.reached, KEY) is not None
    for engine in (app, notary):
        engine.dispose()


@pytest.mark.parametrize("variable", [role_urls.OWNER, role_urls.NOTARY])
def test_a_role_without_a_database_for_the_service_is_refused(start: Start, variable: str) -> None:
    up = start(**{variable: "postgresql://someone@nowhere/ledger"})
    assert up.process.wait(timeout=60) == 1
    assert f"pacioli up: {variable} is set, and DATABASE_URL is not" in "\n".join(up.lines)
