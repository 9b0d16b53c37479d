"""The sums of flows and activity are those of the log, whatever the queues, the chunks and who is killed."""

import random
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text

from core import migrations
from core.base.db import begin, connect, reading
from core.flows import rollup_store, rollups
from core.flows.periods import LENGTHS_S, rounded_down, rounded_up
from core.flows.reading import Wanted
from core.flows.reading import flows as read
from core.flows.rollup_store import ACTIVITY_LENGTHS_S
from core.ledger import balances as ledger_balances
from core.ledger.directory import Directory
from core.ledger.ledgers import create
from core.ledger.rules.requests import BalanceRequest, LedgerRequest
from core.verification.flows import check_flows
from core.verification.report import Problem, Report
from tests.harness.cli import Run, ok
from tests.harness.databases import bare_database
from tests.harness.factories import Ledger
from tests.harness.history import mix, tamper
from tests.harness.older_ledger import ROWS, load

Sums = dict[tuple[Any, ...], tuple[int, ...]]


def new_ledger(ledger: Ledger, name: str, balances: int = 2) -> list[str]:
    """Create a ledger, and return the IDs of its balances in USD."""
    with begin(ledger.engine) as conn:
        ledger_id = create(conn, LedgerRequest(name=name)).ledger_id
        return [
            ledger_balances.create(conn, BalanceRequest(ledger_id=ledger_id, currency="USD")).balance_id
            for _ in range(balances)
        ]


def spread(ledger: Ledger) -> None:
    """Let the rows of the log be accepted over some days, some of them in the same minute."""
    tamper(
        ledger,
        "UPDATE log SET accepted_at = '2026-01-01T00:00:00Z'::timestamptz + make_interval(secs => seq / 3 * 70000)",
    )


def flows(engine: Engine) -> Sums:
    with reading(engine) as conn:
        rows = conn.execute(
            text("SELECT length_s, at, currency, source, destination, amount, count, precision FROM flows")
        )
        return {tuple(row[:5]): (int(row[5]), *row[6:]) for row in rows}


def activity(engine: Engine) -> Sums:
    with reading(engine) as conn:
        rows = conn.execute(text("SELECT length_s, at, accepted, applied, inflight, rejected FROM activity"))
        return {tuple(row[:2]): tuple(row[2:]) for row in rows}


def expected(engine: Engine) -> tuple[Sums, Sums]:
    """Add up flows and activity from the outcomes, one by one."""
    with reading(engine) as conn:
        rows = conn.execute(
            text(
                "SELECT accepted_at, log.precision, log.currency, status, outcomes.amount, "
                "s.id, s.ledger, s.indicator, d.id, d.ledger, "
                "d.indicator FROM log JOIN outcomes USING (seq) "
                "JOIN balances AS s ON s.id = log.source JOIN balances AS d ON d.id = log.destination"
            )
        ).all()
    latest = max(at for at, *_ in rows)
    moved: Counter[tuple[Any, ...]] = Counter()
    count: Counter[tuple[Any, ...]] = Counter()
    precisions: dict[tuple[Any, ...], int] = {}
    done: Counter[tuple[Any, ...]] = Counter()
    for at, precision, currency, status, amount, *sides in rows:
        source, destination = (id if name else -of for id, of, name in (sides[:3], sides[3:]))
        for length_s in LENGTHS_S:
            period = (length_s, rounded_down(at.astimezone(UTC), length_s))
            if length_s in ACTIVITY_LENGTHS_S:
                done[(*period, 0)] += 1
                done[(*period, status)] += 1
            if status == 1 and (length_s == 60 or period[1] < rounded_down(latest, length_s)):
                moved[(*period, currency, source, destination)] += int(amount)
                count[(*period, currency, source, destination)] += 1
                precisions[(*period, currency, source, destination)] = precision
    periods = {key[:2] for key in done}
    return (
        {key: (amount, count[key], precisions[key]) for key, amount in moved.items()},
        {period: tuple(done[(*period, status)] for status in (0, 1, 2, 4)) for period in periods},
    )


def sides(engine: Engine) -> tuple[Sums, Sums]:
    """The sums of each node by the flows of all minutes, and by its balances."""
    by_flows = """
        SELECT node, currency, sum(came), sum(went)
        FROM (
            SELECT destination AS node, currency, amount AS came, 0 AS went FROM flows WHERE length_s = 60
            UNION ALL
            SELECT source, currency, 0, amount FROM flows WHERE length_s = 60
        ) AS sides
        GROUP BY node, currency
    """
    by_balances = """
        SELECT CASE WHEN indicator IS NULL THEN -ledger ELSE id END, currency, sum(credit_balance), sum(debit_balance)
        FROM balances
        GROUP BY 1, 2
        HAVING sum(credit_balance) + sum(debit_balance) > 0
    """
    with reading(engine) as conn:
        one, two = (
            {(node, currency): (int(came), int(went)) for node, currency, came, went in conn.execute(text(sql))}
            for sql in (by_flows, by_balances)
        )
    return one, two


def agree(engine: Engine) -> None:
    moved, done = expected(engine)
    assert flows(engine) == moved
    assert activity(engine) == done
    by_flows, by_balances = sides(engine)
    assert by_flows == by_balances


@pytest.mark.smoke
@pytest.mark.parametrize("seed", range(2))
def test_what_comes_into_a_node_less_what_goes_out_is_what_its_balances_say(ledger: Ledger, seed: int) -> None:
    rng = random.Random(seed)
    ids = [*new_ledger(ledger, "Customers", 3), *new_ledger(ledger, "Shops", 2)]
    for _ in range(6):
        mix(ledger, rng, steps=20)
        for _ in range(5):
            pair = rng.sample([*ids, "@A", "@B"], 2)
            fields = dict(zip(("source", "destination"), pair, strict=True))
            ledger.post(**fields, precise_amount=rng.randint(1, 9), allow_overdraft=rng.random() < 0.7)
        spread(ledger)
        rollups.add_new(ledger.engine, chunk=rng.randint(1, 30))
    ledger.drain()
    rollups.add_new(ledger.engine, for_s=inf, chunk=rng.randint(1, 30))
    assert len({key[0] for key in flows(ledger.engine)}) == 4
    agree(ledger.engine)


@pytest.mark.parametrize("seed", range(3))
def test_a_chunk_of_one_minute_needs_no_look_at_the_time_of_each_row(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)
    whole, other = rollup_store._ADD_ONE_MINUTE, rollup_store._ADD_SOME_MINUTES
    used: Counter[str] = Counter()
    execute = psycopg.Connection.execute

    def count(self: Any, query: Any, *rest: Any, **options: Any) -> Any:
        used[query] += 1
        return execute(self, query, *rest, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", count)
    for _ in range(4):
        mix(ledger, rng, steps=25)
        ledger.drain()
    step_s = rng.choice((5, 10))
    tamper(
        ledger,
        f"UPDATE log SET accepted_at = '2026-01-01T00:00:00Z'::timestamptz + make_interval(secs => seq * {step_s})",
    )
    # An older release let times fall, in the middle of a minute too.
    for fall in sorted(rng.sample(range(10, 90), 12)):
        tamper(
            ledger,
            f"UPDATE log SET accepted_at = accepted_at - interval '{rng.choice((25, 50))} seconds' WHERE seq >= {fall}",
        )
        tamper(ledger, f"INSERT INTO clock_falls VALUES ({fall})")
    while rollups.add_new(ledger.engine, chunk=rng.randint(1, 6), for_s=0):
        pass
    assert used[whole] > 2 and used[other] > 2
    agree(ledger.engine)


def test_a_chunk_that_is_cut_short_adds_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    mix(ledger, random.Random(7), steps=40)
    spread(ledger)
    ledger.drain()
    fold, calls = rollup_store._fold, iter(range(1000))

    def cut(conn: Connection, *rest: Any) -> None:
        fold(conn, *rest)
        if next(calls) % 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(rollup_store, "_fold", cut)
    for _ in range(200):
        with suppress(KeyboardInterrupt):
            if not rollups.add_new(ledger.engine, chunk=5):
                break
    assert next(calls) > 10
    agree(ledger.engine)


def test_one_process_adds_at_a_time(ledger: Ledger) -> None:
    for _ in range(3):
        ledger.post()
    ledger.drain()
    with begin(ledger.engine) as conn:
        assert rollup_store.add_chunk(conn, 2) == (2, [])
        assert rollups.add_new(ledger.engine) == 0
    assert rollups.add_new(ledger.engine) == 1
    agree(ledger.engine)


def test_a_ledger_of_an_older_release_is_caught_up(postgres: str) -> None:
    engine = connect(bare_database(postgres))
    load(engine)
    migrations.upgrade(engine)
    assert flows(engine) == {}
    assert 0 < rollups.add_new(engine, chunk=7) < ROWS  # Something waits in it.
    ledger = Ledger(engine, Directory(engine))
    ledger.drain()
    rollups.add_new(engine, for_s=inf, chunk=7)
    agree(engine)
    engine.dispose()


WRONG = {
    "UPDATE flows SET amount = amount + 1 WHERE length_s = 86400 AND source = (SELECT min(source) FROM flows)": "flows",
    "UPDATE flows SET count = count + 1 WHERE length_s = 60": "flows",
    "DELETE FROM flows WHERE length_s = 3600 AND amount = (SELECT max(amount) FROM flows WHERE length_s = 3600)": "flows",
    "INSERT INTO flows SELECT 86400, at, currency, 98, 99, 1, 100, 1 FROM flows WHERE length_s = 86400 LIMIT 1": "flows",
    "UPDATE flows SET precision = 1000 WHERE length_s = 60": "flows",
    "UPDATE flows SET precision = 1000 WHERE length_s = 86400": "flows",
    """
    UPDATE flows
    SET at = at + interval '1 minute'
    WHERE length_s = 60 AND at = (SELECT min(at) FROM flows WHERE length_s = 60)
    """: "flows",
    "UPDATE activity SET applied = applied + 1 WHERE length_s = 3600": "activity",
    "DELETE FROM activity WHERE length_s = 60": "activity",
}


def test_a_wrong_sum_is_found_and_derived_anew(ledger: Ledger, run: Run) -> None:
    mix(ledger, random.Random(3), steps=60)
    spread(ledger)
    ledger.drain()
    rollups.add_new(ledger.engine)
    assert not problems(ledger)
    for statement, table in WRONG.items():
        tamper(ledger, statement)
        found = problems(ledger)
        assert found and {each.table for each in found} == {table}, statement
        assert "--rebuild-flows" in found[0].expected
        ok(run("verify", "--rebuild-flows"))
        assert not problems(ledger), statement
    agree(ledger.engine)


def problems(ledger: Ledger) -> list[Problem]:
    report = Report()
    with reading(ledger.engine) as conn:
        check_flows(conn, report)
    return report.problems


def test_old_minutes_and_hours_go_and_the_sums_stay(ledger: Ledger) -> None:
    for number in range(300):
        ledger.post(precise_amount=number + 1)
    ledger.drain()
    tamper(
        ledger,
        "UPDATE log SET accepted_at = '2026-01-01T00:00:30Z'::timestamptz + seq * interval '13 hours 7 minutes'",
    )
    rollups.add_new(ledger.engine, for_s=inf, chunk=90)
    days = total(ledger, None, None)
    assert rollups.remove_old(ledger.engine) > 300
    assert not problems(ledger) and rollups.remove_old(ledger.engine) == 0
    kept = {length_s: min(key[1] for key in flows(ledger.engine) if key[0] == length_s) for length_s in LENGTHS_S}
    latest = max(key[1] for key in flows(ledger.engine))
    assert timedelta(days=7) < latest - kept[60] < timedelta(days=9)
    assert timedelta(days=99) < latest - kept[3600] < timedelta(days=101)
    assert total(ledger, None, None) == days == (300, sum(range(301)))
    at = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
    for first, end, length in ((1, 40, 86400), (120, 200, 3600), (290, 299, 60), (5, 150, 3600), (100, 296, 60)):
        times = [at + number * timedelta(hours=13, minutes=7) for number in (first, end)]
        with reading(ledger.engine) as conn:
            found = read(conn, Wanted(first=times[0], end=times[1]))
        wanted = [n for n in range(1, 301) if found.from_ <= at + n * timedelta(hours=13, minutes=7) < found.to]
        assert [(each.count, each.precise_amount) for each in found.flows] == [(len(wanted), sum(wanted))]
        assert found.from_ <= times[0] and times[1] <= found.to
        assert found.to == rounded_up(times[1], length)


def total(ledger: Ledger, first: datetime | None, end: datetime | None) -> tuple[int, int]:
    wanted = Wanted(first=first or datetime(1970, 1, 1, tzinfo=UTC), end=end or datetime(9000, 1, 1, tzinfo=UTC))
    with reading(ledger.engine) as conn:
        found = read(conn, wanted)
    return sum(each.count for each in found.flows), sum(each.precise_amount for each in found.flows)
