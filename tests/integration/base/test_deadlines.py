"""A use of a database that stands still ends at its deadline, and all goes on when the database does."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import psycopg
import pytest
from sqlalchemy import Connection, Engine, make_url, text

from core.base import db, session
from core.base.db import begin, connect, reading, reading_within, snapshot
from core.base.deadlines import Watch
from core.base.errors import TransientError
from core.base.rows import copy_text
from tests.harness.api import close
from tests.harness.databases import QuickPostgres
from web import service
from web.app import create_app

BOUND_S = 30.0
"""Far more than any use here may take, and far less than for ever."""


@contextmanager
def frozen(server: QuickPostgres) -> Iterator[None]:
    """Stop every process of the server, as a paused machine does: it takes connections, and answers nothing."""
    assert server.process is not None
    leader = psutil.Process(server.process.pid)
    family = [leader, *leader.children(recursive=True)]
    for each in family:
        each.suspend()
    try:
        yield
    finally:
        for each in reversed(family):
            os.kill(each.pid, signal.SIGCONT)


@pytest.fixture
def engine(server_url: str) -> Iterator[Engine]:
    engine = connect(server_url, connections=3, within_s=0.5)
    with reading(engine) as conn:
        conn.execute(text("SELECT 1"))
    with begin(engine) as conn:
        conn.execute(text("SELECT 1"))
    yield engine
    engine.dispose()


USES: dict[str, Callable[[Engine], None]] = {}


def use(function: Callable[[Engine], None]) -> Callable[[Engine], None]:
    USES[function.__name__] = function
    return function


def ask(conn: Connection) -> None:
    conn.execute(text("SELECT count(*) FROM ledgers")).scalar_one()


@use
def read(engine: Engine) -> None:
    with reading(engine) as conn:
        ask(conn)


@use
def write(engine: Engine) -> None:
    with begin(engine) as conn:
        ask(conn)


@use
def look(engine: Engine) -> None:
    with snapshot(engine) as conn:
        ask(conn)


@use
def list_rows(engine: Engine) -> None:
    with reading_within(engine, 5.0) as conn:
        ask(conn)


@use
def pipeline(engine: Engine) -> None:
    with begin(engine) as conn, db.driver(conn).pipeline():
        db.driver(conn).execute("SELECT 1").fetchone()


@use
def copy(engine: Engine) -> None:
    with begin(engine) as conn:
        copy_text(conn, "ticks", "name", (f"tick {number}" for number in range(1_000_000)))


@use
def stay(engine: Engine) -> None:
    with begin(engine) as conn:
        for _ in range(1000):
            conn.execute(text("SELECT pg_sleep(0.1)"))


@pytest.mark.parametrize("name", USES)
def test_a_use_of_a_database_that_stands_still_ends_at_its_deadline(
    server: QuickPostgres, engine: Engine, name: str
) -> None:
    began = time.monotonic()
    with frozen(server), pytest.raises(TransientError):
        USES[name](engine)
    assert time.monotonic() - began < BOUND_S
    read(engine)
    write(engine)


def test_a_connection_to_a_database_that_stands_still_is_given_up(server: QuickPostgres, server_url: str) -> None:
    engine = connect(server_url)
    with frozen(server), pytest.raises(TransientError):
        read(engine)
    read(engine)
    engine.dispose()


def test_a_deadline_of_its_own_goes_before_that_of_the_engine(server: QuickPostgres, server_url: str) -> None:
    engine = connect(server_url, within_s=3600.0)
    read(engine)
    with frozen(server), pytest.raises(TransientError), reading(engine, within_s=0.2) as conn:
        ask(conn)
    engine.dispose()


def test_a_use_that_is_overdue_and_done_leaves_no_broken_connection(engine: Engine) -> None:
    with reading(engine, within_s=0.1) as conn:
        ask(conn)
        time.sleep(0.8)  # The watch looks every fifth of a second.
    read(engine)


def test_many_short_uses_leave_nothing_to_watch(engine: Engine) -> None:
    used = set()
    for _ in range(50):
        with reading(engine) as conn:
            driver = db.driver(conn)
            assert isinstance(driver, db.Watched)
            assert driver.is_watched
            used.add(driver)
    assert not any(driver.is_watched for driver in used)


def test_a_handle_that_is_forgotten_is_never_cut() -> None:
    watch, (ours, theirs) = Watch(), os.pipe()
    watch.start(ours, time.monotonic() + 3600)
    watch.forget(ours)
    assert not watch.is_under_way(ours)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(ours)
    os.close(theirs)


def test_every_request_is_answered_while_the_database_stands_still(
    server: QuickPostgres, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "USE_S", 1.0)
    hurried = make_url(server_url).update_query_dict({"connect_timeout": "1"})
    app = create_app({"DATABASE_URL": hurried.render_as_string(hide_password=False)})
    body = {"amount": 1, "precision": 100, "currency": "USD", "source": "@Bank", "destination": "@A"}
    body |= {"allow_overdraft": True, "description": "x"}

    def post(reference: str) -> int:
        return app.test_client().post("/transactions", json=body | {"reference": reference}).status_code

    assert post("before") == 201
    answers: list[tuple[int, str | None]] = []

    def ask_all() -> None:
        for path in ("/balances", "/transactions/txn_x"):
            response = app.test_client().get(path)
            answers.append((response.status_code, response.headers.get("Retry-After")))
        answers.append((post(f"in {threading.get_ident()}"), "1"))

    threads = [threading.Thread(target=ask_all, daemon=True) for _ in range(5)]
    with frozen(server):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(4 * BOUND_S)
    assert set(answers) == {(503, "1")}
    assert len(answers) == 3 * len(threads)
    assert post("after") == 201
    close(app)


def test_a_connection_that_could_not_be_made_ready_has_no_deadline(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[db.Watched] = []

    def refuse(*_: object) -> str:
        raise psycopg.OperationalError("the server goes away")

    monkeypatch.setattr(db.Watched, "close", lambda connection: opened.append(connection))
    monkeypatch.setattr(session, "arrays", refuse)
    new = connect(engine.url.render_as_string(hide_password=False))
    with pytest.raises(TransientError), reading(new):
        pass
    (connection,) = opened
    assert not connection.is_watched
    monkeypatch.undo()
    connection.close()
