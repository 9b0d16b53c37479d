"""A migration never makes others wait behind a long reader."""

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from core import migrations
from core.base.db import begin, connect, reading
from tests.harness.databases import QuickPostgres


@pytest.fixture
def older(server: QuickPostgres) -> Iterator[Engine]:
    """The engine of a database as an earlier release left it."""
    admin = create_engine(server.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as conn:
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
