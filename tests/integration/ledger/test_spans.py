"""Spans are the sums of many entries of a balance. They make answers quick, and change none of them."""

import random
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from core.base.db import begin, reading
from core.flows import rollups
from core.ledger import history
from core.ledger.store import runs, span_check, spans
from core.ledger.store import times as positions
from core.ledger.store.spans import LAST, Basis, Bound
from core.ledger.store.times import Range
from core.upkeep.ticks import Tick
from core.verification.report import Report
from core.verification.spans import check_spans
from tests.harness.dated import take_all
from tests.harness.factories import Ledger, transaction
from tests.harness.history import mix, tamper
from tests.integration.ledger.test_statement import all_pages
from worker import tasks, ticking

START = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a span have six versions, and a part of it two entries, and a run three spans."""
    monkeypatch.setattr(spans, "SIZE", 6)
    monkeypatch.setattr(spans, "DATED", 2)
    monkeypatch.setattr(spans, "RUN", 3)
    monkeypatch.setattr(spans, "RUN_DATED", 2)


def post_some(ledger: Ledger, dice: random.Random, count: int) -> None:
    """Post to and from @A: late and early, some at one moment, and holds, which move nothing."""
    for number in range(count):
        sides = ("@World", "@A") if dice.random() < 0.6 else ("@A", "@World")
        when = {"effective_date": START + timedelta(days=dice.randrange(-9, 9))} if dice.random() < 0.6 else {}
        ledger.post(source=sides[0], destination=sides[1], precise_amount=dice.randrange(1, 500), **when)
        if number % 5 == 0:
            ledger.post(source="@World", destination="@A", precise_amount=7, inflight=True)
        if dice.random() < 0.4:
            ledger.drain()
    ledger.bulk(*(transaction(source="@World", destination="@A", precise_amount=3) for _ in range(9)))
    ledger.drain()


def answers(client: FlaskClient, balance: str, times: list[str]) -> list[Any]:
    """Every page of statements over all these times, and the balance at each."""
    path = f"/balances/{balance}/statement"
    periods = [(None, None), *zip([None, *times], [*times, None], strict=True), *zip(times, times[2:], strict=False)]
    found: list[Any] = []
    for basis in Basis:
        for since, until in periods:
            query = {name: time for name, time in (("from", since), ("to", until)) if time}
            found += [all_pages(client, path, basis=basis.value, limit=limit, **query) for limit in (3, 50)]
    return found + [
        client.get(f"/balances/{balance}/at", query_string={"timestamp": time}).get_json() for time in times
    ]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.usefixtures("short")
def test_spans_change_no_answer(
    client: FlaskClient, ledger: Ledger, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(seed)
    post_some(ledger, dice, 30)
    balance = str(ledger.balance("@A").balance_id)
    entries = client.get(f"/balances/{balance}/statement").get_json()["entries"]
    moments = {entry[name] for entry in entries for name in ("at", "effective_date") if entry[name]}
    times = sorted(dice.sample(sorted(moments), 5))
    with monkeypatch.context() as plain:
        plain.setattr(positions, "around", lambda conn, ats: [Range(0, LAST)] * len(ats))
        before = answers(client, balance, times)
    assert answers(client, balance, times) == before
    assert history.write_spans(ledger.engine) > 6
    assert history.write_spans(ledger.engine) == 0
    with reading(ledger.engine) as conn:
        ((_, end), *_) = (each for each in runs.written(conn) if each[0] == ledger.balance("@A").key)
    assert end >= 18
    assert answers(client, balance, times) == before
    if seed == 1:
        with reading(ledger.engine) as conn:
            last = conn.execute(text("SELECT max(seq) FROM log")).scalar_one()
        tamper(ledger, f"INSERT INTO clock_falls VALUES ({last // 2})")  # Then positions tell nothing of times.
        assert answers(client, balance, times) == before


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("short")
def test_spans_are_what_a_look_at_each_row_of_the_log_makes_of_them(ledger: Ledger, seed: int) -> None:
    """Some spans have dates and some have none, and the clock of an older release fell."""
    dice = random.Random(seed)
    for _ in range(4):
        post_some(ledger, dice, 6)
        for _ in range(12):
            ledger.post(source="@World", destination="@B", precise_amount=dice.randrange(1, 99))
        ledger.drain()
    with reading(ledger.engine) as conn:
        last = conn.execute(text("SELECT max(seq) FROM log")).scalar_one()
    for fall in dice.sample(range(5, last), 6):
        tamper(ledger, f"UPDATE log SET accepted_at = accepted_at - interval '1 minute' WHERE seq >= {fall}")
        tamper(ledger, f"INSERT INTO clock_falls VALUES ({fall})")
    assert history.write_spans(ledger.engine) > 20
    with reading(ledger.engine) as conn:
        for each in span_check.written(conn):
            assert span_check.wrong(conn, each.key, after=0, upto=each.end) == []
        written = runs.written(conn)
        assert len(written) >= 2
        for key, end in written:
            assert runs.wrong(conn, key, after=0, upto=end) == []
            dated = conn.execute(
                text("SELECT sum(entries) FROM spans WHERE balance = :key AND part > 0 AND last <= :end"),
                {"key": key, "end": end},
            ).scalar_one()
            found = conn.execute(
                text("SELECT sum(entries), max(entries) FROM dated_spans WHERE balance = :key"), {"key": key}
            ).one()
            assert found[0] == (dated or 0) and found[1] <= 6


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE dated_spans SET credit = credit + 1 WHERE part = 1",
        "UPDATE dated_spans SET last_at = last_at + interval '1 second' WHERE part = 1",
        "DELETE FROM dated_spans WHERE part = 2",
        "INSERT INTO dated_spans SELECT balance, last, 99, first_at, last_at, 1, 1, 1 FROM dated_spans WHERE part = 1",
    ],
)
def test_a_run_that_was_altered_is_found_by_verify(ledger: Ledger, change: str) -> None:
    post_some(ledger, random.Random(3), 25)
    history.write_spans(ledger.engine)
    sound, altered = Report(), Report()
    with reading(ledger.engine) as conn:
        check_spans(conn, sound)
    assert sound.problems == []
    tamper(ledger, change)
    with reading(ledger.engine) as conn:
        check_spans(conn, altered)
    assert "run up to" in str(altered.problems[0])


@pytest.mark.usefixtures("short")
def test_later_pages_are_as_of_the_first_though_spans_were_written_since(client: FlaskClient, ledger: Ledger) -> None:
    dice = random.Random(7)
    post_some(ledger, dice, 12)
    balance = str(ledger.balance("@A").balance_id)
    for basis in Basis:
        first = client.get(f"/balances/{balance}/statement", query_string={"basis": basis.value, "limit": 5})
        link = first.headers["Link"].partition(">")[0].removeprefix("<")
        before = all_pages(client, link)
        post_some(ledger, dice, 3)
        history.write_spans(ledger.engine)
        assert all_pages(client, link) == before


@pytest.mark.usefixtures("short")
def test_spans_are_exact_while_postings_run(ledger: Ledger) -> None:
    """Two write spans of what two others post and drain. They add up as all entries do."""
    names = ["@World", "@A", "@B"]

    def post(number: int) -> None:
        dice = random.Random(number)
        for _ in range(12):
            source, destination = dice.sample(names, 2)
            when = {"effective_date": START + timedelta(days=dice.randrange(9))} if dice.random() < 0.3 else {}
            ledger.post(source=source, destination=destination, precise_amount=dice.randrange(1, 99), **when)
            ledger.drain()

    def write(_: int) -> None:
        for _ in range(15):
            history.write_spans(ledger.engine)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda job: job[0](job[1]), [(post, 1), (write, 0), (post, 2), (write, 0)]))
    history.write_spans(ledger.engine)
    for name in names:
        row = ledger.balance(name)
        with reading(ledger.engine) as conn:
            end = spans.end_of(conn, row.key)
            for basis in Basis:
                (sums,) = history.sums_until(conn, row.key, basis, row.version, [Bound(None, LAST)])
                assert (sums.credits, sums.debits) == (row.credit_balance, row.debit_balance)
        assert row.version - 6 < end <= row.version


@pytest.mark.usefixtures("short")
def test_a_worker_writes_spans_for_a_while(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "engine", lambda: ledger.engine)
    monkeypatch.setattr(history, "WRITTEN", 2)
    post_some(ledger, random.Random(1), 12)
    monkeypatch.setattr(tasks, "SPANS_FOR_S", 0.0)
    written = []
    for _ in range(40):
        tasks.write_spans()
        with reading(ledger.engine) as conn:
            written.append(conn.execute(text("SELECT count(*) FROM spans WHERE part = 0")).scalar_one())
    assert written[:2] == [2, 4]
    assert history.write_spans(ledger.engine) == 0


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("seed", range(2))
def test_the_tick_of_flows_writes_the_spans_that_are_whole(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(tasks, "engine", lambda: ledger.engine)
    monkeypatch.setattr(rollups, "add_new", partial(rollups.add_new, chunk=7))
    monkeypatch.setattr(spans, "RUN", 1)
    rng, told = random.Random(seed), set[int]()
    write = history.write_spans_of

    def note(engine: Engine, keys: Collection[int], *, for_s: float) -> int:
        told.update(keys)
        return write(engine, keys, for_s=60.0)

    monkeypatch.setattr(history, "write_spans_of", note)
    for _ in range(3):
        mix(ledger, rng, steps=30)
        ledger.drain()
        tasks.add_to_flows()
        with reading(ledger.engine) as conn:
            assert runs.lagging(conn, after=0) is None
        assert history.write_spans(ledger.engine) == 0
    with reading(ledger.engine) as conn:
        assert runs.written(conn) != []
        versions = conn.execute(text("SELECT id, version FROM balances")).all()
        spanned = set(conn.execute(text("SELECT DISTINCT balance FROM spans")).scalars())
    assert told == spanned == {key for key, version in versions if version >= spans.SIZE} != set()


@pytest.mark.parametrize(("for_s", "ends"), [(0.0, []), (60.0, [Tick.SPANS])])
def test_a_run_that_leaves_spans_does_not_end(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, for_s: float, ends: list[Tick]
) -> None:
    monkeypatch.setattr(tasks, "engine", lambda: ledger.engine)
    monkeypatch.setattr(tasks, "SPANS_FOR_S", for_s)
    ended: list[Tick] = []
    monkeypatch.setattr(ticking, "end", ended.append)
    ticking.run(Tick.SPANS)
    assert ended == ends


@pytest.mark.usefixtures("short")
def test_what_is_in_no_span_is_added_up_to_a_limit(
    client: FlaskClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    post_some(ledger, random.Random(1), 12)
    balance = ledger.balance("@A").balance_id
    monkeypatch.setattr(history, "MAX_SUMMED", 20)
    for path in ("at", "statement"):
        refused = client.get(f"/balances/{balance}/{path}")
        assert (refused.status_code, "entries of the balance" in refused.get_json()["error"]) == (400, True)
    history.write_spans(ledger.engine)
    for path in ("at", "statement"):
        assert client.get(f"/balances/{balance}/{path}").status_code == 200


def test_entries_with_a_date_are_looked_for_once_however_many_spans_have_some(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "SIZE", 20)
    dice = random.Random(1)
    dates = [START + timedelta(seconds=dice.randrange(10**6)) for _ in range(1_000)]
    ledger.bulk(*(transaction(source="@B", destination="@C") for _ in range(2_000)))
    ledger.drain()
    with begin(ledger.engine) as conn:  # What the planner knows is from before there were dates.
        conn.execute(text("ANALYZE log, outcomes, spans, dated_spans"))
    ledger.bulk(*(transaction(effective_date=at) for at in dates))
    ledger.drain()
    history.write_spans(ledger.engine)
    key, plans = ledger.balance("@A").key, list[Any]()
    execute = psycopg.Connection.execute

    def explain(self: Any, statement: Any, values: Any = None, **options: Any) -> Any:
        if statement == spans._REST[Basis.EFFECTIVE]:
            (found,) = execute(self, f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values).fetchone() or ()
            plans.append(found[0]["Plan"])
        return execute(self, statement, values, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", explain)
    with reading(ledger.engine) as conn:
        (sums,) = history.sums_until(conn, key, Basis.EFFECTIVE, 1_001, [Bound(sorted(dates)[500], LAST)])
    assert sums.entries == 501
    scans = [node for plan in plans for node in nodes(plan) if node.get("Relation Name") == "log"]
    scans = [node for node in scans if "effective_date >=" in f"{node.get('Index Cond')} {node.get('Filter')}"]
    assert scans and all(node["Actual Loops"] == 1 for node in scans)


def nodes(plan: Any) -> Iterator[Any]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


@pytest.mark.usefixtures("short")
def test_a_balance_with_spans_gets_no_snapshot(ledger: Ledger) -> None:
    ledger.bulk(*(transaction(source="@World", destination="@A") for _ in range(9)))
    ledger.post(source="@World", destination="@B")
    ledger.drain()
    history.write_spans(ledger.engine)
    assert take_all(ledger.engine) == 1
    with reading(ledger.engine) as conn:
        assert conn.execute(text("SELECT balance FROM snapshots")).scalars().all() == [ledger.balance("@B").key]


@pytest.mark.usefixtures("short")
def test_spans_stand_for_the_source_where_the_entries_are_too_many(
    client: FlaskClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    post_some(ledger, random.Random(1), 12)
    hold = ledger.post(source="@A", destination="@B", inflight=True, precise_amount=9)
    ledger.drain()
    ledger.settle(hold.transaction_id, "commit", precise_amount=2)
    ledger.post(source="@B", destination="@A", inflight=True, precise_amount=5)
    ledger.drain()
    history.write_spans(ledger.engine)
    balance = ledger.balance("@A").balance_id
    times = ["2020-01-01T00:00:00Z", *(f"2030-01-0{day}T00:00:00Z" for day in range(1, 3))]
    paths = [f"/balances/{balance}/at?timestamp={at}&from_source=true" for at in times]
    paths += [f"/balances/{balance}?from_source=true"]
    one_by_one = [client.get(path).get_json() for path in paths]
    monkeypatch.setattr(history, "MAX_FROM_SOURCE", 20)
    monkeypatch.setattr(history, "MAX_SUMMED", 20)
    assert ledger.balance("@A").version > 20
    assert [client.get(path).get_json() for path in paths] == one_by_one
    assert one_by_one[-1]["inflight_debit_balance"] > 0
    assert client.get(f"/balances/{ledger.balance('@B').balance_id}?from_source=true").status_code == 200


def test_spans_cannot_be_changed(ledger: Ledger) -> None:
    for table in ("spans", "dated_spans"):
        for sql in (f"UPDATE {table} SET credit = 5", f"DELETE FROM {table}", f"TRUNCATE {table}"):
            with pytest.raises(Exception, match="append-only"), begin(ledger.engine) as conn:
                conn.execute(text(sql))
