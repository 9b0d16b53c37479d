"""The private servers, and the supervisor with stubs for web and worker, all of them real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis
from click.testing import CliRunner

from ops.cli.main import main
from ops.server.embedded import Child, Postgres
from ops.server.private import StartError
from ops.server.private_redis import Redis
from tests.harness.keys import KEY

ROOT = Path(__file__).parents[3]

# A web server with a child of its own, and a worker that will not hear of stopping.
PARTS = '''
import sys
from ops.server.embedded import Child
from ops.server.parts import Web

SERVE = """
import http.server, socket, sys
server = http.server.ThreadingHTTPServer(("", 0), http.server.SimpleHTTPRequestHandler, bind_and_activate=False)
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.serve_forever()
"""

class Deaf(Child):
    grace_s = 0.3
    is_replaced_when_frozen = True

def parts(options, env, log):
    web = Web(options, env=env, log=log)
    serve = [sys.executable, "-c", SERVE, str(options.listener.fileno())]
    web.command = ["sh", "-c", 'sleep 1000 & exec "$@"', "sh", *serve]
    deaf = 'import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print("at work"); time.sleep(1000)'
    return [web, Deaf("worker", [sys.executable, "-c", deaf], env=env, log=log)]
'''

HOPELESS_PARTS = """
import sys
from ops.server.embedded import Child

class Hopeless(Child):
    def ready(self):
        return False

def parts(options, env, log):
    return [Hopeless("web", [sys.executable, "-c", "raise SystemExit('no such module')"], env=env, log=log)]
"""

# Two that end when both have been told to, and one that they need until then.
ENDING_PARTS = """
import sys
from ops.server.embedded import Child

CODE = '''
import pathlib, signal, sys, time
folder, name, other = pathlib.Path(sys.argv[1]), *sys.argv[2:]
def end(*_):
    (folder / name).touch()
    while not (folder / other).exists():
        time.sleep(0.01)
    print(f"{name} ends", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("at work", flush=True)
while True:
    time.sleep(1)
'''

class Part(Child):
    grace_s = 5.0
    def ready(self):
        return "at work" in self.last_lines

class Needed(Part):
    outlives = frozenset({"web", "beat"})

def parts(options, env, log):
    def made(kind, name, other):
        return kind(name, [sys.executable, "-c", CODE, str(options.data), name, other], env=env, log=log)
    return [made(Needed, "worker", "worker"), made(Part, "web", "beat"), made(Part, "beat", "web")]
"""

RUN = """
import sys
from pathlib import Path
from ops.server.up import run
migrate = [sys.executable, "-c", sys.argv[3]]
sys.exit(run(port=int(sys.argv[1]), data=Path(sys.argv[2]), parts=parts, migrate=migrate))
"""


class Up:
    """A supervisor in a process of its own, its output in a file."""

    def __init__(self, data: Path, *, port: int = 0, parts: str = PARTS, migrate: str = "", **env: str) -> None:
        self.data = data
        self.output = data.with_suffix(f".{time.monotonic_ns()}.log")
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.endswith(("DATABASE_URL", "REDIS_URL", "BROKER_URL"))
        }
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", parts + RUN, str(port), str(data), migrate],
                cwd=ROOT,
                env=clean | env,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def lines(self) -> list[str]:
        return self.output.read_text().splitlines()

    def wait_ready(self) -> Up:
        wait_until(lambda: self.process.poll() is not None or any(line.startswith("ready ") for line in self.lines))
        assert self.process.poll() is None, "\n".join(self.lines)
        return self

    def state(self) -> dict[str, Any]:
        return dict(json.loads((self.data / "state.json").read_text()))

    def pid(self, name: str) -> int:
        return int(self.state()["pids"][name])

    def given(self, part: str, secret: str) -> str:
        """Return a secret as a part gets it, which is in a file."""
        return Path(psutil.Process(self.pid(part)).environ()[f"{secret}_FILE"]).read_text().rstrip("\n")

    def processes(self) -> list[psutil.Process]:
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def stop(self, signum: int = signal.SIGTERM) -> int:
        self.process.send_signal(signum)
        return self.process.wait(timeout=60)


Start = Callable[..., Up]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started = []

    def start(name: str = "data", **options: object) -> Up:
        started.append(Up(tmp_path / name, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for up in started:
        family = up.processes() if up.process.poll() is None else []
        up.process.kill()
        up.process.wait()
        kill(family)


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as postgres:
        yield postgres.url


def wait_until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def ended(processes: list[psutil.Process]) -> bool:
    # In a container nobody may reap orphans, so a zombie counts as gone.
    return all(not process.is_running() or process.status() == psutil.STATUS_ZOMBIE for process in processes)


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url.replace("+psycopg", "", 1))


def remember(url: str) -> None:
    with connect(url) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def remembers(url: str) -> bool:
    with suppress(psycopg.OperationalError), connect(url) as conn:
        return conn.execute("SELECT answer FROM kept").fetchall() == [(42,)]
    return False


def test_the_key_that_signs_checkpoints_is_made_once_and_passed_on(start: Start) -> None:
    up = start().wait_ready()
    key = up.data / "chain.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(key.read_text())) == 32
    given = up.given("worker", "PACIOLI_CHAIN_KEY")
    assert given == key.read_text().strip()
    assert up.stop() == 0
    up = start().wait_ready()
    assert up.given("worker", "PACIOLI_CHAIN_KEY") == given
    assert up.stop() == 0
    up = start(PACIOLI_CHAIN_KEY="ab" * 32).wait_ready()
    assert up.given("worker", "PACIOLI_CHAIN_KEY") == "ab" * 32
    assert up.stop() == 0
    key.write_text("")
    up = start()
    assert up.process.wait(timeout=60) == 1
    assert f"{key}: is empty" in "\n".join(up.lines)


def test_a_killed_postgres_finds_its_data_when_started_again(tmp_path: Path) -> None:
    with Postgres(tmp_path) as postgres:
        remember(postgres.url)
        assert postgres.process is not None
        postgres.process.kill()
        postgres.process.wait()
        postgres.start()
        assert remembers(postgres.url)


def test_a_postgres_that_outlived_its_supervisor_is_replaced(tmp_path: Path) -> None:
    with Postgres(tmp_path) as survivor, Postgres(tmp_path) as postgres:
        assert not survivor.running
        remember(postgres.url)
        assert remembers(postgres.url)


def test_stopped_servers_leave_no_process(tmp_path: Path) -> None:
    before = psutil.Process().children(recursive=True)
    with Postgres(tmp_path) as postgres, Redis(tmp_path), connect(postgres.url) as conn:
        servers = [process for process in psutil.Process().children(recursive=True) if process not in before]
        assert {"postgres", "redis-server"} <= {process.name() for process in servers}
        conn.close()
    assert ended(servers)


def test_a_data_folder_with_a_long_path_has_its_socket_elsewhere(tmp_path: Path) -> None:
    with Postgres(tmp_path / ("long" * 30)) as postgres:
        folder = postgres.socket_folder
        assert not folder.is_relative_to(tmp_path)
        assert folder.stat().st_mode & 0o777 == 0o700
        connect(postgres.url).close()
    assert not folder.exists()


def test_redis_comes_back_on_the_same_port(tmp_path: Path) -> None:
    with Redis(tmp_path) as server:
        url = server.url
        server.stop()
        server.start()
        with redis.Redis.from_url(url) as client:
            assert client.ping()


def test_a_child_that_cannot_start_says_why() -> None:
    with pytest.raises(StartError, match="out of luck"):
        Hopeless("stub", [sys.executable, "-c", "print('out of luck')"]).start()


class Hopeless(Child):
    def ready(self) -> bool:
        return False


def test_up_is_ready_and_starts_again_what_died(start: Start) -> None:
    up = start().wait_ready()
    assert f"ready {up.state()['web_url']}" in up.lines
    assert any(f"`pacioli demo --data {up.data}`" in line for line in up.lines)
    assert f"browser  {up.state()['web_url']}/dashboard" in up.lines
    assert f"API      {up.state()['web_url']}/docs" in up.lines
    remember(up.state()["owner_url"])
    family = up.processes()

    for name in ("web", "worker", "redis", "postgres"):
        died = up.pid(name)
        os.kill(died, signal.SIGKILL)
        while up.pid(name) == died:
            time.sleep(0.02)
        assert any(f"{name} killed by SIGKILL, starting it again" in line for line in up.lines)
        assert psutil.pid_exists(up.pid(name))
    # The grandchildren of the dead went with them.
    wait_until(lambda: ended(family))

    wait_until(lambda: remembers(up.state()["owner_url"]))


def test_no_connection_is_refused_while_the_web_server_is_started_again(start: Start, database_url: str) -> None:
    up = start(DATABASE_URL=database_url).wait_ready()
    died = up.pid("web")
    os.kill(died, signal.SIGKILL)
    waiting = []
    while up.pid("web") == died:
        waiting.append(
            socket.create_connection(("127.0.0.1", int(up.state()["web_url"].rpartition(":")[2])), timeout=60)
        )
    client = waiting[0]
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    assert client.recv(100).startswith(b"HTTP/1.0 200 ")
    for each in waiting:
        each.close()
    assert up.stop() == 0


def test_a_frozen_part_is_replaced_and_a_frozen_server_is_named(start: Start, database_url: str) -> None:
    up = start(DATABASE_URL=database_url).wait_ready()
    frozen = {name: up.pid(name) for name in ("worker", "redis")}
    wait_until(lambda: up.state()["descendants"].get("web"))
    (grandchild,) = up.state()["descendants"]["web"]
    sleep = psutil.Process(grandchild)
    for pid in (*frozen.values(), grandchild):
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: up.pid("worker") != frozen["worker"] and ended([sleep]))
    assert up.pid("redis") == frozen["redis"]
    lines = "\n".join(up.lines)
    for name, pid in (*frozen.items(), ("web", grandchild)):
        assert f"{name} stands still, stopped by a signal (process {pid})" in lines
    # A stop wakes what stands still, so that it ends in order.
    assert up.stop() == 0


@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_during_the_start_stops_it_with_status_0(start: Start, database_url: str, signals: int) -> None:
    # Once while a database is made, and twice in the middle of the migrations.
    up = start(migrate="import time; time.sleep(1000)", **({"DATABASE_URL": database_url} if signals == 2 else {}))
    wait_until(lambda: (up.data / ("lock" if signals == 1 else "state.json")).exists())
    time.sleep(0.3)
    family = up.processes()
    for _ in range(signals):
        up.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    assert up.process.wait(timeout=60) == 0, "\n".join(up.lines)
    assert ended(family)
    assert not (up.data / "state.json").exists()
    assert "Traceback" not in "\n".join(up.lines)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--port", "99999"], "99999 is not in the range 0<=x<=65535"),
        (["--port", "65536"], "65536 is not in the range 0<=x<=65535"),
        (["--port", "-1"], "-1 is not in the range 0<=x<=65535"),
        (["--port", "x"], "'x' is not a whole number"),
        (["--port", ""], "'' is not a whole number"),
        (["--host", "no such host"], "has no address"),
        (["--workers", "0"], "0 is not in the range"),
    ],
)
def test_an_option_that_cannot_be_is_refused_before_anything_starts(
    tmp_path: Path, options: list[str], said: str
) -> None:
    done = CliRunner().invoke(main, ["up", "--data", str(tmp_path / "data"), *options])
    assert done.exit_code == 2
    assert said in done.stderr.splitlines()[-1]
    assert not (tmp_path / "data").exists()


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ops.cli", "up", "--data", str(tmp_path / "data"), "--host", "203.0.113.1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("pacioli up: cannot listen on 203.0.113.1 port 5001")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything(start: Start, database_url: str, signum: int) -> None:
    up = start(DATABASE_URL=database_url).wait_ready()
    family = up.processes()
    assert len(family) == 4  # Redis, the web server and its child, the worker.
    assert up.stop(signum) == 0
    assert ended(family)
    assert not (up.data / "state.json").exists()


def test_parts_stop_together_but_for_one_that_the_others_need(start: Start, database_url: str) -> None:
    up = start(DATABASE_URL=database_url, parts=ENDING_PARTS).wait_ready()
    assert up.stop() == 0
    ended = [line.partition("| ")[2] for line in up.lines if line.endswith(" ends")]
    assert sorted(ended[:2]) == ["beat ends", "web ends"]
    assert ended[2:] == ["worker ends"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel does not end orphans")
def test_a_killed_supervisor_takes_its_servers_along_and_the_next_finds_the_data(start: Start) -> None:
    up = start().wait_ready()
    remember(up.state()["owner_url"])
    servers = [psutil.Process(up.pid(name)) for name in ("postgres", "redis", "web")]
    family = up.processes()
    up.stop(signal.SIGKILL)
    try:
        wait_until(lambda: ended(servers))
    finally:
        kill(family)

    again = start().wait_ready()
    assert remembers(again.state()["owner_url"])
    assert again.stop() == 0


def test_a_key_is_made_once_and_set_for_curl_by_one_line(start: Start, database_url: str) -> None:
    up = start(DATABASE_URL=database_url).wait_ready()
    key = up.data / "api.key"
    assert key.stat().st_mode & 0o777 == 0o600
    text = key.read_text().strip()
    assert re.fullmatch(r"pacioli_[\w-]{43}", text)
    assert up.given("worker", "PACIOLI_SECRET_KEY") == text
    (line,) = (line.partition(" ")[2].strip() for line in up.lines if line.startswith("key "))
    pasted = subprocess.run(["sh", "-c", f'{line}; echo "$PACIOLI_KEY"'], capture_output=True, text=True, check=True)
    assert pasted.stdout.strip() == text
    assert not [line for line in up.lines if text in line]
    assert up.state()["key_file"] == str(key)
    up.stop()
    up = start(DATABASE_URL=database_url).wait_ready()
    assert key.read_text().strip() == text
    up.stop()
    up = start(DATABASE_URL=database_url, PACIOLI_SECRET_KEY=KEY).wait_ready()
    assert up.given("worker", "PACIOLI_SECRET_KEY") == KEY
    assert up.state()["key_file"] is None


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("", 0o600, "is empty"),
        ("short", 0o600, "must have 16 characters at least"),
        ("changemechangeme", 0o600, "can be guessed"),
        (KEY, 0o640, "other users"),
        (KEY, 0o604, "other users"),
    ],
)
def test_a_key_in_the_data_folder_that_is_no_secret_is_refused(
    start: Start, tmp_path: Path, text: str, mode: int, said: str
) -> None:
    key = tmp_path / "data" / "api.key"
    key.parent.mkdir(mode=0o700)
    key.write_text(text)
    key.chmod(mode)
    up = start()
    assert up.process.wait(timeout=60) == 1
    (line,) = up.lines
    assert line.startswith(f"pacioli up: {key}: ")
    assert said in line
    assert not text or text not in line


def test_without_a_key_only_this_machine_is_served(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "203.0.113.1"):
        options = ["--insecure", "--host", host, "--port", "0", "--data", str(tmp_path / "data")]
        done = CliRunner(env={"PACIOLI_SECRET_KEY": None}).invoke(main, ["up", *options])
        assert done.exit_code == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("pacioli up: --insecure listens on a loopback address such as 127.0.0.1 alone")
        assert not (tmp_path / "data").exists()


def test_a_certificate_without_its_key_is_refused_before_anything_starts(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["up", "--cert", str(tmp_path / "no.crt"), "--data", str(tmp_path / "data")])
    assert done.exit_code == 1
    assert done.stderr == "pacioli up: --cert and --key-file go together: give both, or none\n"
    assert not (tmp_path / "data").exists()


def test_insecure_and_a_key_do_not_go_together(tmp_path: Path) -> None:
    options = ["--insecure", "--port", "0", "--data", str(tmp_path / "data")]
    done = CliRunner(env={"PACIOLI_SECRET_KEY": KEY}).invoke(main, ["up", *options])
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert "PACIOLI_SECRET_KEY is set, and --insecure is for a service without a key" in line


def test_a_data_folder_in_use_is_refused(start: Start, database_url: str) -> None:
    first = start(DATABASE_URL=database_url).wait_ready()
    second = start(DATABASE_URL=database_url)
    assert second.process.wait(timeout=60) == 1
    (line,) = second.lines
    assert f"process {first.process.pid} runs in {first.data}" in line


def test_a_port_in_use_is_refused(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = start(port=port)
        assert up.process.wait(timeout=60) == 1
    (line,) = up.lines
    assert f"cannot listen on 127.0.0.1 port {port}" in line


def test_an_unreachable_database_is_refused(start: Start, tmp_path: Path) -> None:
    up = start(DATABASE_URL=f"postgresql+psycopg://me:secret@/ledger?host={tmp_path}")
    assert up.process.wait(timeout=60) == 1
    (line,) = up.lines
    assert "DATABASE_URL does not answer" in line
    assert "secret" not in line


def test_failed_migrations_end_the_start(start: Start, database_url: str) -> None:
    up = start(DATABASE_URL=database_url, migrate="raise SystemExit('no such column')")
    assert up.process.wait(timeout=60) == 1
    assert any(line.endswith("| no such column") for line in up.lines)
    assert "the migrations failed" in up.lines[-1]


def test_a_part_that_dies_again_and_again_ends_the_start(start: Start, database_url: str) -> None:
    up = start(DATABASE_URL=database_url, parts=HOPELESS_PARTS)
    assert up.process.wait(timeout=60) == 1
    assert up.lines[-1] == "pacioli up: web ended 5 times in a row: see its lines above"


def test_a_warning_that_nobody_can_act_on_is_not_logged() -> None:
    logged: list[str] = []
    code = "print('Memory overcommit must be enabled!'); print('at work')"
    child = Quiet("redis", [sys.executable, "-c", code], log=lambda name, line: logged.append(line))
    child.launch()
    wait_until(lambda: "at work" in logged)
    child.stop()
    assert logged == ["at work"]
    assert len(child.last_lines) == 2


class Quiet(Child):
    unlogged = Redis.unlogged
