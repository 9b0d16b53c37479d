"""Guesses how wide a text of a picture is, as the server has no fonts. DejaVu Sans is among the widest, so most are narrower."""

from functools import lru_cache
from unicodedata import combining, east_asian_width

_NAME_PX, _AMOUNT_PX = 13.0, 12.0
"""The sizes of the style sheet. Names are bold."""
_REGULAR = 0.92
"""Letters that are not bold are narrower by so much."""
_BOLD = {
    **dict.fromkeys("ijlI.,:;'|!", 0.39),
    **dict.fromkeys("frtJ ()[]-/", 0.5),
    **dict.fromkeys("0123456789abcdeghknopqsuvxyzELFT_", 0.73),
    **dict.fromkeys("ABCDGHKNOPQRSUVXYZ", 0.86),
}
"""The widths of letters by their size."""
_WIDE, _WIDEST = 1.0, 1.12
_ELLIPSIS = "\u2026"


def of_name(text: str) -> float:
    """Return how many pixels a name takes."""
    return sum(map(_letter, text)) * _NAME_PX


def of_amount(text: str) -> float:
    """Return how many pixels an amount takes."""
    return sum(map(_letter, text)) * _AMOUNT_PX * _REGULAR


def shortened(name: str, mark: str, room: float) -> str:
    """Return a name with a mark behind it, and with an ellipsis in place of its end where it is wider than there is room."""
    if of_name(name + mark) <= room:
        return name + mark
    left = room - of_name(_ELLIPSIS + mark)
    for number, letter in enumerate(name):
        left -= _letter(letter) * _NAME_PX
        if left < 0:
            return name[:number] + _ELLIPSIS + mark
    return name + mark


@lru_cache(1024)
def _letter(letter: str) -> float:
    if combining(letter):
        return 0.0
    if east_asian_width(letter) in "WF":
        return _WIDEST
    return _BOLD.get(letter, _WIDEST if letter in "MWmw%" else _WIDE)
