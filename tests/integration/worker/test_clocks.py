"""A host whose clock is an hour off, or is set back, changes nothing but the times in its log."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from core.base import clock
from core.base.db import reading
from core.upkeep import heartbeats
from tests.harness import parts
from tests.harness.factories import Ledger
from tests.harness.processes import wait_until


@pytest.mark.parametrize("off_s", [-3600, 3600])
def test_due_dates_and_ticks_are_those_of_the_database(
    off_s: float, env: dict[str, str], ledger: Ledger, engine: Engine, folder: Path
) -> None:
    at = clock.now_of(engine)
    soon = ledger.post(scheduled_for=at + timedelta(seconds=3))
    later = ledger.post(scheduled_for=at + timedelta(minutes=30))
    queued = ledger.post()
    with parts.worker(folder / "worker", env, clock_off_s=off_s), parts.beat(folder / "beat", env, clock_off_s=off_s):
        wait_until(lambda: ledger.transaction(queued.transaction_id).status == "APPLIED")
        wait_until(lambda: ledger.transaction(soon.transaction_id).status == "APPLIED")
        wait_until(lambda: {each.part for each in _heartbeats(engine)} == {"worker", "beat"})
        for each in _heartbeats(engine):
            assert each.clock_off_s == pytest.approx(off_s, abs=30)
            assert each.age_s < 60
    assert clock.now_of(engine) >= at + timedelta(seconds=3)
    assert ledger.transaction(later.transaction_id).status == "SCHEDULED"


def _heartbeats(engine: Engine) -> list[heartbeats.Heartbeat]:
    with reading(engine) as conn:
        return heartbeats.every(conn)
