"""Knows the precision of each currency for some seconds, because almost every amount on every page needs it."""

from collections.abc import Mapping
from time import monotonic

from flask import current_app, g

from web.dashboard.asking import Refused, ask
from web.dashboard.who import actor

KEPT_S = 5.0
"""A precision never changes. A currency that is new is asked for at once."""
_KEPT_KEYS = 256

Kept = dict[str, tuple[float, Mapping[str, int]]]
"""The precisions that a key was told, and when, by the ID of the key."""


def precisions() -> Mapping[str, int]:
    """Return the precision of each currency, as far as the key may read it."""
    kept: Kept = current_app.extensions["precisions"]
    entry = kept.get(actor().key_id)
    return entry[1] if entry is not None and monotonic() < entry[0] + KEPT_S else _ask(kept)


def precision_of(currency: str) -> int | None:
    """Return the precision of a currency, or None where the key may not read it or it has none."""
    if (known := precisions().get(currency)) is not None or "precisions_asked" in g:
        return known
    return _ask(current_app.extensions["precisions"]).get(currency)


def _ask(kept: Kept) -> Mapping[str, int]:
    g.precisions_asked = True
    try:
        found = {each["currency"]: each["precision"] for each in ask("GET", "/currencies").json}
    except Refused:
        found = {}
    if len(kept) >= _KEPT_KEYS:
        kept.clear()
    kept[actor().key_id] = (monotonic(), found)
    return found
