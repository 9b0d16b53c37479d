"""Imports, settings, migrations, queues and routes fit together across files."""

import ast
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from celery import Celery
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

import celeryconfig
from core import migrations
from core.base.db import begin, connect, reading
from core.base.environment import variables
from core.base.errors import ErrorCode, TransientError
from core.base.tables.schema import metadata
from core.doors.names import names_of
from core.journal.actions import Action
from core.ledger.rules.routing import MAX_QUEUES
from ops.server.parts import worker_command
from tests.harness.api import close
from tests.harness.keys import KEY
from tests.harness.reference import members
from web.app import create_app
from web.http import retries
from web.http.errors import STATUS
from web.http.rights import OUT_OF_REACH, RIGHTS, WITHIN_REACH

ROOT = Path(__file__).parent.parent

# Imports. The contracts in pyproject.toml say which package may import which; here is what they cannot see.


def test_core_does_not_read_the_environment() -> None:
    found = {
        (str(path.relative_to(ROOT)), node.lineno)
        for path in _modules("core")
        if path.parent.name != "doors"  # The library that counts reads its own variable.
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "getenvb"))
        or (isinstance(node, ast.ImportFrom) and node.module == "os")
    }
    assert found == set()


READ_THE_CLOCK = {
    "core/base/clock.py",  # It measures how far the clock of the host is off.
    "core/base/logs.py",  # A line of the log has the time of its host.
    "web/probing/prober.py",  # A trouble shows since when it has been there.
    "web/probing/facts.py",
    "web/dashboard/now.py",  # A page says how long ago something was, and a session ends.
}
"""The modules that read the clock of their host. They decide nothing by it."""


def test_no_decision_reads_the_clock_of_a_host() -> None:
    reads = re.compile(r"datetime\.(now|utcnow|today)\(|date\.today\(|\btime\.time(_ns)?\(|expires=|\beta=|countdown=")
    found = {
        str(path.relative_to(ROOT))
        for path in [*_modules("core", "web", "worker"), ROOT / "celeryconfig.py"]
        if reads.search(path.read_text())
    }
    assert found <= READ_THE_CLOCK


def test_celeryconfig_imports_nothing_of_ours_but_names_settings_and_routing() -> None:
    tree = ast.parse((ROOT / "celeryconfig.py").read_text())
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    found |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    ours = {str(name) for name in found if str(name).partition(".")[0] in ("core", "web", "worker", "ops")}
    floor = {"core.base", "core.base.environment", "core.base.errors", "core.ledger.rules.routing"}
    assert ours == {"core.doors", "core.doors.names"} | floor


def _modules(*packages: str) -> list[Path]:
    modules = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    assert modules, packages
    return modules


# Settings


DOORS = ("web", "worker", "ops", "clients")
NAMES = {variable.name for variable in variables().values()}


def test_every_variable_that_is_read_is_a_setting() -> None:
    read = set()
    for path in [*_modules(*DOORS), ROOT / "celeryconfig.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.module == "os" and "environ" in ast.dump(node)), path
            match node:
                case ast.Call(func=ast.Attribute(value=value, attr="get"), args=[ast.Constant(value=str(name)), *_]):
                    read |= {name} if _is_environment(value) else set()
                case ast.Subscript(value=value, slice=ast.Constant(value=str(name))):
                    read |= {name} if _is_environment(value) else set()
                case ast.Attribute(attr="getenv" | "getenvb" | "environb"):
                    read.add(f"{path.name} {node.lineno}")
    assert read - NAMES <= {"SHELL", "XDG_CONFIG_HOME"}  # These are the user's, and no settings of ours.


def test_every_variable_that_is_written_about_is_a_setting() -> None:
    mention = re.compile(r"\b(?:(?:PACIOLI|PROMETHEUS|OTEL|BLNK_WEBHOOK)_[A-Z_]+|(?:DATABASE|REDIS|BROKER)_[A-Z]+)\b")
    paths = [
        *_modules(*DOORS, "core"),
        ROOT / "celeryconfig.py",
        ROOT / "Procfile",
        ROOT / "README.md",
    ]
    mentioned = {name for path in paths for name in mention.findall(path.read_text())}
    files = {variable.file_name for variable in variables().values()}
    assert mentioned - files == NAMES - files


def _is_environment(node: ast.expr) -> bool:
    """Return whether the node is ``os.environ``, or a copy of it for a process of ours."""
    return ast.unparse(node) in ("os.environ", "env")


# Error codes


def test_every_error_code_has_a_status() -> None:
    assert STATUS.keys() == set(ErrorCode)


def test_every_error_code_says_what_it_means() -> None:
    assert [code for code, text in members(ErrorCode) if not text] == []


def test_every_error_code_is_raised_or_answered_somewhere() -> None:
    used = set()
    for path in _modules("core", "web", "worker", "ops"):
        tree = ast.parse(path.read_text())
        tables = {id(node) for table in ast.walk(tree) if _lists_codes(table) for node in ast.walk(table)}
        for node in (node for node in ast.walk(tree) if id(node) not in tables):
            match node:
                case ast.Attribute(value=ast.Name(id="ErrorCode"), attr=name):
                    used.add(name)
    assert used == set(ErrorCode)


def _lists_codes(node: ast.AST) -> bool:
    """Return whether the node is a table of all codes, which uses none of them."""
    match node:
        case ast.ClassDef(name="ErrorCode") | ast.AnnAssign(target=ast.Name(id="STATUS")):
            return True
    return False


# Migrations


@pytest.fixture
def empty_url(postgres: str) -> Iterator[str]:
    """URL of a database with nothing in it."""
    name = f"empty_{uuid4().hex}"
    admin = create_engine(postgres, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(postgres).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as conn:
        conn.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def empty(empty_url: str) -> Iterator[Engine]:
    engine = connect(empty_url)
    yield engine
    engine.dispose()


# SQLAlchemy 2.1 reads NOT VALID of a constraint, and cannot hand it on.
@pytest.mark.filterwarnings("ignore:Can't validate argument 'dialect_options'")
def test_migrations_equal_tables(engine: Engine) -> None:
    with reading(engine) as conn:
        differences = compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), metadata)
    # Comments are for readers of the tables.
    assert [one for one in differences if not _is_comment(one)] == []


def test_migrations_equal_tables_to_the_last_constraint_and_default(engine: Engine, empty: Engine) -> None:
    """Alembic does not compare checks, predicates of indexes, identities or storage, so the catalogs are compared."""
    with begin(empty) as conn:
        conn.execute(text("CREATE DOMAIN minor_units AS numeric"))
        metadata.create_all(conn)
    with reading(engine) as migrated, reading(empty) as created:
        for sql in CATALOGS:
            assert _lines(migrated, sql) == _lines(created, sql)


CATALOGS = (
    # A constraint that a migration adds need not hold for older rows. Triggers are in the migrations alone.
    "SELECT conrelid::regclass || ' ' || conname || ' ' || regexp_replace(pg_get_constraintdef(oid), ' NOT VALID$', '') "
    "FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND contype <> 't'",
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT table_name || '.' || column_name || ' ' || coalesce(domain_name, data_type) || ' ' || is_nullable || ' ' || "
    # A default may be quoted: '0'::numeric is 0.
    "regexp_replace(coalesce(column_default, ''), '^''(.*)''::.*$', '\\1') || ' ' || coalesce(identity_generation, '') "
    "FROM information_schema.columns WHERE table_schema = 'public'",
    # How eagerly a table is vacuumed is tuning, and only the migrations say it.
    "SELECT relname || ' ' || option FROM pg_class CROSS JOIN unnest(reloptions) AS option "
    "WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND option LIKE 'fillfactor=%'",
)


def test_two_migrations_at_once_do_no_harm(empty_url: str) -> None:
    barrier = threading.Barrier(2)
    failures: list[BaseException] = []

    def migrate() -> None:
        engine = connect(empty_url, lock_timeout_s=120)  # The second waits for the whole first.
        try:
            barrier.wait()
            migrations.upgrade(engine)
        except BaseException as error:
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=migrate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    engine = connect(empty_url)
    with reading(engine) as conn:
        assert conn.execute(text("SELECT count(*) FROM ledgers")).scalar_one() == 1
    engine.dispose()


def _is_comment(difference: Any) -> bool:
    """Alembic nests what it would do to one table; a change of columns is a list."""
    if isinstance(difference, list):
        return all(_is_comment(one) for one in difference)
    return "comment" in str(difference[0])


def _lines(conn: Connection, sql: str) -> list[str]:
    return sorted(line for line in conn.execute(text(sql)).scalars() if "alembic_version" not in line)


# Queues and tasks


LEDGER = names_of(uuid4(), on_redis=celeryconfig.ON_REDIS)


@pytest.fixture(scope="module")
def celery() -> Celery:
    """A worker's application, as it is when the worker has learned the identity of the ledger."""
    from worker.app import app as workers
    from worker.ledger_task import LedgerTask

    app = Celery("pacioli", include=["worker.tasks"], task_cls=LedgerTask, set_as_current=False)
    app.config_from_object(celeryconfig)
    app.conf.update(celeryconfig.settings_of(LEDGER))
    workers.loader.import_default_modules()
    app.tasks.update({name: task for name, task in workers.tasks.items() if not name.startswith("celery.")})
    return app


def test_workers_consume_every_queue(celery: Celery) -> None:
    wanted = {LEDGER.postings(number) for number in range(MAX_QUEUES)} | {LEDGER.maintenance, LEDGER.ticks}
    wanted.add(
        LEDGER.deliveries
    )  # The deliverer consumes it, and it alone: see tests/integration/worker/test_deliverer.py.
    assert set(celery.amqp.queues.consume_from) == wanted


def test_every_task_is_routed_to_a_queue_that_is_consumed(celery: Celery) -> None:
    names = {name for name in celery.tasks if not name.startswith("celery.")}
    assert {celeryconfig.DRAIN, celeryconfig.SWEEP} <= names
    for name in names:
        for number in range(MAX_QUEUES):
            queue = celery.amqp.router.route({}, name, args=(number,))["queue"]
            assert queue.name in celery.amqp.queues.consume_from


def test_a_doorbell_goes_to_the_queue_that_it_is_about(celery: Celery) -> None:
    for number in range(MAX_QUEUES):
        queue = celery.amqp.router.route({}, celeryconfig.DRAIN, args=(number,))["queue"]
        assert queue.name == LEDGER.postings(number)


def test_nothing_is_sent_before_the_ledger_has_a_name() -> None:
    app = Celery("pacioli", set_as_current=False)
    app.config_from_object(celeryconfig)
    with pytest.raises(TransientError, match=r"identity is not known yet, so pacioli\.sweep has no queue"):
        app.send_task(celeryconfig.SWEEP)


def test_the_procfile_starts_a_worker_as_pacioli_up_does() -> None:
    lines = (ROOT / "Procfile").read_text().splitlines()
    (line,) = [each for each in lines if each.startswith("worker: ")]
    ours = worker_command(1)
    flags = [each for each in ours[ours.index("worker") + 1 :] if each not in ("--concurrency", "1")]
    assert line.split()[-len(flags) :] == flags


def test_beat_schedules_only_tasks_that_exist() -> None:
    from worker.app import app

    app.loader.import_default_modules()
    assert {entry["task"] for entry in celeryconfig.beat_schedule.values()} <= set(app.tasks)


# Routes


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    yield app
    close(app)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


OPEN = {"/", "/health", "/health/live", "/health/ready", "/openapi.json", "/docs", "/docs/scalar.js", "/docs/start.js"}


def test_every_route_but_health_wants_the_key(app: Flask, client: FlaskClient) -> None:
    routes = list(_routes(app))
    assert len(routes) > 10
    for rule, method in routes:
        path = re.sub(r"<[^>]*>", "x", rule)
        status = client.open(path, method=method).status_code
        assert (status == 401) == (rule not in OPEN), (method, rule, status)
        own = {"REMOTE_ADDR": f"{method} {rule}"}  # One address may not guess so often.
        wrong = client.open(path, method=method, headers={"X-Blnk-Key": "wrong"}, environ_overrides=own)
        assert wrong.status_code == status
        assert client.open(path, method=method, headers={"X-Blnk-Key": KEY}).status_code != 401


def test_every_route_is_in_the_table_of_rights(app: Flask) -> None:
    """A route that is not in it is closed to all keys but the master key."""
    closed = {f"{method} {rule}" for rule, method in _routes(app) if rule not in OPEN}
    assert RIGHTS.keys() == closed


def test_a_path_that_is_no_route_wants_the_key_too(client: FlaskClient) -> None:
    assert client.get("/nowhere").status_code == 401
    assert client.get("/health/more").status_code == 401


def test_every_route_is_in_the_openapi_document(app: Flask, client: FlaskClient) -> None:
    response = client.get("/openapi.json", headers={"X-Blnk-Key": KEY})
    assert response.status_code == 200
    paths = response.get_json()["paths"]
    described = {(path, method) for path, methods in paths.items() for method in methods}
    served = {(re.sub(r"<(?:[^:>]*:)?([^>]*)>", r"{\1}", rule), method.lower()) for rule, method in _routes(app)}
    assert served - described == set()
    assert described - served == set()


def test_every_route_refuses_a_parameter_that_it_does_not_take(app: Flask, client: FlaskClient) -> None:
    for rule, method in _routes(app):
        path = re.sub(r"<[^>]*>", "x", rule)
        response = client.open(f"{path}?no_such=1&instance_id=1", method=method, headers={"X-Blnk-Key": KEY})
        detail = response.get_json()["error_detail"]
        assert (response.status_code, detail["code"]) == (400, "GEN_BAD_REQUEST"), (method, rule, detail)
        assert "no_such: unknown parameter; " in detail["message"], (method, rule, detail)
        assert "instance_id" not in detail["message"]


def test_every_route_keeps_to_the_reach_of_a_key_or_is_closed_to_a_bound_one() -> None:
    assert WITHIN_REACH | OUT_OF_REACH.keys() == RIGHTS.keys()
    assert not WITHIN_REACH & OUT_OF_REACH.keys()


def test_every_route_takes_the_parameters_that_are_described(app: Flask, client: FlaskClient) -> None:
    paths = client.get("/openapi.json", headers={"X-Blnk-Key": KEY}).get_json()["paths"]
    seen = set()
    for path, methods in paths.items():
        for method, operation in methods.items():
            for one in (one for one in operation["parameters"] if one["in"] == "query"):
                value = one["example"][0] if isinstance(one["example"], list) else one["example"]
                url = f"{re.sub('{[^}]*}', 'x', path)}?{one['name']}={value}"
                if path == "/api-keys" and one["name"] not in ("owner", "all"):
                    url += "&owner=shop"
                response = client.open(url, method=method.upper(), headers={"X-Blnk-Key": KEY})
                detail = (response.get_json() or {}).get("error_detail", {}) if response.status_code >= 400 else {}
                if one["name"] == "after" and "must be a row of" in detail.get("message", ""):
                    continue  # Its form is right, and there is no such row.
                assert one["name"] not in detail.get("message", ""), (method, url, detail)
                if method == "get" and "{" not in path:
                    assert response.status_code == 200, (url, detail)
                seen.add(one["name"])
    assert {"wait", "limit", "page", "status", "currency", "include", "threshold", "full"} <= seen


def _routes(app: Flask) -> Iterator[tuple[str, str]]:
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield rule.rule, method


# Audit and retries


IN_THE_LOG = "its transactions are in the log"
READS = "it changes nothing"
SNAPSHOTS = "what it writes can be computed again from the log"

WRITES: dict[str, Action | str] = {
    "POST /transactions": IN_THE_LOG,
    "POST /transactions/bulk": IN_THE_LOG,
    "PUT /transactions/inflight/<transaction_id>": IN_THE_LOG,
    "POST /transactions/inflight/bulk/commit": IN_THE_LOG,
    "POST /transactions/inflight/bulk/void": IN_THE_LOG,
    "POST /refund-transaction/<transaction_id>": IN_THE_LOG,
    "DELETE /transactions/<transaction_id>": Action.TRANSACTION_CANCELLED,
    "POST /transactions/recover": Action.QUEUES_RECOVERED,
    "POST /balances": Action.BALANCE_CREATED,
    "PUT /balances/<balance_id>/identity": Action.BALANCE_LINKED,
    "POST /identities": Action.IDENTITY_CREATED,
    "PUT /identities/<identity_id>": Action.IDENTITY_UPDATED,
    "DELETE /identities/<identity_id>": Action.IDENTITY_DELETED,
    "POST /identities/<identity_id>/erase": Action.IDENTITY_ERASED,
    "POST /identities/<identity_id>/tokenize": Action.IDENTITY_TOKENIZED,
    "POST /identities/<identity_id>/tokenize/<field>": Action.IDENTITY_TOKENIZED,
    "POST /identities/<identity_id>/detokenize": Action.IDENTITY_READ_IN_CLEAR,
    "PUT /balances/<balance_id>/limits": Action.BALANCE_LIMITED,
    "POST /balance-monitors": Action.MONITOR_CREATED,
    "PUT /balance-monitors/<monitor_id>": Action.MONITOR_UPDATED,
    "DELETE /balance-monitors/<monitor_id>": Action.MONITOR_DELETED,
    "POST /balances-snapshots": SNAPSHOTS,
    "POST /ledgers": Action.LEDGER_CREATED,
    "PUT /ledgers/<ledger_id>": Action.LEDGER_RENAMED,
    "PUT /currencies/<path:currency>": Action.CURRENCY_FIXED,
    "POST /<entity_id>/metadata": Action.METADATA_CHANGED,
    "POST /funding-jobs": Action.JOB_CREATED,
    "POST /funding-jobs/rejects": READS,
    "POST /funding-jobs/<job_id>/pause": Action.JOB_PAUSED,
    "POST /funding-jobs/<job_id>/resume": Action.JOB_RESUMED,
    "POST /funding-jobs/<job_id>/cancel": Action.JOB_CANCELLED,
    "POST /funding-jobs/<job_id>/approve": Action.JOB_APPROVED,
    "POST /funding-jobs/<job_id>/refuse": Action.JOB_REFUSED,
    "POST /funding-jobs/<job_id>/run": Action.JOB_RUN,
    "POST /funding-jobs/<job_id>/runs/<run_id>/retry": Action.JOB_RETRIED,
    "GET /verify": Action.VERIFIED,
    "POST /api-keys": Action.KEY_CREATED,
    "POST /api-keys/<key_id>/rotate": Action.KEY_ROTATED,
    "DELETE /api-keys/<key_id>": Action.KEY_REVOKED,
    "POST /webhooks": Action.WEBHOOK_CREATED,
    "PUT /webhooks/<webhook_id>": Action.WEBHOOK_UPDATED,
    "DELETE /webhooks/<webhook_id>": Action.WEBHOOK_DELETED,
    "POST /webhooks/<webhook_id>/replay": Action.WEBHOOK_REPLAYED,
    "POST /webhooks/<webhook_id>/rotate": Action.WEBHOOK_ROTATED,
    "POST /webhooks/<webhook_id>/test": READS,
    "POST /hooks": Action.HOOK_CREATED,
    "PUT /hooks/<hook_id>": Action.HOOK_UPDATED,
    "DELETE /hooks/<hook_id>": Action.HOOK_DELETED,
}

NO_KEY = {
    "PUT /balances/<balance_id>/identity": "twice is once",
    "POST /identities": "the answer has personal data, which must not be stored twice; identity_id makes it safe",
    "PUT /identities/<identity_id>": "twice is once",
    "POST /identities/<identity_id>/erase": "twice is once",
    "POST /identities/<identity_id>/tokenize": "twice is refused",
    "POST /identities/<identity_id>/tokenize/<field>": "twice is refused",
    "POST /identities/<identity_id>/detokenize": "it changes nothing",
    "PUT /balances/<balance_id>/limits": "twice is once",
    "PUT /balance-monitors/<monitor_id>": "twice is once",
    "POST /balances-snapshots": "twice is once",
    "POST /transactions/recover": "twice is once",
    "PUT /ledgers/<ledger_id>": "twice is once",
    "PUT /currencies/<path:currency>": "twice is once",
    "POST /<entity_id>/metadata": "twice is once",
    "POST /funding-jobs/rejects": "it changes nothing",
    "POST /funding-jobs/<job_id>/pause": "twice is once",
    "POST /funding-jobs/<job_id>/resume": "twice is once",
    "POST /funding-jobs/<job_id>/approve": "twice is once",
    "POST /funding-jobs/<job_id>/refuse": "twice is once",
    "POST /funding-jobs/<job_id>/cancel": "twice is once",
    "POST /api-keys": "the answer has a secret, which must not be stored",
    "POST /api-keys/<key_id>/rotate": "the answer has a secret, which must not be stored",
    "POST /webhooks": "the answer has a secret, which must not be stored",
    "PUT /webhooks/<webhook_id>": "twice is once",
    "POST /webhooks/<webhook_id>/replay": "a second replay is refused while the first is under way",
    "POST /webhooks/<webhook_id>/rotate": "the answer has a secret, which must not be stored",
    "POST /webhooks/<webhook_id>/test": "it changes nothing",
    "POST /hooks": "Blnk's clients send none, and a second hook is told of alike",
    "PUT /hooks/<hook_id>": "twice is once",
}
"""The routes that need no Idempotency-Key, and why."""


def _writing() -> set[str]:
    return {route for route in RIGHTS if not route.startswith("GET ") and not route.endswith("/filter")}


def test_every_route_that_writes_is_audited_or_in_the_log() -> None:
    assert WRITES.keys() - {"GET /verify"} == _writing()


def test_every_route_that_could_pay_twice_takes_an_idempotency_key(app: Flask) -> None:
    takes = {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if retries.takes_key(app.view_functions[rule.endpoint])
    }
    assert takes == {route for route in _writing() if not route.startswith("DELETE ")} - NO_KEY.keys()


def test_every_action_is_on_the_page_about_the_audit_log() -> None:
    text = (ROOT / "docs" / "how-to" / "audit.md").read_text()
    named = set()
    for names in re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE):
        thing = ""
        for name in re.findall(r"`([\w.]+)`", names):
            thing = name.partition(".")[0] or thing
            named.add(f"{thing}.{name.partition('.')[2]}")
    assert named == {str(action) for action in Action}
