"""Reads one value that a field is compared with, from a body or a query. A ValueError says what would be right."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec

from core.base.metadata import meta_data_problems
from core.base.money import MAX_DIGITS
from core.lists.fields import Field, Member, Span, Type

MAX_TEXT = 1_000


def of_json(field: Field, kind: Type, value: Any) -> Any:
    """Read a value of a body."""
    if kind is Type.NUMBER:
        if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)):
            raise ValueError(kind.value)
        return _number(str(value))
    if kind is Type.OBJECT:
        if not isinstance(value, dict):
            raise ValueError(kind.value)
        return _storable(_encode(value))
    if kind is Type.MEMBER:
        member = _storable(_encode(value))
        number = _number(str(value)) if isinstance(value, (int, Decimal)) and not isinstance(value, bool) else None
        text = _checked_text(value) if isinstance(value, str) else member
        return Member((member,), None if number is None else Decimal(number), text)
    if not isinstance(value, str):
        raise ValueError(kind.value)
    return _parsed(field, kind, value)


def of_text(field: Field, kind: Type, value: str) -> Any:
    """Read a value of a query."""
    if kind is Type.OBJECT:
        try:
            return of_json(field, kind, json.loads(value, parse_float=Decimal))
        except (ValueError, RecursionError):
            raise ValueError("a JSON object") from None
    if kind is Type.MEMBER:
        texts, number = [_storable(_encode(_checked_text(value)))], None
        if value in ("true", "false"):
            texts.append(value)
        elif _DECIMAL.fullmatch(value):
            number = Decimal(_number(value))
            texts.append(f"{number:f}")
        return Member(tuple(texts), number, value)
    return _number(value) if kind is Type.NUMBER else _parsed(field, kind, value)


def _parsed(field: Field, kind: Type, value: str) -> Any:
    """Read a text as a time, a choice or a checked text."""
    if kind is Type.TIME:
        return _span(value)
    if field.choices is not None:
        if value.upper() not in field.choices.__members__:
            raise ValueError(f"one of {', '.join(field.choices)}")
        return field.choices(value.upper())
    return _checked_text(value)


def _checked_text(value: str) -> str:
    """Refuse a text that is too long."""
    if len(value) > MAX_TEXT:
        raise ValueError(f"text of at most {MAX_TEXT} characters")
    return value


def _number(text: str) -> int | Decimal:
    """Read a number. A whole number becomes an ``int``, so that an index on integers can answer for it."""
    number = Decimal(text) if len(text) <= 2 * MAX_DIGITS and _NUMBER.fullmatch(text) else Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > MAX_DIGITS or len(number.as_tuple().digits) > MAX_DIGITS:
        raise ValueError(f"a number of at most {MAX_DIGITS} digits")
    return int(number) if number == number.to_integral_value() else number


def _storable(text: str) -> str:
    """Refuse a JSON text that is too long or that Postgres cannot hold."""
    if len(text) > MAX_TEXT or meta_data_problems(f'{{"v":{text}}}'.encode()):
        raise ValueError(f"a value of at most {MAX_TEXT} characters that could be in meta_data")
    return text


def _encode(value: Any) -> str:
    return _encoder.encode(value).decode()


_encoder = msgspec.json.Encoder(decimal_format="number")
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]{1,4})?", re.ASCII)
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
_TIME = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[Tt ](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?([Zz]|[-+ ]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)
"""The form of a time. Its zone may begin with a space, because an unescaped plus sign of a query arrives so."""


def _span(text: str) -> Span:
    """Read a time, or a unit of time such as a day, as its span."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(Type.TIME.value)
    *parts, fraction, zone = found.groups()
    given = [int(part) for part in parts if part is not None]
    micros = int(((fraction or "") + "000000")[:6])
    try:
        year, month, day, hour, minute, second = (*given, *[1, 1, 0, 0, 0][len(given) - 1 :])
        start = datetime(year, month, day, hour, minute, second, micros, _zone(zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(Type.TIME.value) from None
    return Span(start, _end(start, len(given), len(fraction or "")))


def _zone(text: str | None) -> timezone:
    """Read a time zone. The default is UTC."""
    if text is None or text in "Zz":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-offset if text[0] == "-" else offset)


def _end(start: datetime, parts: int, digits: int) -> datetime:
    """Compute the end of the smallest unit that was given: year, month, day, hour, minute, second, or a decimal of one."""
    try:
        if parts == 1:
            return start.replace(year=start.year + 1)
        if parts == 2:
            return (start + timedelta(days=31)).replace(day=1)
        if digits:
            return start + timedelta(microseconds=10 ** max(6 - digits, 0))
        return start + (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1))[parts - 3]
    except (ValueError, OverflowError):
        return datetime.max.replace(tzinfo=UTC)
