"""A migration never makes others wait behind a long reader, and posts of the release before it go on."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from core import migrations
from core.base.actors import EVERYTHING, MASTER
from core.base.db import begin, connect, driver, reading
from core.base.ids import new_key
from core.keys import manage
from core.keys.manage import Mint
from core.keys.requests import KeyRequest
from core.keys.store import Page
from core.ledger import asked
from core.ledger.directory import Directory
from core.ledger.rules import chain
from core.ledger.rules.log_row import COLUMNS, LogRow, digest_of
from core.ledger.rules.model import Kind
from core.migrations.indexes import is_valid
from core.verification.verify import verify_all
from tests.harness.databases import QuickPostgres
from tests.harness.factories import Ledger


@pytest.fixture
def older(server: QuickPostgres) -> Iterator[Engine]:
    """The engine of a database as an earlier release left it."""
    admin = create_engine(server.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as conn:
        conn.execute(text("DROP DATABASE IF EXISTS older WITH (FORCE)"))
        conn.execute(text("CREATE DATABASE older"))
    engine = connect(make_url(server.url).set(database="older").render_as_string(hide_password=False))
    migrations.upgrade(engine, "0004")
    yield engine
    engine.dispose()


def test_others_go_on_while_a_migration_waits_for_a_long_reader(older: Engine) -> None:
    migrating = threading.Thread(target=migrations.upgrade, args=(older,))
    waits = []
    with begin(older) as reader:
        reader.execute(text("SELECT count(*) FROM heartbeats"))
        migrating.start()
        until = time.monotonic() + 4
        while time.monotonic() < until:
            began = time.monotonic()
            with reading(older) as conn:
                conn.execute(text("SELECT count(*) FROM heartbeats"))
            waits.append(time.monotonic() - began)
            time.sleep(0.01)
        assert migrating.is_alive()
    migrating.join(60)
    assert not migrating.is_alive()
    with reading(older) as conn:
        assert conn.execute(text("SELECT count(*) FROM identity")).scalar_one() == 1
    assert max(waits) < 2.0  # A migration that waited for the reader would hold them up for all of its 4 seconds.


def test_posts_of_the_release_before_go_on_during_a_migration_and_beside_the_new_one(older: Engine) -> None:
    """Old processes know no newer column, and exclude the new ones by the same lock."""
    with begin(older) as conn:
        (source, destination) = conn.execute(text(_TWO_BALANCES)).scalars()
    is_over = threading.Event()

    def post() -> int:
        posted = 0
        while not is_over.is_set() or posted < 10:
            _append_as_before(older, source, destination)
            posted += 1
        return posted

    with ThreadPoolExecutor(3) as pool:
        posting = [pool.submit(post) for _ in range(3)]
        try:
            migrations.upgrade(older)
            ledger = Ledger(older, Directory(older))
            for number in range(20):
                ledger.post(reference=f"new {number}")
        finally:
            is_over.set()
        posted = sum(each.result() for each in posting)
    ledger.drain()
    report = verify_all(older)
    assert report.problems == []
    assert (report.transactions, report.undecided) == (posted + 20, 0)
    with reading(older) as conn:
        counted = conn.execute(text("SELECT digest_version, count(*) FROM log GROUP BY 1")).all()
        last = conn.execute(text("SELECT max(seq) FILTER (WHERE digest_version = 2) FROM log")).scalar_one()
        beside = conn.execute(text(f"SELECT count(*) FROM log WHERE digest_version = 1 AND seq < {last}")).scalar_one()
    assert dict(counted) == {1: posted, 2: 20}
    assert beside > 0


def test_keys_come_to_the_ledger_of_the_release_before_while_its_posts_go_on(older: Engine) -> None:
    """Migration 0011: what was scheduled before there were keys belongs to none, and keys work at once."""
    migrations.upgrade(older, "0010")
    with begin(older) as conn:
        (source, destination) = conn.execute(text(_TWO_BALANCES)).scalars()
        conn.execute(text(_SCHEDULE), [{"actor": actor, "reference": actor or "nobody"} for actor in (None, "master")])
    is_over = threading.Event()

    def post() -> int:
        posted = 0
        while not is_over.is_set() or posted < 10:
            _append_as_before(older, source, destination)
            posted += 1
        return posted

    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(post)
        try:
            began = time.monotonic()
            migrations.upgrade(older, "0011")
            took_s = time.monotonic() - began
        finally:
            is_over.set()
        posted = posting.result()
    assert took_s < 30
    with reading(older) as conn:
        assert conn.execute(text("SELECT count(*) FROM log")).scalar_one() == posted
        plan = conn.execute(
            text("SELECT indexdef FROM pg_indexes WHERE indexname = 'scheduled_actor_idx'")
        ).scalar_one()
    assert "WHERE ((actor IS NOT NULL) AND (cancelled_at IS NULL))" in plan
    migrations.upgrade(older)
    asked_for = KeyRequest(
        name="till", owner="shop", scopes=["ledgers:read"], expires_at=datetime.now(UTC) + timedelta(days=1)
    )
    with begin(older) as conn:
        made = manage.create(conn, asked_for, MASTER, Mint(b"pepper", 30))
        (found,) = manage.list_keys(conn, "shop", MASTER, Page(10))
        assert (found.api_key_id, found.reach) == (made.api_key_id, EVERYTHING)
        assert asked.count(conn, ["master"]).scheduled == 1


_SCHEDULE = """
    INSERT INTO scheduled (id, reference, kind, amount, currency, precision, description, allow_overdraft, terms, legs,
                           due_at, scheduled_at, actor)
    VALUES (gen_random_uuid(), :reference, 1, 5, 'USD', 100, '', true, '{}', '[]', now() + interval '1 day', now(), :actor)
"""


def test_the_times_of_the_release_before_are_looked_through_while_its_posts_go_on(
    older: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times fall where the clock was set back. The index on them goes when that is known."""
    monkeypatch.setattr(import_module("core.migrations.versions.0018_times"), "PIECE", 7)
    migrations.upgrade(older, "0017")
    with begin(older) as conn:
        (source, destination) = conn.execute(text(_TWO_BALANCES)).scalars()
    for second in (5, 6, 6, 3, 3, 9, 10, 2, 3, 20, 19):
        _append_as_before(older, source, destination, at=datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC))
    is_over = threading.Event()

    def post() -> int:
        posted = 0
        while not is_over.is_set() or posted < 10:
            _append_as_before(older, source, destination)
            posted += 1
        return posted

    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(post)
        try:
            migrations.upgrade(older)
        finally:
            is_over.set()
        assert posting.result() >= 10
    for _ in range(2):
        with reading(older) as conn:
            assert list(conn.execute(text("SELECT seq FROM clock_falls ORDER BY 1")).scalars()) == [4, 8, 11]
            for gone in ("log_accepted_at_idx", "log_parent_idx"):
                assert conn.execute(text("SELECT to_regclass(:gone)"), {"gone": gone}).scalar_one() is None
            assert is_valid(conn, "log_parent_block_idx")
        migrations.upgrade(older)  # Nothing is left to do.


def test_an_index_that_was_left_half_made_is_made_anew(owner: Engine) -> None:
    half = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass('log_dated_idx')"
    with begin(owner) as conn:
        conn.execute(text(half))
    migrations.upgrade(owner)
    with reading(owner) as conn:
        found = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('log_dated_idx')"
        assert conn.execute(text(found)).scalar_one()


_TWO_BALANCES = """
    INSERT INTO balances (balance_id, ledger, currency)
    SELECT gen_random_uuid(), 1, 'USD'
    FROM generate_series(1, 2)
    RETURNING id
"""

_NEWER = {"request_id", "actor", "part", "digest_version"}
"""The columns that the release before does not know."""

_OLD = [name for name in COLUMNS if name not in _NEWER]

_APPEND = f"""
    INSERT INTO log ({", ".join(_OLD)})
    VALUES ({", ".join(f"%({name})s" for name in _OLD)})
"""


def _append_as_before(engine: Engine, source: int, destination: int, *, at: datetime | None = None) -> None:
    """Append a row with the statements of the release before: the lock is one number, and no newer column is named."""
    with begin(engine) as conn:
        connection = driver(conn)
        connection.execute("SELECT set_config('lock_timeout', '10s', true), pg_advisory_xact_lock(7203401)")
        head = connection.execute("SELECT seq, digest FROM log ORDER BY seq DESC LIMIT 1").fetchone()
        seq, digest = head or (0, chain.START)
        id = str(new_key())
        row = LogRow(
            seq=seq + 1,
            id=id,
            reference=id,
            kind=Kind.TRANSFER,
            queue=0,
            source=source,
            destination=destination,
            amount=100,
            currency="USD",
            precision=100,
            description="",
            allow_overdraft=True,
            accepted_at=at or datetime.now(UTC),
            digest_version=1,
        )
        values = {name: getattr(row, name) for name in _OLD}
        connection.execute(_APPEND, values | {"kind": int(row.kind), "digest": digest_of(row, digest)})
