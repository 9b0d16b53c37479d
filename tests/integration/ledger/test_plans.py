"""The drain finds waiting rows by their queue, even if the planner's statistics know of no such queue."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from core.base.db import begin, reading
from core.ledger import drain
from core.ledger.store import balances as balance_store
from core.ledger.store import queues as queue_store
from core.ledger.store import taking
from core.ledger.store import waiting as waiting_store

HISTORY = 20_000
BUSY = 7


@pytest.fixture
def one_sided(engine: Engine) -> Engine:
    """A long decided history in one queue, statistics that know of no other queue, and one posting in another."""
    row = (
        "INSERT INTO log (seq, id, reference, kind, queue, source, destination, amount, currency, precision, description, "
        "allow_overdraft, accepted_at) SELECT n, gen_random_uuid(), 'r' || n, 1, {queue}, 1, 2, 1, 'USD', 100, 'd', true, "
        "now() - interval '1 hour' FROM generate_series({first}, {last}) AS n"
    )
    with begin(engine) as conn:
        conn.execute(
            text(
                "INSERT INTO balances (balance_id, ledger, currency) "
                "SELECT gen_random_uuid(), 1, 'USD' FROM generate_series(1, 3)"
            )
        )
        conn.execute(text(row.format(queue=BUSY, first=1, last=HISTORY)))
        conn.execute(text("UPDATE queues SET cursor = :last WHERE number = :busy"), {"last": HISTORY, "busy": BUSY})
    with reading(engine) as conn:
        conn.execute(text("VACUUM ANALYZE log, queues"))
        conn.invalidate()
    with begin(engine) as conn:
        conn.execute(text(row.format(queue=3, first=HISTORY + 1, last=HISTORY + 1)))
    return engine


LOOKS: dict[str, Callable[[Connection], Any]] = {
    "with_work": lambda conn: waiting_store.with_work(conn),
    "with_work that is old": lambda conn: waiting_store.with_work(conn, older_than_s=1.0),
    "first_waiting": lambda conn: waiting_store.first_waiting(conn, but=[]),
    "last_waiting": waiting_store.last_waiting,
    "overdue": lambda conn: waiting_store.overdue(conn, 60.0),
    "states": lambda conn: [state.number for state in queue_store.states(conn) if state.depth],
    "oldest_age_s": waiting_store.oldest_age_s,
    "take": lambda conn: taking.take(conn, [3], 5_000, wait=True).postings,
    "take two": lambda conn: taking.take(conn, [3, BUSY], 5_000, wait=False).postings,
    "take_all_free": lambda conn: taking.take_all_free(conn, 5_000).postings,
    "queued_sums": lambda conn: any(balance_store.queued_sums(conn, 1)),
}


_READ = text(
    "SELECT coalesce(sum(idx_tup_fetch + seq_tup_read), 0) FROM pg_stat_xact_user_tables WHERE relname = 'log'"
)
"""The rows of the log that the session has read lately. The server adds them to its statistics from time to time."""


@pytest.mark.parametrize("look", LOOKS)
def test_what_waits_is_found_without_a_walk_through_the_history(one_sided: Engine, look: str) -> None:
    for _ in range(
        7
    ):  # The driver prepares a statement at the sixth time, and Postgres may then plan it for any value.
        with begin(one_sided) as conn:
            before = conn.execute(_READ).scalar_one()
            found = LOOKS[look](conn)
            read = conn.execute(_READ).scalar_one() - before
        assert found
        assert read < 100


def test_a_large_drain_uses_the_plans_that_it_has(engine: Engine) -> None:
    pairs = 600
    with begin(engine) as conn:
        conn.execute(
            text(
                "INSERT INTO balances (balance_id, ledger, currency) "
                "SELECT gen_random_uuid(), 1, 'USD' FROM generate_series(1, :balances)"
            ),
            {"balances": 2 * pairs},
        )
        conn.execute(
            text(
                "INSERT INTO log (seq, id, reference, kind, queue, source, destination, amount, currency, precision, "
                "description, allow_overdraft, accepted_at) SELECT n, gen_random_uuid(), 'r' || n, 1, 0, "
                "n, :pairs + n, 1, 'USD', 100, 'd', true, now() FROM generate_series(1, :pairs) AS n"
            ),
            {"pairs": pairs},
        )
    with begin(engine) as conn:
        done = drain.drain_batch(conn, None, limit=5_000, wait=False)
        mode = conn.execute(text("SHOW plan_cache_mode")).scalar_one()
    assert len(done.outcomes) == pairs
    assert mode == "force_generic_plan"
