"""The feed tells every fact once, in the order of acceptance."""

import pytest
from sqlalchemy import Engine

from core.base.db import begin
from core.events.answers import START, Position, position_of
from core.events.types import EVERYTHING, types_of
from core.journal.event_types import EventType
from core.journal.facts import Fact, OfPosting, tell, tell_of_postings
from core.ledger import ledgers
from core.ledger.rules.requests import LedgerRequest
from tests.harness.factories import Ledger, name_in
from tests.integration.events.conftest import Read, all_of, data_of, page_of


@pytest.mark.smoke
def test_a_transfer_is_told_behind_the_balances_that_it_made(ledger: Ledger, read: Read) -> None:
    posted = ledger.post(source="@World", destination="@A", precise_amount=7)
    ledger.drain()
    created, also, applied = read()
    assert {data_of(created)["indicator"], data_of(also)["indicator"]} == {"@World", "@A"}
    assert [created.type, also.type, applied.type] == ["balance.created", "balance.created", "transaction.applied"]
    data = data_of(applied)
    assert (data["transaction_id"], data["status"], data["precise_amount"]) == (posted.transaction_id, "APPLIED", 7)
    assert applied.sequence == posted.seq


def test_a_hold_is_told_as_it_was_when_it_was_decided(ledger: Ledger, read: Read) -> None:
    hold = ledger.post(inflight=True, precise_amount=9)
    ledger.drain()
    before = read("transaction.*")
    ledger.settle(hold.transaction_id, "commit", precise_amount=4)
    ledger.drain()
    ledger.settle(hold.transaction_id, "void")
    ledger.drain()
    after = read("transaction.*")
    assert after[:1] == before
    assert [(each.type, data_of(each)["precise_amount"]) for each in after] == [
        ("transaction.inflight", 9),
        ("transaction.applied", 4),
        ("transaction.void", 5),
    ]


def test_the_feed_ends_before_the_oldest_undecided_transaction_and_says_what_holds_it(ledger: Ledger) -> None:
    first, second = name_in(ledger, 0), name_in(ledger, 1)
    slow = ledger.post(source=first, destination=second)
    quick = ledger.post(source=second, destination=first)
    ledger.drain(1)
    _, end = all_of(ledger.engine, EVERYTHING, START, 1000)
    page = page_of(ledger.engine, after=end)
    assert page.events == []
    assert page.held is not None
    assert (page.held.queue, page.held.sequence, page.held.since) == (0, slow.seq, slow.accepted_at)
    ledger.drain(0)
    events = page_of(ledger.engine, after=end).events
    assert [data_of(each)["transaction_id"] for each in events] == [slow.transaction_id, quick.transaction_id]
    assert page_of(ledger.engine, after=end).held is None


def test_what_was_accepted_is_a_topic_of_its_own_that_waits_for_no_decision(ledger: Ledger, read: Read) -> None:
    first, second = (ledger.post() for _ in range(2))
    queued = read("transaction.queued")
    assert [data_of(each)["transaction_id"] for each in queued] == [first.transaction_id, second.transaction_id]
    assert {data_of(each)["status"] for each in queued} == {"QUEUED"}
    ledger.drain()
    assert read("transaction.queued") == queued
    assert [each.type for each in read("transaction.*")] == ["transaction.applied"] * 2
    both = read("transaction.queued", "transaction.applied")
    assert [each.type for each in both] == ["transaction.queued", "transaction.applied"] * 2


def test_a_fact_stands_where_the_log_ended_when_it_was_told(engine: Engine, ledger: Ledger, read: Read) -> None:
    ledger.post()
    with begin(engine) as conn:
        ledgers.create(conn, LedgerRequest(name="one"))
        tell(conn, Fact(type=EventType.BALANCE_MONITOR, data="{}"))
    ledger.post()
    assert [each.type for each in read()] == ["balance.created"] * 2
    ledger.drain()
    assert [each.type for each in read()][2:] == [
        "transaction.applied",
        "ledger.created",
        "balance.monitor",
        "transaction.applied",
    ]


def test_what_a_drain_tells_of_a_posting_comes_before_what_was_told_meanwhile(ledger: Ledger, read: Read) -> None:
    posted = ledger.post()
    with begin(ledger.engine) as conn:
        tell(conn, Fact(type=EventType.LEDGER_UPDATED, data="{}"))
    with begin(ledger.engine) as conn:
        fact = Fact(type=EventType.BALANCE_MONITOR, data='{"n":1}')
        tell_of_postings(conn, [OfPosting(posted.seq, n, fact) for n in range(2)])
    ledger.drain()
    last = read()[-4:]
    assert [each.type for each in last] == [
        "transaction.applied",
        "balance.monitor",
        "balance.monitor",
        "ledger.updated",
    ]


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_the_order_is_the_same_with_any_limit(ledger: Ledger, read: Read, limit: int) -> None:
    for number in range(6):
        ledger.post(source=f"@{number}")
        with begin(ledger.engine) as conn:
            ledgers.create(conn, LedgerRequest(name=str(number)))
    ledger.drain()
    whole = read()
    assert read(limit=limit) == whole
    assert len({each.id for each in whole}) == len(whole) == 6 * 3 + 1
    for position, event in list(enumerate(whole))[:: 4 + limit]:
        assert read(after=position_of(event.position), limit=limit) == whole[position + 1 :]


def test_a_cursor_at_the_end_sees_what_comes_at_the_same_sequence(ledger: Ledger) -> None:
    ledger.post()
    ledger.drain()
    types = types_of(["ledger.*"])
    _, end = all_of(ledger.engine, types, START, 10)
    for _ in range(2):
        with begin(ledger.engine) as conn:
            made = ledgers.create(conn, LedgerRequest(name="one"))
        (event,), end = all_of(ledger.engine, types, end, 10)
        assert data_of(event)["ledger_id"] == made.ledger_id
    assert end == Position(1, 1_000_001)
