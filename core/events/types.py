"""Reads the types of events that a client asks for, which may have wildcards."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from core.base.errors import ErrorCode, InvalidRequest
from core.journal.event_types import ACCEPTED, BATCH, BULK, DECIDED, FROM_LOG, EventType


class Types(NamedTuple):
    """The types that a reader asks for, and where they are found."""

    wanted: frozenset[EventType]

    @property
    def of_acceptance(self) -> bool:
        """Whether nothing is wanted but what was accepted. Such a reader waits for no decision."""
        return self.wanted <= ACCEPTED

    @property
    def kept_for_ever(self) -> bool:
        """Whether the log and the outcomes tell all that is wanted."""
        return self.wanted <= FROM_LOG

    @property
    def decided(self) -> list[EventType]:
        """The types that outcomes tell."""
        return sorted(self.wanted & DECIDED)

    @property
    def queued(self) -> bool:
        """Whether acceptances are wanted."""
        return EventType.TRANSACTION_QUEUED in self.wanted

    @property
    def stored(self) -> list[str]:
        """The types of the rows that may have something that is wanted."""
        own = [str(each) for each in self.wanted - BULK - {EventType.TRANSACTION_QUEUED}]
        return sorted([*own, BATCH] if self.wanted & BULK else own)


EVERYTHING = Types(frozenset(EventType) - {EventType.TRANSACTION_QUEUED})
"""The types of a reader that names none. What was accepted comes only to those that ask for it by its name."""


def types_of(patterns: Iterable[str], field: str = "types") -> Types:
    """Find the types that patterns such as ``transaction.*`` stand for. No pattern stands for every type.

    A wildcard never stands for transaction.queued.

    Raises:
        InvalidRequest: a pattern stands for nothing.
    """
    found: set[EventType] = set()
    given = [pattern for pattern in patterns if pattern]
    for pattern in given:
        matching = {each for each in EventType if each == pattern}
        matching = matching or {each for each in EVERYTHING.wanted if fnmatchcase(each, pattern)}
        if not matching:
            text = f"has an unknown type '{pattern[:60]}'; the types are {', '.join(EventType)}"
            raise InvalidRequest([(field, text)], ErrorCode.GEN_VALIDATION_ERROR)
        found |= matching
    return Types(frozenset(found)) if given else EVERYTHING
