"""Makes and keeps the secrets of endpoints, and signs what is sent: in Blnk's way, and in that of Standard Webhooks.

A secret is ``whsec_`` and base64, as Standard Webhooks writes it. The database has it sealed (AES-256-GCM) under a key that is
derived from the pepper, which the database does not hold. A seal is bound to its endpoint, so it cannot be copied to another.
"""

import base64
import binascii
import hmac
import os
from collections.abc import Sequence
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.base.errors import InvariantBroken

PREFIX = "whsec_"
_BYTES = 32
_BYTES_MIN, _BYTES_MAX = 24, 64
_NONCE = 12


class Unreadable(InvariantBroken):
    """A sealed text of an endpoint cannot be read: the pepper is another one, or somebody changed it."""


class Safe:
    """Seals and opens what endpoints keep, under one key."""

    def __init__(self, pepper: bytes) -> None:
        self._key = AESGCM(sha256(b"pacioli webhooks " + pepper).digest())

    def seal(self, webhook_id: str, text: str) -> bytes:
        """Seal a text for an endpoint."""
        nonce = os.urandom(_NONCE)
        return nonce + self._key.encrypt(nonce, text.encode(), webhook_id.encode())

    def open(self, webhook_id: str, sealed: bytes) -> str:
        """Open what was sealed for an endpoint.

        Raises:
            Unreadable: it was sealed under another pepper, or for another endpoint.
        """
        try:
            return self._key.decrypt(sealed[:_NONCE], sealed[_NONCE:], webhook_id.encode()).decode()
        except (InvalidTag, ValueError):
            raise Unreadable(
                f"what {webhook_id} keeps sealed cannot be read: it was sealed under another PACIOLI_PEPPER; rotate it"
            ) from None


def new_secret() -> str:
    """Make a secret of 256 random bits."""
    return PREFIX + base64.b64encode(os.urandom(_BYTES)).decode()


def secret_problem(text: str) -> str | None:
    """Say what is wrong with a secret that a client brings along."""
    try:
        count = len(base64.b64decode(text.removeprefix(PREFIX), validate=True))
    except (binascii.Error, ValueError):
        count = 0
    if not text.startswith(PREFIX) or not _BYTES_MIN <= count <= _BYTES_MAX:
        return f"must be {PREFIX} and the base64 of {_BYTES_MIN} to {_BYTES_MAX} bytes; leave it out, and one is made"
    return None


class Key:
    """A secret as it signs. That of Blnk's own endpoint and of hooks is the master key, which is no base64."""

    def __init__(self, text: str) -> None:
        self._text = text.encode()
        is_ours = text.startswith(PREFIX) and secret_problem(text) is None
        self._bytes = base64.b64decode(text.removeprefix(PREFIX)) if is_ours else self._text

    def blnk(self, timestamp: int, body: bytes) -> str:
        """Sign as Blnk does: the hexadecimal HMAC of the timestamp, a dot and the body, under the text of the secret."""
        return hmac.new(self._text, b"%d." % timestamp + body, sha256).hexdigest()

    def standard(self, id: str, timestamp: int, body: bytes) -> str:
        """Sign as Standard Webhooks does: ``v1`` and the base64 of an HMAC that covers the ID too, under the secret's bytes."""
        digest = hmac.new(self._bytes, b"%s.%d." % (id.encode(), timestamp) + body, sha256).digest()
        return f"v1,{base64.b64encode(digest).decode()}"


def signed(keys: Sequence[Key], id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Make the headers that sign a body. The newest key is first; without a key nothing is signed, as in Blnk.

    After a rotation there are two keys. ``webhook-signature`` has a signature by each. Blnk's header has room for one, that of
    the newest, and the other is in ``X-Blnk-Signature-Previous``.
    """
    if not keys:
        return {}
    headers = {
        "X-Blnk-Timestamp": str(timestamp),
        "X-Blnk-Signature": keys[0].blnk(timestamp, body),
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(key.standard(id, timestamp, body) for key in keys),
    }
    if len(keys) > 1:
        headers["X-Blnk-Signature-Previous"] = keys[1].blnk(timestamp, body)
    return headers
