"""The migrations folder makes and upgrades the database's tables, with Alembic.

Read ``upgrade`` first. ``versions/`` has one file for each change, in order. Alembic is configured in code, so there is no
ini file. A landed migration never changes, and ``core/base/tables/`` must describe what all of them make.
"""

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, Engine

from core.base.db import LONG_S, driver, set_defaults, without_transaction
from core.base.errors import TransientError
from core.base.faults import is_lock_timeout
from core.base.fence import in_transaction
from core.base.locks import AdvisoryLock, take
from core.journal.actions import Action, Event, text_of
from core.journal.record import record
from core.migrations.roles import Role, provide

if TYPE_CHECKING:
    from alembic.config import Config  # Each import here takes 0.2 s of CPU, and only who migrates needs it.

logger = structlog.get_logger()


LOCK_TIMEOUT = "300ms"
"""A migration waits for a table for so long. Everybody who wants that table after it waits as well."""

PATIENCE_S = 600.0
"""A migration that finds tables in use tries again for so long."""


def upgrade(engine: Engine, revision: str = "head", roles: Sequence[Role] = ()) -> list[str]:
    """Bring the database up to date in one transaction. A second caller waits, and then finds nothing to do.

    A table that a long reader uses is not waited for: the transaction ends, and is tried again a moment later. So posts go
    on meanwhile. What takes long or may not be in a transaction follows the commit. ``roles`` get their rights in the same
    transaction. Returns the statements for them that this connection may not run.

    Raises:
        TransientError: another migration took too long, a table was in use for too long, or the database was gone.
    """
    deadline = time.monotonic() + PATIENCE_S
    while (left := _try_to_upgrade(engine, revision, roles, is_last=time.monotonic() > deadline)) is None:
        time.sleep(random.uniform(0.5, 1.0))
    _finish(engine)
    return left


def _finish(engine: Engine) -> None:
    """Do what migrations leave for after their commit, because it looks at every row or may not be in a transaction.

    Each ``afterwards`` of a migration is called in every upgrade, so it finds out by itself whether it is still to do.
    """
    from alembic.script import ScriptDirectory

    with without_transaction(engine, within_s=LONG_S) as conn:
        scripts = ScriptDirectory.from_config(config()).iterate_revisions(_revision(conn), "base")
        for script in reversed(list(scripts)):
            if (afterwards := getattr(script.module, "afterwards", None)) is not None:
                afterwards(conn)


def _try_to_upgrade(engine: Engine, revision: str, roles: Sequence[Role], *, is_last: bool) -> list[str] | None:
    """Upgrade, unless a table is in use. Returns what is left for the administrator, or None if it did not upgrade."""
    from alembic import command

    has_begun = False

    def apply(conn: Connection) -> list[str]:
        nonlocal has_begun
        has_begun = False
        take(conn, AdvisoryLock.MIGRATE)
        has_begun = True
        driver(conn).execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        before = _revision(conn)
        command.upgrade(config(conn), revision)
        _record(conn, before, _revision(conn))
        if refused := set_defaults(conn):
            logger.warning("the role may not set its own defaults; each session sets them instead", settings=refused)
        return provide(conn, roles)

    try:
        return in_transaction(engine, apply, within_s=LONG_S)
    except TransientError as error:
        if is_last or not has_begun or not is_lock_timeout(error):
            raise
        logger.info("a table is in use; the migration tries again")
        return None


def _revision(conn: Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(conn).get_current_revision()


def _record(conn: Connection, before: str | None, after: str | None) -> None:
    """Add to the audit log that the tables have changed. A revision older than that log has none."""
    if before != after and driver(conn).execute("SELECT to_regclass('audit') IS NOT NULL").fetchone() == (True,):
        event = Event(
            action=Action.MIGRATED, subject="schema", before=text_of(revision=before), after=text_of(revision=after)
        )
        record(conn, event)


def config(conn: Connection | None = None) -> "Config":
    """Make Alembic's configuration over an open connection."""
    from alembic.config import Config

    alembic = Config()
    alembic.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    alembic.attributes["connection"] = conn
    return alembic
