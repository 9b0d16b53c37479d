"""Makes the secrets of keys, and the hashes that stand for them in the database.

A secret is ``pacioli_key_``, 32 random bytes in 43 letters and digits, and a checksum in 6. The prefix tells whoever finds one
in a text or a commit what it is, and the checksum tells a mistyped or cut one without a look into the database.

Nobody can try all secrets of 256 random bits, so no slow hash is needed. The hash is keyed by a *pepper* that the database
does not hold, so whoever writes to the database can make no key of his own.
"""

import hmac
import secrets
import string
import zlib

PREFIX = "pacioli_key_"
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM, _CHECK = 43, 6
LENGTH = len(PREFIX) + _RANDOM + _CHECK
_SHOWN = 8
"""So many of the random characters may be seen later. The others have over 200 bits."""


def new_secret() -> str:
    """Make a secret."""
    text = PREFIX + _in_digits(int.from_bytes(secrets.token_bytes(32)), _RANDOM)
    return text + _checksum(text)


def is_well_formed(text: str) -> bool:
    """Tell whether a text may be a secret. One that was mistyped or cut is none."""
    return len(text) == LENGTH and text.startswith(PREFIX) and text[-_CHECK:] == _checksum(text[:-_CHECK])


def hash_of(pepper: bytes, text: str) -> bytes:
    """Return what stands for a secret in the database."""
    return hmac.digest(pepper, text.encode(), "sha256")


def shown(text: str) -> str:
    """Return the beginning of a secret, by which its owner tells it from others."""
    return text[: len(PREFIX) + _SHOWN]


def pepper_from(master: str) -> bytes:
    """Derive a pepper from the master key, for a service that has no pepper of its own. Another master key ends all keys."""
    return hmac.digest(master.encode(), b"the pepper of API keys", "sha256")


def _checksum(text: str) -> str:
    return _in_digits(zlib.crc32(text.encode()), _CHECK)


def _in_digits(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
