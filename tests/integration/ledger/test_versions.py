"""The entries within a time are found without a walk through all that came before, even if the clock was set back."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from core.base.db import begin, reading
from core.ledger import history
from core.ledger.store import entries as entry_store
from core.ledger.store import spans, versions
from tests.harness.factories import Ledger
from tests.harness.history import NO_TRIGGERS

_START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("has_spans", [False, True])
def test_the_entries_within_a_time_are_those_that_were_decided_then(
    ledger: Ledger, owner: Engine, monkeypatch: pytest.MonkeyPatch, has_spans: bool
) -> None:
    rng = random.Random(3)
    for number in range(24):
        sides = ("@Pool", f"@{number}") if number % 3 else (f"@{number}", "@Pool")
        ledger.post(source=sides[0], destination=sides[1])
    ledger.drain()
    hours, now = {}, 0.0
    for version in range(2, 26):
        now += rng.choice([0, 0.5, 3]) if version % 7 else -0.9
        hours[version] = now
    key = ledger.balance("@Pool").key
    with begin(owner) as conn:
        conn.execute(text(NO_TRIGGERS))
        for version, hour in hours.items():
            for side in ("source", "destination"):
                conn.execute(
                    text(f"UPDATE outcomes SET decided_at = :at WHERE {side} = :key AND {side}_version = :version"),
                    {"at": _START + timedelta(hours=hour), "key": key, "version": version},
                )
    if has_spans:
        monkeypatch.setattr(spans, "SIZE", 4)
        assert history.write_spans(ledger.engine) == 6
    with reading(owner) as conn:
        for _ in range(60):
            since, until = sorted(rng.choices([each / 2 for each in range(-4, 90)], k=2))
            between = (_START + timedelta(hours=since), _START + timedelta(hours=until))
            for asked in (between, (between[0], None), (None, between[1])):
                low, high = (since if asked[0] else -9), (until if asked[1] else 999)
                expected = [version for version, hour in hours.items() if low <= hour < high]
                found = entry_store.entries(conn, key, limit=100, after=None, between=asked)
                assert [entry.version for entry in found] == expected
        first, end = versions.bounds(conn, key, (_START + timedelta(hours=now - 2), _START + timedelta(hours=now - 1)))
        assert 2 < first <= end <= 26
        within = versions.ranges(conn, key, (_START + timedelta(hours=now - 2), _START + timedelta(hours=now - 1)))
        assert all(each.above >= first - 1 for each in within)
        assert sum(each.end - each.above - 1 for each in within) <= (12 if has_spans else end - first)
