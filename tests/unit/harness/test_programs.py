"""The harness says which programs are missing and which tests are slow."""

import sys

import pytest
from hypothesis.internal.conjecture import engine

from tests.harness import programs
from tests.harness.programs import needs_program


def test_a_missing_program_skips_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "strict", False)
    with pytest.raises(pytest.skip.Exception, match="missing program: no-such-program"):
        needs_program("no-such-program")


def test_a_missing_program_fails_its_test_when_asked_to_be_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "strict", True)
    with pytest.raises(pytest.fail.Exception, match="missing program: no-such-program"):
        needs_program("no-such-program")


def test_a_program_that_is_there_is_found() -> None:
    assert needs_program(sys.executable) == sys.executable


def test_hypothesis_shrinks_for_twenty_seconds_at_most(request: pytest.FixtureRequest) -> None:
    # The name is internal: another version of Hypothesis may not read it.
    read = engine.ConjectureRunner.shrink_interesting_test_cases.__code__.co_names
    assert "MAX_SHRINKING_SECONDS" in read
    assert request.config.getoption("--long") or engine.MAX_SHRINKING_SECONDS == 20
