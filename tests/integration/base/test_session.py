"""The ledger behaves the same whatever its role, database or server has as default, and keeps what its URL says."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, make_url, text

from core import migrations
from core.base import db, session
from core.base.db import begin, connect, driver, reading, reading_within, snapshot
from core.base.errors import InvariantBroken, TransientError
from core.ledger.directory import Directory
from core.verification.verify import verify_all
from tests.harness.databases import QuickPostgres, new_database
from tests.harness.factories import Ledger

HOSTILE = {
    "datestyle": "'SQL, DMY'",
    "intervalstyle": "'iso_8601'",
    "timezone": "'Asia/Kathmandu'",
    "bytea_output": "'escape'",
    "default_transaction_isolation": "'serializable'",
    "default_transaction_deferrable": "on",
    "standard_conforming_strings": "off",
    "search_path": "nowhere",
    "extra_float_digits": "-10",
    "lock_timeout": "'1ms'",
    "statement_timeout": "'1ms'",
    "idle_in_transaction_session_timeout": "'1ms'",
    "idle_session_timeout": "'1ms'",
    "transaction_timeout": "'9s'",
    "synchronous_commit": "off",
    "client_encoding": "'LATIN1'",
    "array_nulls": "off",
    "row_security": "off",
    "jit": "on",
    "plan_cache_mode": "force_generic_plan",
}

SHOWN = {
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "transaction_isolation": "read committed",
    "standard_conforming_strings": "on",
    "lock_timeout": "10s",
    "statement_timeout": "1min",
    "idle_in_transaction_session_timeout": "2min",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    "synchronous_commit": "on",
    "client_encoding": "UTF8",
    "jit": "off",
}


def spoil(url: str, whose: str) -> None:
    """Give a database, or its role, hostile defaults."""
    engine = connect(url)
    with begin(engine) as conn:
        name = make_url(url).database
        who = f"DATABASE {name}" if whose == "database" else f"ROLE CURRENT_USER IN DATABASE {name}"
        for setting, value in HOSTILE.items():
            conn.execute(text(f"ALTER {who} SET {setting} = {value}"))
    engine.dispose()


@pytest.fixture(params=["database", "role"])
def hostile_url(request: pytest.FixtureRequest, server: QuickPostgres) -> str:
    url = new_database(server.url)
    spoil(url, request.param)
    return url


@pytest.fixture(params=[False, True], ids=["direct", "pooler"])
def hostile(request: pytest.FixtureRequest, hostile_url: str) -> Iterator[Engine]:
    if request.param:
        # Before `migrate`, nothing could even start a session with these timeouts.
        engine = connect(hostile_url)
        migrations.upgrade(engine)
        engine.dispose()
    engine = connect(hostile_url, pooler=request.param)
    yield engine
    engine.dispose()


def test_hostile_defaults_change_nothing(hostile: Engine) -> None:
    for use in (begin, reading):
        with use(hostile) as conn:
            shown = {name: conn.execute(text(f"SHOW {name}")).scalar_one() for name in SHOWN}
            assert shown == SHOWN
    with reading_within(hostile, 5.0) as conn:
        assert conn.execute(text("SHOW transaction_isolation")).scalar_one() == "repeatable read"
        assert conn.execute(text("SHOW transaction_read_only")).scalar_one() == "on"
    with snapshot(hostile) as conn:
        assert conn.execute(text("SHOW statement_timeout")).scalar_one() == "0"
        assert conn.execute(text("SHOW datestyle")).scalar_one() == "ISO, MDY"


def test_a_ledger_works_under_hostile_defaults(hostile: Engine) -> None:
    ledger = Ledger(hostile, Directory(hostile))
    ledger.post(source="@Bank", destination="@A", description="é\\n'\t")
    ledger.drain()
    assert verify_all(hostile).ok


def test_migrate_makes_the_settings_the_defaults_of_its_role(hostile_url: str) -> None:
    engine = connect(hostile_url)
    migrations.upgrade(engine)
    engine.dispose()
    engine = connect(hostile_url, pooler=True)
    with engine.connect() as conn:  # Without what `begin` sets.
        for name in ("datestyle", "bytea_output", "timezone", "statement_timeout", "synchronous_commit", "jit"):
            assert driver(conn).execute(f"SHOW {name}").fetchone() == (SHOWN[name],), name
    engine.dispose()


def test_a_connection_that_cannot_be_made_ready_is_closed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[psycopg.Connection[Any]] = []
    connect_ = db.Watched.connect

    def note(**options: Any) -> Any:
        opened.append(connect_(**options))
        return opened[-1]

    monkeypatch.setattr(db.Watched, "connect", note)
    monkeypatch.setattr(session, "SET", "SELECT 1 / 0")
    with pytest.raises(TransientError), begin(engine):
        pass
    assert [each.closed for each in opened] == [True]


def test_a_transaction_that_is_none_is_refused(hostile: Engine) -> None:
    """Each statement would commit by itself, because all connections do."""
    with pytest.raises(InvariantBroken), hostile.begin():
        pass
    with hostile.connect() as conn, pytest.raises(InvariantBroken):
        conn.execute(text("SELECT 1"))
    with begin(hostile) as conn:
        assert conn.execute(text("SELECT 1")).scalar_one() == 1


def test_what_the_options_of_a_url_say_is_kept(server: QuickPostgres) -> None:
    url = new_database(server.url)
    admin = connect(url)
    with begin(admin) as conn:
        conn.execute(text("CREATE SCHEMA books"))
    admin.dispose()
    options = "-c search_path=books -c statement_timeout=7s -c work_mem=5MB -c datestyle=German"
    given = make_url(url).update_query_dict({"options": options, "application_name": "tills"})
    for pooler in (False, True):
        engine = connect(given.render_as_string(hide_password=False), pooler=pooler)
        with begin(engine) as conn:
            names = ("search_path", "statement_timeout", "work_mem", "application_name", "datestyle")
            shown = [conn.execute(text(f"SHOW {name}")).scalar_one() for name in names]
        engine.dispose()
        assert shown == ["books", "7s", "5MB", "tills", "ISO, MDY"]


def test_a_server_that_is_read_only_stays_so(server: QuickPostgres) -> None:
    url = new_database(server.url)
    admin = connect(url)
    with begin(admin) as conn:
        conn.execute(text(f"ALTER DATABASE {make_url(url).database} SET default_transaction_read_only = on"))
    admin.dispose()
    engine = connect(url)
    with begin(engine) as conn:
        assert conn.execute(text("SHOW transaction_read_only")).scalar_one() == "on"
    engine.dispose()


def test_several_hosts_are_tried_in_turn(server: QuickPostgres) -> None:
    url = make_url(server.url)
    folder = url.query["host"]
    for query in (f"host=/nowhere,{folder}&port=1,5432", f"host=/nowhere&host={folder}&target_session_attrs=any"):
        engine = connect(f"postgresql://postgres@/{url.database}?{query}")
        with reading(engine) as conn:
            assert driver(conn).info.host == folder
        engine.dispose()
