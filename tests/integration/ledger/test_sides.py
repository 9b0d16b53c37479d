"""A hold has its two balances beside it, whichever release wrote it. Migration 0032 fills them in while posts go on."""

import random
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Event

import pytest
from sqlalchemy import Connection, Engine, text
from structlog.testing import capture_logs

from core import migrations
from core.base.db import begin, connect, driver, reading
from core.base.rows import array
from core.ledger.directory import Directory
from core.ledger.rules.model import Outcome
from core.ledger.store import history as history_store
from core.ledger.store import outcomes as outcome_store
from core.verification.verify import verify_all
from tests.harness.databases import bare_database
from tests.harness.factories import Ledger, start_until_blocked
from tests.harness.history import NO_TRIGGERS, mix

_WRITE_AS_BEFORE = """
    INSERT INTO holds (seq, amount, committed, voided, settled_at)
    SELECT s, a, c, v, CASE WHEN c + v = a THEN %s::timestamptz END
    FROM unnest(%s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[]) AS new (s, a, c, v)
    ON CONFLICT (seq) DO UPDATE
    SET committed = excluded.committed,
        voided = excluded.voided,
        settled_at = excluded.settled_at
"""


@pytest.fixture
def as_before(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Drains write holds as the release before did, until the function is called."""

    def write_holds(conn: Connection, outcomes: Collection[Outcome], settled_at: datetime) -> None:
        columns = zip(*(outcome.hold for outcome in outcomes if outcome.hold is not None), strict=True)
        driver(conn).execute(_WRITE_AS_BEFORE, [settled_at, *map(array, columns)])

    monkeypatch.setattr(outcome_store, "write_holds", write_holds)
    return monkeypatch.undo


@pytest.fixture
def older(postgres: str, as_before: Callable[[], None]) -> Iterator[Ledger]:
    """A ledger of the release before, with open, settled and partly settled holds."""
    engine = connect(bare_database(postgres))
    migrations.upgrade(engine, "0031")
    ledger = Ledger(engine, Directory(engine))
    mix(ledger, random.Random(32), steps=40)
    holds = [
        ledger.post(precise_amount=5, source=name, inflight=True)
        for name in ["@World", "@B", "@B", "@C", "@D", "@E", "@F"]
    ]
    ledger.drain()
    ledger.settle(holds[0].transaction_id, "commit", precise_amount=2)
    ledger.drain()
    yield ledger
    engine.dispose()


def _assert_sides_are_right(engine: Engine, *, lacking: int = 0) -> None:
    """Check the sides of all holds, what each balance holds by them, and the rest of the ledger."""
    with reading(engine) as conn:
        lacks, wrong, count = conn.execute(text(_SIDES)).one()
        assert (lacks, wrong) == (lacking, 0)
        assert count > 5
        held = 0
        for key in conn.execute(text("SELECT id FROM balances")).scalars().all():
            summed = history_store.recomputed(conn, key)._replace(credit=0, debit=0)
            assert history_store.held(conn, key) == summed
            held += summed.inflight_debit
        assert held > 0
    assert verify_all(engine).problems == []


_SIDES = """
    SELECT
        count(*) FILTER (WHERE settled_at IS NULL AND holds.source IS NULL),
        count(*) FILTER (WHERE (holds.source, holds.destination) <> (log.source, log.destination)),
        count(*) FILTER (WHERE settled_at IS NULL)
    FROM holds
    JOIN log USING (seq)
"""


def _is_whole(engine: Engine) -> bool:
    with reading(engine) as conn:
        return bool(conn.execute(text(f"SELECT {outcome_store.OPEN_HOLDS_HAVE_SIDES}")).scalar_one())


def test_open_holds_of_the_release_before_get_their_sides_while_its_posts_go_on(
    older: Ledger, as_before: Callable[[], None]
) -> None:
    is_over = Event()

    def post() -> int:
        rounds = 0
        while not is_over.is_set() or rounds < 3:
            mix(older, random.Random(rounds), steps=20)
            older.drain()
            rounds += 1
        return rounds

    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(post)
        try:
            migrations.upgrade(older.engine)
        finally:
            is_over.set()
        assert posting.result() >= 3
    assert _is_whole(older.engine)
    _assert_sides_are_right(older.engine)
    as_before()
    mix(older, random.Random(33), steps=60)
    older.drain()
    _assert_sides_are_right(older.engine)


@pytest.mark.usefixtures("as_before")
def test_a_release_before_writes_and_settles_in_part_over_the_newer_tables(ledger: Ledger) -> None:
    hold = ledger.post(precise_amount=5, inflight=True)
    ledger.drain()
    with begin(ledger.engine) as conn:
        sides = conn.execute(text("SELECT source, destination FROM holds")).one()
        assert sides == conn.execute(text("SELECT source, destination FROM log")).one()
    ledger.settle(hold.transaction_id, "commit", precise_amount=2)
    ledger.drain()
    with reading(ledger.engine) as conn:
        assert conn.execute(text("SELECT source, destination FROM holds")).one() == sides
    assert verify_all(ledger.engine).problems == []


@pytest.fixture
def unfinished(older: Ledger) -> Ledger:
    """The same ledger, of which a migration was killed after its commit."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(migrations, "_finish", lambda engine: None)
        migrations.upgrade(older.engine)
    return older


def test_what_is_not_yet_filled_in_is_looked_up(unfinished: Ledger) -> None:
    older = unfinished
    with reading(older.engine) as conn:
        lacking = conn.execute(text("SELECT count(*) FROM holds WHERE settled_at IS NULL")).scalar_one()
    assert not _is_whole(older.engine)
    _assert_sides_are_right(older.engine, lacking=lacking)
    migrations.upgrade(older.engine)
    assert _is_whole(older.engine)
    _assert_sides_are_right(older.engine)


def test_a_hold_that_a_drain_has_locked_is_waited_for(unfinished: Ledger) -> None:
    engine = unfinished.engine
    with ThreadPoolExecutor(1) as pool:
        with begin(engine) as conn:
            # As a drain does that settles two holds. The second lock must not meet one that the migration keeps.
            first, last = conn.execute(text("SELECT min(seq), max(seq) FROM holds WHERE settled_at IS NULL")).one()
            lock = text("SELECT FROM holds WHERE seq = :seq FOR NO KEY UPDATE")
            conn.execute(lock, {"seq": last})
            finishing = start_until_blocked(engine, pool, lambda: migrations.upgrade(engine))
            conn.execute(lock, {"seq": first})
        finishing.result(60)
    assert _is_whole(engine)
    _assert_sides_are_right(engine)


def test_a_hold_that_is_not_in_the_log_stops_no_migration(older: Ledger) -> None:
    with begin(older.engine) as conn:
        conn.execute(text(NO_TRIGGERS))
        conn.execute(text("INSERT INTO holds (seq, amount) VALUES (1000000, 5)"))
    with capture_logs() as logs:
        migrations.upgrade(older.engine)
    assert [each["event"] for each in logs if each["log_level"] == "warning"] == [
        "a statement is left to the next upgrade"
    ]
    assert not _is_whole(older.engine)
    assert [(each.table, each.key) for each in verify_all(older.engine).problems] == [("holds", "seq 1000000")]
    with reading(older.engine) as conn:
        for key in conn.execute(text("SELECT id FROM balances")).scalars().all():
            assert history_store.held(conn, key) == history_store.recomputed(conn, key)._replace(credit=0, debit=0)
