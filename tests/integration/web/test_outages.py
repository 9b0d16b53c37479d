"""While the database is away a POST is 503 with Retry-After and never 500; then all goes on, and nothing is lost."""

import itertools
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest
from flask.testing import FlaskClient
from sqlalchemy import make_url

from core.base.db import connect, reading
from ops.proving.chaos.proxy import Proxy
from tests.harness.databases import QuickPostgres, new_database
from tests.harness.processes import wait_until
from tests.harness.redis_servers import free_port
from tests.integration.base.test_deadlines import frozen
from web import service
from web.accept.doorbell import Doorbell
from web.app import create_app


class Outage:
    """What an outage works on."""

    def __init__(self, server: QuickPostgres, proxy: Proxy, url: str) -> None:
        self.server, self.proxy, self.url = server, proxy, url

    def execute(self, *statements: str) -> None:
        conninfo = make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(conninfo, autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement)


@pytest.fixture(scope="module")
def outage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outage]:
    port = free_port()
    QuickOverTcp = type("QuickOverTcp", (QuickPostgres,), {})
    QuickOverTcp.settings = QuickPostgres.settings | {  # type: ignore[attr-defined]
        "listen_addresses": "127.0.0.1", "port": str(port), "max_connections": "30",
    }  # fmt: skip
    QuickOverTcp.access = QuickPostgres.access + "host all all 127.0.0.1/32 trust\n"  # type: ignore[attr-defined]
    with QuickOverTcp(tmp_path_factory.mktemp("chaos")) as server:
        proxy = Proxy(port)
        folder = server.socket_folder
        own = f"postgresql+psycopg://postgres@/pacioli?host={folder}&port={port}"
        yield Outage(server, proxy, new_database(own))
        proxy.close()


def through(proxy: Proxy, url: str) -> str:
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/{make_url(url).database}"


@contextmanager
def cut(outage: Outage) -> Iterator[None]:
    outage.proxy.refusing = True
    outage.proxy.cut()
    yield
    outage.proxy.refusing = False


@contextmanager
def stalled(outage: Outage) -> Iterator[None]:
    outage.proxy.stalled = True
    yield
    outage.proxy.stalled = False


@contextmanager
def stopped_fast(outage: Outage) -> Iterator[None]:
    outage.server.stop()
    yield
    outage.server.start()


@contextmanager
def killed(outage: Outage) -> Iterator[None]:
    assert outage.server.process is not None
    outage.server.process.send_signal(signal.SIGQUIT)
    outage.server.process.wait()
    yield
    outage.server.start()


@contextmanager
def read_only(outage: Outage) -> Iterator[None]:
    outage.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    yield
    outage.execute(
        "SET default_transaction_read_only = off",
        "ALTER SYSTEM RESET default_transaction_read_only",
        "SELECT pg_reload_conf()",
    )


@contextmanager
def full_of_connections(outage: Outage) -> Iterator[None]:
    conninfo = make_url(outage.url).set(drivername="postgresql").render_as_string(hide_password=False)
    outage.proxy.cut()
    with ExitStack() as held:
        for _ in range(40):
            try:
                held.enter_context(psycopg.connect(conninfo))
            except psycopg.OperationalError:
                break
        yield


@contextmanager
def standing_still(outage: Outage) -> Iterator[None]:
    with frozen(outage.server):
        yield


OUTAGES: list[Callable[[Outage], object]] = [
    cut, stalled, stopped_fast, killed, read_only, full_of_connections, standing_still
]  # fmt: skip


@pytest.mark.parametrize("happens", OUTAGES, ids=lambda each: each.__name__)
def test_a_post_is_503_during_an_outage_and_goes_on_after_it(
    outage: Outage, monkeypatch: pytest.MonkeyPatch, happens: Callable[[Outage], object]
) -> None:
    monkeypatch.setattr(service, "USE_S", 1.0)
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    app = create_app({"DATABASE_URL": through(outage.proxy, outage.url), "PACIOLI_WEB_CONNECTIONS": "4"})
    numbers = itertools.count()
    accepted: set[str] = set()
    prefix = happens.__name__

    def post(client: FlaskClient) -> int:
        body = {"precision": 100, "currency": "USD", "source": "@Bank", "destination": "@A", "allow_overdraft": True}
        body |= {"description": "x", "amount": 1, "reference": f"{prefix} {next(numbers)}"}
        response = client.post("/transactions", json=body, base_url="http://127.0.0.1")
        if response.status_code == 201:
            accepted.add(str(body["reference"]))
        else:
            assert response.status_code == 503, response.get_json()
            assert response.headers["Retry-After"]
        return response.status_code

    client = app.test_client()
    assert post(client) == 201
    with happens(outage):  # type: ignore[attr-defined]
        wait_until(lambda: post(client) == 503)  # A reload takes a moment.
        assert post(client) == 503
    wait_until(lambda: post(client) == 201)
    engine = connect(outage.url)
    with reading(engine) as conn:
        found = set(conn.exec_driver_sql("SELECT reference FROM log").scalars())
    engine.dispose()
    assert accepted <= found
    app.extensions["pacioli"].engine.dispose()
