"""Learns the ledger's identity from its database, and notices when it has changed."""

import structlog
from sqlalchemy import Engine

from core.base.db import reading
from core.doors.names import Names, names_of
from core.ledger.store import identity as identity_store

LOOK_S = 3.0
"""A process looks so often whether the ledger has another identity."""

logger = structlog.get_logger()


class Identity:
    """The identity of the ledger, as far as this process knows it.

    ``names`` is None until the database has been read once. A database that is away later changes nothing.
    """

    def __init__(self, engine: Engine, *, on_redis: bool) -> None:
        self._engine = engine
        self._on_redis = on_redis
        self._trouble = ""
        self.names: Names | None = None

    def look(self) -> Names | None:
        """Read the identity, and return the names that this process knows then. Never fails."""
        try:
            with reading(self._engine) as conn:
                ledger = identity_store.read(conn).id
        except Exception as error:  # The database is away, or not migrated yet. Whoever needs the names looks again.
            self._tell(repr(error.__cause__ or error))
            return self.names
        self._trouble = ""
        names = names_of(ledger, on_redis=self._on_redis)
        if self.names not in (None, names):
            logger.warning("the ledger has another identity", ledger=str(ledger))
        self.names = names
        return names

    def _tell(self, trouble: str) -> None:
        """Log why the identity is not known, once for each reason. A ledger that has no such table is to be migrated."""
        if self.names is None and trouble != self._trouble:
            logger.warning(
                "the ledger's identity cannot be read yet; see that `pacioli migrate` has run", error=trouble
            )
        self._trouble = trouble
