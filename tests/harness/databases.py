"""A Postgres that is quick because it keeps nothing, and databases on it."""

import importlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from core import migrations
from core.base.db import connect
from core.base.tables.schema import metadata
from core.migrations import grants, roles
from ops.server.embedded import POSTGRES_SETTINGS, Postgres
from tests.harness import warm_sessions

SEED = "".join(
    importlib.import_module(f"core.migrations.versions.{name}").SEED
    for name in ("0001_ledger", "0005_upkeep", "0026_flows")
)

_numbers = itertools.count(1)
_templates: dict[str, str] = {}
"""The database that others are copied from, by the URL of its server."""


class QuickPostgres(Postgres):
    """A server that writes nothing through to the disk: its data are lost with the machine, or when it is stopped.

    Tests whose subject is durability start the whole service, which has a Postgres of the ordinary kind.
    """

    settings = POSTGRES_SETTINGS | {
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "pacioli.throwaway": "on",
        "max_connections": "300",
    }
    initdb_options = ("--no-sync",)
    guests = ("nobody",)  # PgBouncer runs as nobody when the tests run as root.

    def __exit__(self, *_: object) -> None:
        """Kill it. An orderly shutdown would write everything out first, for nobody."""
        self.kill()


def new_database(server: str) -> str:
    """Create a migrated database and return its owner's URL. It is copied from one that is migrated once for each server."""
    if server not in _templates:
        template = _create(server, "")
        engine = connect(template)
        migrations.upgrade(engine, roles=ROLES)
        engine.dispose()
        _templates[server] = str(make_url(template).database)
    return _create(server, f"TEMPLATE {_templates[server]}")


OWNER, APP, NOTARY = "postgres", "test_app", "test_notary"

ROLES = (roles.Role(APP, None, grants.APP), roles.Role(NOTARY, None, grants.NOTARY))
"""The roles of every database that is copied from the template. The server asks nobody for a password."""


def bare_database(server: str) -> str:
    """Create a database without tables, and return its owner's URL."""
    return _create(server, "")


@contextmanager
def as_owner(engine: Engine) -> Iterator[Engine]:
    """Open an engine for the owner of the database of this one, for what the service may not do."""
    owner = connect(as_role(engine.url.render_as_string(hide_password=False), OWNER))
    yield owner
    owner.dispose()


def urls_of_others(url: str) -> dict[str, str]:
    """Return the variables that lead to this database as its owner and as the notary."""
    return {"PACIOLI_OWNER_URL": as_role(url, OWNER), "PACIOLI_NOTARY_URL": as_role(url, NOTARY)}


def as_role(url: str, role: str) -> str:
    """Return the URL of a database for another role."""
    return make_url(url).set(username=role).render_as_string(hide_password=False)


def new_schema(url: str) -> str:
    """Create a migrated schema beside the others of this database, and return the URL that leads to it alone."""
    name = f"ledger_{next(_numbers)}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as conn:
        conn.execute(text(f"CREATE SCHEMA {name}"))
    own = make_url(url).update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(hide_password=False)
    engine = connect(own)
    migrations.upgrade(engine)
    engine.dispose()
    return own


def empty(engine: Engine) -> None:
    """Make a migrated database as it was when it was new, and disconnect everybody else from it.

    DELETE, because TRUNCATE makes new files for each table and index, which takes ten times as long.
    """
    with engine.begin() as conn:
        conn.execute(_DISCONNECT_OTHERS, {"kept": warm_sessions.process_ids()})
        conn.execute(text("SET LOCAL session_replication_role = replica"))  # Else history refuses.
        sequences = conn.execute(text(_SEQUENCES)).scalars().all()
        statements = [f"DELETE FROM {table.name}" for table in metadata.sorted_tables]
        statements += [f"SELECT setval('{sequence}', 1, false)" for sequence in sequences]
        assert conn.connection.driver_connection is not None
        conn.connection.driver_connection.execute("; ".join(statements))
        conn.execute(text(SEED))


_DISCONNECT_OTHERS = text("""
    SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND pid <> ALL(CAST(:kept AS int[]))
""")

_SEQUENCES = """
    SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename)
    FROM pg_sequences
    WHERE last_value IS NOT NULL
"""


def _create(server: str, how: str) -> str:
    name = f"test_{next(_numbers)}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name} {how}"))
    return make_url(server).set(database=name).render_as_string(hide_password=False)
