"""Reads the rows of a funding job from a JSON list. ``files`` reads those of a file, and ``row_check.py`` checks all."""

from collections.abc import Iterable, Iterator

from core.base.metadata import meta_data_problems, meta_data_text
from core.base.money import MAX_DIGITS
from core.funding.files.rows import Given
from core.funding.requests import Recipient
from core.ledger.rules.validation import whole


def of_list(recipients: Iterable[Recipient]) -> Iterator[Given]:
    """Yield the rows of a JSON list."""
    for row, each in enumerate(recipients, 1):
        problems = list(meta_data_problems(bytes(each.meta_data))) if each.meta_data else []
        precise = None if each.precise_amount is None else whole(each.precise_amount)
        if each.precise_amount is not None and precise is None:
            problems.append(("precise_amount", f"must be an integer, or a string of at most {MAX_DIGITS} digits"))
        text = None if problems else meta_data_text(bytes(each.meta_data))
        yield Given(row, each.destination or "", each.amount, precise, each.description, text, problems)
