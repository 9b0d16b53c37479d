"""The documented reads that a history could make slow, each with places of a past, and how long they take."""

import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import quote, urlencode

from sqlalchemy import Connection

from core.base.db import driver
from core.ledger.rules.model import GENERAL_LEDGER
from ops.proving.cpu import metered
from ops.proving.made import Asked
from ops.proving.past import FEES, MERCHANTS, POOL, Shape

ASKED, ASKED_QUICKLY = 100, 3
"""So many times each read is asked for."""

ENOUGH_S = 20.0
"""A read that takes long is not asked for any more after this."""


class Answer(NamedTuple):
    """An answer, as far as it matters here."""

    status: int
    truncated: bool


Get = Callable[[str], Answer]
"""A function that asks for a path."""


class Timing(NamedTuple):
    """How long a read takes."""

    name: str
    asked: int
    p50_ms: float
    p99_ms: float
    cpu_ms: float | None
    """The CPU time of one answer, of all parts of the service. It holds on a busy machine, where the others do not."""
    truncated: float
    """The fraction of the answers that say they ended early."""
    statuses: dict[int, int]
    """How many answers have each status."""


class Places(NamedTuple):
    """Some of what a past has, to be asked for."""

    customers: list[str]
    merchants: list[str]
    pool: str
    fees: str
    transactions: list[str]
    references: list[str]
    holds: list[str]
    batches: list[str]
    last: int
    """The last position in the log."""
    shape: Shape


def places(conn: Connection, shape: Shape) -> Places:
    """Draw places of a past at random, always the same ones."""
    rng = random.Random(7)
    merchants, customers = MERCHANTS.stop, MERCHANTS.stop + shape.customers

    def balances(keys: Sequence[int]) -> list[str]:
        found = dict(driver(conn).execute(_BALANCES, (list(keys),)).fetchall())
        return [found[key] for key in keys]

    (last,) = driver(conn).execute("SELECT max(seq) FROM log").fetchone() or (0,)
    rows = driver(conn).execute(_TRANSACTIONS, ([rng.randint(1, last) for _ in range(300)],)).fetchall()
    holds = driver(conn).execute(_HOLDS, (last // 2,)).fetchall()
    batches = driver(conn).execute(_BATCHES, ([rng.randint(1, last) for _ in range(300)],)).fetchall()
    return Places(
        balances(rng.sample(range(merchants, customers), 100)),
        balances(rng.sample(MERCHANTS, 50)),
        balances([POOL])[0],
        balances([FEES])[0],
        [id for id, _ in rows],
        [reference for _, reference in rows],
        [id for (id,) in holds] or [rows[0][0]],
        [parent for (parent,) in batches] or ["bulk_none"],
        last,
        shape,
    )


_BALANCES = """
    SELECT id, 'bln_' || balance_id
    FROM balances
    WHERE id = ANY(%s)
"""

_TRANSACTIONS = """
    SELECT 'txn_' || id, reference
    FROM log
    WHERE seq = ANY(%s)
"""

_HOLDS = """
    SELECT 'txn_' || id
    FROM log
    JOIN holds USING (seq)
    WHERE seq > %s
    ORDER BY seq
    LIMIT 100
"""

_BATCHES = """
    SELECT DISTINCT parent
    FROM log
    WHERE seq = ANY(%s) AND parent LIKE 'bulk%%'
"""


def asked(of: Places) -> dict[str, Asked]:
    """Return the reads by name. Each makes a path, with places that it draws."""

    def some(path: str, among: Sequence[str], **query: str) -> Asked:
        return lambda rng: _path(path.replace("{}", quote(rng.choice(among), safe="")), query)

    def listed(**query: str | Sequence[str]) -> Asked:
        def path(rng: random.Random) -> str:
            values = {name: one if isinstance(one, str) else rng.choice(one) for name, one in query.items()}
            return _path("/transactions", values)

        return path

    days = [_day(of.shape, n / 40) for n in range(1, 40)]
    month = {"from": days[20], "to": days[21]}
    seqs = [str(of.last * n // 50) for n in range(1, 50)]
    balances = {"a customer": of.customers, "a merchant": of.merchants, "the pool": [of.pool], "the fees": [of.fees]}
    found: dict[str, Asked] = {
        "transaction by id": some("/transactions/{}", of.transactions),
        "transaction by reference": some("/transactions/reference/{}", of.references),
        "transaction that is unknown": some("/transactions/{}", ["txn_00000000-0000-7000-8000-000000000000"]),
        "hold by id": some("/transactions/{}", of.holds),
        "batch by id": some("/transactions/{}", of.batches),
        "lineage of a transaction": some("/transactions/{}/lineage", of.transactions),
        "receipt of a transaction": some("/transactions/{}/receipt", of.transactions),
        "list: the newest": listed(),
        "list: the oldest": listed(sort_order="asc"),
        "list: page from the middle": listed(after=seqs),
        "list: offset": listed(offset=seqs),
        "list: counted": listed(include_count="true"),
        "list: sequence between": listed(sequence_between=[f"{seq}|{int(seq) + 30}" for seq in seqs]),
        "list: created on a day": listed(created_at=[day[:10] for day in days]),
        "list: created before, counted": listed(created_at_lt=days, include_count="true"),
        "list: effective on a day": listed(effective_date=[day[:10] for day in days]),
        "list: effective before": listed(effective_date_lt=days),
        "list: parent_transaction": listed(parent_transaction=of.batches),
        "list: parent_transaction, counted": listed(parent_transaction=of.batches, include_count="true"),
        "list: reference": listed(reference=of.references),
        "list: reference begins with": listed(reference_like=[one[:12] + "%" for one in of.references]),
        "list: reference contains": listed(reference_like=[f"%{one[-7:]}" for one in of.references]),
        "list: description contains": listed(description_like="%nothing%"),
        "list: meta_data.shop": listed(**{"meta_data.shop": [f"s{n}" for n in range(500)]}),
        "list: meta_data without a match": listed(**{"meta_data.shop": "none"}),
        "list: amount_gte": listed(amount_gte="999"),
        "list: amount_gte without a match": listed(amount_gte="99999999999"),
        "list: precise_amount": listed(precise_amount=[str(n) for n in range(100, 200)]),
        "list: currency without a match": listed(currency="EUR"),
        "list: created_by": listed(created_by="master"),
        "list: sort_by=amount": listed(sort_by="amount"),
        "list: sort_by=effective_date": listed(sort_by="effective_date"),
        "list: sort_by=reference": listed(sort_by="reference"),
        "list: indicator": listed(indicator="@Fees"),
        "lineage of a balance": some("/balances/{}/lineage", of.customers),
        "balance by name": some("/balances/indicator/{}/currency/USD", ["@FundingPool", "@Fees"]),
        "limits of a balance": some("/balances/{}/limits", of.customers),
        "balances: the newest": lambda rng: "/balances",
        "balances: counted": lambda rng: "/balances?include_count=true",
        "balances: sort_by=balance": lambda rng: "/balances?sort_by=balance",
        "balances: balance_gt": lambda rng: "/balances?balance_gt=99999999999999",
        "books": lambda rng: "/books",
        "currencies": lambda rng: "/currencies",
        "ledgers": lambda rng: "/ledgers?include_count=true",
        "ledger by id": lambda rng: f"/ledgers/{GENERAL_LEDGER}",
        "queues": lambda rng: "/queues",
        "verify": lambda rng: "/verify",
        "parts": lambda rng: "/parts",
        "health": lambda rng: "/health",
        "health, live": lambda rng: "/health/live",
        "health, ready": lambda rng: "/health/ready",
        "metrics": lambda rng: "/metrics",
        "events: from the beginning": lambda rng: "/events?limit=100",
        "flows of a month": lambda rng: _path("/flows", month),
        "flows of a ledger, of a month": lambda rng: _path(f"/flows/{GENERAL_LEDGER}", month),
        "flows of the pool, of a month": lambda rng: _path(f"/flows/{of.pool}", month),
        "activity of a month": lambda rng: _path("/activity", month),
        "audit log": lambda rng: "/audit",
    }
    for status in ("QUEUED", "APPLIED", "INFLIGHT", "VOID", "REJECTED", "SCHEDULED"):
        found[f"list: status {status}"] = listed(status=status)
        found[f"list: status is not {status}"] = listed(status_ne=status)
    for name, ids in balances.items():
        found |= {
            f"list: source is {name}": listed(source=ids),
            f"list: destination is {name}": listed(destination=ids),
            f"list: either side is {name}": listed(balance_id=ids),
            f"list: either side is {name}, counted": listed(balance_id=ids, include_count="true"),
            f"list: either side is {name}, on a day": listed(balance_id=ids, created_at=[day[:10] for day in days]),
            f"list: either side is {name}, sorted by amount": listed(balance_id=ids, sort_by="amount"),
            f"list: either side is {name}, sorted by description": listed(balance_id=ids, sort_by="description"),
            f"list: either side is {name}, not APPLIED": listed(balance_id=ids, status_ne="APPLIED"),
            f"list: source is {name}, above an amount, counted": listed(
                source=ids, precise_amount_gt="50000", include_count="true"
            ),
            f"balance of {name}": some("/balances/{}", ids),
            f"balance of {name}, with_queued": some("/balances/{}", ids, with_queued="true"),
            f"balance of {name}, from_source": some("/balances/{}", ids, from_source="true"),
            f"entries of {name}": some("/balances/{}/entries", ids),
            f"entries of {name}, of a month": some("/balances/{}/entries", ids, **month),
            f"at a time, {name}": some("/balances/{}/at", ids, timestamp=days[20]),
            f"at a time, {name}, from_source": some("/balances/{}/at", ids, timestamp=days[20], from_source="true"),
            f"statement of {name}": some("/balances/{}/statement", ids),
            f"statement of {name}, of a month": some("/balances/{}/statement", ids, **month),
            f"statement of {name}, effective, of a month": some(
                "/balances/{}/statement", ids, basis="effective", **month
            ),
            f"receipt of a statement of {name}": some("/balances/{}/statement/receipt", ids),
            f"receipt of a statement of {name}, of a month": some("/balances/{}/statement/receipt", ids, **month),
        }
    return found


def timed(
    asked: Mapping[str, Asked],
    get: Get,
    times: int,
    say: Callable[[str], None],
    pids: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[Timing]:
    """Ask for each read, so many times, one after the other. ``pids`` are the processes whose CPU time counts."""
    for name, path in asked.items():
        say(name)
        rng = random.Random(name)
        waits_ms, truncated, statuses = list[float](), 0, dict[int, int]()
        get(path(rng))  # The first is not counted: it has the statement planned.
        ends = time.monotonic() + ENOUGH_S
        with metered(pids) as cost:
            while len(waits_ms) < times and (time.monotonic() < ends or not waits_ms):
                started = time.perf_counter()
                answer = get(path(rng))
                waits_ms.append((time.perf_counter() - started) * 1000)
                truncated += answer.truncated
                statuses[answer.status] = statuses.get(answer.status, 0) + 1
        waits_ms.sort()
        p99 = waits_ms[min(len(waits_ms) - 1, int(len(waits_ms) * 0.99))]
        share = truncated / len(waits_ms)
        cpu_ms = cost.us_a_row(len(waits_ms)) / 1000 if pids else None
        yield Timing(name, len(waits_ms), statistics.median(waits_ms), p99, cpu_ms, share, statuses)


def _path(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _day(shape: Shape, part: float) -> str:
    """Write the day that is so far into a past."""
    at: datetime = shape.first + (shape.last - shape.first) * part
    return (at - timedelta(hours=at.hour, minutes=at.minute, seconds=at.second)).strftime("%Y-%m-%dT%H:%M:%SZ")
