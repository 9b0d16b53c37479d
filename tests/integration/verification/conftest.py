"""The small history whose chain the tests damage."""

from datetime import datetime
from uuid import UUID

import pytest

from core.base.db import begin
from core.ledger.rules.requests import Leg
from core.ledger.store import balances as balance_store
from core.verification import pieces
from core.verification.verify import verify_all
from tests.harness.factories import Ledger
from tests.harness.history import refund
from tests.harness.saved import MadeOnce

_made = MadeOnce()


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify a few rows at a time, as only pieces between the first and the last are checked by columns."""
    monkeypatch.setattr(pieces, "ROWS", 2)


@pytest.fixture
def chained(ledger: Ledger) -> Ledger:
    """Seq 1: 100 to @A, with everything filled in. 2: rejected. 3 to 5: a split and its legs. 6: a hold, 7 commits it.
    8: gives back 1. All decided, and every column of the log has a value somewhere.

    The ids are always the same, and so are the queues: @A is in 4. The first test of a process makes it.
    """
    _made.rows(ledger.engine, lambda: _make(ledger))
    return ledger


def _make(ledger: Ledger) -> None:
    with begin(ledger.engine) as conn:
        for number, name in enumerate(["@World", "@A", "@B", "@C"]):
            balance_store.create_indicators(conn, [(name, "USD", UUID(int=number))])
    first = ledger.post(
        precise_amount=100, overdraft_limit="9.99", effective_date=datetime.fromisoformat("2020-01-02T03:04:05.678901+05:30"),
        meta_data=b'{ "a": 1.50, "b": "\\u00e9" }',
    )  # fmt: skip
    ledger.post(precise_amount=101, source="@A", destination="@B", allow_overdraft=False)
    parts = [Leg("@B", "30%"), Leg("@C", "left")]
    ledger.post(precise_amount=10, source="@A", destination=None, destinations=parts, reference="S", atomic=True)
    hold = ledger.post(precise_amount=20, source="@A", destination="@B", inflight=True, allow_overdraft=False)
    ledger.drain()
    ledger.settle(hold.transaction_id, "commit")
    refund(ledger, first.transaction_id, precise_amount=1)
    ledger.drain()
    report = verify_all(ledger.engine)
    assert (report.problems, report.transactions) == ([], 8)
