"""Makes the ways from leaves to the roots in seals.

Under a large seal, the leaves of one block are computed, and ``seal_nodes`` has the rest of the way. Where it has not, or
where that way does not lead to the root, all leaves of the seal are computed, which takes a tenth of a second.
"""

from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct
from sqlalchemy import Connection, Engine

from core.base.db import begin, snapshot
from core.notary import merkle, seal_nodes, seal_store
from core.notary.leaves import Party, outcome_leaf, party_leaf, sealed_leaf_of
from core.notary.seal_nodes import BLOCK, Nodes, Start
from core.notary.seals import Seal, Statement, read

_ALL = 2**31


class Way(Struct, frozen=True):
    """The way of a leaf to the root in a seal."""

    index: int
    size: int
    path: list[bytes]
    seal: Seal


class _Sealed(NamedTuple):
    """A seal that was read."""

    number: int
    seal: Seal
    statement: Statement
    earlier: Statement | None
    """The statement of the seal before it."""

    def above(self, queue: int) -> int:
        """Return the last outcome of a queue that the seal before has."""
        return self.earlier.queues.get(queue, (0, ""))[0] if self.earlier is not None else 0

    def last(self, queue: int) -> int:
        """Return the last outcome of a queue that this seal has."""
        return self.statement.queues.get(queue, (0, ""))[0]


class _Outcomes(NamedTuple):
    """Some outcomes in the order of their tree."""

    places: list[Start]
    leaves: list[bytes]


class Trees:
    """The trees of seals, as far as they are needed in one transaction. Everything is computed once."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self.parties: dict[int, Party] = {}
        self._hashes: dict[int, bytes] = {}
        self._seals: dict[int, _Sealed] = {}
        self._nodes: dict[int, Nodes | None] = {}
        self._rows: dict[tuple[int, int], list[bytes]] = {}
        """The leaves of rows from one seq to another."""
        self._outcomes: dict[tuple[int, int], _Outcomes] = {}
        """The outcomes of a block under a seal. Block -1 has all."""
        self._levels: dict[int, list[list[bytes]]] = {}
        """The levels above a list of hashes, by the identity of the list. All of these lists are kept."""

    def look_up(self, keys: set[int]) -> None:
        """Learn who balances are."""
        if unknown := keys - self.parties.keys():
            found = seal_store.parties(self._conn, unknown)
            self.parties |= found
            self._hashes |= {key: party_leaf(party) for key, party in found.items()}

    def of_row(self, seq: int) -> Way | None:
        """Find the way of a row of the log; None when no seal covers it yet."""
        sealed = self._covering(seq)
        if sealed is None:
            return None
        first, last = sealed.statement.first_seq, sealed.statement.last_seq
        index, size = seq - first, last - first + 1
        if (nodes := self._nodes_of(sealed, size)) is not None:
            start = seq - index % BLOCK
            leaves = self._leaves_of_rows(start, min(start + BLOCK - 1, last))
            path = seal_nodes.path_of(leaves, self._above(nodes.rows), (index, size), sealed.statement.root)
            if path is not None:
                return Way(index, size, path, sealed.seal)
        leaves = self._leaves_of_rows(first, last)
        return Way(index, len(leaves), merkle.path_in(self._above(leaves), index), sealed.seal)

    def of_outcome(self, queue: int, seq: int) -> Way | None:
        """Find the way of an outcome; None when no seal covers it yet."""
        sealed = self._with_outcome(queue, seq)
        if sealed is None:
            return None
        size = sealed.statement.decided
        if (nodes := self._nodes_of(sealed, size)) is not None:
            block = bisect_right(nodes.starts, (queue, seq)) - 1
            found = self._block(sealed, nodes, block) if block >= 0 else None
            if found is not None and (queue, seq) in found.places:
                index = block * BLOCK + found.places.index((queue, seq))
                above, root = self._above(nodes.outcomes), sealed.statement.decided_root
                path = seal_nodes.path_of(found.leaves, above, (index, size), root)
                if path is not None:
                    return Way(index, size, path, sealed.seal)
        places, leaves = self._all_outcomes(sealed)
        index = places.index((queue, seq)) if (queue, seq) in places else 0
        return Way(index, len(leaves), merkle.path_in(self._above(leaves), index), sealed.seal)

    def nodes(self, number: int) -> Nodes | None:
        """Compute the nodes of a seal from all its leaves; None when there is no such seal, or its trees are others."""
        sealed = self._read(number)
        if sealed is None:
            return None
        rows = self._leaves_of_rows(sealed.statement.first_seq, sealed.statement.last_seq)
        places, outcomes = self._all_outcomes(sealed)
        found = seal_nodes.nodes_of(rows, outcomes, places)
        roots = merkle.root(found.rows).hex(), merkle.root(found.outcomes).hex()
        return found if roots == (sealed.statement.root, sealed.statement.decided_root) else None

    def _covering(self, seq: int) -> _Sealed | None:
        for each in self._seals.values():
            if each.statement.first_seq <= seq <= each.statement.last_seq:
                return each
        found = seal_store.covering(self._conn, seq)
        return self._read(found[0]) if found is not None else None

    def _with_outcome(self, queue: int, seq: int) -> _Sealed | None:
        """Find the seal that has an outcome which the seal before it has not."""
        for each in self._seals.values():
            if each.above(queue) < seq <= each.last(queue):
                return each
        number = _first_with(self._conn, lambda statement: statement.queues.get(queue, (0, ""))[0] >= seq)
        return self._read(number) if number is not None else None

    def _read(self, number: int) -> _Sealed | None:
        if number not in self._seals:
            seal, before = seal_store.find(self._conn, number), seal_store.find(self._conn, number - 1)
            statement = read(seal) if seal is not None else None
            if seal is None or statement is None:
                return None
            self._seals[number] = _Sealed(number, seal, statement, read(before) if before is not None else None)
        return self._seals[number]

    def _nodes_of(self, sealed: _Sealed, size: int) -> Nodes | None:
        if size <= BLOCK:
            return None
        if sealed.number not in self._nodes:
            self._nodes[sealed.number] = seal_nodes.find(self._conn, sealed.number)
        return self._nodes[sealed.number]

    def _leaves_of_rows(self, first: int, last: int) -> list[bytes]:
        if (first, last) not in self._rows:
            rows = seal_store.rows(self._conn, first, last)
            self.look_up({key for each in rows for key in (each.source, each.destination) if key is not None})
            self._rows[first, last] = [sealed_leaf_of(each, self._hashes) for each in rows]
        return self._rows[first, last]

    def _block(self, sealed: _Sealed, nodes: Nodes, block: int) -> _Outcomes:
        """Compute the outcomes under a node."""
        if (sealed.number, block) not in self._outcomes:
            self._outcomes[sealed.number, block] = self._outcomes_from(sealed, nodes.starts[block], BLOCK)
        return self._outcomes[sealed.number, block]

    def _all_outcomes(self, sealed: _Sealed) -> _Outcomes:
        if (sealed.number, -1) not in self._outcomes:
            self._outcomes[sealed.number, -1] = self._outcomes_from(sealed, (-1, 0), _ALL)
        return self._outcomes[sealed.number, -1]

    def _outcomes_from(self, sealed: _Sealed, start: Start, most: int) -> _Outcomes:
        """Compute the outcomes under a seal from one on: over all that the seal has and the seal before has not."""
        found = _Outcomes([], [])
        for queue in sorted(sealed.statement.queues):
            last, left = sealed.last(queue), most - len(found.leaves)
            after = start[1] - 1 if queue == start[0] else sealed.above(queue)
            if queue < start[0] or last <= after or not left:
                continue
            for outcome in seal_store.decided(self._conn, queue, after=after, last=last, limit=left):
                found.places.append((queue, outcome.seq))
                found.leaves.append(outcome_leaf(outcome.line))
        return found

    def _above(self, hashes: list[bytes]) -> list[list[bytes]]:
        if id(hashes) not in self._levels:
            self._levels[id(hashes)] = merkle.levels(hashes)
        return self._levels[id(hashes)]


def write_nodes(engine: Engine, *, after: int) -> int | None:
    """Write the nodes of the next large seal beyond ``after`` that has none. Returns its number; None when there is none.

    Raises:
        TransientError: the database was busy or gone.
    """
    with snapshot(engine) as conn:
        number = seal_nodes.next_without(conn, after=after)
        nodes = Trees(conn).nodes(number) if number is not None else None
    if number is not None and nodes is not None:
        with begin(engine) as conn:
            seal_nodes.add(conn, number, nodes)
    return number


def _first_with(conn: Connection, has_it: Callable[[Statement], bool]) -> int | None:
    """Find the first seal that has something which all later ones have too. It reads a seal for each halving."""
    newest = seal_store.newest(conn)
    low, high = 1, 0 if newest is None else newest[0]
    found = None
    while low <= high:
        middle = (low + high) // 2
        seal = seal_store.find(conn, middle)
        statement = read(seal) if seal is not None else None
        if statement is None:
            return None
        if has_it(statement):
            found, high = middle, middle - 1
        else:
            low = middle + 1
    return found
