"""Defines an event, its position in the feed, and a page of the feed."""

import re
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from core.base.answers import Members, Time
from core.base.errors import ErrorCode, InvalidRequest

_CURSOR = re.compile(r"([0-9]{1,18})\.([0-9]{1,9})", re.ASCII)


class Position(NamedTuple):
    """A position in the feed. Its text is the cursor that clients send."""

    seq: int
    """The sequence of a transaction, in the order of acceptance."""
    n: int
    """The number within the events of that sequence."""

    def __str__(self) -> str:
        return f"{self.seq}.{self.n}"


START = Position(0, 0)
"""The position before the first event."""


def position_of(cursor: str) -> Position:
    """Read a cursor.

    Raises:
        InvalidRequest: it is none.
    """
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        text = "must be the next of a page, or the position of an event, such as 1284.1"
        raise InvalidRequest([("after", text)], ErrorCode.GEN_VALIDATION_ERROR)
    return Position(int(match[1]), int(match[2]))


Cursor = Annotated[str, Meta(pattern=r"^[0-9]{1,18}\.[0-9]{1,9}$")]
"""The text of a position."""


class Event(Struct, frozen=True, kw_only=True):
    """A fact that changed the ledger. It is the same at every reading."""

    id: str
    """It names the event for ever, so a reader can drop what it has seen."""
    position: Cursor
    """Its position in the feed. The events after it are read with ``after``."""
    sequence: int
    """The sequence of its transaction, or of the last one that was accepted before it."""
    type: str
    """The kind of the event, such as transaction.applied."""
    at: Time
    data: Members
    """The thing that it happened to, as it was then: what GET of the resource answers."""

    @property
    def place(self) -> Position:
        """Its position."""
        return position_of(self.position)


class Held(Struct, frozen=True, kw_only=True):
    """The thing that holds the feed back: the oldest transaction that is not decided."""

    queue: int
    sequence: int
    """Its sequence. The feed ends before it."""
    since: Time
    """When it was accepted."""


class Page(Struct, frozen=True, kw_only=True):
    """A page of the feed."""

    events: list[Event]
    next: Cursor
    """The cursor of the next page. It moves on even where no event has one of the types."""
    more: bool
    """Whether the next page has events now, as far as that is known. If not, the feed ends here for the moment."""
    held: Held | None
    """The transaction that holds the feed back. It is null when all that was accepted is decided."""
