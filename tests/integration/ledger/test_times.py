"""A time is a range of positions in the log, even where the clock was set back in the past."""

import random
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from core.base.db import begin, reading
from core.ledger.store import times
from tests.harness.factories import Ledger
from tests.harness.history import NO_TRIGGERS

_FILL = """
    INSERT INTO log (seq, id, reference, kind, queue, source, destination, amount, currency, precision, description,
        allow_overdraft, accepted_at)
    SELECT seq, gen_random_uuid(), 'r' || seq, 1, 0, 1, 2, 1, 'USD', 100, '', true, at
    FROM unnest(CAST(:seqs AS bigint[]), CAST(:times AS timestamptz[])) AS rows (seq, at)
"""

_START = datetime(2026, 1, 1, tzinfo=UTC)


def _second(number: int) -> datetime:
    return _START + timedelta(seconds=number)


def test_the_positions_of_an_interval_are_those_of_its_rows(owner: Engine) -> None:
    rng = random.Random(1)
    for falls in (0, 0, 1, 3):
        seconds, now = [], 0
        falls_at = set(rng.sample(range(5, 60), falls))
        for number in range(60):
            now += rng.choice([0, 0, 1, 2]) if number not in falls_at else -rng.randint(1, 15)
            seconds.append(now)
        seqs = sorted(rng.sample(range(1, 90), 60))  # A missing row does not lead the search astray.
        fell = [seqs[n] for n in range(1, 60) if seconds[n] < seconds[n - 1]]
        assert len(fell) == falls
        with begin(owner) as conn:
            conn.execute(text(NO_TRIGGERS))
            conn.execute(text("DELETE FROM log"))
            conn.execute(text("DELETE FROM clock_falls"))
            conn.execute(text(_FILL), {"seqs": seqs, "times": [_second(each) for each in seconds]})
            conn.execute(text("INSERT INTO clock_falls SELECT unnest(CAST(:seqs AS bigint[]))"), {"seqs": fell})
        with reading(owner) as conn:
            for _ in range(40):
                low, high = sorted(rng.choices(range(-3, max(seconds) + 3), k=2))
                found = times.ranges(conn, [(_second(low), _second(high))])
                within = [seq for seq, second in zip(seqs, seconds, strict=True) if low <= second < high]
                assert [seq for seq in seqs if any(first <= seq < end for first, end in found)] == within
                first = times.first_since(conn, _second(low))
                since = [second >= low for seq, second in zip(seqs, seconds, strict=True) if seq >= first]
                assert all(since) and (falls or len(since) == sum(second >= low for second in seconds))


def test_no_row_is_accepted_before_the_row_before_it(ledger: Ledger, owner: Engine) -> None:
    ledger.post(reference="from the future")
    with begin(owner) as conn:  # As if the clock had been set back since.
        conn.execute(text(NO_TRIGGERS))
        conn.execute(text("UPDATE log SET accepted_at = accepted_at + interval '1 hour'"))
    ledger.post(reference="second")
    ledger.post(reference="third")
    with reading(owner) as conn:
        first, second, third = conn.execute(text("SELECT accepted_at FROM log ORDER BY seq")).scalars()
    assert first == second == third
