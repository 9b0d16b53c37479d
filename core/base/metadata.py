"""Checks that the database can store the JSON text of ``meta_data`` and give it back unchanged."""

import json
import re
from decimal import Decimal
from typing import Any

import msgspec

from core.base.actors import KEY_PREFIX, current
from core.base.errors import ErrorCode, InvalidRequest
from core.base.money import MAX_DIGITS
from core.base.sizes import MAX_META_DATA, size_problem

_SUSPECT_JSON = re.compile(rb"[\x00-\x1f]|\\u0000|\\u[dD][89a-fA-F]|[0-9][eE][+-]?[0-9]{3}|[0-9]{400}")
"""The signs of JSON that Postgres may refuse. Only a text that shows one is parsed."""

_SURROGATE_OR_NUL = re.compile("[\x00\ud800-\udfff]")
_MAX_DEPTH = 100

STAMP = "BLNK_GENERATED_BY"
"""The member of metadata that names the stored key that has made something."""

Problems = list[tuple[str, str]]


def meta_data_problems(raw: bytes) -> Problems:
    """List what the database could not store in the JSON text of ``meta_data``, or would not give back unchanged."""
    text = raw.strip()
    if text == b"null":
        return []
    if not text.startswith(b"{"):
        return [("meta_data", "must be an object")]
    if too_large := size_problem(len(text), MAX_META_DATA, "bytes"):
        return [("meta_data", too_large)]
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            return [("meta_data", "must be UTF-8")]
    if text.count(b"{") + text.count(b"[") <= _MAX_DEPTH and not _SUSPECT_JSON.search(text):
        return []
    try:
        return _value_problems(json.loads(text, parse_float=Decimal, parse_int=Decimal), 1)
    except ArithmeticError:  # Not even Decimal can hold such an exponent.
        return [("meta_data", f"has a number of more than {MAX_DIGITS} digits")]
    except (ValueError, RecursionError):
        return [("meta_data", "is not valid JSON")]


def _value_problems(value: Any, depth: int) -> Problems:
    if depth > _MAX_DEPTH:
        return [("meta_data", f"is nested more than {_MAX_DEPTH} levels deep")]
    if isinstance(value, str) and _SURROGATE_OR_NUL.search(value):
        return [("meta_data", "must not contain the NUL character or half of a surrogate pair")]
    if isinstance(value, Decimal) and (abs(value.adjusted()) > MAX_DIGITS or len(value.as_tuple().digits) > MAX_DIGITS):
        return [("meta_data", f"has a number of more than {MAX_DIGITS} digits")]
    children = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    for child in children:
        if problems := _value_problems(child, depth + 1):
            return problems
    return []


def refuse_expanded(stored: str | None) -> None:
    """Refuse metadata that Postgres writes much larger than it came. It writes 1e900 as 901 digits.

    The blanks that it writes after commas and colons are no reason.

    Raises:
        InvalidRequest: the text is more than twice as large as metadata may be.
    """
    if stored is not None and (text := size_problem(len(stored.encode()), 2 * MAX_META_DATA, "bytes with all digits")):
        raise InvalidRequest([("meta_data", text)], ErrorCode.GEN_VALIDATION_ERROR)


def meta_data_text(raw: bytes) -> str | None:
    """Make the text to store from ``meta_data`` that has no problems. Returns None when there is none.

    A stamp that a stored key sends is left out, because only the service says which key has made something.
    """
    text = bytes(raw).strip()
    if text in (b"", b"null"):
        return None
    if not current().is_stored:
        return text.decode()
    own = _without_stamp(text.decode())
    return None if own == "{}" != text.decode() else own


def stamped(text: str | None, key_id: str | None) -> str | None:
    """Add the stored key that has made something to the JSON text of its metadata, as Blnk does. Other keys leave no stamp."""
    if key_id is None or not key_id.startswith(KEY_PREFIX):
        return text
    stamp = f'"{STAMP}":"{key_id}"'
    inner = _without_stamp(text).strip()[1:].lstrip() if text else "}"
    return f"{{{stamp}{inner}" if inner == "}" else f"{{{stamp},{inner}"


def _without_stamp(text: str) -> str:
    """Remove the stamp from the text of an object. Only a text that may have one, also in escapes, is taken apart."""
    if STAMP not in text and "\\u" not in text:
        return text
    members = _members(text)
    if members.pop(STAMP, None) is None:
        return text
    return msgspec.json.encode(members).decode()


_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
