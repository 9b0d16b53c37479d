"""The sums of flows and activity are those of the log, whatever the queues, the chunks and who is killed."""

import random
from collections import Counter
from datetime import UTC
from typing import Any

import pytest
from sqlalchemy import Engine, text

from core.base.db import begin, reading
from core.flows import rollups
from core.flows.periods import LENGTHS_S, rounded_down
from core.flows.rollup_store import ACTIVITY_LENGTHS_S
from core.ledger import balances as ledger_balances
from core.ledger.ledgers import create
from core.ledger.rules.requests import BalanceRequest, LedgerRequest
from tests.harness.factories import Ledger
from tests.harness.history import mix, tamper

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
        rows = conn.execute(text("SELECT length_s, at, currency, source, destination, amount, count FROM flows"))
        return {tuple(row[:5]): (int(row[5]), row[6]) for row in rows}


def activity(engine: Engine) -> Sums:
    with reading(engine) as conn:
        rows = conn.execute(text("SELECT length_s, at, accepted, applied, inflight, rejected FROM activity"))
        return {tuple(row[:2]): tuple(row[2:]) for row in rows}


def expected(engine: Engine) -> tuple[Sums, Sums]:
    """Add up flows and activity from the outcomes, one by one."""
    with reading(engine) as conn:
        rows = conn.execute(
            text(
                "SELECT accepted_at, log.currency, status, outcomes.amount, s.id, s.ledger, s.indicator, d.id, d.ledger, "
                "d.indicator FROM log JOIN outcomes USING (seq) "
                "JOIN balances AS s ON s.id = log.source JOIN balances AS d ON d.id = log.destination"
            )
        ).all()
    latest = max(at for at, *_ in rows)
    moved: Counter[tuple[Any, ...]] = Counter()
    count: Counter[tuple[Any, ...]] = Counter()
    done: Counter[tuple[Any, ...]] = Counter()
    for at, currency, status, amount, *sides in rows:
        source, destination = (id if name else -of for id, of, name in (sides[:3], sides[3:]))
        for length_s in LENGTHS_S:
            period = (length_s, rounded_down(at.astimezone(UTC), length_s))
            if length_s in ACTIVITY_LENGTHS_S:
                done[(*period, 0)] += 1
                done[(*period, status)] += 1
            if status == 1 and (length_s == 60 or period[1] < rounded_down(latest, length_s)):
                moved[(*period, currency, source, destination)] += int(amount)
                count[(*period, currency, source, destination)] += 1
    periods = {key[:2] for key in done}
    return (
        {key: (amount, count[key]) for key, amount in moved.items()},
        {period: tuple(done[(*period, status)] for status in (0, 1, 2, 4)) for period in periods},
    )


def sides(engine: Engine) -> tuple[Sums, Sums]:
    """What came in and went out of each node by the flows of all minutes, and what its balances say."""
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
@pytest.mark.parametrize("seed", range(3))
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
    rollups.add_new(ledger.engine, chunk=rng.randint(1, 30))
    assert len({key[0] for key in flows(ledger.engine)}) == 4
    agree(ledger.engine)
