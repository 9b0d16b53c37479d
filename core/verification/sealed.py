"""Check the ledger against the seals of the notary, and against seals that were published outside the database.

Whoever owns the database can compute all digests anew, and remove what is newest. A seal cannot be made without the
notary's key, and one that was published cannot be taken back.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct
from sqlalchemy import Connection

from core.ledger.rules import chain
from core.ledger.rules.log_row import leaf_of
from core.ledger.store import pledges
from core.notary import attestations, merkle, seal_store
from core.notary.leaves import NO_PARTY, Sides, party_leaf, sealed_leaves
from core.notary.published import Published
from core.notary.seals import Line, Seal, Statement, is_signed, read
from core.verification import checkpoint_store, history_store
from core.verification.history_store import HistoryRow
from core.verification.report import Report, SealUsed, hash_text, seq_key

LOOKED_BACK = 1_000
"""A verification that goes on from a checkpoint checks so many of the newest seals."""

_AT_A_TIME = 1_000


class Known(Struct, frozen=True):
    """The knowledge of seals from outside the database."""

    keys: frozenset[str] = frozenset()
    """The public keys of the notary. Without one, the key of the first seal is believed."""
    published: Sequence[Published] = ()


class Part(NamedTuple):
    """The leaves of a seal that are in one piece of the log."""

    number: int
    first_seq: int
    last_seq: int
    root: str
    leaves: list[bytes]


class Roots:
    """Computes the Merkle roots of the seals again along a walk, and compares them."""

    def __init__(self, conn: Connection, report: Report, after: int, parties: dict[int | None, bytes]) -> None:
        """Begin after a row. ``parties`` keeps the hashes of the balances."""
        self._conn, self._report, self._after, self._parties = conn, report, after, parties
        self._ahead = self._statements(after)
        self._next = next(self._ahead, None)
        self._leaves: list[bytes] = []
        self._sides: list[Sides] = []
        """The leaves of the next seal, and the balances of their rows."""
        self.parts: list[Part] = []
        """The parts of seals that begin before the walk or end after it."""

    def follow(self, row: HistoryRow, leaf: bytes | None) -> None:
        """Add a row of the log, with its leaf if that is known. Rows come in the order of their seqs."""
        while self._next is not None and row.seq > self._next.last_seq:
            self._close(self._next)
        if self._next is not None and row.seq >= self._next.first_seq and (logged := row.logged) is not None:
            # A row of a version that there is not is reported by itself, and has no leaf.
            if logged.digest_version in chain.LEAVES:
                self._leaves.append(leaf or leaf_of(logged))
                self._sides.append((logged.source, logged.destination))
            if row.seq == self._next.last_seq:
                self._close(self._next)

    def follow_rows(self, first: int, leaves: Sequence[bytes], sides: Sequence[Sides]) -> None:
        """Add rows that follow each other, from the seq ``first`` on, as ``follow`` does one by one."""
        end = first + len(leaves)
        while self._next is not None and first < end:
            start, stop = max(first, self._next.first_seq), min(end, self._next.last_seq + 1)
            if start < stop:
                self._leaves += leaves[start - end : stop - end or None]
                self._sides += sides[start - end : stop - end or None]
            if self._next.last_seq < end:
                self._close(self._next)
            first = max(first, stop)

    def end(self) -> None:
        """Keep the part of the seal that goes on after the walk."""
        if self._next is not None and self._leaves:
            self._keep(self._next)

    def _close(self, statement: Statement) -> None:
        """Compare the root of a seal with that over its rows, or keep what is here of it."""
        if statement.first_seq <= self._after:
            self._keep(statement)
        else:
            check_root(self._report, self._part(statement))
        self._leaves, self._sides = [], []
        self._next = next(self._ahead, None)

    def _keep(self, statement: Statement) -> None:
        self.parts.append(self._part(statement))

    def _part(self, statement: Statement) -> Part:
        try:
            leaves = sealed_leaves(self._leaves, self._sides, self._parties)
        except KeyError:
            self._look_up({key for sides in self._sides for key in sides} - self._parties.keys())
            leaves = sealed_leaves(self._leaves, self._sides, self._parties)
        return Part(statement.number, statement.first_seq, statement.last_seq, statement.root, leaves)

    def _look_up(self, keys: set[int | None]) -> None:
        """Learn the hashes of balances. One that there is not has that of none."""
        found = seal_store.parties(self._conn, {key for key in keys if key is not None})
        self._parties |= dict.fromkeys(keys, NO_PARTY) | {key: party_leaf(party) for key, party in found.items()}

    def _statements(self, after: int) -> Iterator[Statement]:
        for statement in map(read, (seal for _, seal in seal_store.every(self._conn, _first(self._conn, after)))):
            if statement is not None and statement.last_seq > after and statement.last_seq >= statement.first_seq:
                yield statement


def check_root(report: Report, part: Part) -> None:
    """Compare the root of a seal with that over all its leaves."""
    root = merkle.root(part.leaves).hex()
    if root != part.root:
        seqs = f"the rows {part.first_seq} to {part.last_seq} of the log and the balances that they name"
        report.add("seals", f"number {part.number}", "root", expected=f"{part.root}, over {seqs}", found=root)


def _first(conn: Connection, after: int) -> int:
    """Return the number of the first seal that covers a row beyond ``after``."""
    found = seal_store.covering(conn, after + 1) if after else (1, None)
    return found[0] if found is not None else 2**62


def check_seals(conn: Connection, report: Report, known: Known, *, all_of_them: bool) -> None:
    """Check the seals, and that the log, the outcomes and the audit log still have what the seals say."""
    newest = seal_store.newest(conn)
    first = 1 if newest is None or all_of_them else max(1, newest[0] - LOOKED_BACK)
    line, last, last_seal = Line(known.keys), None, None
    agrees_up_to: int | None = 0
    pile: list[Statement] = []
    for number, seal in seal_store.every(conn, first):
        statement, wrong = line.follow(number, seal)
        for each in wrong:
            report.add("seals", f"number {each.number}", each.what, expected=each.expected, found=each.found)
        if statement is not None and not wrong:
            last, last_seal = statement, seal
            pile.append(statement)
        if len(pile) >= _AT_A_TIME:
            agrees_up_to = _check_digests(conn, report, pile, agrees_up_to)
            _check_ranges(conn, report, pile)
            pile = []
    _check_digests(conn, report, pile, agrees_up_to)
    _check_ranges(conn, report, pile)
    is_pinned = line.is_pinned or (last is not None and not all_of_them and _is_successor(conn, last.key, known.keys))
    if known.keys and not is_pinned:
        expected = f"a seal by the key {' or '.join(sorted(known.keys))}"
        found = "none" if last is None else f"seals by the key {last.key}"
        report.add("seals", "all", "key", expected=expected, found=found)
    if last is not None and last_seal is not None:
        _check_ends(conn, report, last)
        keys = line.keys | known.keys | _keys_that_handed_over(conn)
        _check_attestations(conn, report, keys, all_of_them=all_of_them)
        report.sealed = SealUsed(number=last.number, sequence=last.last_seq, at=last.at, key=last.key, pinned=is_pinned)
    _check_published(conn, report, known.published)


def _is_successor(conn: Connection, key: str, pinned: frozenset[str]) -> bool:
    """Tell whether one of the pinned keys has handed over to a key, or to one that did."""
    believed = set(pinned)
    for _, seal in seal_store.hand_overs(conn):
        statement = read(seal)
        if (
            statement is not None
            and statement.next_key
            and statement.key in believed
            and is_signed(seal, statement.key)
        ):
            believed.add(statement.next_key)
    return key in believed


def _keys_that_handed_over(conn: Connection) -> set[str]:
    found = ((seal, read(seal)) for _, seal in seal_store.hand_overs(conn))
    return {statement.key for seal, statement in found if statement is not None and is_signed(seal, statement.key)}


def _check_digests(
    conn: Connection, report: Report, statements: Sequence[Statement], agrees_up_to: int | None
) -> int | None:
    """Compare the digests of seals with the log. Only the first that differs is reported, as all later ones follow from it.

    Returns up to where the log agrees, or None after the first difference.
    """
    found = seal_store.digests(conn, [each.last_seq for each in statements])
    for each in statements:
        if agrees_up_to is None:
            return None
        stored = found.get(each.last_seq)
        if each.last_seq and (stored or chain.START).hex() != each.digest:
            expected = f"{each.digest}, by seal {each.number}; seals up to row {agrees_up_to} agree"
            what = "row" if each.last_seq not in found else "digest"
            gone = "none" if each.last_seq not in found else hash_text(stored)
            report.add("log", seq_key(each.last_seq), what, expected=expected, found=gone)
            return None
        agrees_up_to = each.last_seq
    return agrees_up_to


def _check_ranges(conn: Connection, report: Report, statements: Sequence[Statement]) -> None:
    """Check that each seal is found by the rows that it is over. Those columns are not signed."""
    found = seal_store.ranges(conn, statements[0].number, statements[-1].number) if statements else {}
    for each in statements:
        first_seq, last_seq = found[each.number]
        values = ("first_seq", each.first_seq, first_seq), ("last_seq", each.last_seq, last_seq)
        report.compare("seals", f"number {each.number}", "by its statement", values)


def _check_ends(conn: Connection, report: Report, last: Statement) -> None:
    """Check that nothing that the newest seal covers has been cut off."""
    said = f"as seal {last.number} says"
    heads = {seq: (queue, hash) for queue, (seq, hash) in last.queues.items()}
    found = history_store.hashes(conn, heads)
    for seq, (queue, hash) in heads.items():
        if seq not in found or (found[seq] or chain.START).hex() != hash:
            stored = hash_text(found.get(seq))
            report.add("outcomes", seq_key(seq, queue), "hash", expected=f"{hash}, {said}", found=stored)
    if last.verified is not None:
        signature = checkpoint_store.signature_of(conn, last.verified.id)
        if signature != last.verified.signature:
            expected = f"{last.verified.signature}, {said}"
            report.add("checkpoints", f"id {last.verified.id}", "signature", expected=expected, found=signature)
    if last.audit is not None:
        position, hash = last.audit
        stored_hash = seal_store.audit_hash(conn, position)
        if stored_hash != hash and not (stored_hash is None and seal_store.is_cut_off(conn, position)):
            report.add("audit", f"id {position}", "hash", expected=f"{hash}, {said}", found=stored_hash)

    if last.pledges is not None:
        number, hash = last.pledges
        if (stored_hash := pledges.hash_at(conn, number)) != hash:
            report.add("pledges", f"number {number}", "hash", expected=f"{hash}, {said}", found=stored_hash)


def _check_attestations(conn: Connection, report: Report, keys: Collection[str], *, all_of_them: bool) -> None:
    """Check that each attestation is the notary's, and says of its checkpoint and of the log what they say themselves."""
    newest = seal_store.newest_attestation(conn)
    for id, attestation in seal_store.attestations(conn) if all_of_them else [newest] if newest is not None else []:
        key, statement = f"checkpoint {id}", attestations.read(attestation)
        wrong = attestations.problem(attestation, keys)
        if wrong is not None or statement is None or statement.checkpoint != id:
            report.add("attestations", key, "signature", expected="made by the notary over its checkpoint", found=wrong)
            continue
        stored = checkpoint_store.signature_of(conn, id)
        if stored != statement.verifier:
            expected = f"{statement.verifier}, by the attestation of it"
            report.add("checkpoints", f"id {id}", "signature", expected=expected, found=stored)
        digest = (seal_store.digests(conn, [statement.sequence]).get(statement.sequence) or chain.START).hex()
        if digest != statement.digest:
            expected = f"{statement.digest}, by the attestation of checkpoint {id}"
            report.add("log", seq_key(statement.sequence), "digest", expected=expected, found=digest)
        report.attested = attestation


def _check_published(conn: Connection, report: Report, published: Iterable[Published]) -> None:
    """Check that the database still has every seal that was published, and the log what each says."""
    line = Line()
    for each in published:
        if each.seal is not None:
            statement, wrong = line.follow(each.number, each.seal)
            for fault in wrong:
                what = f"{fault.what}, as it was published"
                report.add("seals", f"number {fault.number}", what, expected=fault.expected, found=fault.found)
            if statement is not None and not wrong:
                _check_log(conn, report, statement)
        stored = seal_store.find(conn, each.number)
        if stored is None or stored.hash != each.hash:
            found = "none" if stored is None else stored.hash
            expected = f"{each.hash}, which was published"
            report.add("seals", f"number {each.number}", "seal", expected=expected, found=found)


def _check_log(conn: Connection, report: Report, statement: Statement) -> None:
    """Check that the log has the row and the digest that a published seal says."""
    if not statement.last_seq:
        return
    found = seal_store.digests(conn, [statement.last_seq])
    stored = found.get(statement.last_seq)
    if (stored or chain.START).hex() != statement.digest:
        what = "digest" if statement.last_seq in found else "row"
        expected = f"{statement.digest}, which was published in seal {statement.number}"
        report.add("log", seq_key(statement.last_seq), what, expected=expected, found=hash_text(stored))


def newest_of(published: Sequence[Published]) -> Seal | None:
    """Return the newest whole seal that was published."""
    return next((each.seal for each in reversed(published) if each.seal is not None), None)
