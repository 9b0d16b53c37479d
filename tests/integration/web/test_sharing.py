"""Reads that several requests share: each gets its own row, sees what was committed before it, and fails for its own reasons."""

import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core.base.db import reading
from core.base.errors import TransientError
from core.ledger.rules.model import Kind, Status
from core.ledger.store import balances as balance_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store import whole_balances
from core.ledger.store.transaction_rows import TransactionRow
from tests.harness.api import Api, ok
from tests.harness.processes import wait_until
from tests.harness.searching import search
from web.accept.sharing import Ask, Shared

WITHIN_S = 30.0
UNKNOWN = "txn_01928ee1-7e5a-7000-8000-000000000000"


class Reader:
    """A read that a test holds up and makes fail."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.errors: dict[str, BaseException] = {}
        self.open = threading.Event()
        self.open.set()
        self.reached = threading.Event()

    def read(self, conn: Connection, keys: Sequence[str]) -> dict[str, str]:
        self.groups.append(list(keys))
        self.reached.set()
        assert self.open.wait(WITHIN_S)
        for key in keys:
            if key in self.errors:
                raise self.errors[key]
        return {key: f"row of {key}" for key in keys if not key.startswith("none")}


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def shared(engine: Engine, reader: Reader) -> Shared[str]:
    return Shared("test", engine, reader.read, 4)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as pool:
        yield pool


def together(reader: Reader, shared: Shared[str], pool: ThreadPoolExecutor, keys: Sequence[str]) -> list[Any]:
    """Ask for all while a first read is held up. Returns rows and errors in the order of the keys."""

    def find(key: str) -> Any:
        try:
            return shared.find(Ask(key))
        except Exception as error:
            return error

    reader.open.clear()
    first = pool.submit(find, "first")
    assert reader.reached.wait(WITHIN_S)
    found = [pool.submit(find, key) for key in keys]
    wait_until(lambda: shared.waiting == len(keys))
    reader.open.set()
    assert first.result(WITHIN_S) == "row of first"
    return [each.result(WITHIN_S) for each in found]


def test_each_gets_its_own_row(reader: Reader, shared: Shared[str], pool: ThreadPoolExecutor) -> None:
    keys = ["a", "b", "none", "a", "c", "d", "e", "none2", "b"]
    rows = together(reader, shared, pool, keys)
    assert rows == [None if key.startswith("none") else f"row of {key}" for key in keys]
    assert [len(group) for group in reader.groups] == [1, 4, 4]
    assert (shared.reads, shared.rows) == (3, 10)


def test_who_comes_during_a_read_is_served_by_the_next_one(
    reader: Reader, shared: Shared[str], pool: ThreadPoolExecutor
) -> None:
    assert together(reader, shared, pool, ["first", "a"]) == ["row of first", "row of a"]
    assert [sorted(group) for group in reader.groups] == [["first"], ["a", "first"]]


def test_a_database_that_is_away_fails_all_that_wait(
    reader: Reader, shared: Shared[str], pool: ThreadPoolExecutor
) -> None:
    reader.errors = {"b": TransientError("away")}
    rows = together(reader, shared, pool, ["a", "b", "c"])
    assert [type(row) for row in rows] == [TransientError] * 3
    assert len({id(row) for row in rows}) == 3
    assert shared.find(Ask("a")) == "row of a"


def test_a_row_that_cannot_be_read_fails_alone(reader: Reader, shared: Shared[str], pool: ThreadPoolExecutor) -> None:
    reader.errors = {"b": ValueError("a bug")}
    rows = together(reader, shared, pool, ["a", "b", "c", "b"])
    assert [type(row) for row in rows] == [str, ValueError, str, ValueError]


def test_a_thread_that_is_ended_leaves_nobody_waiting(
    reader: Reader, shared: Shared[str], pool: ThreadPoolExecutor
) -> None:
    reader.errors = {"b": SystemExit()}
    rows = together(reader, shared, pool, ["a", "b", "c", "d", "e"])
    assert type(rows[1]) is TransientError
    others = [key for group in reader.groups if "b" not in group for key in group]
    assert [row for row in rows if isinstance(row, str)] == [f"row of {key}" for key in "acde" if key in others]


def test_an_observer_that_fails_fails_no_other(reader: Reader, shared: Shared[str], pool: ThreadPoolExecutor) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    reader.open.clear()
    first = pool.submit(shared.find, Ask("first"))
    assert reader.reached.wait(WITHIN_S)
    shared.ask(Ask("a"), fail)
    second = pool.submit(shared.find, Ask("b"))
    wait_until(lambda: shared.waiting == 2)
    reader.open.set()
    assert (first.result(WITHIN_S), second.result(WITHIN_S)) == ("row of first", "row of b")


def test_none_hangs_and_none_is_lost(reader: Reader, shared: Shared[str], pool: ThreadPoolExecutor) -> None:
    """Many threads come and go, so that one comes just when the reading one leaves."""

    def some(number: int) -> bool:
        keys = [f"{number}-{each}" for each in range(50)]
        return all(shared.find(Ask(key)) == f"row of {key}" for key in keys)

    assert all(pool.map(some, range(16), timeout=WITHIN_S))
    assert shared.waiting == 0


def test_a_read_begins_after_whoever_it_serves_has_come(engine: Engine, pool: ThreadPoolExecutor) -> None:
    """Each writer reads what it has just written, while others read all the time."""
    committed: dict[str, int] = {}
    shared: Shared[int] = Shared("test", engine, lambda conn, keys: {key: committed[key] for key in keys}, 64)

    def write(number: int) -> bool:
        for value in range(100):
            committed[f"{number}"] = value
            if shared.find(Ask(f"{number}")) != value:
                return False
        return True

    assert all(pool.map(write, range(8), timeout=WITHIN_S))


# Transactions and balances


def test_a_shared_read_finds_what_each_read_finds(api: Api, engine: Engine) -> None:
    """One of each kind and status, read alone and all together in any company."""
    ids = _one_of_each(api)
    draw = random.Random(1)
    with reading(engine) as conn:
        alone = {id: _as_shared(transaction_store.find(conn, id)) for id in ids}
        for size in (1, 2, 4, 5, len(ids)):
            some = draw.sample(ids, size)
            found = transaction_store.find_many(conn, [*some, UNKNOWN, "txn_none", "bln_none"])
            assert {id: _as_shared(row) for id, row in found.items()} == {id: alone[id] for id in some}
    assert {row.status for row in alone.values()} == set(Status)


def test_an_answer_is_the_same_however_it_is_read(api: Api, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, balances = (
        _one_of_each(api),
        [api.new_balance(), *(api.balance(each)["balance_id"] for each in ("@A", "@World"))],
    )
    for floor in (7, 5):
        limits = {"floor": floor, "frozen": "debits", "reason": "a test"}
        limited = ok(api.client.put(f"/balances/{balances[0]}/limits", json=limits), 200)
        assert limited["limits"]["floor"] == floor
    paths = [f"/transactions/{id}" for id in (*ids, UNKNOWN, "txn_none")]
    paths += [f"/balances/{id}" for id in (*balances, "bln_none", UNKNOWN)]
    answers = [(answer.status_code, answer.data) for answer in map(api.client.get, paths)]
    # A parameter makes a balance be read alone, and a wait a transaction.
    others = [f"{path}?{'wait=0' if 'transactions' in path else 'with_queued=false'}" for path in paths]
    alone = [(answer.status_code, answer.data) for answer in map(api.client.get, others)]
    for path, one, other in zip(paths, answers, alone, strict=True):
        assert _without_age(one[1]) == _without_age(other[1]) and one[0] == other[0], path


@search(15)
@given(sizes=st.lists(st.integers(1, 64), min_size=1, max_size=4))
def test_any_number_of_balances_is_found(ledger_ids: list[str], engine: Engine, sizes: list[int]) -> None:
    with reading(engine) as conn:
        for size in sizes:
            some = ledger_ids[:size]
            found = whole_balances.find_many(conn, some)
            assert {id: row for id, (row, _) in found.items()} == {id: balance_store.find(conn, id) for id in some}


@pytest.fixture
def ledger_ids(api: Api) -> list[str]:
    return [api.new_balance() for _ in range(64)]


def _one_of_each(api: Api) -> list[str]:
    """Make transactions of all kinds and statuses, and return their IDs."""
    moved = api.done(amount=10, description="moved", meta_data={"a": 1})["transaction_id"]
    held = api.done(inflight=True, amount=3)["transaction_id"]
    partly = api.done(inflight=True, amount=3)["transaction_id"]
    voided = api.done(inflight=True, amount=3)["transaction_id"]
    ids = [moved, held, partly, voided]
    ids.append(ok(api.settle(partly, "commit", amount=1, skip_queue=True), 200)["transaction_id"])
    ids.append(ok(api.settle(voided, "void", skip_queue=True), 200)["transaction_id"])
    refunded = ok(api.client.post(f"/refund-transaction/{moved}", json={"skip_queue": True}), 201)
    ids.append(refunded["transaction_id"])
    rejected = api.spend(amount=1_000_000, source="@Poor")
    ids.append(rejected.get_json()["error_detail"]["details"]["transaction_id"])
    ids.append(ok(api.post(scheduled_for="2999-01-01T00:00:00Z"), 201)["transaction_id"])
    shares = [{"identifier": "@S1", "distribution": "50%"}, {"identifier": "@S2", "distribution": "left"}]
    split = ok(api.post(source=None, sources=shares), 201)
    api.drain()
    ids.append(split["transaction_id"])
    ids += [leg["transaction_id"] for leg in split["legs"]]
    ok(api.client.post(f"/{moved}/metadata", json={"meta_data": {"later": True}}), 200)
    waiting = ok(api.post(), 201)["transaction_id"]
    ids.append(waiting)
    ids.append(ok(api.settle(held, "commit"), 200)["child_transaction"])
    return ids


def _as_shared(row: TransactionRow | None) -> TransactionRow:
    """Return a row without what only a split needs, if it is none: a single read works that out for every row."""
    assert row is not None
    return row if row.kind == Kind.SPLIT else row._replace(legs_status=None)


def _without_age(body: bytes) -> bytes:
    head, found, rest = body.partition(b'"oldest_age_s":')
    return head + rest.partition(b",")[2] if found else head
