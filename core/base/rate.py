"""A rate of requests, as a setting and the reach of a key have it."""

import re

from msgspec import Struct


class Rate(Struct, frozen=True):
    """So many requests a second in the long run, and so many at once."""

    per_s: int
    burst: int


def rate(text: str) -> Rate:
    """Read a rate such as ``500/1000``."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})(?:/([1-9][0-9]{0,6}))?", text, re.ASCII)
    if found is None:
        raise ValueError(f"must be requests a second and a burst, such as 500/1000, not {text!r}")
    per_s = int(found[1])
    return Rate(per_s, int(found[2] or per_s))
