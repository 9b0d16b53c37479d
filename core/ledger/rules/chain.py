"""Computes the hash chain, which shows that a row was altered, added or removed.

A row of the log gets a digest when it is accepted. Since version 2 of the digest, all columns of the row are hashed to a
leaf, and the digest is a hash over the digest before it and the leaf. So each digest vouches for everything that was
accepted before it, and a row can be shown by its leaf without the rows around it. Version 1 had no leaf, and hashed the
digest before it and the columns at once. A row says by which version it was written.

An outcome gets a hash over all its columns and the hash before it in its queue. The verifier decides outcomes anew to
check that they fit their rows of the log.

An attacker who can write to the database can also compute all hashes anew. The signature of a checkpoint, which says what
the hashes were at a time, cannot be made without the key.

Each kind of hash begins with bytes of its own, so that no hash can stand for one of another kind.
"""

import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

START = bytes(32)
"""The hash before the first hash of a queue, and before the first digest."""

SIGNED, UNSIGNED = "hmac-sha256:", "sha256:"
"""The beginning of a checkpoint's signature: made with a key, or a plain hash that anybody can make."""

LINK = b"\x02"
"""The first byte of what is hashed to a digest. RFC 6962 has 0 for a leaf and 1 for a node of a Merkle tree."""

LEAVES = {1: b"\x00pacioli row 1\n", 2: b"\x00pacioli row 2\n"}
"""The beginning of what is hashed to a leaf, by the version of the digest."""

# JSON is unambiguous, because text is quoted, numbers are exact and nothing is null. It is faster than length prefixes.
_encode = msgspec.json.Encoder().encode


def digest_1(before: bytes, row: Sequence[Any]) -> bytes:
    """Compute a digest of version 1, over the digest before and the columns of a row as a JSON array in their order."""
    return sha256(before + _encode(row)).digest()


def digest(before: bytes, leaf: bytes) -> bytes:
    """Compute a digest, over the digest before and the leaf of a row of the log."""
    return sha256(LINK + before + leaf).digest()


def leaf(version: int, row: Sequence[Any]) -> bytes:
    """Compute the leaf of a row of the log, over the columns that the version covers as a JSON array in their order."""
    return leaf_of_text(version, _encode(row))


def leaf_of_text(version: int, text: bytes) -> bytes:
    """Compute the leaf of a row of the log from the JSON array of its values."""
    return sha256(LEAVES[version] + text).digest()


def leaves_of(version: int, rows: Iterable[Sequence[Any]]) -> list[bytes]:
    """Compute the leaves of rows of the log, as ``leaf`` does one by one."""
    start = LEAVES[version]
    return [sha256(start + _encode(row)).digest() for row in rows]


def leaves_of_texts(version: int, texts: Iterable[bytes]) -> list[bytes]:
    """Compute the leaves of rows of the log, as ``leaf_of_text`` does one by one."""
    start = LEAVES[version]
    return [sha256(start + text).digest() for text in texts]


def digests_of(before: bytes, leaves: Iterable[bytes]) -> list[bytes]:
    """Compute the digests of rows that follow each other, as ``digest`` does one by one."""
    return [before := sha256(LINK + before + leaf).digest() for leaf in leaves]


def link(before: bytes, line: str) -> bytes:
    """Compute the hash of an outcome. ``line`` is its row as COPY text, and ``before`` has a fixed length."""
    return sha256(before + line.encode()).digest()


def links_of(before: bytes, lines: Iterable[bytes]) -> list[bytes]:
    """Compute the hashes of outcomes that follow each other in a queue, as ``link`` does one by one."""
    return [before := sha256(before + line).digest() for line in lines]


def signature(key: bytes | None, heads: str, at: datetime, before: str) -> str:
    """Sign a checkpoint: its content, its time, and the signature before it, which is blank for the first.

    The signature before it makes a removed checkpoint show in the next.
    """
    message = _encode((heads, at, before))
    if key is None:
        return UNSIGNED + sha256(message).hexdigest()
    return SIGNED + hmac.digest(key, message, "sha256").hex()
