"""The types that answers are made of, for what JSON has and Python has not.

An answer is a frozen struct in the folder of its feature. Its fields go out in their order, and one that is UNSET is left
out. The text under a field describes it in the OpenAPI document.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct

from core.base.money import to_text

Time = Annotated[datetime, Meta(tz=True)]
Major = Annotated[Raw, Meta(extra_json_schema={"type": "number"})]
"""Major units, as a JSON number that is written from its decimal digits, so it is exact."""
Members = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
"""An object that a client sent, whose text passes through as it is."""

NO_TIME = datetime.min.replace(tzinfo=UTC)
"""What Blnk's clients expect where there is no time: ``0001-01-01T00:00:00Z``."""

encode = msgspec.json.Encoder(decimal_format="number").encode
"""Everything that goes out goes through this encoder."""


def major(minor: int, precision: int) -> Raw:
    """Minor units as a number of major units."""
    return Raw(to_text(minor, precision).encode())


def members(text: str | None) -> Raw:
    """The JSON text of an object, or null."""
    return Raw((text or "null").encode())


def fields_of(answer: Struct) -> dict[str, Any]:
    """The fields that go out, by name."""
    return {name: value for name in answer.__struct_fields__ if (value := getattr(answer, name)) is not UNSET}
