"""Every SQLSTATE of Postgres is "not now" or "never"."""

import re

import pytest
from psycopg import errors

from core.base.sqlstates import NEVER, NOT_NOW, is_not_now

CODES = sorted(code for code in errors._sqlcodes if re.fullmatch(r"[0-9A-Z]{5}", code) and code[:2] not in ("OB", "IO"))

WHOLE = {
    "02": False, "03": False, "08": True, "09": False, "0A": False, "0B": False, "0F": False, "0L": False, "0P": False,
    "0Z": False, "10": False, "20": False, "21": False, "22": False, "23": False, "24": False, "25": False, "26": False,
    "27": False, "28": True, "2B": False, "2D": False, "2F": False, "34": False, "38": False, "39": False, "3B": False,
    "3D": True, "3F": False, "40": True, "42": False, "44": False, "53": True, "54": False, "55": False, "57": True,
    "58": False, "72": True, "F0": False, "HV": False, "P0": False, "XX": False,
}  # fmt: skip
"""Whether the codes of a class pass, for every class of Postgres 18."""

BUT = {
    "25006": True, "25P03": True, "25P04": True, "40002": False, "55006": True, "55P03": True, "58000": True,
    "58030": True,
}  # fmt: skip
"""The codes that are not as their class."""


def test_the_table_knows_every_class() -> None:
    assert {code[:2] for code in CODES} == set(WHOLE)
    assert set(BUT) <= set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_code_passes_or_never_does(code: str) -> None:
    assert is_not_now(code) == BUT.get(code, WHOLE[code[:2]])


def test_the_table_names_only_codes_that_there_are() -> None:
    known = {*CODES, *(code[:2] for code in CODES)}
    assert set(NOT_NOW) | NEVER <= known
