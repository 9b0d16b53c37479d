"""The audit log: who has changed what."""

from typing import Any

from pacioli_client.answers.audit import AuditEntry
from pacioli_client.calls import Listed, Resource, W, listing


class Audit(Resource[W]):
    """The requests of ``/audit``."""

    @listing
    def list(self, /, *, limit: int = 100, **filters: Any) -> Listed[AuditEntry]:
        """Iterate over the rows that match, newest first. A filter is ``field_operator=value``; a page has ``limit``."""
        return Listed(AuditEntry, "/audit", {"limit": limit, **filters})
