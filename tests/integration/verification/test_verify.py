"""The verifier finds nothing in a sound ledger, even while transactions go on."""

import random

import pytest
from sqlalchemy import Engine

from core.verification import walk
from core.verification.report import Report
from core.verification.verify import verify_all
from tests.harness.factories import Ledger
from tests.harness.history import mix


@pytest.mark.smoke
def test_an_empty_ledger_is_sound(engine: Engine) -> None:
    assert verify_all(engine) == Report(holds=0)


@pytest.mark.parametrize("seed", range(4))
def test_a_random_mix_is_sound_at_every_moment(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(walk, "ROWS_AT_A_TIME", 7)
    mix(ledger, random.Random(seed), steps=120)
    ledger.post()  # The mix may have ended with a drain of everything.
    report = verify_all(ledger.engine)
    assert report.problems == []
    assert report.undecided > 0
    assert report.rejected > 0
    ledger.drain()
    report = verify_all(ledger.engine)
    assert report.problems == []
    assert report.undecided == 0
    assert report.holds
    assert report.currencies == 2


def test_a_verifier_reads_one_snapshot_while_postings_go_on(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(20):
        ledger.post()
    ledger.drain()
    monkeypatch.setattr(walk, "ROWS_AT_A_TIME", 5)

    def interfere(what: str, done: int, of: int) -> None:
        ledger.post(inflight=True)
        ledger.drain()

    report = verify_all(ledger.engine, progress=interfere)
    assert report.problems == []
    assert report.transactions == 20
    assert verify_all(ledger.engine).transactions > 20
