"""Says why JSON, or one value in it, cannot be read, and what would be right."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import Any, get_args, get_origin

import msgspec
from msgspec import Meta, Raw, Struct

EXPECTED = "expected"
"""The member of a field's ``Meta(extra=...)`` that names the values which the field takes, in place of its type."""

HINT = "hint"
"""The member of a field's ``Meta(extra=...)`` that says where another kind of value belongs."""

NUL = 'must not contain the NUL character, "\\u0000", which no database can hold'

_SHOWN = 40
"""The number of characters of a value, or of the JSON before a fault, that a message shows."""

_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_PLACE = re.compile(r" \(byte ([0-9]+)\)$")

_FORMS: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    Decimal: "a number such as 12.50, or its text",
    datetime: "a time such as 2024-04-22T15:28:03Z, as text",
    list: "a list",
}


def why_no_json(error: Exception, data: bytes) -> str:
    """Say at which byte a text stops being JSON, what comes before it, and what would be right."""
    if isinstance(error, RecursionError):
        return "the JSON is nested too deep"
    if data.startswith(b"\x1f\x8b"):
        return "the body is compressed; send it as plain JSON"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in data[:4]:
        return "the body is not UTF-8, and looks like UTF-16; send JSON in UTF-8"
    if data.startswith(b"\xef\xbb\xbf"):
        return "the body begins with a byte order mark; send JSON in UTF-8 without one"
    try:
        data.decode()
    except UnicodeDecodeError as wrong:
        what = f"the byte 0x{data[wrong.start]:02x} is not UTF-8"
        return f"{what}, at {_place(data, wrong.start)}; send JSON in UTF-8"
    lone = _LONE_SURROGATE.search(data)
    text = str(error)
    if lone is not None and ("truncated" in text or "surrogate" in text):
        return f"{lone.group().decode()} is half of a surrogate pair, at {_place(data, lone.start())}; send both halves, or none"
    if "truncated" in text:
        return (
            f"the JSON ends too early, at {_place(data, len(data))}" if data else "the body is empty, and must be JSON"
        )
    found = _PLACE.search(text)
    what = _PLACE.sub("", text).removeprefix("JSON is malformed: ")
    return f"the JSON is not right ({what}), at {_place(data, int(found.group(1)))}" if found else what


def _place(data: bytes, position: int) -> str:
    before = data[max(position - _SHOWN, 0) : position].decode(errors="ignore")
    shown = "".join(character if character.isprintable() else " " for character in before).strip()
    return f"byte {position} of {len(data)}" + (f", after {shown}" if shown else "")


def why_unreadable(annotation: Any, data: bytes, error: Exception | None) -> str:
    """Say which values a field takes, and which one it was given as JSON."""
    given = shown(data)
    if isinstance(error, msgspec.ValidationError) and "out of range" in str(error):
        return f"{_first(error)}: {given}"
    hint = extras(annotation).get(HINT)
    return f"must be {form_of(annotation)}, not {given}" + (f"; {hint}" if hint else "")


def shown(data: bytes) -> str:
    """Show the beginning of a value."""
    text = data.strip().decode(errors="replace")
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    if text[:1] in "[{" and len(text) > 2:
        return "a list" if text[0] == "[" else "an object"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def form_of(annotation: Any) -> str:
    """Write which values a type takes, such as ``text`` or ``a whole number``."""
    extra = extras(annotation)
    if EXPECTED in extra:
        return str(extra[EXPECTED])
    kinds = [each for each in parts(annotation) if not isinstance(each, Meta)]
    forms = [_FORMS.get(get_origin(kind) or kind) or _other_form(kind) for kind in kinds]
    return " or ".join(dict.fromkeys(forms))


def _other_form(kind: Any) -> str:
    return "an object" if kind is Raw or (isinstance(kind, type) and issubclass(kind, Struct)) else "a value"


def extras(annotation: Any) -> dict[str, Any]:
    """Collect what the ``Meta`` of an annotation says beside its types."""
    found: dict[str, Any] = {}
    for part in parts(annotation):
        if isinstance(part, Meta):
            found |= part.extra or {}
    return found


def parts(annotation: Any) -> Iterator[Any]:
    """List the types that an annotation consists of, without None, and the ``Meta`` that describes them."""
    if get_origin(annotation) is list:
        yield annotation
    elif arguments := get_args(annotation):
        for argument in arguments:
            yield from parts(argument)
    elif annotation is not NoneType:
        yield annotation


def has_nul(data: bytes) -> bool:
    """Say whether a text or a name in JSON has the NUL character. What is no JSON inside of metadata has none."""
    if b"\\u0000" not in data:
        return False
    try:
        return _holds_nul(json.loads(data, parse_float=str, parse_int=str, strict=False))
    except (ValueError, RecursionError):
        return False


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_holds_nul(name) or _holds_nul(each) for name, each in value.items())
    return isinstance(value, list) and any(map(_holds_nul, value))


def _first(error: Exception) -> str:
    text = str(error).rpartition(" - at `$")[0] or str(error)
    return text[:1].lower() + text[1:].replace("`", "")
