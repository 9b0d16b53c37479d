"""Every one of Blnk's acceptance cases is shown by a test."""

import importlib
import pkgutil

from tests.harness import acceptance
from tests.integration import acceptance as tests_of_cases


def test_every_case_is_shown_by_a_test() -> None:
    for module in pkgutil.iter_modules(tests_of_cases.__path__, f"{tests_of_cases.__name__}."):
        importlib.import_module(module.name)
    importlib.import_module("tests.e2e.kill.test_kill")
    assert [number for number in acceptance.CASES if number not in acceptance.shown] == []
