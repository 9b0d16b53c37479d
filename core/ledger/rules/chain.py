"""Computes the hash chain, which shows that a row was altered, added or removed.

A row of the log gets a digest over all its columns and the digest before it when it is accepted. So each digest vouches
for everything that was accepted before it. An outcome gets a hash over all its columns and the hash before it in its
queue. The verifier decides outcomes anew to check that they fit their rows of the log.

An attacker who can write to the database can also compute all hashes anew. The signature of a checkpoint, which says what
the hashes were at a time, cannot be made without the key.
"""

import hmac
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

START = bytes(32)
"""The hash before the first hash of a queue, and before the first digest."""

SIGNED, UNSIGNED = "hmac-sha256:", "sha256:"
"""The beginning of a checkpoint's signature: made with a key, or a plain hash that anybody can make."""

# JSON is unambiguous, because text is quoted, numbers are exact and nothing is null. It is faster than length prefixes.
_encode = msgspec.json.Encoder().encode


def digest(before: bytes, row: Sequence[Any]) -> bytes:
    """Compute the SHA-256 over the digest before and the columns of a row of the log, as a JSON array in their order."""
    return sha256(before + _encode(row)).digest()


def link(before: bytes, line: str) -> bytes:
    """Compute the hash of an outcome. ``line`` is its row as COPY text, and ``before`` has a fixed length."""
    return sha256(before + line.encode()).digest()


def signature(key: bytes | None, heads: str, at: datetime, before: str) -> str:
    """Sign a checkpoint: its content, its time, and the signature before it, which is blank for the first.

    The signature before it makes a removed checkpoint show in the next.
    """
    message = _encode((heads, at, before))
    if key is None:
        return UNSIGNED + sha256(message).hexdigest()
    return SIGNED + hmac.digest(key, message, "sha256").hex()
