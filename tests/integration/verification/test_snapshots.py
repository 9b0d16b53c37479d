"""A verification adds up snapshots again, because a balance at a time is answered from them."""

import random
from datetime import UTC, datetime

import pytest

from core.ledger import history
from core.ledger.store import spans
from core.verification.verify import verify_all
from tests.harness.dated import take_all
from tests.harness.factories import Ledger
from tests.harness.history import mix, tamper


@pytest.fixture
def taken(ledger: Ledger) -> Ledger:
    """Return a ledger of which snapshots were taken between all kinds of postings, some with an effective date."""
    dice = random.Random(5)
    for day in range(1, 4):
        mix(ledger, dice, steps=15)
        ledger.post(effective_date=datetime(2026, 1, day, tzinfo=UTC), precise_amount=40)
        ledger.post(precise_amount=2)
        ledger.drain()
        take_all(ledger.engine)
    mix(ledger, dice, steps=15)
    ledger.drain()
    assert verify_all(ledger.engine).problems == []
    return ledger


OF_A = "(SELECT id FROM balances WHERE (indicator, currency) = ('@A', 'USD'))"
ONE = f"balance = {OF_A} AND version = (SELECT min(version) FROM snapshots WHERE balance = {OF_A})"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("credit = credit + 1", ["credit"]),
        ("debit = debit + 1", ["debit"]),
        ("credit = credit + 1, debit = debit + 1", ["credit", "debit"]),
        ("taken_at = '2020-01-01'", ["taken_at"]),
        ("version = 10000", ["version"]),
        ("balance = 10000", ["version", "credit"]),
    ],
)
def test_an_altered_snapshot_is_found(taken: Ledger, change: str, what: list[str]) -> None:
    tamper(taken, f"UPDATE snapshots SET {change} WHERE {ONE}")
    report = verify_all(taken.engine)
    assert {problem.table for problem in report.problems} == {"snapshots"}
    assert [problem.what for problem in report.problems][: len(what)] == what
    assert report.problems[0].expected != report.problems[0].found


def test_a_snapshot_that_nothing_is_answered_from_is_left_alone(taken: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "SIZE", 6)
    assert history.write_spans(taken.engine)
    tamper(taken, "UPDATE snapshots SET credit = credit + 1 WHERE balance IN (SELECT balance FROM spans)")
    assert verify_all(taken.engine).problems == []
