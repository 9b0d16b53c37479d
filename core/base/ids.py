"""Makes and reads IDs. An ID is a prefix that tells its kind, and a UUID version 7, which is ordered by time."""

from uuid import UUID

from uuid_utils import uuid7  # The standard library has version 7 only from Python 3.14.


def new_id(prefix: str) -> str:
    """Make a new ID with a prefix, such as ``new_id("txn_")``."""
    return prefix + str(uuid7())  # A format string takes a third longer, and each row has an id.


def new_key() -> UUID:
    """Make a new UUID, as a database stores it."""
    return UUID(int=uuid7().int)


def uuid_of(text: str, prefix: str) -> UUID | None:
    """Read the UUID of an ID with this prefix. Returns None for any other text."""
    if not text.startswith(prefix):
        return None
    try:
        key = UUID(text[len(prefix) :])
    except ValueError:
        return None
    return key if str(key) == text[len(prefix) :] else None
