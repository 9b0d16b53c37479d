"""Finds texts that ``Decimal`` takes though nobody writes numbers so: underscores, spaces, digits of other scripts, ``NaN``.

What ``"1_0"`` was meant to be is a guess, and money is no place for one.
"""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, get_args, get_origin

import msgspec
from msgspec import Struct

_PLAIN = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
"""A number as a text."""

_BEGINNING = rb"""(?x:
    "[-+.0-9eE]*+
    [_\ \\\x80-\xffsSnNiI]  # One set, and a look back at which it was: most texts end here, in half the time.
    (?:(?<=[_\ \\\x80-\xff]) | (?<=[sS])[nN][aA][nN] | (?<=[nN])[aA][nN] | (?<=[iI])[nN][fF])
)"""
_QUICK = re.compile(rb":[ \t\r\n]*+" + _BEGINNING)
"""A member that may be such a text. Few others begin like it, so the look at most bodies ends here."""
_MEMBER = re.compile(rb'"((?:[^"\\]|\\.)*+)"[ \t\r\n]*+:[ \t\r\n]*+(' + _BEGINNING + rb'[^"]*+")', re.DOTALL)

_EVERY_NAME = None
"""It stands for all names of fields, where the sender chooses some."""


def read_number(text: str) -> Decimal:
    """Read a number that a person typed, such as ``-12.50`` or ``1e3``.

    Raises:
        ValueError: it is none, or too far from 1 for any use.
    """
    if _PLAIN.fullmatch(text) is None:
        raise ValueError(text)
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(text) from None


def has_odd_number(data: bytes, annotation: Any) -> bool:
    """Say whether JSON that was decoded as this type has such a text in place of a number, however deep it is in it."""
    if _QUICK.search(data) is None:
        return data[:1] == b'"' and Decimal in _nested(annotation) and _is_odd(data)
    names = _names(_nested(annotation))
    return any(
        (names is _EVERY_NAME or b"\\" in name or name.decode(errors="replace") in names) and _is_odd(text)
        for name, text in _MEMBER.findall(data)
    )


def _is_odd(data: bytes) -> bool:
    try:
        text = msgspec.json.decode(data, type=str)
        Decimal(text)
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidOperation):
        return False
    return _PLAIN.fullmatch(text) is None


def _names(kinds: Iterable[Any]) -> frozenset[str] | None:
    """Collect the names of the fields that take a number in structs of these kinds."""
    names: frozenset[str] = frozenset()
    for kind in kinds:
        if get_origin(kind) is dict and Decimal in _nested(kind):
            return _EVERY_NAME
        if isinstance(kind, type) and issubclass(kind, Struct):
            of_fields = _names_of_fields(kind)
            if of_fields is _EVERY_NAME:
                return _EVERY_NAME
            names |= of_fields
    return names


@lru_cache(maxsize=256)
def _names_of_fields(kind: type[Struct]) -> frozenset[str] | None:
    fields = msgspec.structs.fields(kind)
    inner = _names(each for field in fields for each in _nested(field.type))
    if inner is _EVERY_NAME:
        return _EVERY_NAME
    return inner | {field.encode_name for field in fields if Decimal in _nested(field.type)}


def _nested(annotation: Any) -> Iterator[Any]:
    """List a type and all types that it is made of."""
    yield annotation
    for each in get_args(annotation):
        yield from _nested(each)
