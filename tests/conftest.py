"""What tests stand on: one private Postgres for the session, and a fresh migrated database for each test that asks."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from core.directory import Directory
from core.store import migrations
from core.store.db import connect
from ops.embedded import Postgres
from tests.factories import Ledger

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a running server. Its database ``template_ledger`` is migrated and empty."""
    folder: Path = tmp_path_factory.mktemp("postgres")
    with Postgres(folder) as server:
        admin = _admin(server.url)
        with admin.connect() as conn:
            conn.execute(text("CREATE DATABASE template_ledger"))
        template = connect(_url(server.url, "template_ledger"))
        migrations.upgrade(template)
        template.dispose()
        yield server.url


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """URL of a database of this test's own, migrated and empty."""
    name = f"test_{next(_numbers)}"
    admin = _admin(postgres)
    with admin.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name} TEMPLATE template_ledger STRATEGY FILE_COPY"))
    yield _url(postgres, name)
    with admin.connect() as conn:
        conn.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    """The ledger without HTTP and Celery: post, drain, read."""
    return Ledger(engine, Directory(engine))


def _admin(url: str) -> Engine:
    return create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)


def _url(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)
