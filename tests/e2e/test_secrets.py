"""A session of faults over the whole service with planted secrets: nothing that it writes or shows has one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
import pytest
import requests
from click.testing import CliRunner
from sqlalchemy import make_url

from ops.cli.main import main
from ops.server.private_redis import Redis
from ops.server.temporary import Running, running, without_settings
from tests.harness.databases import QuickPostgres, bare_database
from tests.harness.processes import kill, wait_until

KEY = "pl4nted-9c27e1d05b-key"
CHAIN = "c0ffee5afe" * 7
PASSWORD = "pl4nted/url@5f3c9:word?x"
REDIS_PASSWORD = "pl4nted-redis-7a1d"
PIECES = ("pl4nted", "9c27e1d05b", "5f3c9", "7a1d", "c0ffee5afe")


@contextmanager
def servers(folder: Path) -> Iterator[tuple[QuickPostgres, Redis, dict[str, str]]]:
    """Run a Postgres and a Redis, and write their URLs with a password in each of the usual places."""
    broker = Redis(folder)
    broker.password = REDIS_PASSWORD
    with QuickPostgres(folder) as postgres, broker:
        owner = make_url(bare_database(postgres.url))
        rest = f"{owner.database}?host={quote(postgres.socket_folder.as_posix())}"
        coded = quote(PASSWORD, safe="")
        yield postgres, broker, {
            "DATABASE_URL": f"postgresql://planted_app:{coded}@/{rest}",
            "PACIOLI_NOTARY_URL": f"postgresql:///{rest}&user=planted_notary&password={coded}",
            "PACIOLI_OWNER_URL": f"postgresql://postgres:{coded}@/{rest}",
            "REDIS_URL": broker.url,
            "BROKER_URL": f"{broker.url.replace(f':{REDIS_PASSWORD}@', '')}&password={REDIS_PASSWORD}",
            "PACIOLI_SECRET_KEY": KEY,
            "PACIOLI_CHAIN_KEY": CHAIN,
            "PACIOLI_PEPPER": f"{KEY}-pepper",
            "BLNK_WEBHOOK_URL": f"http://hook:{REDIS_PASSWORD}@127.0.0.1:9/",
            "BLNK_WEBHOOK_HEADERS": f"Authorization:Bearer {KEY}-header",
            "PACIOLI_LOG_LEVEL": "debug",
        }  # fmt: skip


def shown(what: str, text: str) -> list[str]:
    """List the lines that have a piece of a planted secret, with what they are of."""
    return [f"{what}: {line}" for line in text.splitlines() if any(piece in line for piece in PIECES)]


def printed(settings: dict[str, str], *command: str, until: str = "") -> str:
    """Run a program with these settings, and return what it prints until it ends, or has printed a line with this text."""
    environ = without_settings(os.environ) | settings
    lines = []
    with subprocess.Popen(
        [sys.executable, *command],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if until and until in line:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    return "".join(lines)


def answers(service: Running) -> Iterator[tuple[str, str]]:
    """Send right and wrong requests, and return what each answer shows."""
    right, wrong = {"X-Blnk-Key": KEY}, {"X-Blnk-Key": f"{KEY[:-1]}x"}
    bodies = [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b'{"amount": "many"}',
        b'{"amount": 1, "source": "' + b"x" * 70_000,
    ]
    tries = [("GET", path, right, b"") for path in ("/", "/health", "/metrics", "/openapi.json", "/ledgers", "/no")]
    tries += [("GET", "/ledgers", headers, b"") for headers in (wrong, {})]
    tries += [("POST", path, right, body) for path in ("/transactions", "/ledgers/filter") for body in bodies]
    for method, path, headers, body in tries:
        try:
            answer = requests.request(
                method,
                service.url + path,
                headers=headers | {"Content-Type": "application/json"},
                data=body,
                timeout=60,
            )
        except requests.RequestException as error:
            yield f"{method} {path}", str(error)
        else:
            yield f"{method} {path} {answer.status_code}", f"{answer.headers}\n{answer.text}"


def seen_by_ps(service: Running) -> Iterator[tuple[str, str]]:
    """Return the command line and the environment of every process below the supervisor."""
    for process in psutil.Process(service.process.pid).children(recursive=True):
        name = process.name()
        yield f"command line of {name}", " ".join(process.cmdline())
        yield f"environment of {name}", "\n".join(f"{key}={value}" for key, value in process.environ().items())


def test_no_fault_of_the_whole_service_shows_a_secret(tmp_path: Path) -> None:
    found: list[str] = []
    (tmp_path / "servers").mkdir()
    with servers(tmp_path / "servers") as (postgres, broker, settings):
        unmigrated = settings | {"DATABASE_URL": settings["PACIOLI_OWNER_URL"]}
        for part in (("web.serve", "--port", "58231"), ("celery", "-A", "worker.app", "worker", "--pool", "solo")):
            said = printed(unmigrated, "-m", *part, until="`pacioli migrate`")
            assert "`pacioli migrate`" in said, said
            found += shown(f"{part[0]} on an unmigrated database", said)
        with running(tmp_path, settings=settings) as service:
            found += [line for what, text in answers(service) for line in shown(what, text)]
            found += [line for what, text in seen_by_ps(service) for line in shown(what, text)]
            with psycopg.connect(settings["PACIOLI_OWNER_URL"]) as conn:
                conn.execute("ALTER TABLE ledgers RENAME TO hidden")
            statuses = [what.split()[-1] for what, text in answers(service) if not found.extend(shown(what, text))]
            assert "500" in statuses
            with psycopg.connect(settings["PACIOLI_OWNER_URL"]) as conn:
                conn.execute("ALTER TABLE hidden RENAME TO ledgers")
            for command in ("settings", "doctor", "verify", "queues", "currencies"):
                found += shown(command, printed(settings, "-m", "ops.cli", command, "--data", str(service.data)))
            assert broker.process is not None and postgres.process is not None
            for server in (broker.process, postgres.process):
                server.send_signal(signal.SIGKILL)
                server.wait()
            kill(service, "worker")
            found += [line for what, text in answers(service) for line in shown(what, text)]
            found += shown("doctor without servers", printed(settings, "-m", "ops.cli", "doctor"))
            postgres.start()
            broker.start()
            wait_until(lambda: requests.get(f"{service.url}/health", timeout=60).json()["status"] == "UP")
            state = service.state
            assert (service.data / "state.json").stat().st_mode & 0o777 == 0o600
            found += shown(
                "state", json.dumps({name: each for name, each in state.items() if not name.endswith("_url")})
            )
            assert not {KEY, CHAIN} & {str(each) for each in state.values()}
            (secrets,) = (path for path in service.data.iterdir() if path.name == "secrets")
            assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o600}
            assert secrets.stat().st_mode & 0o777 == 0o700
        assert not secrets.exists()
        assert len(service.log.splitlines()) > 20
        found += shown("log", service.log)
    assert found == []


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:99999", "redis://h:x", "redis:/h", "rediss://h?ssl_cert_reqs=maybe", "http://h",
        "redis://h/db", "sentinel://h", "unix://", "redis://a,b", "h:6379", "redis://h?ssl_ca_certs=/no", "redis://h?x=y",
        f"redis://:{PASSWORD}@h", f"redis://h?password={quote(PASSWORD)}&db=x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("variable", ["REDIS_URL", "REDIS_URL_FILE"])
def test_settings_names_a_wrong_url_of_redis(url: str, variable: str, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(url)
    given = {variable: url if variable == "REDIS_URL" else str(tmp_path / "url")}
    done = CliRunner(env=given).invoke(main, ["settings"])
    assert done.exit_code == 1
    assert "REDIS_URL " in done.stderr
    assert shown("settings", done.output) == []
