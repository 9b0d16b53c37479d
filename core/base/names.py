"""Says which texts may be names and codes: only those that people can see, and can tell from others.

This is the one place for the rule. A new ``@Name``, currency, reference, or name of a ledger or funding job passes through
it. An older row may break the rule. It can still be read and used, and a verification lists it as a warning.

Free text, such as a description, may hold anything but the NUL character, which no text column of Postgres can hold.
``decoding.py`` refuses NUL in bodies.
"""

import json
import re
import unicodedata

MAX_CURRENCY = 32
"""The number of characters that a currency may have."""

CURRENCY_RULE = "a code of A-Z, 0-9, dot, underscore and hyphen, such as USD"

_CURRENCY = re.compile(rf"[A-Z0-9._-]{{1,{MAX_CURRENCY}}}", re.ASCII)

_UNSEEN_CATEGORIES = {
    "Cc": "a control character",
    "Cf": "a character without a shape of its own",
    "Cs": "half of a surrogate pair",
    "Co": "a private character",
    "Cn": "a character that is not in Unicode",
    "Zl": "a line break",
    "Zp": "a line break",
    "Zs": "an unusual blank",
}
"""The categories of Unicode that people cannot see or tell apart. The ordinary space is allowed inside a name."""

_UNSEEN_LETTERS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that Unicode counts among letters, marks or symbols, and shows as nothing: fillers, joiners and variation
selectors (the property Default_Ignorable_Code_Point), and the blank of Braille."""

_SHOWN = 80
"""The number of characters of a text that a message shows."""


def unclear(text: str) -> str | None:
    """Say what people cannot see or tell apart in a name, and show it escaped. Returns None for a clear name.

    An empty text is clear. Whether a name may be empty is another rule.
    """
    if text.isascii() and text.isprintable() and text[:1] != " " and text[-1:] != " ":
        return None
    for position, character in enumerate(text):
        if (kind := _unseen(character)) is not None:
            around = text[max(position - _SHOWN // 2, 0) : position + _SHOWN // 2]
            name = unicodedata.name(character, "")
            code = f"U+{ord(character):04X}{' ' if name else ''}{name}"
            return f"must not contain {kind}, {code}, as character {position + 1}: it reads {escaped(around)}"
    if text != text.strip(" "):
        return f"must not begin or end with a blank: it reads {escaped(text)}, and {escaped(text.strip(' '))} is right"
    right = unicodedata.normalize("NFC", text)
    if text != right:
        return f"must be in the form NFC of Unicode: it reads {_codes(text)}, and {_codes(right)} is right"
    return None


def currency_problem(text: str) -> str | None:
    """Say what is wrong with the code of a currency, and what would be right. Returns None for a right one."""
    if _CURRENCY.fullmatch(text):
        return None
    if not text.strip():
        return f"cannot be blank; a currency is {CURRENCY_RULE}"
    if len(text) > MAX_CURRENCY:
        return f"has more than {MAX_CURRENCY} characters; a currency is {CURRENCY_RULE}"
    seen = "".join(character for character in text if _unseen(character) is None)
    meant = unicodedata.normalize("NFKC", seen).strip().upper()
    hint = f"; did you mean {meant}?" if _CURRENCY.fullmatch(meant) else ""
    shown = escaped(text) if text.isascii() else _codes(text)
    return f"must be {CURRENCY_RULE}, and not {shown}{hint}"


def escaped(text: str) -> str:
    """Write a text in quotes, as JSON, with every character escaped that people cannot see."""
    shown = text[:_SHOWN]
    inner = "".join(character if _unseen(character) is None else _escape(character) for character in shown)
    return f'"{inner}"{"..." if len(text) > _SHOWN else ""}'


def _codes(text: str) -> str:
    """Write a text in quotes, as JSON, with every character escaped that is not ASCII."""
    return f'"{"".join(map(_escape, text[:_SHOWN]))}"{"..." if len(text) > _SHOWN else ""}'


def _escape(character: str) -> str:
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"


def _unseen(character: str) -> str | None:
    """Name the kind of a character that people cannot see, or return None."""
    if " " <= character <= "~":
        return None
    if _UNSEEN_LETTERS.match(character):
        return "a character without a shape of its own"
    return _UNSEEN_CATEGORIES.get(unicodedata.category(character))
