"""Makes the next seal: read what is new, compute its digests again, and sign where the chain ends.

Nothing is decided again, so a queue that stands still stops no seal. What does not follow from the seal before is never
signed. The notary remembers its last seal outside the database, so nobody can make it start again from an older one.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine

from core.base.db import begin, snapshot
from core.base.errors import InvariantBroken
from core.ledger.rules import chain
from core.ledger.rules.log_row import COLUMNS, DIGEST_VERSION, LogRow, digest_of, leaf_of, row_of
from core.ledger.rules.pledges import START, Of, Pledge, link
from core.ledger.store import pledges
from core.notary import attestations, merkle, seal_store
from core.notary.attestations import Attestation, VerifiedUpTo
from core.notary.leaves import NO_PARTY, outcome_leaf, party_leaf, sealed_leaf
from core.notary.seals import FORM, Keypair, Line, Seal, Statement, read, sign

ROWS = 10_000
"""One seal covers at most so many rows of the log, and so many outcomes of each queue."""

_PIECE = 500
"""So many rows are read at once. Their values are still in the processor's cache when they are hashed."""

_SOURCE, _DESTINATION = map(list(COLUMNS).index, ("source", "destination"))
"""Their positions in the values of a row."""


class Altered(InvariantBroken):
    """The database does not follow from the last seal. The message says where."""


class _Heads(msgspec.Struct):
    """The heads of a checkpoint. Hashes are hexadecimal."""

    sequence: int
    digest: str
    queues: dict[int, tuple[int, str]]


class News(NamedTuple):
    """The rows that a new seal would cover."""

    rows: int
    anything: bool


class Notary:
    """The notary of one ledger, and the last seal that it knows of."""

    def __init__(self, engine: Engine, key: Keypair, last: Seal | None = None, next_key: Keypair | None = None) -> None:
        """``last`` is the last seal that was published. ``next_key`` takes over with the next seal."""
        self._engine, self._key, self._next = engine, key, next_key
        self.last = last
        self._statement = read(last) if last is not None else None
        self._parties: dict[int | None, bytes] = {}

    def catch_up(self) -> list[Seal]:
        """Read the seals that are in the database beyond the last that is known. Return them, oldest first.

        Raises:
            Altered: the seals of the database are not those that were made.
            TransientError: the database was busy or gone.
        """
        known = self._statement.number if self._statement is not None else 0
        found: list[Seal] = []
        with snapshot(self._engine) as conn:
            if self.last is not None and seal_store.find(conn, known) != self.last:
                raise Altered(f"seal {known} was published, and the database does not have it")
            line = Line()
            if self.last is not None:
                line.follow(known, self.last)
            for number, seal in seal_store.every(conn, known + 1):
                statement, wrong = line.follow(number, seal)
                if wrong or statement is None or number != known + len(found) + 1:
                    raise Altered(f"seal {number} was not made by this notary")
                self.last, self._statement = seal, statement
                found.append(seal)
        if self._statement is not None:
            self._check_mine(self._statement)
        return found

    def news(self) -> News:
        """Tell what is new since the last seal."""
        with snapshot(self._engine) as conn:
            last = self._statement
            state = seal_store.state(conn)
            if last is None:
                return News(state.last_seq, True)
            cursors = seal_store.cursors(conn)
            checkpoint = seal_store.newest_checkpoint(conn)
            anything = (
                state.last_seq != last.last_seq
                or any(cursor > last.queues.get(queue, (0, ""))[0] for queue, cursor in cursors.items())
                or (checkpoint is not None and checkpoint != last.verified)
                or seal_store.audit_head(conn) != last.audit
                or pledges.head(conn)[0] != (last.pledges or (0,))[0]
                or self._next is not None
                or last.next_key is not None  # The new key shows at once that it is there.
            )
            return News(max(0, state.last_seq - last.last_seq), anything)

    def seal(self) -> Seal | None:
        """Add the next seal. Returns None when another notary was quicker.

        Raises:
            Altered: what is in the database does not follow from the last seal. Nothing is signed.
            TransientError: the database was busy or gone.
        """
        with snapshot(self._engine) as conn:
            statement = self._state(conn)
        seal = sign(statement, self._key)
        with begin(self._engine) as conn:
            if not seal_store.add(conn, statement, seal):
                return None
        self.last, self._statement = seal, statement
        if self._next is not None:
            self._key, self._next = self._next, None
        return seal

    def attest(self) -> Attestation | None:
        """Say that the ledger was verified, if the verifier said so since, up to a row that is sealed.

        Raises:
            Altered: the verifier has seen another digest than the log has.
            TransientError: the database was busy or gone.
        """
        last = self._statement
        with snapshot(self._engine) as conn:
            found = seal_store.to_attest(conn)
            state = seal_store.state(conn)
        if found is None or last is None:
            return None
        heads = msgspec.json.decode(found.heads, type=_Heads)
        if heads.sequence > last.last_seq:
            return None
        if (found.digest or chain.START.hex()) != heads.digest:
            raise Altered(f"checkpoint {found.id} says another digest of row {heads.sequence} than the log has")
        statement = VerifiedUpTo(
            form=attestations.FORM,
            ledger=state.ledger,
            checkpoint=found.id,
            sequence=heads.sequence,
            digest=heads.digest,
            queues=heads.queues,
            verified_at=found.at,
            verifier=found.signature,
            seal=last.number,
            key=self._key.public,
            at=state.now,
        )
        attestation = attestations.sign(statement, self._key)
        with begin(self._engine) as conn:
            is_ours = seal_store.add_attestation(conn, found.id, attestation)
        return attestation if is_ours else None

    def handed_over_to(self, key: Keypair) -> bool:
        """Tell whether the seal that was published last names this key as the next one, or is signed by it."""
        return self._statement is not None and key.public in (self._statement.key, self._statement.next_key)

    def hand_over(self, next_key: Keypair) -> None:
        """Let another key sign from the seal after the next one on. The next one says so."""
        self._next = next_key

    def _check_mine(self, statement: Statement) -> None:
        """Check that the key of the last seal is this notary's, or that it has handed over to it."""
        if (statement.next_key or statement.key) != self._key.public:
            raise Altered(
                f"seal {statement.number} is by the key {statement.next_key or statement.key}, and this notary has "
                f"{self._key.public}"
            )

    def _state(self, conn: Connection) -> Statement:
        """Compute what the next seal states."""
        last, state = self._statement, seal_store.state(conn)
        sealed, digest = (last.last_seq, bytes.fromhex(last.digest)) if last is not None else (0, chain.START)
        if state.last_seq < sealed:
            raise Altered(f"the log ends at {state.last_seq}, and rows up to {sealed} were sealed")
        up_to = min(state.last_seq, sealed + ROWS)
        versions = dict(last.versions) if last is not None else {}
        leaves: list[bytes] = []
        for first in range(sealed + 1, up_to + 1, _PIECE):
            digest = self._accepted(conn, range(first, min(first + _PIECE, up_to + 1)), digest, versions, leaves)
        queues, outcomes = self._decided(conn, up_to)
        if last is not None:
            self._check_heads(conn, last)
        return Statement(
            form=FORM,
            ledger=state.ledger,
            number=last.number + 1 if last is not None else 1,
            before=self.last.hash if self.last is not None else "",
            key=self._key.public,
            at=state.now,
            first_seq=sealed + 1,
            last_seq=up_to,
            digest=digest.hex(),
            root=merkle.root(leaves).hex(),
            versions=versions,
            queues=queues,
            decided=len(outcomes),
            decided_root=merkle.root(outcomes).hex(),
            verified=seal_store.newest_checkpoint(conn),
            audit=seal_store.audit_head(conn),
            pledges=_pledged(conn, last),
            next_key=self._next.public if self._next is not None else None,
        )

    def _accepted(
        self, conn: Connection, seqs: range, digest: bytes, versions: dict[int, int], leaves: list[bytes]
    ) -> bytes:
        """Follow the chain of the log through some rows. Return the last digest, and add the leaves and the versions."""
        rows = seal_store.values(conn, seqs.start, seqs.stop - 1)
        self._look_up(conn, rows)
        sides = self._parties
        for seq, values in zip(seqs, rows, strict=False):
            before, version = digest, values[-1]
            leaf = chain.leaf(version, values[:-2]) if version == DIGEST_VERSION else b""
            digest = chain.digest(before, leaf)
            if digest != values[-2] or values[0] != seq or not leaf:  # It is older, or something is wrong.
                row = row_of(values)
                leaf = leaf_of(row) if version in chain.LEAVES else b""
                digest = _digest_of(row, seq, before, leaf)
            versions[version] = seq
            source, destination = values[_SOURCE], values[_DESTINATION]
            leaves.append(sealed_leaf(leaf, sides.get(source, NO_PARTY), sides.get(destination, NO_PARTY)))
        if len(rows) != len(seqs):
            raise Altered(f"the log has no row {seqs.start + len(rows)}")
        return digest

    def _look_up(self, conn: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Learn the hashes of the balances that rows name."""
        keys = {row[_SOURCE] for row in rows} | {row[_DESTINATION] for row in rows}
        keys.discard(None)
        if unknown := keys - self._parties.keys():
            self._parties |= {key: party_leaf(party) for key, party in seal_store.parties(conn, unknown).items()}

    def _decided(self, conn: Connection, up_to: int) -> tuple[dict[int, tuple[int, str]], list[bytes]]:
        """Follow the chains of outcomes from their heads in the last seal, and return the new heads and the new leaves."""
        heads = dict(self._statement.queues) if self._statement is not None else {}
        leaves: list[bytes] = []
        for queue, cursor in seal_store.cursors(conn).items():
            sealed, hash = heads.get(queue, (0, chain.START.hex()))
            if cursor <= sealed:
                continue
            before, seq = bytes.fromhex(hash), sealed
            for seq, line, stored in seal_store.decided(conn, queue, after=sealed, last=min(cursor, up_to), limit=ROWS):
                if stored is not None or before != chain.START:  # An outcome from before the chain has no hash.
                    before = chain.link(before, line)
                    if stored != before:
                        raise Altered(f"the outcome of seq {seq} in queue {queue} does not have the hash of its row")
                leaves.append(outcome_leaf(line))
            if seq > sealed:
                heads[queue] = seq, before.hex()
        return heads, leaves

    def _check_heads(self, conn: Connection, last: Statement) -> None:
        """Check that what the last seal covers has not been cut off at its end."""
        if last.last_seq and seal_store.digests(conn, [last.last_seq]) != {last.last_seq: _digest(last)}:
            raise Altered(f"row {last.last_seq} of the log is not the one that was sealed")
        heads = {seq: bytes.fromhex(hash) for seq, hash in last.queues.values()}
        found = seal_store.hashes(conn, heads)
        for seq, hash in heads.items():
            if found.get(seq, chain.START) != hash:
                raise Altered(f"the outcome of seq {seq} is not the one that was sealed")


def _pledged(conn: Connection, last: Statement | None) -> tuple[int, str] | None:
    """Follow the chain of pledges from the last seal on, and return its head."""
    number, hash = (last.pledges if last is not None else None) or (0, START.hex())
    if number and pledges.hash_at(conn, number) != hash:
        raise Altered(f"pledge {number} is not the one that was sealed")
    before = bytes.fromhex(hash)
    for row in pledges.every(conn, number):
        before = link(before, number + 1, Pledge(row.id, Of(row.of), row.digest))
        if (row.number, row.hash) != (number + 1, before):
            raise Altered(f"pledge {number + 1} does not have the hash of its row and the pledge before it")
        number += 1
    return (number, before.hex()) if number else None


def _digest(statement: Statement) -> bytes | None:
    digest = bytes.fromhex(statement.digest)
    return None if digest == chain.START else digest


def _digest_of(row: LogRow, seq: int, before: bytes, leaf: bytes) -> bytes:
    """Compute the digest of a row, and compare it with the stored one. Rows from before the chain have none."""
    if row.seq != seq:
        raise Altered(f"the log has no row {seq}")
    if row.digest is None and before == chain.START:
        return before
    if row.digest_version not in chain.LEAVES:
        raise Altered(f"row {seq} has a version of the digest that there is not")
    digest = digest_of(row, before) if row.digest_version == 1 else chain.digest(before, leaf)
    if digest != row.digest:
        raise Altered(f"row {seq} of the log does not have the digest of its columns and the row before it")
    return digest
