"""A verification adds up the spans of balances again, because statements and balances at a time are answered from them."""

import random

import pytest

from core.ledger import history
from core.ledger.store import spans
from core.verification.verify import verify_all
from tests.harness.factories import Ledger
from tests.harness.history import tamper
from tests.integration.ledger.test_spans import post_some


@pytest.fixture
def spanned(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Return a ledger with spans of six versions in parts of two entries, all of which are right."""
    monkeypatch.setattr(spans, "SIZE", 6)
    monkeypatch.setattr(spans, "DATED", 2)
    post_some(ledger, random.Random(3), 20)
    assert history.write_spans(ledger.engine) > 6
    assert verify_all(ledger.engine).problems == []
    return ledger


ONE = "balance = (SELECT id FROM balances WHERE indicator = '@A') AND last = 12"


@pytest.mark.parametrize(
    ("statement", "count"),
    [
        (f"UPDATE spans SET credit = credit + 1, debit = debit + 1 WHERE {ONE} AND part = 0", 1),
        (f"UPDATE spans SET first_at = first_at - interval '1 day' WHERE {ONE} AND part = 1", 1),
        (f"UPDATE spans SET last_decided_at = last_decided_at + interval '1 s' WHERE {ONE} AND part = 0", 1),
        (f"DELETE FROM spans WHERE {ONE} AND part = 1", 1),
        (f"UPDATE spans SET part = 99 WHERE {ONE} AND part = 1", 2),
        (f"INSERT INTO spans SELECT balance, 6000, 0, first_at, last_at, first_decided_at, last_decided_at, 0, 0, 0"
         f" FROM spans WHERE {ONE} AND part = 0", 1),
    ],
    ids=["sums", "time of effect", "time of decision", "missing", "another part", "beyond the balance"],
)  # fmt: skip
def test_an_altered_span_is_found(spanned: Ledger, statement: str, count: int) -> None:
    tamper(spanned, statement)
    report = verify_all(spanned.engine)
    assert {problem.table for problem in report.problems} == {"spans"}
    assert report.problem_count >= count
