"""Reads amounts as people write them. ``AMOUNT`` is the type of every option and argument that takes one."""

import re
from decimal import Decimal
from typing import Any

import click

_PLAIN = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", re.ASCII)
_COMMA = re.compile(r"[+-]?\d{1,3}(\.\d{3})+,\d+|[+-]?\d+,\d{1,2}|[+-]?\d+,\d{4,}", re.ASCII)
LONGEST = 1000


class Amount(click.ParamType[Decimal]):
    """A decimal amount in major units, such as 12.50 or 1,234.50."""

    name = "amount"

    def __init__(self, *, positive: bool = False) -> None:
        self._positive = positive

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        if isinstance(value, Decimal):
            return value
        text = value.strip()
        wrong = f"{text[:60]!r} is not an amount: write one such as 12.50 or 1,234.50"
        if len(text) <= LONGEST and (_PLAIN.fullmatch(text) or _GROUPED.fullmatch(text)):
            number = Decimal(text.replace(",", ""))
            if self._positive and number <= 0:
                self.fail(f"{text} is not more than zero", param, ctx)
            return number
        if _COMMA.fullmatch(text):
            wrong = f"{text!r} has a decimal comma: write {text.replace('.', '').replace(',', '.')}"
        raise click.BadParameter(wrong, ctx, param)


AMOUNT = Amount()
POSITIVE_AMOUNT = Amount(positive=True)
