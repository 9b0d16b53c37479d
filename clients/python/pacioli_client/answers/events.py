"""Answers about the feed of events."""

from datetime import datetime
from typing import Any

from msgspec import Struct


class Event(Struct, frozen=True, kw_only=True):
    """A fact that changed the ledger. It is the same at every reading."""

    id: str
    """It names the event for ever, so you can drop what you have seen."""
    position: str
    """Its position in the feed. The events after it are read with ``after``."""
    sequence: int
    type: str
    """The kind of the event, such as transaction.applied."""
    at: datetime
    data: dict[str, Any]
    """The thing that it happened to, as it was then."""


class Held(Struct, frozen=True, kw_only=True):
    """The oldest transaction that is not decided, before which the feed ends."""

    queue: int
    sequence: int
    since: datetime


class EventPage(Struct, frozen=True, kw_only=True):
    """A page of the feed."""

    events: list[Event]
    next: str
    """The cursor of the next page."""
    more: bool
    """Whether there is more to read now."""
    held: Held | None
