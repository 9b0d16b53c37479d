"""Real workers and beats. They share a Redis, and each test has a database of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine

from core.base.db import connect
from core.doors.names import Names
from core.ledger.directory import Directory
from ops.server import private_redis
from tests.harness.databases import new_database
from tests.harness.factories import Ledger, identified


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with private_redis.Redis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """An empty Redis."""
    with Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def env(postgres: str, redis: Redis, redis_url: str) -> dict[str, str]:
    """The settings of workers and beat, with a new database."""
    return {"DATABASE_URL": new_database(postgres), "REDIS_URL": redis_url}


@pytest.fixture
def engine(env: dict[str, str]) -> Iterator[Engine]:
    engine = connect(env["DATABASE_URL"])
    yield engine
    engine.dispose()


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    """The ledger on the database of the workers. It rings no bell."""
    return Ledger(engine, Directory(engine))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder in which a part runs."""
    return tmp_path / "part"


@pytest.fixture
def names(engine: Engine) -> Names:
    """The names of the ledger in Redis."""
    names = identified(engine).names
    assert names is not None
    return names
