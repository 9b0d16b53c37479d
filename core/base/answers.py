"""Defines the types of answers that JSON has and Python has not, and the encoder of all answers.

An answer is a frozen struct in the folder of its feature. Its fields go out in their order, and a field that is UNSET
is left out. The text under a field describes it in the OpenAPI document.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct

from core.base.money import to_text

Time = Annotated[datetime, Meta(tz=True)]
Major = Annotated[Raw, Meta(extra_json_schema={"type": "number"})]
"""Major units as an exact JSON number, written from its decimal digits."""
Members = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
"""The text of a JSON object that a client sent. It goes out unchanged."""

NO_TIME = datetime.min.replace(tzinfo=UTC)
"""The time ``0001-01-01T00:00:00Z``, which Blnk's clients expect where there is none."""

encode = msgspec.json.Encoder(decimal_format="number").encode
"""The encoder of every answer."""


class Done(Struct, frozen=True):
    """A message that something was done, in Blnk's words."""

    message: str


def major(minor: int, precision: int) -> Raw:
    """Write minor units as a JSON number of major units."""
    return Raw(to_text(minor, precision).encode())


def members(text: str | None) -> Raw:
    """Pass on the JSON text of an object. None becomes null."""
    return Raw((text or "null").encode())


def fields_of(answer: Struct) -> dict[str, Any]:
    """Collect the fields of an answer that go out, by name."""
    return {name: value for name in answer.__struct_fields__ if (value := getattr(answer, name)) is not UNSET}
