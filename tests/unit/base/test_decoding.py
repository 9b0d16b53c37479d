"""A body is read as far as it can be, and every field that cannot be read is named."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from core.base.decoding import BLANK_IS_NONE, MALFORMED, MAX_UNREAD, UNKNOWN_FIELD, UNREADABLE, Decoded, exact, read


class Part(Struct, forbid_unknown_fields=True):
    name: str
    share: int | str | None = None
    price: Annotated[Decimal, Meta(description="A price.")] | None = None


class Whole(Struct, forbid_unknown_fields=True):
    amount: Decimal | None = None
    flag: bool | None = None
    at: Annotated[datetime, Meta(tz=True, extra={UNREADABLE: "is no time", BLANK_IS_NONE: True})] | None = None
    day: Annotated[datetime, Meta(tz=True)] | None = None
    part: Part | None = None
    parts: list[Part] | None = None
    other: Any = None


class Wide(Struct, forbid_unknown_fields=True):
    amount: Decimal | dict[str, Decimal] | None = None
    part: Part | None = None
    parts: list[Part] | None = None


def _read(body: Any) -> Decoded[Whole]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read(msgspec.json.Decoder(Whole), data)


def test_a_body_that_is_right_is_what_the_decoder_makes_of_it() -> None:
    body = b'{"amount": 1.10, "parts": [{"name": "a"}], "at": "2026-01-01T00:00:00Z"}'
    assert _read(body) == (Whole(Decimal("1.10"), None, datetime(2026, 1, 1, tzinfo=UTC), parts=[Part("a")]), [])


@pytest.mark.parametrize(
    ("field", "value", "where", "text", "code"),
    [
        ("amount", True, "amount", "must be a number such as 12.50, or its text, not true", MALFORMED),
        ("flag", 1, "flag", "must be true or false, not 1", MALFORMED),
        ("at", "noon", "at", "is no time", None),
        ("at", "2026-01-01T00:00:00", "at", "is no time", None),
        ("at", 5, "at", "must be a time such as 2024-04-22T15:28:03Z, as text, not 5", MALFORMED),
        ("day", "noon", "day", 'must be a time such as 2024-04-22T15:28:03Z, as text, not "noon"', MALFORMED),
        ("part", 5, "part", "must be an object, not 5", MALFORMED),
        ("part", {}, "part.name", "is required", MALFORMED),
        ("part", {"name": "a", "share": 1.5}, "part.share", "must be a whole number or text, not 1.5", MALFORMED),
        ("parts", 5, "parts", "must be a list, not 5", MALFORMED),
        ("parts", [{"name": "a"}, 5], "parts[1]", "must be an object, not 5", MALFORMED),
        ("parts", [{"name": "a"}, {"name": 5}], "parts[1].name", "must be text, not 5", MALFORMED),
        ("parts", [{"name": "a", "shore": 1}], "parts[0].shore", "unknown field; did you mean share?", UNKNOWN_FIELD),
        ("prats", 1, "prats", "unknown field; did you mean parts?", UNKNOWN_FIELD),
    ],
)
def test_a_field_that_cannot_be_read_is_named_and_the_others_are_read(
    field: str, value: Any, where: str, text: str, code: str | None
) -> None:
    found = _read({"other": "before", field: value, **({} if field == "flag" else {"flag": True})})
    assert found.unread == [(where, text, code)]
    assert found.value.other == "before"
    assert field == "flag" or found.value.flag is True


LOOSE = [
    "1_0", "_1", " 1", "1 ", "\t1", "\u0661\u0662", "\uff11\uff12", "1\u0662", "\u00a01", "-1_0.5", "1_0e2", "+\u0661", "1.5_0",
    "NaN", "sNaN", "-nan", "nan12", "Infinity", "-inf", "+INF",
]  # fmt: skip
"""Texts that Decimal takes for numbers."""


@pytest.mark.parametrize("text", LOOSE)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_number_that_only_decimal_reads_is_refused_wherever_it_is(text: str, ascii_only: bool) -> None:
    Decimal(text)
    for body, names in (
        ({"amount": text}, ["amount"]),
        ({"amount": {"USD": 1, text: text}}, ["amount"]),
        ({"part": {"name": text, "price": text}}, ["part.price"]),
        ({"parts": [{"name": "a"}, {"name": text, "price": text}]}, ["parts[1].price"]),
    ):
        data = json.dumps(body, ensure_ascii=ascii_only, indent=1).encode()
        for kind in (Whole, Wide):
            assert [each.field for each in read(msgspec.json.Decoder(kind), data).unread] == names
    escaped = b'{"\\u0061mount": ' + json.dumps(text).encode() + b"}"
    assert [each.field for each in read(msgspec.json.Decoder(Whole), escaped).unread] == ["amount"]


@pytest.mark.parametrize("text", LOOSE)
def test_such_a_text_is_only_a_text_where_no_number_is_meant(text: str) -> None:
    parts = [Part(name=text, share=text, price=Decimal("1.5"))]
    body = {"amount": "12.50", "parts": [{"name": text, "share": text, "price": "1.5"}], "other": text}
    assert _read(body) == (Whole(amount=Decimal("12.50"), parts=parts, other=text), [])


def test_a_text_that_is_not_utf_8_is_no_number() -> None:
    class Kept(Struct):
        amount: Decimal
        data: msgspec.Raw

    body = b'{"amount": "1", "data": {"\xff": "\xff", "amount": "\xff"}}'
    assert read(msgspec.json.Decoder(Kept), body).unread == []


@pytest.mark.parametrize("text", ["1", "-1", "+1", "12.50", "5.", ".5", "1e3", "1E-2"])
def test_a_number_is_read_from_its_text(text: str) -> None:
    assert _read({"amount": text}) == (Whole(amount=Decimal(text)), [])
    assert _read(b'{"amount": "\\u0031"}') == (Whole(amount=Decimal(1)), [])


def test_every_field_that_cannot_be_read_is_named_at_once() -> None:
    found = _read({"amount": [], "flag": "x", "parts": [{"name": 1, "share": []}, {}], "x": 1, "at": ""})
    named = ["amount", "flag", "parts[0].name", "parts[0].share", "parts[1].name", "x"]
    assert [each.field for each in found.unread] == named
    assert found.value.parts is not None
    assert len(found.value.parts) == 2


def test_a_blank_is_none_where_the_field_says_so() -> None:
    assert _read({"at": "", "flag": True}) == (Whole(flag=True), [])
    assert [each.field for each in _read({"day": ""}).unread] == ["day"]


@pytest.mark.parametrize("body", [[], 5, "text", None])
def test_a_body_that_is_no_object_has_no_fields(body: Any) -> None:
    found = _read(body)
    assert (found.value, [each.field for each in found.unread]) == (Whole(), [""])


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": 1,}', b"\xff", b'{"other": ' + b"[" * 100_000])
def test_what_is_not_json_is_left_to_the_caller(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)):
        _read(body)


def test_a_long_list_of_junk_is_read_up_to_a_limit() -> None:
    found = _read(b'{"parts": [' + b"1," * 1_000_000 + b"1]}")
    assert len(found.unread) == MAX_UNREAD
    assert len(_read({f"unknown {number}": 1 for number in range(10_000)}).unread) == MAX_UNREAD


def test_a_number_of_no_type_is_read_as_the_decoder_reads_it() -> None:
    body = b'{"flag": 1, "other": 0.10}'
    assert str(read(msgspec.json.Decoder(Whole, float_hook=exact), body).value.other) == "0.10"
    assert _read(body).value.other == 0.1


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(-1, 1)
    | st.sampled_from(["", "a", "2026-01-01T00:00:00Z"]),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(["name", "share", "x"]), children)
    ),
    max_leaves=6,
)
_bodies = st.dictionaries(st.sampled_from([*Whole.__struct_fields__, "unknown"]), _json)


@given(_bodies)
def test_unread_fields_are_those_that_the_decoder_refuses_alone(body: dict[str, Any]) -> None:
    """Each field by itself is read or refused as it is among the others."""
    found = _read(body)
    heads = {each.field.partition("[")[0].partition(".")[0] for each in found.unread}
    for name, value in body.items():
        alone = _read({name: value})
        assert (name in heads) == bool(alone.unread), name
        if name not in heads:
            assert getattr(found.value, name) == getattr(alone.value, name)


NUL_TEXT = 'must not contain the NUL character, "\\u0000", which no database can hold'


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (rb'{"other": "a\u0000"}', "other"),
        (rb'{"other": {"a": [1, {"b\u0000": 2}]}}', "other"),
        (rb'{"part": {"name": "\u0000"}}', "part.name"),
        (rb'{"parts": [{"name": "a"}, {"name": "b", "share": "\u0000"}]}', "parts[1].share"),
    ],
)
def test_a_nul_is_refused_wherever_it_is_and_never_leaves_the_decoder(body: bytes, where: str) -> None:
    found = _read(body)
    assert found.unread == [(where, NUL_TEXT, None)]
    assert b"\\u0000" not in msgspec.json.encode(found.value)


def test_a_backslash_before_u0000_is_no_nul() -> None:
    assert _read(rb'{"other": "\\u0000"}') == (Whole(other="\\u0000"), [])
