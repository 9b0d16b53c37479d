"""Events are kept for some days. A reader that comes back later is told from where it can go on."""

import pytest
from sqlalchemy import text

from core.base.db import begin
from core.base.errors import Gone
from core.events import keeping
from core.events.answers import START, Position, position_of
from core.journal import fact_store
from core.journal.event_types import EventType
from core.journal.facts import Fact, tell
from tests.harness.api import Api, ok
from tests.harness.factories import Ledger
from tests.harness.history import NO_TRIGGERS
from tests.integration.events.conftest import Read


def tell_some(ledger: Ledger, count: int, days: float = 0) -> None:
    """Tell some facts, as if they were so many days old."""
    with begin(ledger.engine) as conn:
        tell(conn, *(Fact(type=EventType.LEDGER_UPDATED, data="{}") for _ in range(count)))
    if days:
        with begin(ledger.engine) as conn:
            conn.execute(text(NO_TRIGGERS))
            conn.execute(
                text("UPDATE events SET at = at - make_interval(secs => :s) WHERE at > now() - interval '1 hour'"),
                {"s": days * 86_400},
            )


def test_old_events_go_and_the_others_stay(ledger: Ledger, read: Read) -> None:
    tell_some(ledger, 5, days=91)
    tell_some(ledger, 4, days=89)
    tell_some(ledger, 3)
    whole = read()
    keeping.AT_ONCE, before = 2, keeping.AT_ONCE
    try:
        assert keeping.remove_old(ledger.engine, 90) == 5
        assert keeping.remove_old(ledger.engine, 90) == 0
    finally:
        keeping.AT_ONCE = before
    kept = position_of(whole[4].position)
    assert read(after=kept) == whole[5:]
    with pytest.raises(Gone) as gone:
        read(after=position_of(whole[3].position))
    assert gone.value.details == {"first": str(kept)}


def test_an_event_that_is_young_keeps_the_older_ones_behind_it(ledger: Ledger, read: Read) -> None:
    tell_some(ledger, 1, days=91)
    tell_some(ledger, 1, days=1)
    tell_some(ledger, 1, days=91)
    assert keeping.remove_old(ledger.engine, 90) == 1


def test_a_cursor_that_is_too_old_says_from_where_one_can_go_on(api: Api, ledger: Ledger) -> None:
    done = api.done()["transaction_id"]
    tell_some(ledger, 2, days=91)
    assert keeping.remove_old(ledger.engine, 90) == 4
    answer = ok(api.client.get("/events?after=0.0"), 410)
    assert answer["error_detail"]["code"] == "EVENTS_GONE"
    first = answer["error_detail"]["details"]["first"]
    assert first == "1.1000001"
    assert api.get("/events", after=first)["events"] == []
    assert api.get("/events")["next"] == first
    # The log keeps what it tells.
    (event,) = api.get("/events", after="0.0", types="transaction.applied")["events"]
    assert event["data"]["transaction_id"] == done


def test_nothing_is_removed_where_there_is_nothing(ledger: Ledger) -> None:
    assert keeping.remove_old(ledger.engine, 90) == 0
    with begin(ledger.engine) as conn:
        assert fact_store.remove_old(conn, 0, limit=10) == 0
    assert Position(0, 0) == START
