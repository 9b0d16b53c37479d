"""Attestations: the notary's signed statements of how far the ledger was verified.

A verification signs its checkpoints with a key that only the operator can check. The notary says the same with its own key,
so that anybody who has the public key can check it. It says so only of a position that it has sealed, with the digest that
it sealed. Neither a seal nor a queue that stands still holds it up.
"""

from collections.abc import Collection

import msgspec
from msgspec import Struct

from core.notary.seals import Keypair, is_signed_text, sign_text

FORM = "pacioli verified 1"
"""The form of a statement. Another one gets another name."""


class VerifiedUpTo(Struct, frozen=True, kw_only=True):
    """The content of an attestation. Hashes and keys are hexadecimal."""

    form: str
    ledger: str
    """The identity of the ledger."""
    checkpoint: int
    """The checkpoint by which the verifier said so."""
    sequence: int
    """Everything that was accepted up to this row of the log was verified."""
    digest: str
    """The digest of that row, which covers all rows up to it."""
    queues: dict[int, tuple[int, str]]
    """Seq and hash of the last outcome of each queue that was verified."""
    verified_at: str
    """The time of the verification."""
    verifier: str
    """The verifier's own signature."""
    seal: int
    """The newest seal when this was signed."""
    key: str
    """The public key by which this is checked."""
    at: str
    """The notary's time."""


class Attestation(Struct, frozen=True):
    """A statement as it is stored and published, with its signature in hexadecimal."""

    statement: str
    signature: str

    @property
    def line(self) -> str:
        """The line of JSON that is published."""
        return _encode(Published(self.statement, self.signature)).decode()


class Published(Struct, frozen=True):
    """An attestation as it is published."""

    verified: str
    signature: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(VerifiedUpTo).decode


def sign(statement: VerifiedUpTo, key: Keypair) -> Attestation:
    """Sign a statement."""
    text = _encode(statement).decode()
    return Attestation(text, sign_text(text, key))


def read(attestation: Attestation) -> VerifiedUpTo | None:
    """Read a statement without believing it. None is for a text that is no statement."""
    try:
        statement = _decode(attestation.statement)
    except msgspec.MsgspecError:
        return None
    return statement if statement.form == FORM else None


def problem(attestation: Attestation, keys: Collection[str]) -> str | None:
    """Return what is wrong with an attestation, by keys that are believed."""
    statement = read(attestation)
    if statement is None:
        return "its statement cannot be read"
    if statement.key not in keys:
        return f"it is signed by the key {statement.key}, which is not the notary's"
    if not is_signed_text(attestation.statement, attestation.signature, statement.key):
        return "its signature is not valid"
    return None
