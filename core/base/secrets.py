"""Values that no log, traceback or answer may show.

A ``Secret`` hides what it holds wherever Python writes a value by itself: in the repr of an object, in a log line, in the values
of a traceback. What settings hold is also remembered as text, and ``hide`` takes it out of every line of the log.
"""

import hmac
import json
from typing import Generic, TypeVar
from urllib.parse import quote

Held = TypeVar("Held", str, bytes)

HIDDEN = "***"

_LENGTH_MIN = 12
"""A shorter text may be part of an ordinary word, so it is not taken out of lines."""

_known: set[str] = set()


class Secret(Generic[Held]):
    """A text or key that is only seen by who calls ``reveal``."""

    __slots__ = ("_held",)

    def __init__(self, held: Held) -> None:
        self._held: Held = held

    def reveal(self) -> Held:
        """Return what it holds."""
        return self._held

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __eq__(self, other: object) -> bool:
        """Compare in a time that tells nothing."""
        return isinstance(other, Secret) and hmac.compare_digest(_bytes(self._held), _bytes(other._held))

    def __hash__(self) -> int:
        return hash(self._held)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written anywhere")


def remember(text: str) -> None:
    """Take this text out of every line from now on, in each form in which a line may have it."""
    if len(text) >= _LENGTH_MIN:
        _known.update((text, quote(text, safe=""), quote(text), json.dumps(text)[1:-1], repr(text)[1:-1]))


def hide(text: str) -> str:
    """Replace all that is remembered."""
    for secret in _known:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def _bytes(held: str | bytes) -> bytes:
    return held.encode(errors="surrogateescape") if isinstance(held, str) else held
