"""Defines a row of the audit log, and the hash that chains it to the row before."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from operator import attrgetter
from typing import Any

import msgspec

START = bytes(32)
"""The hash before the first row."""


class AuditRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A row of the audit log. The fields have the order of the columns, and of the hash."""

    id: int
    """Position, from 1, without a gap."""
    created_at: datetime
    actor: str
    """The ID of the key that asked for it, or ``master``, ``anonymous`` or the name of a part."""
    owner: str | None
    """The owner of that key."""
    part: str
    """The part of the service that did it."""
    request_id: str | None
    action: str
    """An ``Action``; a later release may know more of them."""
    subject: str
    details: str
    """JSON text of an object."""
    hash: bytes = b""
    """Over all other columns, and the hash of the row before."""


COLUMNS = AuditRow.__struct_fields__
_encode = msgspec.json.Encoder().encode
_covered = attrgetter(*COLUMNS[:-1])


def hash_of(row: AuditRow, before: bytes) -> bytes:
    """Compute the hash of a row that follows a row with the hash ``before``.

    It is the SHA-256 over that hash and the other columns as a JSON array, which is unambiguous.
    """
    return sha256(before + _encode(_covered(row))).digest()


def row_of(values: Sequence[Any]) -> AuditRow:
    """Make a row from its values in the order of the columns."""
    return AuditRow(**dict(zip(COLUMNS, values, strict=True)))
