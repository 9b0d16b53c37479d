"""Pledges: the hash of what was accepted for later, such as a scheduled transaction, a funding job, or a limit of a balance.

What waits for its date is not in the log yet, so no digest covers it. Its hash is kept when it is accepted, in a chain of its
own that the notary seals. Before it is done, its hash is computed again. What was altered is refused, and pays nobody.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from core.ledger.rules.log_row import LogRow

START = bytes(32)
"""The hash before the first pledge."""

_CONTENT, _LINK = b"\x00pacioli pledge 1\n", b"\x02pacioli pledge 1\n"

_encode = msgspec.json.Encoder().encode


class Of(StrEnum):
    """The kinds of things that are pledged."""

    SCHEDULED = "scheduled"
    FUNDING = "funding"
    LIMIT = "limit"
    APPROVAL = "approval"


class Pledge(NamedTuple):
    """The content of something that waits, before it has a place in the chain."""

    id: str
    """The text of its UUID."""
    of: Of
    digest: bytes


class PledgeRow(NamedTuple):
    """A pledge as it is stored."""

    number: int
    id: str
    of: str
    digest: bytes
    hash: bytes


def content(of: Of, values: Sequence[Any]) -> bytes:
    """Compute the hash over the values of what waits."""
    return sha256(_CONTENT + _encode((of, values))).digest()


def link(before: bytes, number: int, pledge: Pledge) -> bytes:
    """Compute the hash of a pledge, over the hash before it."""
    return sha256(_LINK + before + _encode((number, pledge.id, pledge.of, pledge.digest.hex()))).digest()


def of_scheduled(row: LogRow, legs: str, due_at: datetime) -> Pledge:
    """Make the pledge of a scheduled transaction from its row, the JSON text of its legs, and its date."""
    values = (
        row.id, row.reference, row.kind, row.source, row.destination, row.amount, row.currency, row.precision,
        row.description, row.allow_overdraft, row.overdraft_limit, row.parent, _utc(row.effective_date), row.meta_data,
        row.terms or "{}", row.actor, legs, _utc(due_at),
    )  # fmt: skip
    return Pledge(row.id, Of.SCHEDULED, content(Of.SCHEDULED, values))


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC)
