"""Decodes JSON into structs, and names every field that cannot be read.

``read`` decodes a correct body in one step. It takes any other body apart, so that one answer can name every field that
cannot be read and whatever is wrong with the other fields.
"""

import difflib
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_origin

import msgspec
from msgspec import Raw, Struct

from core.base.errors import ErrorCode
from core.base.number_texts import has_odd_number
from core.base.unreadable import NUL, extras, has_nul, parts, shown, why_unreadable

MALFORMED = ErrorCode.GEN_MALFORMED_REQUEST
UNKNOWN_FIELD = ErrorCode.GEN_VALIDATION_ERROR

MAX_UNREAD = 100
"""The largest number of unreadable fields that are named. Reading stops there, so that a long list of junk costs little."""

BLANK_IS_NONE = "blank is none"
"""The member of a field's ``Meta(extra=...)`` that makes an empty text mean no value, as some clients write it."""

UNREADABLE = "unreadable"
"""The member of a field's ``Meta(extra=...)`` that is the message for an unreadable text. It counts as a rule of the field."""

_UNREADABLE = (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError)

T = TypeVar("T", bound=Struct)


class Unread(NamedTuple):
    """A field that cannot be read."""

    field: str
    """A path such as ``transactions[3].amount``. It is empty for the whole body."""
    text: str
    code: ErrorCode | None = MALFORMED
    """The error code. None stands for the code of the request's own rules."""


class Decoded(NamedTuple, Generic[T]):
    """A body as far as it can be read. A field that cannot be read has its default, or None."""

    value: T
    unread: list[Unread]


def exact(text: str) -> Decimal:
    """Read a JSON number as an exact Decimal. It is the ``float_hook`` of a decoder."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise msgspec.ValidationError("a number is out of range") from None


def read(decoder: "msgspec.json.Decoder[T]", data: bytes) -> Decoded[T]:
    """Decode a body as far as it can be read, and list the fields that cannot.

    This is the one place that refuses the NUL character in bodies, however deep it is in them, and numbers in texts that are
    not written plainly, such as "1_0". Half of a surrogate pair is no JSON.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: the body is not JSON.
    """
    try:
        value = decoder.decode(data)
        if not has_nul(data) and not has_odd_number(data, decoder.type):
            return Decoded(value, [])
    except msgspec.ValidationError:
        pass
    reader = _Reader(decoder.float_hook)
    value = reader.struct(decoder.type, data, "")
    # Taken apart it may be right, when a blank text was all that was wrong.
    return Decoded(value, reader.unread)


class _Reader:
    """Reads a body field by field, and collects the fields that cannot be read."""

    def __init__(self, float_hook: Callable[[str], Any] | None) -> None:
        self.float_hook = float_hook
        self.unread: list[Unread] = []

    def struct(self, kind: type[T], data: bytes, path: str) -> T:
        """Read an object field by field. ``path`` is where it stands in the body."""
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        values: dict[str, Any] = {field.name: None for field in fields.values() if field.required}
        try:
            given = msgspec.json.decode(data, type=dict[str, Raw])
        except msgspec.ValidationError:
            self.unread.append(Unread(path, f"must be an object, not {shown(data)}"))
            return kind(**values)
        for name, raw in given.items():
            inner = f"{path}.{name}" if path else name
            if field := fields.get(name):
                value = self._value(field.type, bytes(raw), inner)
                if value is not None or field.default in (None, msgspec.NODEFAULT):
                    values[field.name] = value
            elif len(self.unread) < MAX_UNREAD:
                self.unread.append(_unknown_field(inner, name, list(fields)))
        for name in sorted(values.keys() - given.keys()):
            self.unread.append(Unread(f"{path}.{name}" if path else name, "is required"))
        return kind(**values)

    def _value(self, annotation: Any, data: bytes, path: str) -> Any:
        """Read one field. Its parts that cannot be read are None."""
        try:
            value = msgspec.json.Decoder(annotation, float_hook=self.float_hook).decode(data)
            if has_nul(data):
                problem = Unread(path, NUL, None)
            elif has_odd_number(data, annotation):
                problem = Unread(path, why_unreadable(annotation, data, None))
            else:
                return value
        except _UNREADABLE as error:
            problem = Unread(path, why_unreadable(annotation, data, error))
        text = data.strip()
        for part in parts(annotation):
            if isinstance(part, type) and issubclass(part, Struct):
                return self.struct(part, data, path)
            if get_origin(part) is list and text.startswith(b"["):
                return self._list(get_args(part)[0], data, path)
        extra = extras(annotation)
        if text == b'""' and extra.get(BLANK_IS_NONE):
            return None
        is_rule = text.startswith(b'"') and UNREADABLE in extra and problem.code is not None
        self.unread.append(Unread(path, extra[UNREADABLE], None) if is_rule else problem)
        return None

    def _list(self, item: Any, data: bytes, path: str) -> list[Any]:
        """Read a list item by item."""
        values = []
        for number, raw in enumerate(msgspec.json.decode(data, type=list[Raw])):
            if len(self.unread) >= MAX_UNREAD:
                break
            values.append(self._value(item, bytes(raw), f"{path}[{number}]"))
        return values


def _unknown_field(path: str, name: str, known: Sequence[str]) -> Unread:
    """Describe an unknown field, and name the field that was probably meant."""
    close = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"
    return Unread(path, f"unknown field{hint}", UNKNOWN_FIELD)
