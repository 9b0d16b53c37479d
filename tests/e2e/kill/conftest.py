"""One service whose parts all tests of this folder kill. Each looks only at balances, jobs and monitors of its own."""

from collections.abc import Iterator

import pytest

from ops.server.temporary import Running, running


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("killed")
    (folder / "log").write_text("ready http://127.0.0.1:9\n")  # A service that ran in this folder before wrote that.
    with running(folder) as service:
        yield service
