"""The types of options and arguments that take numbers.

Those of click also read ``1_0``, ``nan`` and the digits of other scripts.
"""

import re
from decimal import Decimal
from typing import Any

import click

from core.base.number_texts import read_number

_DIGITS = re.compile(r"[+-]?[0-9]{1,1000}")


class Whole(click.IntRange):
    """A whole number in digits, such as 12, within a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, str) and not _DIGITS.fullmatch(value):
            self.fail(f"{value[:60]!r} is not a whole number such as 12", param, ctx)
        return super().convert(value, param, ctx)


class Number(click.ParamType[Decimal]):
    """A number such as 12.50 or 1e3, exact."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            return read_number(str(value))
        except ValueError:
            self.fail(f"{str(value)[:60]!r} is not a number such as 12.50", param, ctx)


NUMBER = Number()
