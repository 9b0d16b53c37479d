"""Makes the next seal: read what is new, compute its digests again, and sign where the chain ends.

Nothing is decided again, so a queue that stands still stops no seal. What does not follow from the seal before is never
signed. The notary remembers its last seal outside the database, so nobody can make it start again from an older one.
"""

from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, Engine

from core.base.db import begin, reading, snapshot
from core.ledger.rules import chain
from core.ledger.rules.pledges import START, Of, Pledge, link
from core.ledger.store import pledges
from core.notary import attestations, merkle, seal_nodes, seal_store
from core.notary.attestations import Attestation, VerifiedUpTo
from core.notary.following import ROWS, Altered, Following, Parties
from core.notary.leaves import NO_PARTY
from core.notary.look import Look, look, vanished
from core.notary.seal_nodes import Nodes
from core.notary.seals import FORM, Keypair, Line, Seal, Statement, read, sign


class _Heads(msgspec.Struct):
    """The heads of a checkpoint. Hashes are hexadecimal."""

    sequence: int
    digest: str
    queues: dict[int, tuple[int, str]]


class News(NamedTuple):
    """Rows, outcomes and other facts that are new since the last seal."""

    last_seq: int
    """The last row of the log."""
    decided_to: int
    """All rows of the log up to here are decided."""
    anything: bool
    verified: bool
    """Whether the verifier has come further than the newest attestation says."""


class Notary:
    """The notary of one ledger, and the last seal that it knows of."""

    def __init__(self, engine: Engine, key: Keypair, last: Seal | None = None, next_key: Keypair | None = None) -> None:
        """``last`` is the last seal that was published. ``next_key`` takes over with the next seal."""
        self._engine, self._key, self._next = engine, key, next_key
        self.last = last
        self._statement = read(last) if last is not None else None
        self._parties: Parties = {None: NO_PARTY}
        self._seen: Look | None = None
        """The ends that were there at the last look."""

    @property
    def sealed_to(self) -> int:
        """The last row of the log that is sealed."""
        return self._statement.last_seq if self._statement is not None else 0

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
        """Tell what is new since the last seal. What was there when this was last asked must still be there.

        Raises:
            Altered: a row or an outcome has vanished, or is another, which no seal covers yet.
            TransientError: the database was busy or gone.
        """
        with reading(self._engine) as conn:
            now = look(conn)
            if self._seen is not None and (gone := vanished(conn, self._seen, now)) is not None:
                raise Altered(f"{gone} was there, and is gone or another now")
        self._seen, last = now, self._statement
        anything = (
            last is None
            or now.last_seq != last.last_seq
            or any(seq > last.queues.get(queue, (0, ""))[0] for queue, (seq, _) in now.queues.items())
            or (now.checkpoint is not None and now.checkpoint != last.verified)
            or now.audit != last.audit
            or now.pledges != (last.pledges or (0,))[0]
            or self._next is not None
            or last.next_key is not None  # The new key shows at once that it is there.
        )
        verified = now.checkpoint is not None and now.checkpoint.id > now.attested
        return News(now.last_seq, now.decided_to, anything, verified)

    def seal(self, up_to: int | None = None) -> Seal | None:
        """Add the next seal. Returns None when another notary was quicker.

        It covers as many rows of the log as one seal may, and none beyond ``up_to``.

        Raises:
            Altered: what is in the database does not follow from the last seal. Nothing is signed.
            TransientError: the database was busy or gone.
        """
        with snapshot(self._engine) as conn:
            statement, nodes = self._state(conn, up_to)
        seal = sign(statement, self._key)
        with begin(self._engine) as conn:
            if not seal_store.add(conn, statement, seal):
                return None
            seal_nodes.add(conn, statement.number, nodes)
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

    def _state(self, conn: Connection, most: int | None) -> tuple[Statement, Nodes]:
        """Compute what the next seal states, and the nodes of its trees."""
        last, state = self._statement, seal_store.state(conn)
        sealed = last.last_seq if last is not None else 0
        if state.last_seq < sealed:
            raise Altered(f"the log ends at {state.last_seq}, and rows up to {sealed} were sealed")
        up_to = min(state.last_seq, sealed + ROWS)
        if most is not None:
            up_to = max(sealed, min(up_to, most))
        following = Following(conn, self._parties, last)
        following.follow(sealed + 1, up_to)
        outcomes = following.outcomes
        if last is not None:
            self._check_heads(conn, last)
        nodes = seal_nodes.nodes_of(following.leaves, outcomes, following.places)
        statement = Statement(
            form=FORM,
            ledger=state.ledger,
            number=last.number + 1 if last is not None else 1,
            before=self.last.hash if self.last is not None else "",
            key=self._key.public,
            at=state.now,
            first_seq=sealed + 1,
            last_seq=up_to,
            digest=following.digest.hex(),
            root=merkle.root(nodes.rows).hex(),
            versions=following.versions,
            queues=following.queues,
            decided=len(outcomes),
            decided_root=merkle.root(nodes.outcomes).hex(),
            verified=seal_store.newest_checkpoint(conn),
            audit=seal_store.audit_head(conn),
            pledges=_pledged(conn, last),
            next_key=self._next.public if self._next is not None else None,
        )
        return statement, nodes

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
