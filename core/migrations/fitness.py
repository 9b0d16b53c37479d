"""Finds, when a process starts, what makes its database unfit for the ledger, and says what to do about it."""

import re
from functools import cache
from pathlib import Path

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from core.base.db import driver, reading
from core.base.errors import TransientError
from core.base.tables.schema import metadata

OLDEST = 15
"""The oldest major release of Postgres that will do."""


_LOOK = """
    SELECT
        current_setting('server_version_num')::int / 10000,
        current_setting('server_encoding'),
        current_setting('session_replication_role'),
        current_user::text,
        current_database()::text,
        coalesce(current_schema(), '')::text,
        coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
        to_regclass('alembic_version') IS NOT NULL,
        coalesce(has_table_privilege(to_regclass('alembic_version'), 'SELECT'), false)
"""

_WITHOUT_RIGHTS = """
    SELECT string_agg(name, ', ' ORDER BY name)
    FROM unnest(%(tables)s::text[]) AS name
    WHERE NOT coalesce(has_table_privilege(to_regclass(name), 'SELECT'), false)
       OR name = 'log' AND NOT has_table_privilege('log', 'INSERT')
"""


_MISSING = re.compile(r'(database|role) "(.*)" does not exist')


class Unfit(Exception):
    """The database cannot serve as it is. The message is one sentence, which says what to do."""


def refuse_unfit(engine: Engine, *, to_migrate: bool = False) -> None:
    """Look whether the database can serve a process that starts.

    Raises:
        Unfit: it cannot. The message names the reason and what to do.
        TransientError: the database is away, and may be fit.
    """
    try:
        with reading(engine, within_s=5.0) as conn:
            connection = driver(conn)
            row = connection.execute(_LOOK).fetchone()
            assert row is not None
            version, encoding, replication, user, database, schema, creates, is_migrated, reads = row
            if version < OLDEST:
                raise Unfit(f"this is Postgres {version}: Pacioli needs Postgres {OLDEST} or newer")
            if encoding != "UTF8":
                raise Unfit(
                    f"the database {database} has the encoding {encoding}, which cannot keep every text: make one with "
                    f"CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
                )
            if replication != "origin":
                raise Unfit(
                    f"session_replication_role is {replication}, so the triggers that guard history are off: "
                    "reset it for the role, the database and the server"
                )
            if to_migrate:
                if not creates:
                    raise Unfit(
                        f"the role {user} may not create tables in the schema {schema or 'of its search path'}: "
                        f"GRANT CREATE ON SCHEMA {schema or 'public'} TO {user}, or migrate with the owner's role"
                    )
                return
            if not is_migrated:
                raise Unfit("this database has no ledger yet: run `pacioli migrate`")
            if not reads:
                raise Unfit(_no_rights(user, "alembic_version"))
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            _compare(found[0] if found else "")
            lacking = connection.execute(_WITHOUT_RIGHTS, {"tables": list(metadata.tables)}).fetchone()
            if lacking is not None and lacking[0]:
                raise Unfit(_no_rights(user, lacking[0]))
    except TransientError as error:
        cause = error.__cause__.orig if isinstance(error.__cause__, DBAPIError) else error.__cause__
        if (reason := _refusal(cause)) is not None:
            raise Unfit(reason) from error
        raise


def _compare(revision: str) -> None:
    """Refuse a database that an older or a newer release has migrated."""
    head, known = _revisions()
    if revision not in known:
        raise Unfit(
            f"a newer release has migrated the database (to {revision}; this one knows {head}): run that release here too"
        )
    if revision != head:
        raise Unfit(f"the database is at revision {revision}, and this release needs {head}: run `pacioli migrate`")


@cache
def _revisions() -> tuple[str, frozenset[str]]:
    """Return the newest revision of this release, and all. The name of a migration's file begins with its revision.

    Alembic would say the same after 0.2 s of CPU, and each process that starts asks this.
    """
    known = {file.name[:4] for file in (Path(__file__).parent / "versions").glob("[0-9]*.py")}
    return max(known), frozenset(known)


def _no_rights(user: str, tables: str) -> str:
    return (
        f"the role {user} may not use {tables}: run `pacioli migrate` with the owner of the tables in PACIOLI_OWNER_URL, "
        "which gives it its rights, or connect as that owner"
    )


def _refusal(cause: BaseException | None) -> str | None:
    """Say what a refused connection means, if it will be refused next time too."""
    if not isinstance(cause, psycopg.OperationalError):
        return None
    text = " ".join(str(cause).split())
    if "password authentication failed" in text or "no password supplied" in text:
        return "the database refuses the user or its password: see both in DATABASE_URL"
    if "no pg_hba.conf entry" in text or "authentication failed" in text:
        return "the server refuses this user from this host: see DATABASE_URL, and the server's pg_hba.conf"
    if missing := _MISSING.search(text):
        kind, name = missing.groups()
        how = "make it with `createdb`" if kind == "database" else "make it with CREATE ROLE ... LOGIN"
        return f"the server has no {kind} {name}: {how}, or see DATABASE_URL"
    if "unsupported startup parameter" in text:
        return "a pooler such as PgBouncer answers at DATABASE_URL, and takes no settings: set PACIOLI_POOLER=on"
    if "unrecognized configuration parameter" in text:
        return (
            f"the server does not know a setting of ours, or of DATABASE_URL: Pacioli needs Postgres {OLDEST} or newer"
        )
    return None
