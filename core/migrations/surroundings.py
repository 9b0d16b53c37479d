"""Reads what a ledger stands on: its server's settings, the connection, and what the roles may do beyond their work."""

from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver

_SERVER = """
    SELECT
        current_setting('server_version'),
        current_setting('max_connections')::int
            - current_setting('superuser_reserved_connections')::int
            - coalesce(current_setting('reserved_connections', true)::int, 0),
        current_setting('fsync') = 'on',
        current_setting('full_page_writes') = 'on',
        (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'),
        coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
        current_user::text
"""

# A role is above the ledger when it owns the log, or may become who does.
_ROLE = """
    SELECT
        rolsuper,
        rolcreaterole,
        rolcreatedb,
        rolreplication,
        rolbypassrls,
        EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('log') AND pg_has_role(role.oid, relowner, 'MEMBER')),
        has_database_privilege(role.oid, current_database(), 'CREATE, TEMPORARY'),
        has_schema_privilege(role.oid, current_schema(), 'CREATE'),
        ARRAY(
            SELECT given.rolname::text
            FROM pg_auth_members
            JOIN pg_roles AS given ON given.oid = roleid
            WHERE member = role.oid
            ORDER BY given.rolname
        )
    FROM pg_roles AS role
    WHERE rolname = %(role)s
"""


class Server(NamedTuple):
    """The server, as this connection sees it."""

    version: str
    connections: int
    """The number of connections that are not reserved."""
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    """The default of this role's sessions. The ledger's own are never off."""
    tls: bool
    user: str


class Powers(NamedTuple):
    """The powers of a role beside its rights to the ledger's tables."""

    superuser: bool
    creates_roles: bool
    creates_databases: bool
    replicates: bool
    bypasses_policies: bool
    owns: bool
    """Whether it owns the tables, or is a member of the role that does."""
    creates_in_database: bool
    creates_in_schema: bool
    member_of: list[str]

    def excess(self) -> list[str]:
        """Say what of it a role of the service does not need."""
        named = {
            "is a superuser": self.superuser,
            "makes roles": self.creates_roles,
            "makes databases": self.creates_databases,
            "replicates": self.replicates,
            "bypasses row security": self.bypasses_policies,
            "owns the tables": self.owns,
            "makes schemas or temporary tables": self.creates_in_database,
            "makes tables and functions": self.creates_in_schema,
        }
        return [what for what, has in named.items() if has] + [f"is a member of {role}" for role in self.member_of]


def server(conn: Connection) -> Server:
    """Read the server's settings."""
    row = driver(conn).execute(_SERVER).fetchone()
    assert row is not None
    return Server(*row)


def powers(conn: Connection, role: str) -> Powers | None:
    """Read what a role may do. Returns None when there is no such role."""
    row = driver(conn).execute(_ROLE, {"role": role}).fetchone()
    return None if row is None else Powers(*row)
