"""The text of a stored outcome, which its hash covers, as Postgres writes it."""

from core.base.db import driver, reading
from core.ledger.rules import chain
from core.ledger.store import outcomes as outcome_store
from core.ledger.store.outcomes import LINE, OUTCOME
from tests.harness.factories import Ledger, transaction

_VALUES = f"""
SELECT {OUTCOME}, queue
FROM outcomes
JOIN (SELECT seq, queue FROM log) AS log USING (seq)
ORDER BY seq
"""


def test_the_text_of_every_kind_of_outcome_is_the_one_that_was_hashed(ledger: Ledger) -> None:
    applied = ledger.post(destination="@A", precise_amount=10**20)
    ledger.post(source="@A", destination="@B", precise_amount=10**21, allow_overdraft=False)  # Short, by numbers.
    holds = [ledger.post(destination="@A", precise_amount=50, inflight=True) for _ in range(2)]
    ledger.drain()
    ledger.settle(holds[0].transaction_id, "commit", precise_amount=20)
    ledger.settle(holds[1].transaction_id, "void")
    short = transaction(source="@A", destination="@B", precise_amount=10**21, allow_overdraft=False)
    ledger.bulk(transaction(destination="@C"), short, atomic=True)  # One is rejected because of the other.
    ledger.refund(applied.transaction_id)
    ledger.drain()
    with reading(ledger.engine) as conn:
        rows = driver(conn).execute(f"SELECT {LINE} FROM outcomes AS o ORDER BY seq").fetchall()
        read = driver(conn).execute(_VALUES).fetchall()
    found = outcome_store.recorded(rows)
    assert len(found) == len(read) >= 8
    assert {row[1] for row in read} == {1, 2, 3, 4}
    heads: dict[int, bytes] = {}
    for outcome, (*values, hash, queue) in zip(found, read, strict=True):
        assert outcome == (values[0], outcome_store.line_of_row(values), hash)
        heads[queue] = chain.link(heads.get(queue, chain.START), outcome.line)
        assert outcome.hash == heads[queue]
