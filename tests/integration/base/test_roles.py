"""The roles of the database: the service has few rights, and what it may not do is refused by the database."""

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from core import migrations
from core.base.db import begin, connect, driver, reading
from core.base.tables.schema import metadata
from core.ledger.directory import Directory
from core.migrations import roles
from core.migrations.grants import APP, NOTARY, VERSION, expanded
from core.verification import checkpoints
from core.verification.verify import verify_all
from tests.harness import databases, pages
from tests.harness.databases import QuickPostgres, as_role
from tests.harness.factories import Ledger

HISTORY = (
    "log",
    "outcomes",
    "balances",
    "holds",
    "refunds",
    "snapshots",
    "spans",
    "dated_spans",
    "checkpoints",
    "seals",
    "seal_nodes",
    "attestations",
    "pledges",
    "funding_digests",
    "funding_jobs",
    "funding_runs",
    "funding_postings",
    "currencies",
    "ledgers",
    "identity",
    "queues",
    "audit",
)

FIXED = (
    "UPDATE log SET description = ''",
    "UPDATE outcomes SET amount = 0",
    "UPDATE balances SET currency = 'EUR'",
    "UPDATE balances SET indicator = '@Other'",
    "UPDATE balances SET ledger = 2",
    "UPDATE balances SET balance_id = gen_random_uuid()",
    "UPDATE ledgers SET ledger_id = 'other'",
    "UPDATE currencies SET precision = 1",
    "UPDATE holds SET amount = 1000000",
    "UPDATE holds SET source = 1",
    "UPDATE holds SET destination = 1",
    "UPDATE refunds SET amount = 1000000",
    "UPDATE scheduled SET amount = 1000000",
    "UPDATE scheduled SET due_at = now()",
    "UPDATE due SET transaction = gen_random_uuid()",
    "UPDATE snapshots SET credit = 0",
    "UPDATE spans SET credit = 0",
    "UPDATE dated_spans SET credit = 0",
    "UPDATE checkpoints SET signature = ''",
    "UPDATE seals SET signature = ''",
    "UPDATE seal_nodes SET starts = ''",
    "UPDATE attestations SET signature = ''",
    "UPDATE pledges SET digest = ''",
    "UPDATE funding_digests SET digest = ''",
    "UPDATE funding_jobs SET amount = 1",
    "UPDATE funding_jobs SET source = 1",
    "UPDATE funding_rows SET row = 1",
    "UPDATE funding_runs SET job = gen_random_uuid()",
    "UPDATE funding_postings SET seq = 1",
    "UPDATE queues SET number = 9",
    "UPDATE queues SET chained_after = 9",
    "UPDATE identity SET id = gen_random_uuid()",
    "UPDATE alembic_version SET version_num = '0001'",
    "UPDATE verifications SET problem_count = 0",
    "UPDATE audit SET actor = 'other'",
    "UPDATE idempotency_keys SET fingerprint = ''",
)

FORGED = (
    "INSERT INTO checkpoints (heads, signature, at) VALUES ('{}', 'x', now())",
    "INSERT INTO seals (number, first_seq, last_seq, statement, signature) VALUES (1, 1, 1, '{}', 'x')",
    "INSERT INTO attestations (checkpoint, statement, signature) VALUES (1, '{}', 'x')",
    "COPY checkpoints FROM STDIN",
    "SELECT setval(pg_get_serial_sequence('checkpoints', 'id'), 1000)",
    "SELECT nextval(pg_get_serial_sequence('checkpoints', 'id'))",
    "INSERT INTO balances (balance_id, ledger, currency, balance, credit_balance) VALUES (gen_random_uuid(), 1, 'USD', 5, 5)",
    "INSERT INTO queues (number) VALUES (9)",
    "INSERT INTO alembic_version VALUES ('0001')",
)

GUARDS_OFF = (
    "ALTER TABLE log DISABLE TRIGGER ALL",
    "ALTER TABLE log DISABLE TRIGGER log_is_append_only",
    "DROP TRIGGER log_is_append_only ON log",
    "SET session_replication_role = replica",
    "ALTER ROLE CURRENT_USER SET session_replication_role = replica",
    "CREATE OR REPLACE FUNCTION refuse_to_change_history() RETURNS trigger LANGUAGE sql AS ''",
    "DROP TABLE log",
    "ALTER TABLE audit DISABLE TRIGGER audit_is_append_only",
    "CREATE OR REPLACE FUNCTION refuse_to_cut_audit() RETURNS trigger LANGUAGE sql AS ''",
    "ALTER TABLE log ADD COLUMN more text",
    "ALTER TABLE balances DROP CONSTRAINT balances_adds_up",
    "ALTER DOMAIN minor_units DROP NOT NULL",
    "CREATE RULE quiet AS ON INSERT TO log DO INSTEAD NOTHING",
    "CREATE TRIGGER other BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION refuse_to_change_history()",
    "LOCK TABLE log IN ACCESS EXCLUSIVE MODE",
)

SERVER = (
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY heartbeats FROM PROGRAM 'env'",
    "COPY log TO '/tmp/pacioli-log'",
    "COPY heartbeats FROM '/etc/passwd'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT lo_export(1, '/tmp/pacioli-lo')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_reload_conf()",
    "ALTER SYSTEM SET fsync = off",
)

MORE = (
    "CREATE TABLE other (a int)",
    "CREATE TEMPORARY TABLE other (a int)",
    "CREATE VIEW other AS SELECT 1",
    "CREATE FUNCTION other() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION pg_temp.other() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA other",
    "CREATE SEQUENCE other",
    "CREATE DATABASE other",
    "CREATE ROLE other",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    f"SET ROLE {databases.NOTARY}",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER CREATEROLE",
    f"GRANT {databases.NOTARY} TO CURRENT_USER",
    "GRANT pg_execute_server_program TO CURRENT_USER",
    "ALTER TABLE log OWNER TO CURRENT_USER",
)


@pytest.fixture(scope="module")
def provided(server: QuickPostgres) -> str:
    """The owner's URL of a database that was migrated as `pacioli migrate` does, with all its roles."""
    url = databases.bare_database(server.url)
    engine = connect(url)
    assert migrations.upgrade(engine, roles=databases.ROLES) == []
    engine.dispose()
    return url


def refused(url: str, statement: str) -> None:
    autocommit = not statement.startswith("LOCK")
    with (
        psycopg.connect(url.replace("+psycopg", ""), autocommit=autocommit) as conn,
        pytest.raises(psycopg.Error) as caught,
    ):
        conn.execute(statement)
    assert caught.value.sqlstate == "42501", f"{statement}: {caught.value}"


@pytest.mark.parametrize("statement", [*FIXED, *FORGED, *GUARDS_OFF, *SERVER, *MORE])
def test_the_service_may_not(provided: str, statement: str) -> None:
    refused(as_role(provided, databases.APP), statement)


@pytest.mark.parametrize("table", HISTORY)
def test_the_service_removes_no_history(provided: str, table: str) -> None:
    url = as_role(provided, databases.APP)
    refused(url, f"DELETE FROM {table}")
    refused(url, f"TRUNCATE {table} CASCADE")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as conn:
        conn.execute(f"GRANT DELETE ON {table} TO CURRENT_USER")  # Postgres only warns that nothing was granted.
        assert conn.execute("SELECT has_table_privilege(%s, 'DELETE')", (table,)).fetchone() == (False,)


@pytest.mark.parametrize("table", sorted(metadata.tables))
def test_the_notary_sees_only_what_it_seals_and_changes_none_of_it(provided: str, table: str) -> None:
    url = as_role(provided, databases.NOTARY)
    if table not in NOTARY:
        refused(url, f"SELECT FROM {table}")
    if table != "heartbeats":
        refused(url, f"DELETE FROM {table}")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE checkpoints SET signature = ''",
        "DELETE FROM checkpoints",
        "INSERT INTO checkpoints (id, heads, signature, at) OVERRIDING SYSTEM VALUE VALUES (9, '{}', '', now())",
        "SELECT setval(pg_get_serial_sequence('checkpoints', 'id'), 1000)",
        "INSERT INTO log DEFAULT VALUES",
        *GUARDS_OFF,
        *SERVER,
        *MORE[:9],
    ],
)
def test_the_notary_may_not(provided: str, statement: str) -> None:
    refused(as_role(provided, databases.NOTARY), statement)


def test_the_notary_alone_of_the_two_adds_a_checkpoint(provided: str) -> None:
    app, notary = (connect(as_role(provided, role)) for role in (databases.APP, databases.NOTARY))
    ledger = Ledger(app, Directory(app))
    ledger.post(precise_amount=1)
    ledger.drain()
    report = verify_all(app)
    assert report.ok
    assert checkpoints.write(app, report.reached, None) is None
    assert checkpoints.write(notary, report.reached, None) is not None
    for engine in (app, notary):
        engine.dispose()


def test_every_role_has_exactly_its_rights(provided: str) -> None:
    engine = connect(provided)
    with reading(engine) as conn:
        assert roles.actual(conn, databases.APP) == expanded(APP)
        assert roles.actual(conn, databases.NOTARY) == expanded(NOTARY)
    engine.dispose()


def test_a_right_that_was_given_by_hand_goes_with_the_next_migration(provided: str) -> None:
    engine = connect(provided)
    with begin(engine) as conn:
        conn.execute(
            text(f"GRANT UPDATE, DELETE ON log TO {databases.APP}; GRANT UPDATE (amount) ON holds TO {databases.APP}")
        )
    migrations.upgrade(engine, roles=databases.ROLES)
    with reading(engine) as conn:
        assert roles.actual(conn, databases.APP) == expanded(APP)
    engine.dispose()


def test_a_ledger_of_one_role_gets_them_later_and_its_processes_go_on(server: QuickPostgres) -> None:
    url = databases.bare_database(server.url)
    owner = connect(url)
    migrations.upgrade(owner)
    before = Ledger(owner, Directory(owner))
    before.post(precise_amount=1)
    migrations.upgrade(owner, roles=databases.ROLES)
    before.post(precise_amount=1)
    app = connect(as_role(url, databases.APP))
    Ledger(app, Directory(app)).drain()
    assert verify_all(app).transactions == 2
    for engine in (owner, app):
        engine.dispose()


def test_the_sessions_of_the_service_have_the_defaults_of_the_ledger(provided: str) -> None:
    with psycopg.connect(as_role(provided, databases.APP).replace("+psycopg", "")) as conn:
        assert conn.execute("SHOW lock_timeout").fetchone() == ("10s",)


@pytest.fixture
def managed(server: QuickPostgres) -> str:
    """The URL of an empty database, as a managed Postgres gives it to its customer, who is no superuser."""
    url = databases.bare_database(server.url)
    name = make_url(url).database
    admin = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as conn:
        conn.execute(text(f"CREATE ROLE {name}_customer LOGIN CREATEROLE"))
        conn.execute(text(f"ALTER DATABASE {name} OWNER TO {name}_customer"))
    return as_role(url, f"{name}_customer")


def named(url: str) -> list[roles.Role]:
    name = make_url(url).database
    return roles.wanted(owner=url, app=as_role(url, f"{name}_app"), notary=as_role(url, f"{name}_notary"))


def test_an_owner_who_is_no_superuser_makes_the_roles(managed: str) -> None:
    owner = connect(managed)
    wanted = named(managed)
    assert migrations.upgrade(owner, roles=wanted) == []
    app = connect(as_role(managed, wanted[0].name))
    ledger = Ledger(app, Directory(app))
    ledger.post(precise_amount=1)
    ledger.drain()
    assert verify_all(app).ok
    for statement in ("DELETE FROM log", "CREATE TEMPORARY TABLE a (b int)", f"SET ROLE {make_url(managed).username}"):
        refused(as_role(managed, wanted[0].name), statement)
    with (
        begin(app) as held,
        reading(owner) as conn,
    ):  # The owner may end a session of the service, which it may have to.
        pid = driver(held).info.backend_pid
        assert conn.execute(
            text(f"SELECT pg_has_role(usesysid, 'USAGE') FROM pg_stat_activity WHERE pid = {pid}")
        ).scalar_one()
    for engine in (owner, app):
        engine.dispose()


def test_an_owner_who_may_make_no_roles_is_told_what_an_administrator_runs(managed: str, server: QuickPostgres) -> None:
    name = make_url(managed).database
    admin = create_engine(make_url(server.url).set(database=name), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as conn:
        conn.execute(text(f"ALTER ROLE {name}_customer NOCREATEROLE"))
    owner = connect(managed)
    left = migrations.upgrade(owner, roles=named(managed))
    assert any(line.startswith(f'CREATE ROLE "{name}_app" LOGIN') for line in left)
    with admin.connect() as conn:
        for line in left:
            conn.exec_driver_sql(line)
    assert migrations.upgrade(owner, roles=named(managed)) == []
    with reading(owner) as conn:
        assert roles.actual(conn, f"{name}_app") == expanded(APP)
    owner.dispose()


PAGE = pages.ROOT / "docs" / "how-to" / "least-privilege.md"


def test_the_page_shows_the_statements_that_are_printed(server: QuickPostgres) -> None:
    url = databases.bare_database(server.url)
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as conn:
        for statement in ("CREATE DATABASE ledger", "CREATE ROLE owner LOGIN"):
            conn.execute(text(statement))
    ledger = make_url(url).set(database="ledger", username="owner").render_as_string(hide_password=False)
    owner = connect(ledger)
    with reading(owner) as conn:
        printed = roles.statements(conn, [])
    owner.dispose()
    (shown,) = (
        block.text.splitlines() for block in pages.blocks(PAGE) if block.text.startswith('CREATE ROLE "ledger_app"')
    )
    assert [line for line in printed if "ledger_app" in line] == shown


def test_the_role_for_reports_reads_and_verifies_and_writes_nothing(provided: str) -> None:
    (statements,) = (block.text for block in pages.blocks(PAGE) if "ledger_reports" in block.text)
    with psycopg.connect(provided.replace("+psycopg", ""), autocommit=True) as conn:
        conn.execute(statements)
    url = as_role(provided, "ledger_reports")
    reports = connect(url)
    report = verify_all(reports)
    assert report.ok
    assert checkpoints.write(reports, report.reached, None) is None
    reports.dispose()
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as conn:
        conn.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("DELETE FROM log")


def test_the_password_of_the_url_is_the_role_s_and_is_sent_as_a_hash(managed: str) -> None:
    url = make_url(managed)
    app = url.set(username=f"{url.database}_app", password="p@ss/word").render_as_string(hide_password=False)
    wanted = roles.wanted(owner=managed, app=app, notary=app)
    assert [(each.name, each.password) for each in wanted] == [(f"{url.database}_app", "p@ss/word")]
    owner = connect(managed)
    with reading(owner) as conn:
        statement = roles._create(conn, wanted[0]).as_string(None)
    assert "p@ss/word" not in statement
    assert "SCRAM-SHA-256$" in statement
    owner.dispose()


def test_one_url_for_everything_has_no_roles(managed: str) -> None:
    assert roles.wanted(owner=managed, app=managed, notary=managed) == []


def test_every_table_states_its_rights() -> None:
    assert set(APP) == {*metadata.tables, VERSION}
    for grants in (APP, NOTARY):
        for table, rights in grants.items():
            if table == VERSION:
                continue
            named_columns = {*rights.update, *(rights.insert if isinstance(rights.insert, tuple) else ())}
            assert named_columns <= set(metadata.tables[table].columns.keys()), table
