"""A look at a balance that was busy once reads its rows, and not those that came since."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from core.base.db import begin, connect, without_transaction
from ops.proving.past import MERCHANTS, POOL, Shape, write
from tests.harness.databases import new_database
from tests.integration.lists.test_long_history import LOOKED_AT, ROWS, _find, reads

__all__ = ["reads"]


@pytest.fixture(scope="module")
def quiet_since(postgres: str) -> Iterator[Engine]:
    """A ledger whose pool paid a quarter of the first half of the rows, and nothing since."""
    engine = connect(new_database(postgres))
    write(engine, Shape(ROWS, customers=600))
    with begin(engine) as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))  # Else history refuses.
        conn.execute(
            text("UPDATE log SET source = :other WHERE source = :pool AND seq > :half"),
            {"other": MERCHANTS[0], "pool": POOL, "half": ROWS // 2},
        )
    with without_transaction(engine, within_s=60) as conn:
        conn.execute(text("VACUUM ANALYZE log"))
    yield engine
    engine.dispose()


@pytest.mark.parametrize("side", ["source", "balance_id"])
@pytest.mark.parametrize(
    "asked",
    [
        {"currency": "EUR"},
        {"currency": "EUR", "include_count": "true"},
        {"sort_by": "amount"},
        {"sort_by": "description", "precise_amount_gt": "50000"},
        {"after": str(ROWS), "description_like": "%nothing%"},
    ],
    ids=str,
)
def test_a_look_at_a_quiet_balance_reads_its_rows_alone(
    quiet_since: Engine, reads: list[int], asked: dict[str, str], side: str
) -> None:
    extent = _find(quiet_since, {side: "{pool}", **asked}, "desc")
    assert extent.truncated
    assert max(reads) <= 3 * LOOKED_AT, reads


@pytest.mark.parametrize("side", ["source", "balance_id"])
@pytest.mark.parametrize(
    "asked",
    [
        {"sequence_gt": "100"},
        {"created_at_gt": "2024-11-05"},
        {"created_at_gt": "2024-11-05", "currency": "USD"},
        {"sequence_gt": str(ROWS // 2 - 100), "currency": "USD"},
        {"status_ne": "QUEUED"},
        {"status": "VOID"},
    ],
    ids=str,
)
def test_a_page_of_a_quiet_balance_reads_its_rows_alone(
    quiet_since: Engine, reads: list[int], asked: dict[str, str], side: str
) -> None:
    """Where a statement looks into other tables at each row, it costs so much that the planner sees no other difference."""
    _find(quiet_since, {side: "{pool}", **asked}, "desc")
    assert max(reads) <= 3 * LOOKED_AT, reads
