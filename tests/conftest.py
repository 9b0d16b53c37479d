"""The fixtures of all tests: one private Postgres for the session, and an empty migrated database for each test that asks."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from structlog.contextvars import clear_contextvars

from core.base import actors
from core.base.db import connect
from core.base.threads import loops
from core.doors import watches
from core.ledger.directory import Directory
from tests.harness import own_lines, programs, searching, warm_sessions
from tests.harness.databases import QuickPostgres, empty, new_database
from tests.harness.factories import Ledger
from web.probing.prober import Prober

QUICK = ("tests/unit/", "tests/test_wiring.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("pacioli")
    group.addoption("--quick", action="store_true", help="Only unit tests, and a smoke test of each feature.")
    group.addoption("--update-docs", action="store_true", help="Write the reference pages of docs/ anew.")
    group.addoption("--long", action="store_true", help="Let Hypothesis and the random tests search for long.")
    group.addoption(
        "--strict-programs", action="store_true", help="A test that needs a program which is missing fails."
    )


def pytest_configure(config: pytest.Config) -> None:
    # A job in the background ignores it, and would hand that on to all that tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    programs.strict = config.getoption("--strict-programs")
    searching.load_profile(long=config.getoption("--long"))
    watches.hand_in()  # Tests drain in this process, as a worker does.
    if config.getoption("--long"):
        os.environ.setdefault("PACIOLI_OPERATIONS", "50000")
        config.option.timeout = 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--quick"):
        is_quick = [item.nodeid.startswith(QUICK) or item.get_closest_marker("smoke") is not None for item in items]
        config.hook.pytest_deselected(items=[item for item, quick in zip(items, is_quick, strict=True) if not quick])
        items[:] = [item for item, quick in zip(items, is_quick, strict=True) if quick]


@pytest.fixture(autouse=True)
def _checks_run_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the health checks of an application in this process run when a test asks, in place of all the time.

    Their threads would outlive the test.
    """
    monkeypatch.setattr(Prober, "start", lambda self: None)


@pytest.fixture(autouse=True)
def _leaves_nothing_behind() -> Iterator[None]:
    """End the threads that a test has started, such as those of its applications, and forget the context of its log lines.

    Such a thread would find the next test's ledger in its database, and write a line about that into the next test's output.
    """
    clear_contextvars()
    own_lines.begin()
    before, actor = set(loops()), actors.bind(actors.SERVICE)
    yield
    actors.unbind(actor)
    for loop in set(loops()) - before:
        loop.stop()
    clear_contextvars()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running server. Its own database ``pacioli`` stays empty."""
    folder: Path = tmp_path_factory.mktemp("postgres")
    with QuickPostgres(folder) as server:
        yield server.url


@pytest.fixture(scope="session")
def _shared(postgres: str) -> Iterator[tuple[str, Engine]]:
    """The URL of a database that tests use one after the other, and an engine that empties it in between."""
    url = new_database(postgres)
    engine = create_engine(url, pool_pre_ping=True)
    warm_sessions.keep(engine.url.database or "")
    yield url, engine
    warm_sessions.forget()
    engine.dispose()


@pytest.fixture
def owner_url(_shared: tuple[str, Engine]) -> str:
    """The owner's URL of an empty migrated database. All tests use the same one, as emptying is far faster than creating."""
    url, engine = _shared
    empty(engine)
    return url


@pytest.fixture
def database_url(owner_url: str) -> str:
    """The URL of the same database for the service."""
    return owner_url


@pytest.fixture
def owner(owner_url: str) -> Iterator[Engine]:
    """An engine of the owner, for what the service may not do."""
    engine = connect(owner_url)
    yield engine
    engine.dispose()


@pytest.fixture
def own_database_url(postgres: str) -> str:
    """The URL of a migrated database of its own, for a test that changes the schema."""
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
