"""Programs that only some tests need, and that not every machine has."""

import shutil
from typing import NoReturn

import pytest

strict = False
"""True with ``--strict-programs``: a missing program fails a test in place of skipping it."""


def needs_program(name: str) -> str:
    """The path of a program. Where it is missing, the test that asks is skipped, and the summary says so."""
    path = shutil.which(name)
    if path is None:
        missing_program(name)
    return path


def missing_program(name: str) -> NoReturn:
    """Skip the test, because a program is missing or cannot do what the test needs."""
    message = f"missing program: {name}"
    if strict:
        pytest.fail(message)
    pytest.skip(message)
