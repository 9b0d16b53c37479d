"""Makes the ways from leaves to the roots in seals.

Under a large seal, the leaves of one block are computed, and ``seal_nodes`` has the rest of the way. Where it has not, or
where that way does not lead to the root, all leaves of the seal are computed, which takes a tenth of a second.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from msgspec import Struct
from sqlalchemy import Connection, Engine

from core.base.db import begin, snapshot
from core.ledger.rules import chain
from core.ledger.rules.log_row import COLUMNS, DIGEST_VERSION, LogRow, leaf_of
from core.notary import merkle, proof_store, seal_nodes, seal_store
from core.notary.leaves import Party, outcome_leaf, party_leaf, sealed_leaf, side
from core.notary.proof_store import Stretch
from core.notary.seal_nodes import BLOCK, Kept, Nodes, Start
from core.notary.seals import Seal, Statement, read

_ALL = 2**31

_WHOLE = -1
"""The number of the block that has all outcomes under a seal."""

_sides_of = itemgetter(*map(list(COLUMNS).index, ("source", "destination")))


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

    @property
    def is_large(self) -> bool:
        """Whether it has nodes."""
        size = self.statement.last_seq - self.statement.first_seq + 1
        return max(size, self.statement.decided) > BLOCK

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
    """The trees of seals, as far as they are needed in one transaction. Everything is read and computed once.

    Each way can be asked for by itself. ``read_ahead`` reads what many ways need in a few statements.
    """

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self.parties: dict[int, Party] = {}
        self._hashes: dict[int, bytes] = {}
        self._seals: dict[int, _Sealed | None] = {}
        self._row_seals: dict[int, int | None] = {}
        """The seal that covers a row, by seq."""
        self._outcome_seals: dict[Start, int | None] = {}
        self._nodes: dict[int, Kept | None] = {}
        self._rows: dict[tuple[int, int], list[bytes]] = {}
        """The leaves of rows from one seq to another."""
        self._outcomes: dict[tuple[int, int], _Outcomes] = {}
        """The outcomes of a block under a seal. Block -1 has all."""
        self._levels: dict[int, list[list[bytes]]] = {}
        """The levels above a list of hashes, by the identity of the list. All of these lists are kept."""

    def look_up(self, keys: set[int]) -> None:
        """Learn who balances are."""
        if unknown := {key for key in keys if key not in self.parties}:
            found = seal_store.parties(self._conn, unknown)
            self.parties |= found
            self._hashes |= {key: party_leaf(party) for key, party in found.items()}

    def read_ahead(self, rows: Collection[LogRow]) -> None:
        """Read what the ways of rows and of their outcomes need. However many rows there are, it takes a few statements.

        There are more of them only where an outcome is under another seal than its row: that seal is searched for.
        """
        places = [(row.queue, row.seq) for row in rows if row.queue is not None]
        self._find_rows([row.seq for row in rows])
        self._find_outcomes(places)
        above = {self._row_seals[row.seq] for row in rows} | {self._outcome_seals[place] for place in places}
        self._read_nodes([sealed for number in above if (sealed := self._sealed(number)) is not None])
        of_rows = {self._block_of_row(sealed, row.seq) for row in rows if (sealed := self._covering(row.seq))}
        self._read_rows([block for block in of_rows if block is not None])
        wanted = {(sealed.number, self._block_of(sealed, place)) for place in places if (sealed := self._above(place))}
        self._read_outcomes([(number, block) for number, block in wanted if block is not None])

    def of_row(self, seq: int) -> Way | None:
        """Find the way of a row of the log; None when no seal covers it yet."""
        sealed = self._covering(seq)
        if sealed is None:
            return None
        first, last = sealed.statement.first_seq, sealed.statement.last_seq
        index, size = seq - first, last - first + 1
        block = self._block_of_row(sealed, seq)
        if (nodes := self._nodes_of(sealed, size)) is not None and block is not None:
            path = seal_nodes.path_of(self._leaves_of_rows(*block), nodes.rows, (index, size), sealed.statement.root)
            if path is not None:
                return Way(index, size, path, sealed.seal)
        leaves = self._leaves_of_rows(first, last)
        return Way(index, len(leaves), merkle.path_in(self._levels_over(leaves), index), sealed.seal)

    def of_outcome(self, queue: int, seq: int) -> Way | None:
        """Find the way of an outcome; None when no seal covers it yet."""
        place = queue, seq
        sealed = self._above(place)
        if sealed is None:
            return None
        size = sealed.statement.decided
        block = self._block_of(sealed, place)
        if (nodes := self._nodes_of(sealed, size)) is not None and block is not None:
            found = self._outcomes_of(sealed, block)
            if place in found.places:
                index = block * BLOCK + found.places.index(place)
                path = seal_nodes.path_of(found.leaves, nodes.outcomes, (index, size), sealed.statement.decided_root)
                if path is not None:
                    return Way(index, size, path, sealed.seal)
        places, leaves = self._outcomes_of(sealed, _WHOLE)
        index = places.index(place) if place in places else 0
        return Way(index, len(leaves), merkle.path_in(self._levels_over(leaves), index), sealed.seal)

    def nodes(self, number: int) -> Nodes | None:
        """Compute the nodes of a seal from all its leaves; None when there is no such seal, or its trees are others."""
        sealed = self._sealed(number)
        if sealed is None:
            return None
        rows = self._leaves_of_rows(sealed.statement.first_seq, sealed.statement.last_seq)
        places, outcomes = self._outcomes_of(sealed, _WHOLE)
        found = seal_nodes.nodes_of(rows, outcomes, places)
        roots = merkle.root(found.rows).hex(), merkle.root(found.outcomes).hex()
        return found if roots == (sealed.statement.root, sealed.statement.decided_root) else None

    def _covering(self, seq: int) -> _Sealed | None:
        """Return the seal that covers a row."""
        self._find_rows([seq])
        return self._sealed(self._row_seals[seq])

    def _above(self, place: Start) -> _Sealed | None:
        """Return the seal that has an outcome which the seal before it has not."""
        self._find_outcomes([place])
        return self._sealed(self._outcome_seals[place])

    def _sealed(self, number: int | None) -> _Sealed | None:
        if number is None:
            return None
        self._read_seals([number])
        return self._seals[number]

    def _find_rows(self, seqs: Sequence[int]) -> None:
        """Find the seals that cover rows, and read them."""
        if unknown := [seq for seq in seqs if seq not in self._row_seals]:
            found = proof_store.covering(self._conn, unknown)
            self._row_seals |= {seq: found.get(seq) for seq in unknown}
            self._read_seals(found.values())

    def _find_outcomes(self, places: Sequence[Start]) -> None:
        """Find the seals that have outcomes which the seals before them have not. None is earlier than that of the row."""
        unknown = [place for place in places if place not in self._outcome_seals]
        if not unknown:
            return
        self._find_rows([seq for _, seq in unknown])
        newest = seal_store.newest(self._conn)
        beyond = newest[0] + 1 if newest is not None else 1
        self._read_seals([beyond - 1])
        searches: dict[Start, _Search] = {}
        for place in unknown:
            number = self._row_seals[place[1]]
            if number is None or not self._has(beyond - 1, place):
                self._outcome_seals[place] = None
            else:
                searches[place] = _Search(number, beyond)
        while searches:
            self._read_seals({search.next for search in searches.values()})
            for place, search in searches.items():
                search.learn(self._has(search.next, place))
            self._outcome_seals |= {place: search.low for place, search in searches.items() if search.is_done}
            searches = {place: search for place, search in searches.items() if not search.is_done}

    def _has(self, number: int, place: Start) -> bool:
        """Tell whether a seal or one before it has an outcome."""
        sealed = self._seals.get(number)
        return sealed is not None and sealed.last(place[0]) >= place[1]

    def _read_seals(self, numbers: Iterable[int]) -> None:
        unknown = {number for number in numbers if number not in self._seals}
        if not unknown:
            return
        seals = proof_store.seals(self._conn, unknown | {number - 1 for number in unknown})
        statements = {number: read(seal) for number, seal in seals.items()}
        for number in unknown:
            statement = statements.get(number)
            self._seals[number] = (
                None if statement is None else _Sealed(number, seals[number], statement, statements.get(number - 1))
            )

    def _read_nodes(self, above: Iterable[_Sealed]) -> None:
        unknown = [each.number for each in above if each.is_large and each.number not in self._nodes]
        if unknown:
            found = seal_nodes.find(self._conn, unknown)
            self._nodes |= {number: found.get(number) for number in unknown}

    def _nodes_of(self, sealed: _Sealed, size: int) -> Kept | None:
        if size <= BLOCK:
            return None
        self._read_nodes([sealed])
        return self._nodes[sealed.number]

    def _block_of_row(self, sealed: _Sealed, seq: int) -> tuple[int, int] | None:
        """Return the first and the last row of the leaves that a way needs; None when it needs those of a large seal."""
        first, last = sealed.statement.first_seq, sealed.statement.last_seq
        if last - first < BLOCK:
            return first, last
        if self._nodes_of(sealed, last - first + 1) is None:
            return None
        start = seq - (seq - first) % BLOCK
        return start, min(start + BLOCK - 1, last)

    def _block_of(self, sealed: _Sealed, place: Start) -> int | None:
        """Return the block that has an outcome, as its nodes say; None when all leaves of a large seal are needed."""
        if sealed.statement.decided <= BLOCK:
            return _WHOLE
        nodes = self._nodes_of(sealed, sealed.statement.decided)
        block = bisect_right(nodes.starts, place) - 1 if nodes is not None else -1
        return block if block >= 0 else None

    def _leaves_of_rows(self, first: int, last: int) -> list[bytes]:
        self._read_rows([(first, last)])
        return self._rows[first, last]

    def _read_rows(self, blocks: Iterable[tuple[int, int]]) -> None:
        """Compute the leaves of rows from one seq to another, for many of them."""
        unknown = [block for block in blocks if block not in self._rows]
        if not unknown:
            return
        found = proof_store.quick_rows(self._conn, unknown)
        slow = [row[0] for block in found for row, is_quick in block if not is_quick]
        exact = proof_store.rows(self._conn, slow) if slow else {}
        self.look_up({key for block in found for row, _ in block for key in _sides_of(row) if key is not None})
        for block, rows in zip(unknown, found, strict=True):
            leaves = chain.leaves_of(DIGEST_VERSION, [row[:-2] for row, _ in rows])
            self._rows[block] = [
                sealed_leaf(leaf if is_quick else leaf_of(exact[row[0]]), *self._hashes_of(row))
                for leaf, (row, is_quick) in zip(leaves, rows, strict=True)
            ]

    def _hashes_of(self, row: Sequence[Any]) -> tuple[bytes, bytes]:
        source, destination = _sides_of(row)
        return side(source, self._hashes), side(destination, self._hashes)

    def _outcomes_of(self, sealed: _Sealed, block: int) -> _Outcomes:
        self._read_outcomes([(sealed.number, block)])
        return self._outcomes[sealed.number, block]

    def _read_outcomes(self, blocks: Iterable[tuple[int, int]]) -> None:
        """Compute the outcomes under seals, or under nodes of them."""
        unknown = [block for block in blocks if block not in self._outcomes]
        stretches = {block: self._stretches(*block) for block in unknown}
        if not unknown:
            return
        together = [stretch for each in stretches.values() for stretch in each]
        limit = BLOCK if all(block != _WHOLE for _, block in unknown) else _ALL
        found = iter(proof_store.decided(self._conn, together, limit=limit))
        for (number, block), each in stretches.items():
            outcomes = _Outcomes([], [])
            for stretch in each:
                for outcome in next(found):
                    outcomes.places.append((stretch.queue, outcome.seq))
                    outcomes.leaves.append(outcome_leaf(outcome.line))
            most = None if block == _WHOLE else BLOCK
            self._outcomes[number, block] = _Outcomes(outcomes.places[:most], outcomes.leaves[:most])

    def _stretches(self, number: int, block: int) -> list[Stretch]:
        """Name the outcomes under a seal that the seal before has not, or those of them under one node."""
        sealed, start, end = self._seals[number], (-1, 0), None
        assert sealed is not None
        if block != _WHOLE and (nodes := self._nodes[number]) is not None:
            start, end = nodes.starts[block], next(iter(nodes.starts[block + 1 : block + 2]), None)
        found = []
        for queue in sorted(sealed.statement.queues):
            after = start[1] - 1 if queue == start[0] else sealed.above(queue)
            last = sealed.last(queue) if end is None or queue != end[0] else min(sealed.last(queue), end[1] - 1)
            if start[0] <= queue <= (queue if end is None else end[0]) and after < last:
                found.append(Stretch(queue, after, last))
        return found

    def _levels_over(self, hashes: list[bytes]) -> list[list[bytes]]:
        if id(hashes) not in self._levels:
            self._levels[id(hashes)] = merkle.levels(hashes)
        return self._levels[id(hashes)]


class _Search:
    """Looks for the first seal that has an outcome, which most often is near the seal of its row."""

    def __init__(self, low: int, beyond: int) -> None:
        self.low, self._high, self._step = low, beyond, 1

    @property
    def is_done(self) -> bool:
        return self.low >= self._high

    @property
    def next(self) -> int:
        """The number of the seal to look at."""
        return min(self.low + self._step - 1, (self.low + self._high) // 2)

    def learn(self, has_it: bool) -> None:
        """Go on with what that seal says."""
        if has_it:
            self._high, self._step = self.next, self._high
        else:
            self.low, self._step = self.next + 1, self._step * 2


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
