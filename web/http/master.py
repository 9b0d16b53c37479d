"""Compares a key with the master key, in the same way at every door."""

from hashlib import sha256
from hmac import compare_digest


class MasterKey:
    """The master key. It keeps the digest alone, and digests of one length are compared, so that the time tells nothing."""

    def __init__(self, key: str) -> None:
        self._digest = _digest(key)

    def matches(self, key: str) -> bool:
        """Tell whether a key is this one."""
        return compare_digest(_digest(key), self._digest)


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()
