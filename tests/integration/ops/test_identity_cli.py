"""`pacioli identity` shows the ledger's name, and gives a copy another one."""

import json

from sqlalchemy import Engine

from core.base.db import reading
from core.ledger.store import identity as identity_store
from tests.harness.cli import failed, ok, runner


def test_it_shows_the_identity_and_the_prefix_of_its_names(engine: Engine, database_url: str) -> None:
    run = runner(database_url)
    with reading(engine) as conn:
        found = identity_store.read(conn)
    prefix = f"pacioli.{found.id.hex[:12]}."
    assert ok(run("identity")) == f"{found.id}, made at {found.made_at.isoformat()}; its names begin with {prefix}\n"
    shown = json.loads(ok(run("identity", "--json")))
    assert shown == {"identity": str(found.id), "made_at": found.made_at.isoformat(), "prefix": prefix}


def test_another_one_is_made_only_by_who_means_it(engine: Engine, database_url: str) -> None:
    run = runner(database_url)
    before = json.loads(ok(run("identity", "--json")))
    assert run("identity", "renew", input=b"n\n").exit_code == 1
    assert json.loads(ok(run("identity", "--json"))) == before
    said = ok(run("identity", "renew", "--yes"))
    after = json.loads(ok(run("identity", "--json")))
    assert after["identity"] != before["identity"]
    assert after["made_at"] > before["made_at"]
    assert after["identity"] in said and after["prefix"] in said
    assert "start workers again" in said


def test_a_database_without_a_ledger_has_none(postgres: str) -> None:
    failed(runner(postgres)("identity"), 2, "run `pacioli migrate`")
