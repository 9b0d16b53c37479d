"""``--long`` reaches every Hypothesis test, and no clock decides one."""

import re
from pathlib import Path

from hypothesis import settings

from tests.harness.searching import search

TESTS = Path(__file__).parents[2]
OWN_NUMBER = re.compile(r"\b(max_examples|deadline|derandomize)=")


def test_no_test_has_a_deadline() -> None:
    assert settings.default is not None
    assert settings.default.deadline is search(5).deadline is None


def test_no_test_has_a_number_of_examples_that_ignores_the_profile() -> None:
    found = {
        line.strip()
        for file in TESTS.rglob("*.py")
        if file.parts[-2:] not in [("harness", "searching.py"), ("harness", "test_searching.py")]
        for line in file.read_text().splitlines()
        if OWN_NUMBER.search(line)
    }
    # A broken rule is looked for until it is found, so more examples would change nothing.
    assert {line.partition(" ")[0] for line in found} <= {"MUTANT"}, found
