"""Defines the row of the log: its columns, and what the ledger does with each.

The fields have the order of the columns in COPY, in every statement that reads a row, and in the digest. The two that the
digest cannot cover are the last. A test compares the fields with the table.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec.structs import astuple

from core.ledger.rules import chain

DIGEST_VERSION = 2
"""The version of the digest of new rows. A column that is added later is covered from the next version on."""


class Column(msgspec.Struct, frozen=True):
    """The rules of a column: whether the digest covers it, and whether a repeated reference must repeat it."""

    digest_since: int | None
    """The first version of the digest that covers the column. None means that no version does."""
    repeated_as: str | None = None
    """The client's name of the value, if a repeated reference must repeat it."""


_COVERED = Column(1)


class LogRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A transaction as the log stores it. Amounts are minor units.

    A transaction that is not accepted yet, such as a scheduled one, has the defaults as its position.
    """

    seq: Annotated[int, _COVERED] = 0
    """Position in the order of acceptance, from 1."""
    id: Annotated[str, _COVERED]
    """The text of a time-ordered UUID."""
    reference: Annotated[str, _COVERED]
    kind: Annotated[int, Column(1, "inflight")]
    """A ``Kind``."""
    queue: Annotated[int | None, _COVERED] = None
    """None for a split, whose legs are in queues."""
    source: Annotated[int | None, Column(1, "source")]
    """The key of the debited balance. None for a split that has several."""
    destination: Annotated[int | None, Column(1, "destination")]
    """The key of the credited balance. None for a split that has several."""
    amount: Annotated[int, Column(1, "amount")]
    """The amount. In a commit_inflight, void_inflight or refund, 0 stands for all that is left."""
    currency: Annotated[str, Column(1, "currency")]
    precision: Annotated[int, Column(1, "precision")]
    description: Annotated[str, Column(1, "description")]
    allow_overdraft: Annotated[bool, Column(1, "allow_overdraft")] = False
    overdraft_limit: Annotated[int | None, Column(1, "overdraft_limit")] = None
    hold_seq: Annotated[int | None, Column(1, "transaction")] = None
    """The hold that a commit_inflight or void_inflight settles."""
    refund_of: Annotated[int | None, Column(1, "transaction")] = None
    """The posting that a refund gives back."""
    group_first: Annotated[int | None, _COVERED] = None
    """The first seq of the atomic group. None outside of a group."""
    group_last: Annotated[int | None, _COVERED] = None
    parent: Annotated[str | None, _COVERED] = None
    """The ID of the transaction or batch that this belongs to."""
    effective_date: Annotated[datetime | None, Column(1, "effective_date")] = None
    meta_data: Annotated[str | None, Column(1, "meta_data")] = None
    """The JSON text of an object. A repetition may write the same object differently."""
    terms: Annotated[str | None, _COVERED] = None
    """The JSON text of ``Terms``, which a repetition compares field by field."""
    accepted_at: Annotated[datetime | None, _COVERED] = None
    request_id: Annotated[str | None, Column(2)] = None
    """The request, funding run or tick that brought it. The log of the service names it too."""
    actor: Annotated[str | None, Column(2)] = None
    """The ID of the key that asked for it, however long ago. None in rows from before there were keys."""
    part: Annotated[str | None, Column(2)] = None
    """A ``Part`` of ``core/base/actors.py``. None in rows from before the second version of the digest."""
    digest: Annotated[bytes | None, Column(None)] = None
    """The hash over the covered columns and the digest of the row before. None in rows older than the chain."""
    digest_version: Annotated[int, Column(None)] = DIGEST_VERSION
    """The version of its digest. It is part of what is hashed, so a row cannot pass for one of another version."""

    @property
    def transaction_id(self) -> str:
        """The ID that clients use."""
        return f"txn_{self.id}"


COLUMNS: dict[str, Column] = {
    name: hint.__metadata__[0] for name, hint in get_type_hints(LogRow, include_extras=True).items()
}
"""The rules of each column, in the order of columns."""

REPEATED = [(name, column.repeated_as) for name, column in COLUMNS.items() if column.repeated_as is not None]
"""The columns that a repeated reference must repeat, each with the client's name of it."""


def covered_by(version: int) -> list[str]:
    """List the columns that a version of the digest covers, in its order."""
    return [name for name, column in COLUMNS.items() if (column.digest_since or version + 1) <= version]


_covered = {version: attrgetter(*covered_by(version)) for version in chain.LEAVES}


def values_of(row: LogRow) -> tuple[Any, ...]:
    """Return the values of a row that the version of its digest covers."""
    values: tuple[Any, ...] = _covered[row.digest_version](row)
    return values


_encode = msgspec.json.Encoder().encode
_UNSEALED = b",null,%d]" % DIGEST_VERSION
"""The end of the JSON of a row that has no digest yet."""


def text_of_new(row: LogRow) -> bytes:
    """Write the JSON array of the values of a new row that its digest covers. The row has no digest yet.

    It is what ``leaf_of`` hashes, and takes a third of the time.
    """
    return _encode(row)[: -len(_UNSEALED)] + b"]"


_HEAD = LogRow.__struct_fields__.index("amount") + 1
"""The number of columns up to the amount. The others are the same in many rows of a bulk."""


def tail_of_new(row: LogRow) -> bytes:
    """Write the end of ``text_of_new``: all that follows the amount."""
    return text_of_new(row)[len(_encode(astuple(row)[:_HEAD])) - 1 :]


def texts_of_new(heads: Iterable[tuple[Any, ...]], tails: Iterable[bytes]) -> list[bytes]:
    """Write rows as ``text_of_new`` does, from their columns up to the amount and from their tails."""
    return [head[:-1] + tail for head, tail in zip(map(_encode, heads), tails, strict=True)]


_SEALED = len(_encode(["", bytes(32), DIGEST_VERSION])) - len(_encode([""])) + 1
"""The length of the end of the JSON of a row that has a digest."""


def leaf_of(row: LogRow) -> bytes:
    """Compute the leaf of a row.

    Raises:
        KeyError: there is no such version of the digest.
    """
    if row.digest_version == DIGEST_VERSION and row.digest is not None and len(row.digest) == len(chain.START):
        return chain.leaf_of_text(DIGEST_VERSION, _encode(row)[:-_SEALED] + b"]")
    return chain.leaf(row.digest_version, _covered[row.digest_version](row))


def digest_of(row: LogRow, before: bytes) -> bytes:
    """Compute the digest of a row that follows a row with the digest ``before``.

    Raises:
        KeyError: there is no such version of the digest.
    """
    values = _covered[row.digest_version](row)
    if row.digest_version == 1:
        return chain.digest_1(before, values)
    return chain.digest(before, chain.leaf(row.digest_version, values))


def row_of(values: Sequence[Any]) -> LogRow:
    """Make a row from its values in the order of the columns."""
    return msgspec.convert(values, LogRow)
