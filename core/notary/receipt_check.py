"""Checks a receipt with the public key of the notary and nothing else: no database, no network."""

from collections.abc import Collection, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from core.ledger.rules import chain
from core.ledger.rules.log_row import covered_by
from core.notary import merkle
from core.notary.leaves import NO_PARTY, Party, outcome_leaf, party_leaf, sealed_leaf
from core.notary.receipts import FORM, OUTCOME_COLUMNS, PartyOf, Proof, Receipt, Signed
from core.notary.seals import Seal, Statement, is_signed, read


class Checked(Struct, frozen=True, kw_only=True):
    """The result of a check: the facts that a receipt proves, and the problems."""

    ok: bool
    """Whether nothing is wrong, and what was accepted is proved."""
    problems: list[str]
    transaction_id: str
    accepted: dict[str, Any]
    """The proved columns of the row of the log; empty when they are not proved."""
    source: PartyOf | None = None
    destination: PartyOf | None = None
    decided: dict[str, str]
    """The proved columns of the outcome; empty when they are not proved."""
    accepted_by: str | None = None
    """The time of the seal that has the row. It was accepted before."""
    decided_by: str | None = None
    """The time of the seal that has the outcome."""
    ledger: str | None = None
    note: str | None = None


def check(receipt: Receipt, keys: Collection[str]) -> Checked:
    """Check a receipt by public keys of the notary that are known from elsewhere."""
    problems: list[str] = []
    believed = _believed(receipt, keys)
    accepted, accepted_in = _accepted(receipt, believed, problems)
    decided, decided_in = _decided(receipt, believed, accepted, problems)
    if receipt.form != FORM:
        problems.append(f"its form is {receipt.form!r}, and this release knows {FORM!r}")
    if accepted_in is not None and decided_in is not None and accepted_in.ledger != decided_in.ledger:
        problems.append("its two seals are of different ledgers")
    source = receipt.accepted.source if accepted and receipt.accepted is not None else None
    destination = receipt.accepted.destination if accepted and receipt.accepted is not None else None
    return Checked(
        ok=bool(accepted) and not problems,
        problems=problems,
        transaction_id=receipt.transaction_id,
        accepted=accepted,
        source=source,
        destination=destination,
        decided=decided,
        accepted_by=accepted_in.at if accepted_in is not None else None,
        decided_by=decided_in.at if decided_in is not None else None,
        ledger=accepted_in.ledger if accepted_in is not None else None,
        note=receipt.note if isinstance(receipt.note, str) else None,
    )


def _believed(receipt: Receipt, keys: Collection[str]) -> set[str]:
    """Return the known keys, those that they have handed over to, and those that had handed over to them."""
    believed = {key.lower() for key in keys}
    signed = {seal.hash: statement for seal, statement in _signed(receipt)}
    for statement in signed.values():
        if statement.key in believed and statement.next_key:
            believed.add(statement.next_key)
    for statement in reversed(signed.values()):
        before = signed.get(statement.before)  # Whoever signs the next seal vouches for the one before.
        if statement.key in believed and before is not None and before.next_key == statement.key:
            believed.add(before.key)
    return believed


def _signed(receipt: Receipt) -> Iterator[tuple[Seal, Statement]]:
    """Yield the seals of the keys that have a valid signature, whosoever's it is."""
    for each in receipt.keys:
        seal = _seal(each)
        statement = read(seal)
        if statement is not None and is_signed(seal, statement.key):
            yield seal, statement


def _accepted(
    receipt: Receipt, believed: Collection[str], problems: list[str]
) -> tuple[dict[str, Any], Statement | None]:
    """Return the columns that are proved to be in the log, and the seal that they are under."""
    accepted = receipt.accepted
    if accepted is None:
        return {}, None
    try:
        row = msgspec.json.decode(accepted.row)
    except msgspec.MsgspecError:
        row = None
    columns = covered_by(accepted.version) if accepted.version in chain.LEAVES else []
    if not isinstance(row, list) or len(row) != len(columns) or accepted.columns != columns:
        problems.append("its row of the log is not of the version that it says")
        return {}, None
    values = dict(zip(columns, row, strict=True))
    if f"txn_{values['id']}" != receipt.transaction_id or values["seq"] != accepted.sequence:
        problems.append("its row of the log is that of another transaction")
        return {}, None
    for name, party in (("source", accepted.source), ("destination", accepted.destination)):
        if (values[name] is None) != (party is None):
            problems.append(f"its row of the log has no such {name}")
            return {}, None
    if accepted.proof is None:
        return {}, None
    leaf = sealed_leaf(
        chain.leaf_of_text(accepted.version, accepted.row.encode()),
        _party(accepted.source),
        _party(accepted.destination),
    )
    statement = _under(accepted.proof, believed, "what was accepted", problems)
    if statement is None:
        return {}, None
    size, index = statement.last_seq - statement.first_seq + 1, accepted.sequence - statement.first_seq
    if (accepted.proof.size, accepted.proof.index) != (size, index):
        problems.append("its proof of what was accepted is for another position in the log")
        return {}, None
    if _root(accepted.proof, leaf) != statement.root:
        problems.append("its row of the log, or a balance that it names, is not the one that was sealed")
        return {}, None
    return values, statement


def _decided(
    receipt: Receipt, believed: Collection[str], accepted: dict[str, Any], problems: list[str]
) -> tuple[dict[str, str], Statement | None]:
    """Return the columns of the outcome that are proved, and the seal that they are under."""
    decided = receipt.decided
    if decided is None or decided.proof is None:
        return {}, None
    values = decided.row.split("\t")
    if decided.columns != OUTCOME_COLUMNS or len(values) != len(OUTCOME_COLUMNS):
        problems.append("its outcome cannot be read")
        return {}, None
    if not accepted or values[0] != str(accepted["seq"]):
        problems.append("its outcome is that of another transaction, or of a row that is not proved")
        return {}, None
    statement = _under(decided.proof, believed, "what was decided", problems)
    if statement is None:
        return {}, None
    if (
        decided.proof.size != statement.decided
        or _root(decided.proof, outcome_leaf(decided.row)) != statement.decided_root
    ):
        problems.append("its outcome is not the one that was sealed")
        return {}, None
    return dict(zip(OUTCOME_COLUMNS, values, strict=True)), statement


def _under(proof: Proof, believed: Collection[str], what: str, problems: list[str]) -> Statement | None:
    """Return the statement of the seal of a proof, if a key that is believed has signed it."""
    seal = _seal(proof.seal)
    statement = read(seal)
    if statement is None or not is_signed(seal, statement.key):
        problems.append(f"the seal of {what} has no valid signature")
    elif statement.key not in believed:
        problems.append(f"the seal of {what} is signed by the key {statement.key}, which is not the notary's")
    else:
        return statement
    return None


def _root(proof: Proof, leaf: bytes) -> str | None:
    try:
        path = [bytes.fromhex(each) for each in proof.path]
    except ValueError:
        return None
    root = merkle.root_of(leaf, proof.index, proof.size, path)
    return None if root is None else root.hex()


def _party(party: PartyOf | None) -> bytes:
    return NO_PARTY if party is None else party_leaf(Party(*_values(party)))


def _values(party: PartyOf) -> Iterator[Any]:
    return (getattr(party, name) for name in Party._fields)


def _seal(signed: Signed) -> Seal:
    return Seal(signed.statement, signed.signature)
