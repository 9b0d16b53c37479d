"""The hash chain: what makes an altered, added or missing row show.

A row of the log gets a digest over all its columns when it is accepted. An outcome gets a hash over all its columns, the
digest of its log row and the hash before it in its queue, so each hash vouches for everything the queue ever did.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec

START = bytes(32)
"""What stands before the first hash of a queue."""

# JSON is unambiguous: text is quoted, numbers are exact, nothing is null. Faster than length prefixes in Python.
_encode = msgspec.json.Encoder().encode


def digest(row: Sequence[Any]) -> bytes:
    """SHA-256 over the columns of a row of the log, as a JSON array in the order of the columns."""
    return sha256(_encode(row)).digest()


def link(before: bytes, log_digest: bytes | None, line: str) -> bytes:
    """The hash of an outcome. ``line`` is its row as COPY text; two values of fixed length stand before it."""
    return sha256(before + (log_digest or START) + line.encode()).digest()
