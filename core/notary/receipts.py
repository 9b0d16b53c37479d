"""Receipts: what was accepted and decided about one transaction, with proofs up to seals of the notary.

A receipt has the row of the transaction, and of all others only hashes. ``receipt_check.py`` checks it with the public key
of the notary alone.
"""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, Struct, UnsetType
from sqlalchemy import Connection, Engine

from core.base.db import reading_within
from core.ledger.rules.log_row import LogRow, covered_by, values_of
from core.ledger.rules.model import Kind
from core.ledger.store.outcomes import OUTCOME, Recorded
from core.notary import proof_store, seal_store
from core.notary.trees import Trees, Way

FORM = "pacioli receipt 1"

OUTCOME_COLUMNS = OUTCOME.split(", ")[:-1]
"""The columns of an outcome that its leaf covers."""

_WITHIN_S = 5.0

_NOT_SEALED = "the notary signs it within about ten seconds of its work; ask again then"
_NOT_DECIDED = "it waits in its queue, and is decided in its turn; ask again when its status has moved on"
_SPLIT = "its legs are decided, each by itself; ask for the receipts of the legs"
_SCHEDULED = "it waits for its date, and gets into the log then; ask again after that"


class Signed(Struct, frozen=True):
    """A seal of the notary: the text that was signed, and the Ed25519 signature over it in hexadecimal."""

    statement: str
    signature: str


class Proof(Struct, frozen=True):
    """The way from a leaf to the root in a seal, as in RFC 6962."""

    index: int
    """The position of the leaf, from 0."""
    size: int
    """The number of leaves under the root."""
    path: list[str]
    """The hashes beside the way, from the leaf up, in hexadecimal."""
    seal: Signed


class PartyOf(Struct, frozen=True):
    """Who a balance is."""

    balance_id: str
    ledger_id: str
    indicator: str | None
    currency: str


class Accepted(Struct, frozen=True, kw_only=True):
    """The row of the log."""

    sequence: int
    version: int
    """The version of its digest."""
    columns: list[str]
    row: str
    """The JSON text of the values of the columns, exactly as it was hashed."""
    source: PartyOf | None
    destination: PartyOf | None
    proof: Proof | None
    """The proof that it was accepted. It is null until the notary has sealed the row."""


class Decided(Struct, frozen=True, kw_only=True):
    """The outcome."""

    columns: list[str]
    row: str
    """The values of the columns with tabs between them, exactly as they were hashed."""
    proof: Proof | None
    """The proof that it was decided so. It is null until the notary has sealed the outcome."""


class Receipt(Struct, frozen=True, kw_only=True):
    """A transaction as it was accepted and decided, with the proofs of both."""

    form: str
    transaction_id: str
    accepted: Accepted | None
    """Null for a transaction that waits for its date."""
    decided: Decided | None
    """Null for one that is not decided yet, and for a split, whose legs are decided."""
    keys: list[Signed]
    """The seals by which one key of the notary handed over to the next, and the first ones of the next.

    They lead from one key that you know to all others.
    """
    note: str | UnsetType = UNSET
    """The proofs that are still to come, and when."""


def receipt_of(engine: Engine, transaction_id: str, seq: int) -> Receipt:
    """Make the receipt of a transaction. ``seq`` is 0 for one that waits for its date.

    Raises:
        TooSlow: the proofs took too long.
        TransientError: the database was busy or gone.
    """
    with reading_within(engine, _WITHIN_S) as conn:
        row = proof_store.rows(conn, [seq]).get(seq)
        if row is None:
            return Receipt(
                form=FORM, transaction_id=transaction_id, accepted=None, decided=None, keys=[], note=_SCHEDULED
            )
        return msgspec.structs.replace(Prover(conn).receipts([row])[0], keys=keys_of(conn))


def keys_of(conn: Connection) -> list[Signed]:
    """Return the seals by which each key handed over, and the first one of the next key, which covers it."""
    handed_over = seal_store.hand_overs(conn)
    after = proof_store.seals(conn, [number + 1 for number, _ in handed_over]) if handed_over else {}
    found = []
    for number, seal in handed_over:
        found += [Signed(each.statement, each.signature) for each in (seal, after.get(number + 1)) if each is not None]
    return list(dict.fromkeys(found))


class Prover:
    """Makes receipts in one transaction."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._trees = Trees(conn)

    def receipts(self, rows: Sequence[LogRow]) -> list[Receipt]:
        """Make the receipts of rows of the log, without the keys."""
        self._trees.read_ahead(rows)
        self._trees.look_up({key for row in rows for key in (row.source, row.destination) if key is not None})
        outcomes = proof_store.outcomes(self._conn, [row.seq for row in rows])
        return [self._receipt(row, outcomes.get(row.seq)) for row in rows]

    def _receipt(self, row: LogRow, outcome: Recorded | None) -> Receipt:
        accepted, decided = self._accepted(row), self._decided(row, outcome)
        if accepted.proof is None or (decided is not None and decided.proof is None):
            note: str | UnsetType = _NOT_SEALED
        elif row.kind == Kind.SPLIT:
            note = _SPLIT
        else:
            note = UNSET if decided is not None else _NOT_DECIDED
        return Receipt(
            form=FORM, transaction_id=row.transaction_id, accepted=accepted, decided=decided, keys=[], note=note
        )

    def party(self, key: int | None) -> PartyOf | None:
        """Return who a balance is."""
        if key is None:
            return None
        self._trees.look_up({key})
        party = self._trees.parties.get(key)
        return None if party is None else PartyOf(*party)

    def _accepted(self, row: LogRow) -> Accepted:
        return Accepted(
            sequence=row.seq,
            version=row.digest_version,
            columns=covered_by(row.digest_version),
            row=msgspec.json.encode(values_of(row)).decode(),
            source=self.party(row.source),
            destination=self.party(row.destination),
            proof=_proof(self._trees.of_row(row.seq)),
        )

    def _decided(self, row: LogRow, outcome: Recorded | None) -> Decided | None:
        if outcome is None or row.queue is None:
            return None
        proof = _proof(self._trees.of_outcome(row.queue, row.seq))
        return Decided(columns=OUTCOME_COLUMNS, row=outcome.line, proof=proof)


def _proof(way: Way | None) -> Proof | None:
    if way is None:
        return None
    path, seal = [each.hex() for each in way.path], Signed(way.seal.statement, way.seal.signature)
    return Proof(index=way.index, size=way.size, path=path, seal=seal)
