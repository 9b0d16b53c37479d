"""A list by a rare status walks no history: none before the first row that has it, between two of them, or after the last."""

from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import Engine, text

from core.base.db import begin, connect, reading, reading_within
from core.ledger.store.transaction_list import TRANSACTIONS, find_transactions
from core.lists import filters
from tests.harness.databases import new_database
from tests.integration.lists.test_long_history import reads

__all__ = ["reads"]

# A half of the first rows are settled holds, so the statistics of holds say that there are some from the first row on.
_FILL = """
INSERT INTO balances (balance_id, ledger, currency)
SELECT gen_random_uuid(), 1, 'USD'
FROM generate_series(1, 200);

INSERT INTO log (
    seq, id, reference, kind, queue, source, destination, amount, currency, precision, description, allow_overdraft, accepted_at
)
SELECT n, gen_random_uuid(), 'r' || n, 1 + n % 2, n % 8, 1 + n % 100, 101 + n % 100, 100, 'USD', 100, 'd', true, now()
FROM generate_series(1, 20000) AS n;

INSERT INTO outcomes (
    seq, status, amount, source, source_version, source_balance, destination, destination_version, destination_balance, reason,
    decided_at
)
SELECT
    seq,
    status,
    CASE WHEN status <> 4 THEN 100 ELSE 0 END,
    CASE WHEN status <> 4 THEN source END,
    CASE WHEN status <> 4 THEN seq END,
    CASE WHEN status <> 4 THEN 0 END,
    CASE WHEN status <> 4 THEN destination END,
    CASE WHEN status <> 4 THEN -seq END,
    CASE WHEN status <> 4 THEN 0 END,
    CASE WHEN status = 4 THEN 6 END,
    now()
FROM (
    SELECT *, CASE WHEN kind = 2 THEN 2 WHEN seq BETWEEN 12001 AND 16000 THEN 4 ELSE 1 END AS status
    FROM log
) AS log;

INSERT INTO holds (seq, amount, committed, voided, settled_at, source, destination)
SELECT
    seq,
    100,
    CASE WHEN seq <> 1 AND seq NOT BETWEEN 12001 AND 16000 THEN 100 ELSE 0 END,
    CASE WHEN seq BETWEEN 14001 AND 16000 THEN 100 ELSE 0 END,
    CASE WHEN seq <> 1 AND seq NOT BETWEEN 12001 AND 14000 THEN now() END,
    source,
    destination
FROM log
WHERE kind = 2;

UPDATE queues SET cursor = 20000;
"""


@pytest.fixture(scope="module")
def late(postgres: str) -> Iterator[Engine]:
    """A ledger of 20,000 rows: the first is an open hold, and from 12,001 on come more, then voided ones, rejections between."""
    engine = connect(new_database(postgres))
    with begin(engine) as conn:
        conn.execute(text(_FILL))
    with reading(engine) as conn:
        conn.execute(text("VACUUM ANALYZE"))
        conn.invalidate()
    yield engine
    engine.dispose()


@pytest.mark.parametrize("after", [None, 500, 11_000, 13_000, 17_000])
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("INFLIGHT", [1, *range(12_001, 14_001, 2)]),
        ("VOID", range(14_001, 16_001, 2)),
        ("REJECTED", range(12_002, 16_001, 2)),
    ],
)
def test_a_list_by_a_rare_status_walks_no_history(
    late: Engine, reads: list[int], status: str, expected: range, order: str, after: int | None
) -> None:
    given = {"status": status, "sort_order": order} | ({} if after is None else {"after": str(after)})
    listing = filters.of_query(TRANSACTIONS, given.items(), limit=20, offset=0)
    with reading_within(late, 60) as conn:
        rows, _ = find_transactions(conn, listing)
    all_of_them = expected if order == "asc" else expected[::-1]
    beyond = [seq for seq in all_of_them if after is None or (seq > after if order == "asc" else seq < after)]
    assert [row.seq for row in rows] == beyond[:20]
    assert max(reads) <= 100, reads


@pytest.mark.parametrize("asked", [{"sort_by": "amount"}, {"sort_by": "precise_amount"}, {"amount_gte": "1"}], ids=str)
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"status": "INFLIGHT"}, [1, *range(12_001, 14_001, 2)]),
        ({"status": "VOID"}, range(14_001, 16_001, 2)),
        ({"status_in": "VOID,REJECTED"}, [*range(12_002, 14_001, 2), *range(14_001, 16_001)]),
    ],
    ids=str,
)
def test_a_list_by_a_rare_status_knows_the_amounts(
    late: Engine, given: dict[str, str], expected: Sequence[int], asked: dict[str, str]
) -> None:
    listing = filters.of_query(TRANSACTIONS, {**given, **asked, "sort_order": "asc"}.items(), limit=20, offset=0)
    with reading_within(late, 60) as conn:
        rows, _ = find_transactions(conn, listing)
    assert [row.seq for row in rows] == list(expected[:20])
