"""A reader of the feed alone rebuilds every balance, however queues are drained side by side and however it reads."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test
from msgspec.structs import replace
from sqlalchemy import Engine

from core.base.db import begin, reading
from core.events import feed
from core.events.answers import Event, position_of
from core.events.types import EVERYTHING
from core.journal.event_types import EventType
from core.journal.facts import Fact, tell
from core.ledger.rules.model import Draft, Kind
from core.ledger.rules.routing import MAX_QUEUES
from core.ledger.store import balances as balance_store
from core.ledger.store import queues as queue_store
from tests.harness.rebuilding import Books
from tests.harness.searching import search
from tests.integration.events.conftest import all_of, data_of, page_of
from tests.integration.ledger.test_serial_equality import Interleaving, Run
from tests.oracle import Operation
from tests.strategies import ACCOUNTS, Account

SEARCH = settings(search(7), stateful_step_count=20)


class Named(Run):
    """Gives settlements and refunds the parents that the service gives them."""

    def __init__(self, engine: Engine, routes: dict[Account, int]) -> None:
        self.ids: list[str] = []
        super().__init__(engine, routes)

    def _plain_draft(self, op: Operation, parent: str | None = None) -> Draft:
        draft = super()._plain_draft(op, parent)
        self.ids.append(draft.row.transaction_id)
        of = op.hold if op.hold is not None else op.refund_of
        return draft if of is None else replace(draft, row=replace(draft.row, parent=self.ids[of]))


class Telling(Interleaving):
    """Reads pages of any size in between, while other facts are told."""

    @initialize(routes=st.tuples(*[st.integers(0, MAX_QUEUES - 1)] * len(ACCOUNTS)))
    def start(self, routes: tuple[int, ...]) -> None:
        self.run = Named(self.engine, dict(zip(ACCOUNTS, routes, strict=True)))
        with reading(self.engine) as conn:
            self.began = self.cursor = feed.ends(conn).decided
        self.books, self.facts, self.told = Books(), 0, list[Event]()

    @rule(limit=st.integers(1, 7))
    def read_a_page(self, limit: int) -> None:
        page = page_of(self.engine, after=self.cursor, limit=limit)
        for event in page.events:
            self.books.book(event.id, event.type, data_of(event))
            self.told.append(event)
        self.cursor = position_of(page.next)

    @rule(count=st.integers(1, 3))
    def tell_something_else(self, count: int) -> None:
        with begin(self.engine) as conn:
            tell(conn, *(Fact(type=EventType.LEDGER_UPDATED, data="{}") for _ in range(count)))
        self.facts += count

    def teardown(self) -> None:
        super().teardown()
        rest, _ = all_of(self.engine, EVERYTHING, self.cursor, 1000)
        for event in rest:
            self.books.book(event.id, event.type, data_of(event))
            self.told.append(event)
        self.check()

    def check(self) -> None:
        told = [event for event in self.told if event.type.startswith("transaction.")]
        operations, verdicts = self.run.oracle.operations, self.run.oracle.verdicts
        expected = [
            (self.run.ids[position], verdicts[position].status)
            for position, operation in enumerate(operations)
            if operation.kind is not Kind.SPLIT
        ]
        assert [(data_of(each)["transaction_id"], data_of(each)["status"]) for each in told] == expected
        assert len(self.told) == len(expected) + self.facts
        assert len({event.id for event in self.told}) == len(self.told)
        with reading(self.engine) as conn:
            rows = balance_store.find_keys(conn, list(self.run.keys.values())).values()
        for row in rows:
            sums = [row.credit_balance, row.debit_balance, row.inflight_credit_balance, row.inflight_debit_balance]
            assert self.books.sums.get(row.balance_id, [0] * 4) == sums
        again = self.began
        for limit in (3, 1000):
            assert all_of(self.engine, EVERYTHING, again, limit)[0] == self.told


@pytest.mark.parametrize("queues", [2, 8])
def test_a_reader_of_the_feed_alone_rebuilds_every_balance(engine: Engine, queues: int) -> None:
    with begin(engine) as conn:
        queue_store.resize(conn, queues)
    run_state_machine_as_test(lambda: Telling(engine, queues), settings=SEARCH)  # type: ignore[arg-type]
