"""How large a text may be, and what the refusal says."""

import pytest

from core.base.metadata import meta_data_problems
from core.base.sizes import description_problem, size_problem


@pytest.mark.parametrize("text", ["x" * 4096, "ü" * 2048, "€" * 1365, "😀" * 1024])
def test_a_description_of_4_kib_is_allowed_and_one_more_byte_is_not(text: str) -> None:
    assert description_problem(text) is None
    size = len((text + "é").encode())
    assert description_problem(text + "é") == f"has {size} bytes; at most 4096 are allowed"


def test_metadata_of_64_kib_is_allowed_and_one_more_byte_is_not() -> None:
    raw = b'{"a":"' + b"x" * (65_536 - 8) + b'"}'
    assert meta_data_problems(raw) == meta_data_problems(b"  " + raw + b"\n") == []
    assert meta_data_problems(raw[:-2] + b'x"}') == [("meta_data", "has 65537 bytes; at most 65536 are allowed")]


def test_a_name_is_counted_in_characters() -> None:
    assert size_problem(255, 255, "characters") is None
    assert size_problem(256, 255, "characters") == "has 256 characters; at most 255 are allowed"
