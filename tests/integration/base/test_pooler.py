"""The ledger works behind PgBouncer in transaction mode, where no session is one's own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import psycopg
import pytest
from flask import Flask
from sqlalchemy import Connection, Engine

from core import migrations
from core.base.db import begin, connect, driver, reading
from core.base.errors import TransientError
from core.ledger import drain
from core.ledger.directory import Directory
from core.migrations.fitness import Unfit, refuse_unfit
from core.verification.verify import verify_all
from tests.harness.api import close
from tests.harness.databases import QuickPostgres, new_database
from tests.harness.factories import Ledger, fund
from tests.harness.pooling import pooled
from tests.integration.base.test_session import spoil
from web.accept.doorbell import Doorbell
from web.app import create_app


@pytest.fixture(scope="module")
def pooled_url(server: QuickPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a migrated database with hostile defaults, through two sessions that all share."""
    url = new_database(server.url)
    spoil(url, "database")
    # No session lasts for longer than the default of a millisecond, until `migrate` has set others for its role.
    direct = connect(url)
    migrations.upgrade(direct)
    direct.dispose()
    with pooled(url, tmp_path_factory.mktemp("pooler"), size=2) as through:
        yield through


@pytest.fixture
def engine(pooled_url: str) -> Iterator[Engine]:
    engine = connect(pooled_url, pooler=True)
    yield engine
    engine.dispose()


@pytest.fixture
def app(pooled_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    monkeypatch.setattr(Doorbell, "wake", lambda self, task: None)
    app = create_app({"DATABASE_URL": pooled_url, "PACIOLI_POOLER": "on"})
    yield app
    close(app)


def test_the_whole_story_goes_through_a_pooler(engine: Engine, app: Flask) -> None:
    migrations.upgrade(engine)
    client = app.test_client()
    base = {"precision": 100, "currency": "USD", "source": "@Bank", "destination": "@A", "allow_overdraft": True}
    base |= {"description": "caf\u00e9"}

    def post(path: str, body: object) -> object:
        response = client.post(path, json=body, base_url="http://127.0.0.1")
        assert response.status_code in (200, 201), response.get_json()
        return response.get_json()

    codes: list[int] = []

    def post_many(writer: int) -> None:
        mine = app.test_client()
        for number in range(20):
            body = base | {"amount": 1, "reference": f"{writer}-{number}"}
            codes.append(mine.post("/transactions", json=body, base_url="http://127.0.0.1").status_code)

    threads = [threading.Thread(target=post_many, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(codes) == {201}
    members = [base | {"amount": 2, "reference": f"bulk {number}"} for number in range(3)]
    post("/transactions/bulk", {"transactions": members})
    post("/transactions", base | {"amount": 1, "reference": "now", "skip_queue": True})
    for queue in range(8):
        drain.drain(engine, queue, together=500)
    for path in ("/transactions", "/balances", "/ledgers", "/queues", "/transactions?limit=3&sort_by=created_at"):
        response = client.get(path, base_url="http://127.0.0.1")
        assert response.status_code == 200, (path, response.get_json())
    ledger = Ledger(engine, Directory(engine))
    assert fund(ledger, "@A", "@B", source="@Bank").status == "COMPLETED"
    assert verify_all(engine).ok


@pytest.mark.parametrize("use", [begin, reading])
@pytest.mark.parametrize("succeeds", [True, False])
def test_a_server_that_goes_within_a_transaction_may_be_asked_again(
    engine: Engine, server: QuickPostgres, use: Callable[[Engine], AbstractContextManager[Connection]], succeeds: bool
) -> None:
    def work(conn: Connection) -> None:
        (session,) = driver(conn).execute("SELECT pg_backend_pid()").fetchone() or ()
        with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", [session])
        if not succeeds:
            raise ValueError("the block fails too")

    with pytest.raises(TransientError), use(engine) as conn:
        work(conn)


def test_a_pooler_that_is_not_named_is_found_at_start(pooled_url: str) -> None:
    engine = connect(pooled_url)
    with pytest.raises(Unfit, match="set PACIOLI_POOLER=on"):
        refuse_unfit(engine)
    engine.dispose()
