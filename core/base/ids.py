"""Ids: a prefix that says of what, and a UUID version 7. Those are time-ordered, which a B-tree rewards."""

from uuid import UUID

from uuid_utils import uuid7  # The standard library has version 7 only from Python 3.14.


def new_id(prefix: str) -> str:
    """For example ``new_id("txn_")``."""
    return f"{prefix}{uuid7()}"


def new_key() -> UUID:
    return UUID(int=uuid7().int)


def key_of(text: str, prefix: str) -> UUID | None:
    """The key in an id with this prefix; None for anything that is not exactly one."""
    if not text.startswith(prefix):
        return None
    try:
        key = UUID(text[len(prefix) :])
    except ValueError:
        return None
    return key if str(key) == text[len(prefix) :] else None
