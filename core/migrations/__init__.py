"""The migrations folder makes and upgrades the database's tables, with Alembic.

Read ``upgrade`` first. ``versions/`` has one file for each change, in order. Alembic is configured in code, so there is no
ini file. A landed migration never changes, and ``core/base/tables.py`` must describe what all of them make.
"""

from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine

from core.base.db import LONG_S, set_defaults
from core.base.fence import in_transaction
from core.base.locks import AdvisoryLock, take

logger = structlog.get_logger()


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database up to date in one transaction. A second caller waits, and then finds nothing to do.

    Raises:
        TransientError: another migration took too long, or the database was gone.
    """

    def apply(conn: Connection) -> None:
        take(conn, AdvisoryLock.MIGRATE)
        command.upgrade(config(conn), revision)
        if refused := set_defaults(conn):
            logger.warning("the role may not set its own defaults; each session sets them instead", settings=refused)

    in_transaction(engine, apply, within_s=LONG_S)


def config(conn: Connection | None = None) -> Config:
    """Make Alembic's configuration over an open connection."""
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    alembic.attributes["connection"] = conn
    return alembic
