"""Alembic migrations, configured in code: there is no ini file to find."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text

_LOCK = 7_203_402
"""Advisory lock that lets one migration run at a time, whoever starts it."""


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database up to date, in one transaction. A second caller waits and then finds nothing to do."""
    with engine.begin() as conn:
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        command.upgrade(config(conn), revision)


def config(conn: Connection | None = None) -> Config:
    """Alembic's configuration over an open connection."""
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    alembic.attributes["connection"] = conn
    return alembic
