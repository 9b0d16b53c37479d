"""A Postgres that tests of this folder stop, restart and reconfigure."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.databases import QuickPostgres, new_database


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuickPostgres]:
    """A server of this module alone."""
    folder: Path = tmp_path_factory.mktemp("own-postgres")
    with QuickPostgres(folder) as server:
        yield server


@pytest.fixture
def server_url(server: QuickPostgres) -> str:
    """The URL of a new migrated database on that server."""
    return new_database(server.url)
