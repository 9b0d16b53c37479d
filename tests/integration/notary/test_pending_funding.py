"""A funding job pays what was accepted, or nothing, and its alteration is named."""

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from core.base.db import begin, reading
from core.base.errors import Conflict
from core.funding import jobs, pledged, posting, runs, tries
from core.ledger.rules.pledges import Of
from core.upkeep import probes
from core.verification.verify import verify_all
from tests.harness.factories import Ledger, fund, new_run, run_of
from tests.harness.history import tamper

NAMES = [f"@Customer{number}" for number in range(5)]


def _paid(ledger: Ledger) -> int:
    with reading(ledger.engine) as conn:
        return int(conn.execute(text("SELECT count(*) FROM log WHERE part = 'funding'")).scalar_one())


EDITS = {
    "destination": "UPDATE funding_rows SET destination = (SELECT destination FROM funding_rows WHERE row = 1) WHERE row = 3",
    "amount": "UPDATE funding_rows SET amount = 999 WHERE row = 3",
    "description": "UPDATE funding_rows SET description = 'other' WHERE row = 3",
    "meta_data": """UPDATE funding_rows SET meta_data = '{"a": 1}' WHERE row = 3""",
    "a row fewer": "DELETE FROM funding_rows WHERE row = 5",
    "a row more": "INSERT INTO funding_rows SELECT list, 6, destination, amount FROM funding_rows WHERE row = 1",
    "source": "UPDATE funding_jobs SET source = (SELECT destination FROM funding_rows WHERE row = 1)",
    "terms": 'UPDATE funding_jobs SET terms = (terms::jsonb || \'{"description": "other"}\')::json',
    "currency": "UPDATE funding_jobs SET currency = 'EUR'",
    "sum": "UPDATE funding_jobs SET amount = 1",
    "actor": "UPDATE funding_jobs SET actor = 'key_other'",
    "no actor": "UPDATE funding_jobs SET actor = NULL",
}


@pytest.mark.parametrize("what", EDITS)
def test_a_job_that_was_altered_is_named_and_pays_nobody(ledger: Ledger, what: str) -> None:
    run = new_run(ledger, *NAMES)
    assert verify_all(ledger.engine).problems == []
    tamper(ledger, EDITS[what])
    assert [each.table for each in verify_all(ledger.engine).problems] == ["funding_jobs"]
    runs.advance(ledger.engine, for_s=60)
    assert _paid(ledger) == 0
    found = run_of(ledger, run.run_id)
    assert found.status == "REFUSED"
    assert json.loads(found.refusal or "{}")["reason"] == "ALTERED"
    with begin(ledger.engine) as conn:
        assert probes.refused(conn) == [run.run_id]


def test_rows_that_are_altered_while_the_run_goes_on_are_not_paid(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "PIECE", 2)
    monkeypatch.setattr(posting, "PIECE_IN_COMPANY", 2)
    run = new_run(ledger, *NAMES)
    seen = iter(range(100))
    runs.advance(ledger.engine, for_s=1, clock=lambda: float(next(seen) * 0.4))
    assert 0 < _paid(ledger) < 5
    paid = _paid(ledger)
    tamper(ledger, "UPDATE funding_rows SET amount = 999 WHERE row = 5")
    runs.advance(ledger.engine, for_s=60)
    assert (_paid(ledger), run_of(ledger, run.run_id).status) == (paid, "REFUSED")
    # A retry would take the rows as they are now, and vouch for them.
    with pytest.raises(Conflict, match="somebody changed them in the database; make a new job"):
        tries.retry(ledger.engine, f"fund_{run.job}", run.run_id, datetime.now(UTC))
    runs.advance(ledger.engine, for_s=60)
    assert _paid(ledger) == paid


@pytest.mark.parametrize("is_over", [False, True])
def test_a_try_whose_rows_are_altered_before_it_starts_pays_nobody(ledger: Ledger, is_over: bool) -> None:
    run, now = new_run(ledger, *NAMES), datetime.now(UTC)
    job_id = f"fund_{run.job}"
    jobs.cancel(ledger.engine, job_id, now)
    again, _ = tries.retry(ledger.engine, job_id, run.run_id, now)
    if is_over:
        jobs.cancel(ledger.engine, job_id, now)
    tamper(ledger, f"UPDATE funding_rows SET amount = 999 WHERE row = 3 AND list = '{again.id}'")
    if is_over:
        with pytest.raises(Conflict, match="rows are not those that were accepted: somebody changed them"):
            tries.retry(ledger.engine, job_id, run.run_id, now)
    runs.advance(ledger.engine, for_s=60)
    assert (_paid(ledger), run_of(ledger, again.run_id).status) == (0, "CANCELLED" if is_over else "REFUSED")


def test_a_job_of_the_release_before_is_paid_without_a_pledge(ledger: Ledger) -> None:
    run = new_run(ledger, *NAMES)
    tamper(ledger, "DELETE FROM pledges", "DELETE FROM funding_digests", "UPDATE funding_jobs SET actor = NULL")
    assert verify_all(ledger.engine).problems == []
    runs.advance(ledger.engine, for_s=60)
    assert run_of(ledger, run.run_id).status == "COMPLETED"


def test_lists_longer_than_a_chunk_are_paid(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pledged, "_KEEP", pledged._KEEP.replace("1000", "2"))
    monkeypatch.setattr(pledged, "_DIFFERS", pledged._DIFFERS.replace("1000", "2"))
    monkeypatch.setattr(pledged, "CHUNK", 2)
    monkeypatch.setattr(posting, "PIECE", 3)
    assert fund(ledger, *NAMES).status == "COMPLETED"
    ledger.drain()
    assert verify_all(ledger.engine).problems == []
    with reading(ledger.engine) as conn:
        assert conn.execute(text("SELECT count(*) FROM funding_digests")).scalar_one() == 3
        assert conn.execute(text('SELECT "of" FROM pledges')).scalar_one() == Of.FUNDING
