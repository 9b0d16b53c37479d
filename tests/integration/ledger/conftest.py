"""Fixtures of the tests of the ledger."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.verification.verify import verify_all
from tests.harness.factories import Ledger


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(5) as executor:
        yield executor


@pytest.fixture
def verified(ledger: Ledger) -> Iterator[None]:
    """Check after the test that the history adds up."""
    yield
    assert verify_all(ledger.engine).problems == []
