"""The audit log: who has changed what."""

from collections.abc import Iterator
from typing import Any

from pacioli_client.answers.audit import AuditEntry
from pacioli_client.wire import Wire


class Audit:
    """The requests of ``/audit``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def list(self, *, limit: int = 100, **filters: Any) -> Iterator[AuditEntry]:
        """Iterate over the rows that match, newest first. A filter is ``field_operator=value``; a page has ``limit``."""
        return self._wire.rows(AuditEntry, "/audit", {"limit": limit, **filters})
