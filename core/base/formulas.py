"""Keeps a text of a CSV from being run as a formula by the spreadsheet that opens it."""

import re
import unicodedata
from typing import Any

_HARMLESS = re.compile(r"-?[0-9]+(\.[0-9]+)?|@[\w.-]+")
"""Matches numbers and ordinary @Names, which no spreadsheet takes for a formula."""

_FORMULA = re.compile(r"[\s\x00-\x1f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]*[=+\-@\u2212]|[\t\r\n]")
"""Matches the start of a formula: blanks or invisible characters, then a sign; or a tab or newline at the very start."""


def inert(value: Any) -> Any:
    """Mark a text that a spreadsheet would run as a formula (OWASP, CSV injection).

    A spreadsheet may skip what cannot be seen in front of the sign, and take a full-width sign for the ordinary one.
    """
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def unmarked(text: str) -> str:
    """Take away the mark of ``inert``, if a text has it."""
    return text[1:] if text[:1] == "'" and _is_formula(text[1:]) else text


def _is_formula(text: str) -> bool:
    return bool(_FORMULA.match(unicodedata.normalize("NFKC", text))) and not _HARMLESS.fullmatch(text)
