"""The hash chain: what makes an altered, added or missing row show.

A row of the log gets a digest over all its columns and the digest before it when it is accepted, so each vouches for
everything that was ever accepted before. An outcome gets a hash over all its columns and the hash before it in its queue.
That outcomes fit their rows of the log needs no hash: they can be decided anew.

Whoever can write to the database can also compute all of this anew. What they cannot make without the key is the
signature of a checkpoint, which says what the hashes were at a time.
"""

import hmac
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

START = bytes(32)
"""What stands before the first hash of a queue, and before the first digest."""

SIGNED, UNSIGNED = "hmac-sha256:", "sha256:"
"""What a checkpoint's signature begins with: made with a key, or a plain hash that anybody can make."""

# JSON is unambiguous: text is quoted, numbers are exact, nothing is null. Faster than length prefixes in Python.
_encode = msgspec.json.Encoder().encode


def digest(before: bytes, row: Sequence[Any]) -> bytes:
    """SHA-256 over the digest before, and the columns of a row of the log as a JSON array in their order."""
    return sha256(before + _encode(row)).digest()


def link(before: bytes, line: str) -> bytes:
    """The hash of an outcome. ``line`` is its row as COPY text; a value of fixed length stands before it."""
    return sha256(before + line.encode()).digest()


def signature(key: bytes | None, heads: str, at: datetime, before: str) -> str:
    """Of a checkpoint: over what it says, when it was made, and the signature before it, blank for the first.

    So removing one of them shows in the next.
    """
    message = _encode((heads, at, before))
    if key is None:
        return UNSIGNED + sha256(message).hexdigest()
    return SIGNED + hmac.digest(key, message, "sha256").hex()
