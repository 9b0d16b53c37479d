"""Merkle trees as in RFC 6962: one hash over many leaves, and short proofs that a leaf is among them.

A node is hashed with the byte 1 in front, and every leaf is a hash of something that begins with the byte 0. So no node can
pass for a leaf. A level with an odd number of hashes hands its last one up as it is.
"""

from collections.abc import Sequence
from hashlib import sha256

NODE = b"\x01"

EMPTY = sha256(b"").digest()
"""The root over no leaves."""


def root(leaves: Sequence[bytes]) -> bytes:
    """Compute the hash over all leaves, in their order."""
    level = list(leaves)
    while len(level) > 1:
        level = _above(level)
    return level[0] if level else EMPTY


def levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Compute the levels of a tree below its root, from the leaves up. Paths of many leaves are found in them."""
    level, found = list(leaves), []
    while len(level) > 1:
        found.append(level)
        level = _above(level)
    return found


def level(leaves: Sequence[bytes], height: int) -> list[bytes]:
    """Compute the nodes so many levels above the leaves. Each is the root over its own leaves."""
    found = list(leaves)
    for _ in range(height):
        if len(found) > 1:
            found = _above(found)
    return found


def path_in(levels: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """Return the hashes that lead from a leaf to the root: the neighbour on each level, from the leaves up."""
    found = []
    for level in levels:
        if (beside := index ^ 1) < len(level):
            found.append(level[beside])
        index >>= 1
    return found


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the path of one leaf."""
    return path_in(levels(leaves), index)


def root_of(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Compute the root over ``size`` leaves from one leaf and its path. None is for a path of another length."""
    if not 0 <= index < size:
        return None
    found, last, ahead = leaf, size - 1, list(path)
    while last:
        if index & 1 or index < last:
            if not ahead:
                return None
            beside = ahead.pop(0)
            found = sha256(NODE + (beside + found if index & 1 else found + beside)).digest()
        index, last = index >> 1, last >> 1
    return None if ahead else found


def _above(level: list[bytes]) -> list[bytes]:
    above = [sha256(NODE + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
    if len(level) % 2:
        above.append(level[-1])
    return above
