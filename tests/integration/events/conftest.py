"""The feed of events as a reader sees it."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine

from core.base.db import snapshot
from core.events import feed
from core.events.answers import START, Event, Page, Position, position_of
from core.events.types import EVERYTHING, Types, types_of

Read = Callable[..., list[Event]]


@pytest.fixture
def read(engine: Engine) -> Read:
    """Reads the feed to its end, or from one position, in pages of so many events."""

    def read(*types: str, after: Position = START, limit: int = 1000) -> list[Event]:
        return all_of(engine, types_of(types) if types else EVERYTHING, after, limit)[0]

    return read


def page_of(engine: Engine, types: Types = EVERYTHING, after: Position = START, limit: int = 1000) -> Page:
    with snapshot(engine) as conn:
        return feed.read(conn, after, limit=limit, types=types)


def all_of(engine: Engine, types: Types, after: Position, limit: int) -> tuple[list[Event], Position]:
    """Read to the end of the feed. Returns the events, and the position to go on from."""
    events: list[Event] = []
    while True:
        page = page_of(engine, types, after, limit)
        assert len(page.events) <= limit
        events += page.events
        if position_of(page.next) == after or not page.more:
            return events, position_of(page.next)
        after = position_of(page.next)


def data_of(event: Event) -> Any:
    return msgspec.json.decode(event.data)
