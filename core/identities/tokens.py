"""Seals fields of identities: AES-256-GCM under a data key of each identity, which is itself sealed under a master key.

To throw a data key away makes its tokens unreadable for ever, also in backups that are older. Master keys are in a setting, the
newest first. A token begins with the ID of the master key under which its data key is sealed, so a rotation can tell what
is left to do.

Tokens are random: equal values have different tokens, and a token tells nothing of its value but roughly its length. Each is
bound to its identity and field, so a token that is copied elsewhere cannot be read there.
"""

import base64
import binascii
import os
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from core.base.errors import InvariantBroken

PREFIX = "FPT:"
_NONCE = 12
_ID_DIGITS = 8


class MasterKey(Struct, frozen=True):
    """A key of 32 bytes, and an ID that tells it from others and nothing of the key."""

    id: str
    key: bytes

    def __repr__(self) -> str:
        return f"MasterKey({self.id})"


def master_key(secret: str) -> MasterKey:
    """Derive a master key from the text of a secret."""
    key = sha256(b"pacioli tokenization " + secret.encode()).digest()
    return MasterKey(sha256(b"id " + key).hexdigest()[:_ID_DIGITS], key)


class DataKey(Struct, frozen=True):
    """The key of one identity: as it is used, and sealed as the database has it."""

    identity: str
    """The ID of the identity."""
    master: str
    """The ID of the master key that has sealed it."""
    key: bytes
    sealed: bytes

    def __repr__(self) -> str:
        return f"DataKey({self.identity})"

    def seal(self, field: str, value: str) -> str:
        """Make the token of a value."""
        sealed = _seal(self.key, value.encode(), _bound(self.identity, field))
        return f"{PREFIX}{self.master}:{base64.urlsafe_b64encode(sealed).decode()}"

    def open(self, field: str, token: str) -> str:
        """Read a token.

        Raises:
            InvariantBroken: it was changed, or belongs to another identity or field.
        """
        try:
            sealed = base64.urlsafe_b64decode(token.rpartition(":")[2])
            return _open(self.key, sealed, _bound(self.identity, field)).decode()
        except (InvalidTag, binascii.Error, ValueError):
            raise InvariantBroken(f"the token of {field} of {self.identity} cannot be read") from None


class Keyring:
    """The master keys, the newest first."""

    def __init__(self, keys: tuple[MasterKey, ...]) -> None:
        self._newest = keys[0]
        self._keys = {key.id: key for key in keys}

    @property
    def newest(self) -> str:
        """The ID of the key that seals new data keys."""
        return self._newest.id

    def new_data_key(self, identity: str) -> DataKey:
        """Make a data key for an identity."""
        key = os.urandom(32)
        sealed = self._newest.id.encode() + _seal(self._newest.key, key, identity.encode())
        return DataKey(identity, self._newest.id, key, sealed)

    def data_key(self, identity: str, sealed: bytes) -> DataKey:
        """Open the data key of an identity.

        Raises:
            InvariantBroken: its master key is not in the setting any more, or the data key was changed.
        """
        id = sealed[:_ID_DIGITS].decode(errors="replace")
        master = self._keys.get(id)
        if master is None:
            raise InvariantBroken(
                f"the tokens of {identity} are sealed under the key {id}, which PACIOLI_TOKENIZATION_SECRET does not have"
            )
        try:
            return DataKey(identity, id, _open(master.key, sealed[_ID_DIGITS:], identity.encode()), sealed)
        except (InvalidTag, ValueError):
            raise InvariantBroken(f"the data key of {identity} cannot be read") from None


def keyring_of(secrets: str) -> Keyring:
    """Make the keyring of a setting: secrets with commas between them, the newest first."""
    return Keyring(tuple(map(master_key, secrets.split(","))))


def _seal(key: bytes, data: bytes, bound_to: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, data, bound_to)


def _open(key: bytes, sealed: bytes, bound_to: bytes) -> bytes:
    return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], bound_to)


def _bound(identity: str, field: str) -> bytes:
    return f"{identity} {field}".encode()
