"""JSON into structs. What cannot be read is named field by field, and the rest is read all the same.

``read`` decodes a body that is right in one go. Only a body that is not is taken apart, so that one answer can name every
field that cannot be read beside whatever is wrong with the others.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from types import NoneType
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta, Raw, Struct

from core.base.errors import ErrorCode

MALFORMED = ErrorCode.GEN_MALFORMED_REQUEST
UNKNOWN_FIELD = ErrorCode.GEN_VALIDATION_ERROR

MAX_UNREAD = 100
"""Fields that are named. A list is read up to the item where there are as many, for a long one of junk would take its time."""

BLANK_IS_NONE = "blank is none"
UNREADABLE = "unreadable"
"""Members of a field's ``Meta(extra=...)``: an empty text means that there is no value, as some clients write that; and what
to say of a text that cannot be read. That one is then a rule of the field like any other, and no fault of the JSON."""

_UNREADABLE = (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError)

T = TypeVar("T", bound=Struct)


class Unread(NamedTuple):
    """A field that cannot be read."""

    field: str
    """Such as ``transactions[3].amount``; empty for the whole body."""
    text: str
    code: ErrorCode | None = MALFORMED
    """The error code; None for that of the request's own rules."""


class Decoded(NamedTuple, Generic[T]):
    """A body as far as it can be read. What cannot has its default, or None."""

    value: T
    unread: list[Unread]


def exact(text: str) -> Decimal:
    """A number whose type a struct leaves open. A decoder takes this as its ``float_hook``."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise msgspec.ValidationError("a number is out of range") from None


def read(decoder: "msgspec.json.Decoder[T]", data: bytes) -> Decoded[T]:
    """Decode a body.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is not JSON.
    """
    try:
        return Decoded(decoder.decode(data), [])
    except msgspec.ValidationError:
        reader = _Reader(decoder.float_hook)
        value = reader.struct(decoder.type, data, "")
        # Taken apart it may be right, if a text of nothing was all that was wrong.
        return Decoded(value, reader.unread)


class _Reader:
    """Takes a body apart."""

    def __init__(self, float_hook: Callable[[str], Any] | None) -> None:
        self.float_hook = float_hook
        self.unread: list[Unread] = []

    def struct(self, kind: type[T], data: bytes, place: str) -> T:
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        values: dict[str, Any] = {field.name: None for field in fields.values() if field.required}
        try:
            given = msgspec.json.decode(data, type=dict[str, Raw])
        except msgspec.ValidationError as error:
            self.unread.append(Unread(place, _text(error)))
            return kind(**values)
        for name, raw in given.items():
            path = f"{place}.{name}" if place else name
            if field := fields.get(name):
                values[field.name] = self._value(field.type, bytes(raw), path)
            elif len(self.unread) < MAX_UNREAD:
                self.unread.append(_unknown_field(path, name, list(fields)))
        for name in sorted(values.keys() - given.keys()):
            self.unread.append(Unread(f"{place}.{name}" if place else name, "is required"))
        return kind(**values)

    def _value(self, annotation: Any, data: bytes, place: str) -> Any:
        """One field. The parts of it that cannot be read are None."""
        try:
            return msgspec.json.Decoder(annotation, float_hook=self.float_hook).decode(data)
        except _UNREADABLE as error:
            problem = _text(error)
        parts, text = list(_parts(annotation)), data.strip()
        for part in parts:
            if isinstance(part, type) and issubclass(part, Struct):
                return self.struct(part, data, place)
            if get_origin(part) is list and text.startswith(b"["):
                return self._list(get_args(part)[0], data, place)
        extra: dict[str, Any] = {}
        for part in parts:
            if isinstance(part, Meta):
                extra |= part.extra or {}
        if text == b'""' and extra.get(BLANK_IS_NONE):
            return None
        is_rule = text.startswith(b'"') and UNREADABLE in extra
        self.unread.append(Unread(place, extra[UNREADABLE], None) if is_rule else Unread(place, problem))
        return None

    def _list(self, item: Any, data: bytes, place: str) -> list[Any]:
        values = []
        for number, raw in enumerate(msgspec.json.decode(data, type=list[Raw])):
            if len(self.unread) >= MAX_UNREAD:
                break
            values.append(self._value(item, bytes(raw), f"{place}[{number}]"))
        return values


def _unknown_field(path: str, name: str, known: Sequence[str]) -> Unread:
    """A field that is not there, with the one that was probably meant."""
    close = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"
    return Unread(path, f"unknown field{hint}", UNKNOWN_FIELD)


def _parts(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of, without None, and what describes them."""
    if get_origin(annotation) is list:
        yield annotation
    elif arguments := get_args(annotation):
        for argument in arguments:
            yield from _parts(argument)
    elif annotation is not NoneType:
        yield annotation


def _text(error: Exception) -> str:
    text = str(error).rpartition(" - at `$")[0] or str(error)
    return text[:1].lower() + text[1:].replace("`", "")
