"""The answers about the audit log."""

from msgspec import UNSET, Struct, UnsetType

from core.base.answers import Members, Time, members
from core.journal.audit_row import AuditRow


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One thing that was done, and by whom."""

    sequence: int
    """The position in the audit log, from 1."""
    created_at: Time
    actor: str
    """The id of the key that asked for it; master, anonymous, or the name of a part that did it by itself."""
    owner: str | None
    """The owner of that key."""
    part: str
    """The part of the service that did it."""
    request_id: str | None
    action: str
    """The kind of write, such as metadata.changed."""
    subject: str
    """The id or name of what it was done to."""
    details: Members
    """The values before and after, and what else there is to say."""
    hash: str
    """The hash over the row and the hash of the row before."""


class AuditPage(Struct, frozen=True):
    """A page of the audit log, and how many rows match in all."""

    data: list[AuditEntry]
    total_count: int
    truncated: bool | UnsetType = UNSET
    """true when the look or the counting ended early. The count is then too low, and the Link header goes on."""


def entry_of(row: AuditRow) -> AuditEntry:
    """Make the answer of a row."""
    return AuditEntry(
        sequence=row.id,
        created_at=row.created_at,
        actor=row.actor,
        owner=row.owner,
        part=row.part,
        request_id=row.request_id,
        action=row.action,
        subject=row.subject,
        details=members(row.details),
        hash=row.hash.hex(),
    )
