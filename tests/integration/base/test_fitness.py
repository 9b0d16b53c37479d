"""A database that cannot serve is refused at start, in one sentence that says what to do."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from core.base.db import begin, connect
from core.base.errors import TransientError
from core.migrations.fitness import Unfit, refuse_unfit
from ops.cli.main import main
from tests.harness.api import close
from tests.harness.databases import QuickPostgres, new_database
from web.app import create_app

Make = Callable[..., str]


@pytest.fixture
def make(server: QuickPostgres) -> Make:
    """Makes a database with some statements, and returns its URL, for another user if one is named."""

    def of(*statements: str, migrated: bool = True, how: str = "", user: str = "") -> str:
        url = make_url(new_database(server.url))
        admin = create_engine(server.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        if not migrated:
            url = url.set(database=f"{url.database}_bare")
            with admin.connect() as conn:
                conn.execute(text(f"CREATE DATABASE {url.database} {how}"))
        own = connect(url.render_as_string(hide_password=False))
        for statement in statements:
            with begin(own) as conn:
                conn.execute(text(statement))
        own.dispose()
        return (url.set(username=user) if user else url).render_as_string(hide_password=False)

    return of


def refusal(url: str, *, to_migrate: bool = False) -> str:
    engine = connect(url)
    try:
        with pytest.raises(Unfit) as caught:
            refuse_unfit(engine, to_migrate=to_migrate)
    finally:
        engine.dispose()
    return str(caught.value)


def test_a_migrated_database_will_do(make: Make) -> None:
    engine = connect(make())
    refuse_unfit(engine)
    refuse_unfit(engine, to_migrate=True)
    engine.dispose()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_another_encoding_is_named(make: Make, encoding: str) -> None:
    url = make(migrated=False, how=f"ENCODING '{encoding}' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0")
    for to_migrate in (False, True):
        assert f"has the encoding {encoding}" in refusal(url, to_migrate=to_migrate)
    found = CliRunner(env={"DATABASE_URL": url}).invoke(main, ["migrate"])
    assert (found.exit_code, encoding in found.stderr) == (2, True)


def test_a_database_without_a_ledger_wants_migrate(make: Make) -> None:
    url = make(migrated=False)
    assert refusal(url) == "this database has no ledger yet: run `pacioli migrate`"
    with pytest.raises(SystemExit, match="DATABASE_URL: this database has no ledger yet: run `pacioli migrate`"):
        create_app({"DATABASE_URL": url})


def test_an_older_and_a_newer_database_are_told_apart(make: Make) -> None:
    assert "run `pacioli migrate`" in refusal(make("UPDATE alembic_version SET version_num = '0004'"))
    assert "a newer release has migrated" in refusal(make("UPDATE alembic_version SET version_num = '9999'"))


def test_a_role_without_rights_is_named(make: Make) -> None:
    assert "the role bare may not use alembic_version" in refusal(make("CREATE ROLE bare LOGIN", user="bare"))
    url = make("CREATE ROLE half LOGIN", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO half", user="half")
    assert "the role half may not use log" in refusal(url)
    assert "the role half may not create tables in the schema public" in refusal(url, to_migrate=True)


def test_triggers_that_are_off_are_refused(make: Make) -> None:
    url = make()
    name = make_url(url).database
    engine = connect(url)
    with begin(engine) as conn:
        conn.execute(text(f"ALTER DATABASE {name} SET session_replication_role = replica"))
    engine.dispose()
    assert "session_replication_role is replica" in refusal(url)


def test_a_database_or_user_that_there_is_not_is_refused(server: QuickPostgres) -> None:
    url = make_url(server.url)
    assert "the server has no database nowhere" in refusal(
        url.set(database="nowhere").render_as_string(hide_password=False)
    )
    assert "the server has no role nobody" in refusal(url.set(username="nobody").render_as_string(hide_password=False))


def test_a_database_that_is_away_may_be_fit() -> None:
    engine = connect("postgresql://me@127.0.0.1:1/db")
    with pytest.raises(TransientError):
        refuse_unfit(engine)
    engine.dispose()


def test_a_web_process_starts_while_the_database_is_away() -> None:
    app = create_app({"DATABASE_URL": "postgresql://me@127.0.0.1:1/db", "PACIOLI_INSECURE": "on"})
    assert app.test_client().get("/ledgers").status_code == 503
    close(app)
