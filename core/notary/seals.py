"""Seals: signed statements of how far the log is accepted and decided, and of the hashes there.

The text of a statement is signed as it is stored, so whoever has the public key can check it with nothing else. Each seal
names its own key, and covers the one before it. A key is replaced by a seal that names the next one, which the old key signs.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

FORM = "pacioli seal 1"
"""The form of a statement. Another one gets another name."""


class Verified(Struct, frozen=True, kw_only=True):
    """The newest checkpoint when the seal was made: how far the ledger was verified, by the signature of the verifier."""

    id: int
    sequence: int
    at: str
    signature: str


class Statement(Struct, frozen=True, kw_only=True):
    """The content of a seal. Hashes and keys are hexadecimal."""

    form: str
    ledger: str
    """The identity of the ledger."""
    number: int
    """The position among the seals, from 1."""
    before: str
    """The hash of the seal before it. It is empty in the first."""
    key: str
    """The public key by which this seal is checked."""
    at: str
    """The notary's time."""
    first_seq: int
    last_seq: int
    """The rows of the log since the seal before. ``last_seq`` is less than ``first_seq`` when there are none."""
    digest: str
    """The digest of row ``last_seq``, which covers all rows up to it."""
    root: str
    """The Merkle root over the sealed leaves of the rows since the seal before."""
    versions: dict[int, int]
    """The last row of each version of the digest. All rows after the last one of version 1 are of version 2."""
    queues: dict[int, tuple[int, str]]
    """Seq and hash of the last outcome of each queue. They cover all outcomes of the queue up to it."""
    decided: int
    """The number of outcomes since the seal before."""
    decided_root: str
    """The Merkle root over their leaves, by queue and then by seq."""
    verified: Verified | None = None
    audit: tuple[int, str] | None = None
    """Position and hash of the last row of the audit log, which covers all rows up to it."""
    pledges: tuple[int, str] | None = None
    """Number and hash of the last pledge, which covers all that was accepted for later."""
    next_key: str | None = None
    """The public key of the next seal, when the key changes."""


class Seal(Struct, frozen=True):
    """A statement as it is stored and published, with its signature in hexadecimal."""

    statement: str
    signature: str

    @property
    def hash(self) -> str:
        """The hash that the next seal has in ``before``, and that is published where there is little room."""
        return sha256(f"{self.statement}\n{self.signature}".encode()).hexdigest()

    @property
    def line(self) -> str:
        """The line of JSON that is published."""
        return _encode(self).decode()


_encode = msgspec.json.Encoder().encode
_decode_statement = msgspec.json.Decoder(Statement).decode


class Keypair(NamedTuple):
    """The key of the notary. Only its process has the private part."""

    private: Ed25519PrivateKey
    public: str


def keypair(seed: bytes) -> Keypair:
    """Make the keys of a seed of 32 bytes."""
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return Keypair(private, private.public_key().public_bytes_raw().hex())


def sign(statement: Statement, key: Keypair) -> Seal:
    """Sign a statement."""
    text = _encode(statement).decode()
    return Seal(text, sign_text(text, key))


def read(seal: Seal) -> Statement | None:
    """Read a statement without believing it. None is for a text that is no statement."""
    try:
        statement = _decode_statement(seal.statement)
    except msgspec.MsgspecError:
        return None
    return statement if statement.form == FORM else None


def sign_text(text: str, key: Keypair) -> str:
    """Sign the text of a statement. The form at its beginning keeps one kind from standing for another."""
    return key.private.sign(text.encode()).hex()


def is_signed(seal: Seal, key: str) -> bool:
    """Tell whether a key has signed a seal."""
    return is_signed_text(seal.statement, seal.signature, key)


@lru_cache(maxsize=2048)
def is_signed_text(text: str, signature: str, key: str) -> bool:
    """Tell whether a key has signed a text. A process computes that once of each seal that verifications look back at."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


class Wrong(NamedTuple):
    """A problem of a seal."""

    number: int
    what: str
    expected: str
    found: str


class Line:
    """Follows seals from one to the next: their numbers, what each says of the one before, and their keys."""

    def __init__(self, pinned: Iterable[str] = ()) -> None:
        """Begin before the first seal that is followed. ``pinned`` are keys that are known from elsewhere."""
        self._pinned = frozenset(pinned)
        self._last: Seal | None = None
        self._statement: Statement | None = None
        self._key: str | None = None
        self.keys: set[str] = set()
        """The keys of the seals that were right."""
        self.is_pinned = False
        """Whether a pinned key signed one of the seals, or a key that a pinned key has named."""

    def follow(self, number: int, seal: Seal) -> tuple[Statement | None, list[Wrong]]:
        """Check the next seal, which is stored under ``number``. Return what it states, and what is wrong."""
        statement = read(seal)
        if statement is None or statement.number != number:
            found = "a text that cannot be read" if statement is None else f"number {statement.number}"
            return None, [Wrong(number, "statement", f"the statement of seal {number}", found)]
        wrong = []
        if not is_signed(seal, statement.key):
            wrong.append(Wrong(number, "signature", f"made by the key {statement.key}", seal.signature))
        if self._statement is None or self._last is None:
            if number == 1 and statement.before:
                wrong.append(Wrong(number, "before", "nothing, for it is the first", statement.before))
        else:
            if number != self._statement.number + 1:
                missing = self._statement.number + 1
                wrong.append(Wrong(missing, "row", "a seal, for there are later ones", "none"))
            elif statement.before != self._last.hash:
                wrong.append(Wrong(number, "before", f"{self._last.hash}, the seal before it", statement.before))
            elif statement.first_seq != self._statement.last_seq + 1:
                expected = f"{self._statement.last_seq + 1}, after the seal before it"
                wrong.append(Wrong(number, "first_seq", expected, str(statement.first_seq)))
            if self._key is not None and statement.key != self._key:
                expected = f"the key {self._key}, by the seal before it"
                wrong.append(Wrong(number, "key", expected, statement.key))
        if not wrong:
            self.keys.add(statement.key)
        if statement.key in self._pinned and not wrong:
            self.is_pinned = True
        if not wrong or self._key is None:
            self._key = statement.next_key or statement.key
        self._last, self._statement = seal, statement
        return statement, wrong
