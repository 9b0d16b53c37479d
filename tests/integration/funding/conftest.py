"""Fixtures of the tests of funding: threads, and a check after each test that the history adds up."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.verification.verify import verify_all
from tests.harness.factories import Ledger
from tests.harness.funding import check_postings


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.fixture
def sound(ledger: Ledger) -> Iterator[None]:
    """Check after the test that the history adds up, and that each posted row is one transaction, in order."""
    yield
    ledger.drain()
    assert verify_all(ledger.engine).problems == []
    check_postings(ledger.engine)
