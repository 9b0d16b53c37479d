"""Defines the settings of a database session that the ledger's behaviour depends on.

The role, the database or the server may have other defaults. A direct connection gets these settings when it connects. A
pooler hands a session from one client to the next, so there each transaction gets them anew, with SET LOCAL. ``migrate``
also makes them the defaults of its role in the ledger's database.
"""

import re
from collections.abc import Mapping

from psycopg import sql

PINNED = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "row_security": "on",
    "gin_fuzzy_search_limit": "0",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    "jit": "off",
    "plan_cache_mode": "auto",
}
"""The settings that only one value is right for, whatever a URL says. The names are written as in pg_settings."""

CHOSEN = {
    "statement_timeout": "60s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "120s",
}
"""These values count when the caller of ``connect``, or the URL's options, do not say otherwise."""

_OPTION = re.compile(r"(?:-c\s*|--)(?P<name>[\w.-]+)=(?P<value>(?:\\.|[^\s\\])*)")

FIND_SEARCH_PATH = """
    SELECT CASE
        WHEN source = 'client' THEN setting
        WHEN to_regclass('log') IS NOT NULL THEN setting
        WHEN source IN ('user', 'database user') AND current_schema() IS NOT NULL THEN setting
        ELSE '"$user", public'
    END
    FROM pg_settings
    WHERE name = 'search_path'
"""
"""Finds the search path for the session: the URL's, one that finds the ledger, the role's own, or Postgres's default.

So several ledgers can have schemas of their own in one database, and a path that finds nothing does no harm.
"""

SET = f"""
    SELECT set_config(name, wanted, false)
    FROM pg_settings
    JOIN unnest(%(names)s::text[], %(values)s::text[], %(chosen)s::bool[]) AS pin (name, wanted, chosen) USING (name)
    WHERE NOT (chosen AND source = 'client')
    UNION ALL
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'  -- An answered transaction must be on the disk.
    UNION ALL
    SELECT set_config('search_path', ({FIND_SEARCH_PATH}), false)
"""
"""Sets what a direct connection needs. ``default_transaction_read_only`` stays, because it means "not now"."""

DIFFERENT = """
    WITH pin (name, wanted) AS (
        SELECT name, wanted FROM unnest(%(names)s::text[], %(values)s::text[]) AS pin (name, wanted)
        UNION ALL
        SELECT name, 'on' FROM pg_settings WHERE name = 'synchronous_commit' AND reset_val = 'off'
    )
    SELECT current_database(), name, wanted
    FROM pin
    WHERE name IN (SELECT name FROM pg_settings)
      AND name <> 'client_encoding'  -- The driver asks for it.
      AND NOT EXISTS (
          SELECT
          FROM pg_db_role_setting
          JOIN pg_database ON pg_database.oid = setdatabase AND datname = current_database()
          JOIN pg_roles ON pg_roles.oid = setrole AND rolname = coalesce(%(role)s::name, current_user)
          WHERE lower(name || '=' || wanted) IN (SELECT lower(line) FROM unnest(setconfig) AS line)
      )
"""
"""Finds the settings that are not yet the defaults of a role in this database. It takes the parameters of ``SET`` too."""


def set_default(role: str | None, database: str, name: str, value: str) -> sql.Composed:
    """Write the statement that makes a setting the default of a role in a database. None is the current role."""
    whose = sql.SQL("CURRENT_USER") if role is None else sql.Identifier(role)
    statement = sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} = {}")
    return statement.format(whose, sql.Identifier(database), sql.Identifier(name), _value(name, value))


def arrays(pinned: Mapping[str, str], chosen: Mapping[str, str]) -> dict[str, list[str] | list[bool]]:
    """Return the parameters of ``SET`` and ``DIFFERENT``."""
    both = {**pinned, **chosen}
    return {"names": list(both), "values": list(both.values()), "chosen": [name in chosen for name in both]}


def first_options(chosen: Mapping[str, str]) -> str:
    """Write the timeouts as libpq's options. A default of a millisecond would end the session before its first statement.

    They come before the URL's own options, which win.
    """
    return " ".join(f"-c {name}={value}" for name, value in {**chosen, "idle_session_timeout": "0"}.items())


def options_of(text: str) -> dict[str, str]:
    """Read the settings of libpq's ``options``, by their names."""
    return {
        found["name"].lower().replace("-", "_"): re.sub(r"\\(.)", r"\1", found["value"])
        for found in _OPTION.finditer(text)
    }


def set_local(settings: Mapping[str, str]) -> sql.Composed:
    """Write the statements that give one transaction these settings. They go out in one message."""
    lines = [
        sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), _value(name, value))
        for name, value in settings.items()
        if name not in _UNKNOWN_BEFORE_17
    ]
    return sql.SQL("; ").join([*lines, sql.SQL("SET LOCAL synchronous_commit = on")])


_UNKNOWN_BEFORE_17 = {"transaction_timeout"}

_LISTS = ("search_path", "DateStyle")


def _value(name: str, value: str) -> sql.Composable:
    if name not in _LISTS:
        return sql.Literal(value)
    # A list in one literal would be one name with commas in it.
    return sql.SQL(", ").join(sql.Literal(part.strip().strip('"')) for part in value.split(","))
