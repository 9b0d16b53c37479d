"""Keeps two levels of the trees under a large seal, so that a proof needs the leaves of one block only.

The nodes of the lower level stand for ``BLOCK`` leaves each, and those of the upper level for ``GROUP`` nodes each, so that a
path needs no more than one group and the upper level. They are computed with the seal, and nobody needs to believe them: a
path over them either leads to the root that is signed, or it is not used. Older releases kept the lower level alone.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from core.base.db import driver
from core.base.rows import array
from core.notary import merkle

HEIGHT = 5

BLOCK = 1 << HEIGHT
"""So many leaves are under one node. A seal with no more has no nodes."""

_UPPER = 4

GROUP = 1 << _UPPER
"""So many nodes are under one of the upper level."""

_HASH = 32

Start = tuple[int, int]
"""Queue and seq of an outcome."""


class Nodes(NamedTuple):
    """The lower level of the trees under a seal."""

    rows: list[bytes]
    outcomes: list[bytes]
    starts: list[Start]
    """The first outcome under each node. Outcomes are sorted by queue, and then by seq."""


class Kept(NamedTuple):
    """The nodes of a seal as they are kept: the hashes of the lower level, and then of the upper one."""

    rows: bytes
    outcomes: bytes
    starts: list[Start]


_ADD = """
INSERT INTO seal_nodes (seal, rows, outcomes, starts)
VALUES (%(seal)s, %(rows)s, %(outcomes)s, %(starts)s)
ON CONFLICT DO NOTHING
"""

_FIND = """
SELECT seal, rows, outcomes, starts
FROM seal_nodes
WHERE seal = ANY(%(seals)s::bigint[])
"""

# It reads the seals beyond ``after``, one after the other.
_WITHOUT = """
SELECT number
FROM seals
WHERE number > %(after)s
  AND last_seq - first_seq >= %(block)s
  AND NOT EXISTS (SELECT FROM seal_nodes WHERE seal = number)
ORDER BY number
LIMIT 1
"""

_starts = msgspec.json.Decoder(list[Start]).decode


def nodes_of(rows: Sequence[bytes], outcomes: Sequence[bytes], places: Sequence[Start]) -> Nodes:
    """Compute the nodes over the leaves of a seal. ``places`` has queue and seq of each outcome."""
    return Nodes(merkle.level(rows, HEIGHT), merkle.level(outcomes, HEIGHT), list(places[::BLOCK]))


def add(conn: Connection, seal: int, nodes: Nodes) -> None:
    """Add the nodes of a seal, if it is large. The second to add them does nothing."""
    if max(len(nodes.rows), len(nodes.outcomes)) > 1:
        values = {"rows": _joined(nodes.rows), "outcomes": _joined(nodes.outcomes)}
        driver(conn).execute(_ADD, {"seal": seal, "starts": msgspec.json.encode(nodes.starts).decode(), **values})


def find(conn: Connection, seals: Collection[int]) -> dict[int, Kept]:
    """Find the nodes of seals, by their numbers. Seals without nodes are left out."""
    found = {}
    for seal, rows, outcomes, starts in driver(conn).execute(_FIND, {"seals": array(seals)}).fetchall():
        with suppress(msgspec.MsgspecError):
            found[seal] = Kept(rows, outcomes, _starts(starts))
    return found


def next_without(conn: Connection, *, after: int) -> int | None:
    """Find the next large seal that has no nodes."""
    row = driver(conn).execute(_WITHOUT, {"after": after, "block": BLOCK}).fetchone()
    return None if row is None else row[0]


def path_of(leaves: Sequence[bytes], kept: bytes, place: tuple[int, int], root: str) -> list[bytes] | None:
    """Make the path of a leaf from the leaves of its block, and the nodes that are kept of its tree.

    ``place`` has the position of the leaf, and the size of the tree.

    Returns None when the path does not lead to the root.
    """
    index, size = place
    within, block = index % BLOCK, index // BLOCK
    if within >= len(leaves):
        return None
    path = merkle.path(leaves, within) + _path_over(kept, block, -(-size // BLOCK))
    found = merkle.root_of(leaves[within], index, size, path)
    return path if found is not None and found.hex() == root else None


def _path_over(kept: bytes, block: int, count: int) -> list[bytes]:
    """Make the path from a node of the lower level, which has ``count`` of them."""
    if len(kept) != (count + -(-count // GROUP)) * _HASH:
        return merkle.path(_hashes(kept), block)
    first = block - block % GROUP
    group = _hashes(kept[first * _HASH : min(first + GROUP, count) * _HASH])
    return merkle.path(group, block - first) + merkle.path(_hashes(kept[count * _HASH :]), block // GROUP)


def _joined(nodes: Sequence[bytes]) -> bytes:
    return b"".join([*nodes, *merkle.level(nodes, _UPPER)])


def _hashes(joined: bytes) -> list[bytes]:
    return [joined[start : start + _HASH] for start in range(0, len(joined), _HASH)]
