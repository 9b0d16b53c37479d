"""Says how large a text of a request may be. The database checks the same limits (migration 0007).

Older rows may be larger. They can still be read, refunded and paid from.
"""

MAX_NAME = 255
"""The largest number of characters of a name: of a ledger, a funding job, or an internal balance."""
MAX_DESCRIPTION = 4 * 1024
"""The largest number of bytes of a description, in UTF-8."""
MAX_META_DATA = 64 * 1024
"""The largest number of bytes of ``meta_data``, as JSON text."""


def size_problem(size: int, largest: int, unit: str) -> str | None:
    """Say that a text is too large, with its size and the limit. Returns None when it is not."""
    return f"has {size} {unit}; at most {largest} are allowed" if size > largest else None


def description_problem(text: str) -> str | None:
    """Say that a description is too large. Returns None when it is not."""
    # No character takes more than 4 bytes, so most texts need no look.
    if len(text) <= MAX_DESCRIPTION // 4:
        return None
    return size_problem(len(text.encode(errors="replace")), MAX_DESCRIPTION, "bytes")
