"""The row of the log: one definition of its columns, and of what the ledger does with each.

The order of the fields is that of the columns in COPY, in every statement that reads a row, and in the digest. A test
compares them with the table.
"""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any, get_type_hints

import msgspec

from core.ledger.rules import chain

DIGEST_VERSION = 1
"""The digest of rows that are appended now. A column that is added later is covered from the next version on."""


class Column(msgspec.Struct, frozen=True):
    """What the ledger does with a column besides storing it."""

    digest_since: int | None
    """The first version of the digest that covers the column; None when none does."""
    repeated_as: str | None = None
    """A repeated reference must repeat the value. This is the name that the client gave it."""


_COVERED = Column(1)


class LogRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A transaction as the log stores it. Before it is accepted, its position has the defaults.

    Amounts are minor units. A scheduled transaction is read as a row without a position, too.
    """

    seq: Annotated[int, _COVERED] = 0
    """Position in the order of acceptance, from 1."""
    id: Annotated[str, _COVERED]
    """Text of a time-ordered UUID."""
    reference: Annotated[str, _COVERED]
    kind: Annotated[int, Column(1, "inflight")]
    """A ``Kind``."""
    queue: Annotated[int | None, _COVERED] = None
    """None in a split: its legs are in queues."""
    source: Annotated[int | None, Column(1, "source")]
    """Key of the balance that is debited. None where a split has several."""
    destination: Annotated[int | None, Column(1, "destination")]
    """Key of the balance that is credited. None where a split has several."""
    amount: Annotated[int, Column(1, "amount")]
    """0 in a commit, void or refund: all that is left."""
    currency: Annotated[str, Column(1, "currency")]
    precision: Annotated[int, Column(1, "precision")]
    description: Annotated[str, Column(1, "description")]
    allow_overdraft: Annotated[bool, Column(1, "allow_overdraft")] = False
    overdraft_limit: Annotated[int | None, Column(1, "overdraft_limit")] = None
    hold_seq: Annotated[int | None, Column(1, "transaction")] = None
    """The hold that a commit or void settles."""
    refund_of: Annotated[int | None, Column(1, "transaction")] = None
    """The posting that a refund gives back."""
    group_first: Annotated[int | None, _COVERED] = None
    """First seq of the atomic group; None outside one."""
    group_last: Annotated[int | None, _COVERED] = None
    parent: Annotated[str | None, _COVERED] = None
    """ID of the transaction or batch that this belongs to."""
    effective_date: Annotated[datetime | None, Column(1, "effective_date")] = None
    meta_data: Annotated[str | None, Column(1, "meta_data")] = None
    """JSON text of an object. A repetition may write the same object differently."""
    terms: Annotated[str | None, _COVERED] = None
    """JSON text of ``Terms``, which a repetition compares field by field."""
    accepted_at: Annotated[datetime | None, _COVERED] = None
    digest: Annotated[bytes | None, Column(None)] = None
    """Hash over the covered columns and the digest of the row before. None in rows older than the chain."""

    @property
    def transaction_id(self) -> str:
        return f"txn_{self.id}"


HINTS: dict[str, Any] = get_type_hints(LogRow)
"""The type of each column, in order."""

COLUMNS: dict[str, Column] = {
    name: hint.__metadata__[0] for name, hint in get_type_hints(LogRow, include_extras=True).items()
}
"""What the ledger does with each column, in order."""

REPEATED = [(name, column.repeated_as) for name, column in COLUMNS.items() if column.repeated_as is not None]
"""What a repeated reference must repeat: the column, and the name that the client gave it."""


def covered_by(version: int) -> list[str]:
    """The columns that this version of the digest covers, in its order."""
    return [name for name, column in COLUMNS.items() if (column.digest_since or version + 1) <= version]


_covered = attrgetter(*covered_by(DIGEST_VERSION))


def digest_of(row: LogRow, before: bytes) -> bytes:
    """The digest that a row must have after one with the digest ``before``."""
    return chain.digest(before, _covered(row))


def row_of(values: Sequence[Any]) -> LogRow:
    """A row from its values in the order of the columns."""
    return msgspec.convert(values, LogRow)
