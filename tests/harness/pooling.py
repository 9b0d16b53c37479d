"""PgBouncer in transaction mode in front of a Postgres, for tests."""

import contextlib
import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from tests.harness.programs import needs_program
from tests.harness.redis_servers import free_port

CONFIG = """
[databases]
* = host={host} port=5432 user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
server_lifetime = 1
max_client_conn = 200
"""


@contextmanager
def pooled(url: str, folder: Path, *, size: int = 4) -> Iterator[str]:
    """Start PgBouncer with ``size`` connections to the server of this URL, and return the URL that goes through it."""
    program = needs_program("pgbouncer")
    found = make_url(url)
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    config = Path("/tmp") / f"pacioli-pgbouncer-{port}.ini"
    config.write_text(CONFIG.format(host=found.query["host"], port=port, size=size))
    config.chmod(0o644)
    command = [program, str(config)]
    if os.geteuid() == 0:  # It refuses to run as root.
        user = pwd.getpwnam("nobody").pw_name
        socket_folder = Path(str(found.query["host"]))
        for each in (socket_folder, *socket_folder.parents):
            with contextlib.suppress(OSError):
                if not each.stat().st_mode & 0o001:
                    each.chmod(each.stat().st_mode | 0o011)
        (socket_folder / ".s.PGSQL.5432").chmod(0o777)
        command += ["-u", user]
    with (folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    through = f"postgresql://postgres@127.0.0.1:{port}/{found.database}"
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(through, connect_timeout=3).close()
                break
            except psycopg.Error:
                assert process.poll() is None and time.monotonic() < deadline, (folder / "pgbouncer.log").read_text()
                time.sleep(0.05)
        yield through
    finally:
        process.terminate()
        process.wait(20)
        config.unlink()
