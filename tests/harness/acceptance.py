"""Blnk's acceptance cases, by number, and which tests show them."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

CASES = range(1, 108)

shown: dict[int, list[str]] = {}
"""The tests of each case, filled while their modules are imported."""

Test = TypeVar("Test", bound=Callable[..., Any])


def case(*numbers: int) -> Callable[[Test], Test]:
    """Marks a test as showing these cases: ``pytest -m 'case(number=23)'`` runs those of one."""

    def note(test: Test) -> Test:
        for number in numbers:
            assert number in CASES
            shown.setdefault(number, []).append(test.__name__)
            pytest.mark.case(number=number)(test)
        return test

    return note
