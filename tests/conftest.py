"""What tests stand on: one private Postgres for the session, and a fresh migrated database for each test that asks."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from core.base.db import connect
from core.base.tables import metadata
from core.ledger.directory import Directory
from ops.server.embedded import Postgres
from tests.harness.databases import new_database
from tests.harness.factories import Ledger

SEED = importlib.import_module("core.migrations.versions.0001_ledger").SEED


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a running server. Its own database ``pacioli`` is left as it is: empty."""
    folder: Path = tmp_path_factory.mktemp("postgres")
    with Postgres(folder) as server:
        yield server.url


@pytest.fixture(scope="session")
def _migrated(postgres: str) -> str:
    return new_database(postgres)


@pytest.fixture
def database_url(_migrated: str) -> str:
    """URL of a migrated database with nothing in it. The same one for all tests, emptied, which is far faster."""
    engine = connect(_migrated)
    with engine.begin() as conn:
        conn.execute(text(_DISCONNECT_OTHERS))
        conn.execute(text("SET LOCAL session_replication_role = replica"))  # Else history refuses.
        conn.execute(text(f"TRUNCATE {', '.join(table.name for table in metadata.sorted_tables)} RESTART IDENTITY"))
        conn.execute(text(SEED))
    engine.dispose()
    return _migrated


@pytest.fixture
def own_database_url(postgres: str) -> str:
    """URL of a migrated database of this test's own, for one that changes the schema."""
    return new_database(postgres)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    """The ledger without HTTP and Celery: post, drain, read."""
    return Ledger(engine, Directory(engine))


_DISCONNECT_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
