"""Gives the roles of the service their rights, and finds what a role may do.

A role is known by the URL that the service connects with: DATABASE_URL names app, and PACIOLI_NOTARY_URL the notary. So the
operator chooses the names, and several ledgers can have roles of their own on one server.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import psycopg
from psycopg import sql
from sqlalchemy import Connection

from core.base.database_url import account
from core.base.db import driver, set_defaults
from core.migrations.grants import APP, NOTARY, TABLES, Right, Rights, expanded


class Role(NamedTuple):
    """A role of the service, and what it is to have."""

    name: str
    password: str | None
    grants: Mapping[str, Rights]


def wanted(*, owner: str, app: str, notary: str) -> list[Role]:
    """Return the roles that these URLs name beside the owner. There is none when one URL does everything."""
    accounts = {purpose: account(url) for purpose, url in (("owner", owner), ("app", app), ("notary", notary))}
    users = {each.user: purpose for purpose, each in reversed(accounts.items())}
    return [
        Role(accounts[purpose].user, accounts[purpose].password, grants)
        for purpose, grants in (("app", APP), ("notary", NOTARY))
        if users[accounts[purpose].user] == purpose
    ]


def provide(conn: Connection, roles: Sequence[Role]) -> list[str]:
    """Make the roles that are missing, and give all exactly their rights.

    Returns the statements that this connection may not run. The administrator of the database may.
    """
    left: list[str] = []
    for role in roles:
        if not _exists(conn, role.name) and _is_refused(conn, _create(conn, role)):
            left += _script(conn, role)
            continue
        if _is_above(conn, role.name):
            continue
        for statement in _of_database(conn, role.name):
            _is_refused(conn, statement)
        left += [_text(conn, each) for each in _of_database(conn, role.name)]  # Some are refused with a mere warning.
        if actual(conn, role.name) != expanded(role.grants):
            for statement in _of_tables(role):
                driver(conn).execute(statement)
        set_defaults(conn, role.name)  # Each session sets what is refused here.
    return list(dict.fromkeys(left))


def statements(conn: Connection, roles: Sequence[Role]) -> list[str]:
    """Write the statements that are still to be run by an administrator who makes the roles in place of ``migrate``.

    The roles have the usual names when there are none.
    """
    (database,) = driver(conn).execute("SELECT current_database()").fetchone() or ("",)
    usual = [Role(f"{database}_app", None, APP), Role(f"{database}_notary", None, NOTARY)]
    return list(dict.fromkeys(line for role in roles or usual for line in _script(conn, role)))


def _script(conn: Connection, role: Role) -> list[str]:
    """Write the statements that a role still needs. The administrator chooses the password of one that is missing."""
    made = [] if _exists(conn, role.name) else [_create(conn, role._replace(password=None))]
    return [_text(conn, each) for each in (*made, *_of_database(conn, role.name))]


_ROLE_EXISTS = """
    SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %(role)s)
"""

# A role that is the owner, is a member of it or a superuser has all rights, and nothing to be given.
_IS_ABOVE = """
    SELECT rolsuper OR pg_has_role(oid, current_user, 'MEMBER')
    FROM pg_roles
    WHERE rolname = %(role)s
"""

_ACTUAL = """
    WITH named AS (
        SELECT name, to_regclass(quote_ident(name)) AS id
        FROM unnest(%(tables)s::text[]) AS name
    ),
    objects AS (
        SELECT name, id::oid AS id
        FROM named
        WHERE id IS NOT NULL
    )
    SELECT name, privilege, ''
    FROM objects
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
    WHERE has_table_privilege(%(role)s::name, id, privilege)
    UNION ALL
    SELECT name, privilege, attname::text
    FROM objects
    JOIN pg_attribute ON attrelid = id AND attnum > 0 AND NOT attisdropped
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS privilege
    WHERE NOT has_table_privilege(%(role)s::name, id, privilege)
      AND has_column_privilege(%(role)s::name, id, attnum, privilege)
    UNION ALL
    SELECT sequence.relname::text, privilege, ''
    FROM objects
    JOIN pg_depend ON refobjid = id AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i')
    JOIN pg_class AS sequence ON sequence.oid = objid AND sequence.relkind = 'S'
    CROSS JOIN unnest(ARRAY['SELECT', 'UPDATE', 'USAGE']) AS privilege
    WHERE has_sequence_privilege(%(role)s::name, sequence.oid, privilege)
"""

_OF_DATABASE = """
    SELECT
        current_user::text,
        current_database()::text,
        current_schema()::text,
        coalesce(has_database_privilege(role.oid, current_database(), 'CONNECT'), true),
        coalesce(has_database_privilege(role.oid, current_database(), 'TEMPORARY, CREATE'), true),
        coalesce(has_schema_privilege(role.oid, current_schema(), 'USAGE'), false),
        coalesce(has_schema_privilege(role.oid, current_schema(), 'CREATE'), false),
        coalesce(has_function_privilege(role.oid, to_regproc('refuse_to_change_history')::oid, 'EXECUTE'), false),
        coalesce(pg_has_role(current_user, role.oid, 'USAGE'), false)
    FROM (VALUES (true)) AS one (row)
    LEFT JOIN pg_roles AS role ON rolname = %(role)s
"""


def actual(conn: Connection, role: str) -> set[Right]:
    """Find what a role may do with the tables of the ledger and their sequences, whatever gives it the right."""
    rows = driver(conn).execute(_ACTUAL, {"role": role, "tables": list(TABLES)})
    return {Right(*row) for row in rows.fetchall()}


def _exists(conn: Connection, role: str) -> bool:
    return driver(conn).execute(_ROLE_EXISTS, {"role": role}).fetchone() == (True,)


def _is_above(conn: Connection, role: str) -> bool:
    return driver(conn).execute(_IS_ABOVE, {"role": role}).fetchone() == (True,)


def _create(conn: Connection, role: Role) -> sql.Composed:
    """Write the statement that makes a role. It has a hash of the password, so that no log of the server shows it."""
    statement = sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION").format(
        sql.Identifier(role.name)
    )
    if role.password is None:
        return statement
    pgconn = driver(conn).pgconn
    hashed = pgconn.encrypt_password(role.password.encode(), role.name.encode(), b"scram-sha-256")
    return statement + sql.SQL(" PASSWORD {}").format(sql.Literal(hashed.decode()))


def _of_database(conn: Connection, role: str) -> list[sql.Composed]:
    """Write the statements about the database and the schema that a role still needs. One that is missing needs all."""
    row = driver(conn).execute(_OF_DATABASE, {"role": role}).fetchone()
    assert row is not None
    user, database, schema, connects, creates_there, uses, creates, executes, is_ours = row
    name, database, schema = sql.Identifier(role), sql.Identifier(database), sql.Identifier(schema)
    steps = [
        (not is_ours, sql.SQL("GRANT {} TO {}").format(name, sql.Identifier(user))),
        (not connects, sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, name)),
        (creates_there, sql.SQL("REVOKE CREATE, TEMPORARY ON DATABASE {} FROM PUBLIC, {}").format(database, name)),
        (not uses, sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, name)),
        (creates, sql.SQL("REVOKE CREATE ON SCHEMA {} FROM PUBLIC, {}").format(schema, name)),
        (executes, sql.SQL("REVOKE EXECUTE ON FUNCTION refuse_to_change_history() FROM PUBLIC, {}").format(name)),
    ]
    return [statement for needed, statement in steps if needed]


def _of_tables(role: Role) -> list[sql.Composed]:
    """Write the statements that give a role exactly its rights to the tables."""
    name = sql.Identifier(role.name)
    every = sql.SQL(", ").join(map(sql.Identifier, TABLES))
    statements = [sql.SQL("REVOKE ALL ON TABLE {} FROM {}").format(every, name)]
    for table, rights in role.grants.items():
        privileges: list[sql.Composable] = [sql.SQL("SELECT")]
        if isinstance(rights.insert, tuple):
            privileges.append(_on_columns("INSERT", rights.insert))
        elif rights.insert:
            privileges.append(sql.SQL("INSERT"))
        if rights.update:
            privileges.append(_on_columns("UPDATE", rights.update))
        if rights.delete:
            privileges.append(sql.SQL("DELETE"))
        on = sql.SQL("GRANT {} ON TABLE {} TO {}")
        statements.append(on.format(sql.SQL(", ").join(privileges), sql.Identifier(table), name))
    return statements


def _on_columns(privilege: str, columns: tuple[str, ...]) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("{} ({})").format(sql.SQL(privilege), names)


def _is_refused(conn: Connection, statement: sql.Composed) -> bool:
    """Run a statement. Returns whether it was refused."""
    try:
        with driver(conn).transaction():
            driver(conn).execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        return True
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        return False  # Another migration of the same server was quicker.
    return False


def _text(conn: Connection, statement: sql.Composed) -> str:
    return statement.as_string(driver(conn)) + ";"
