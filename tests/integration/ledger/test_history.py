"""Balances at a time: with snapshots and without, they are what a plain enumeration of all entries comes to."""

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, event, text

from core.base.db import begin, connect, reading
from core.base.errors import Conflict, InvalidRequest, NotFound
from core.base.ids import new_key
from core.ledger import append, history, holds, intake, refunds
from core.ledger.append import Submission
from core.ledger.directory import Directory
from core.ledger.rules.model import Accepted, Draft
from core.ledger.rules.requests import Leg, RefundRequest, SettleRequest, TransactionRequest
from core.ledger.store import balances as balance_store
from core.ledger.store.balances import BalanceRow
from tests.harness.dated import HOUR, JUST, YEAR_2020, YEAR_2021, YEAR_2100, runs, sums_at, take_all
from tests.harness.factories import Ledger, transaction
from tests.harness.searching import search


@dataclass
class Past:
    """Balances of one example, and the time from which each entry counts, as requested or as answered."""

    ledger: Ledger
    names: list[str] = field(init=False)
    counts_from: dict[int, datetime] = field(default_factory=dict)
    moments: set[datetime] = field(default_factory=set)
    """Return the moments at which something changes."""
    submitted: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        run = next(runs)
        self.names = [f"@{name}{run}" for name in ("World", "A", "B", "C")]

    def post(self, *requests: TransactionRequest, atomic: bool = False) -> list[Accepted]:
        drafts = intake.draft_all(requests, self.ledger.directory)
        accepted = self.accept(drafts, [request.effective_date for request in requests], atomic=atomic)
        for request, one in zip(requests, accepted, strict=True):
            (self.held if request.inflight else self.submitted).append(one.transaction_id)
        return accepted

    def settle(self, transaction_id: str, status: str, amount: int | None = None) -> None:
        with reading(self.ledger.engine) as conn:
            asked = SettleRequest(status=status, precise_amount=amount)
            drafts = holds.draft_settlements(conn, transaction_id, asked)
        self.accept(drafts)

    def refund(self, transaction_id: str, amount: int | None = None) -> None:
        with reading(self.ledger.engine) as conn:
            draft = refunds.draft_refund(conn, transaction_id, RefundRequest(precise_amount=amount))
        self.accept([draft])

    def accept(
        self, drafts: list[Draft], dates: Sequence[datetime | None] | None = None, atomic: bool = False
    ) -> list[Accepted]:
        submission = Submission(drafts, atomic=atomic)
        with begin(self.ledger.engine) as conn:
            append.append(conn, [submission])
        if submission.error is not None:
            raise submission.error
        for one, date in zip(submission.accepted, dates or [None] * len(drafts), strict=True):
            for each in one.legs or [one]:
                self.counts_from[each.seq] = date or each.accepted_at
                self.moments |= {date or each.accepted_at, each.accepted_at}
        return submission.accepted

    def snapshot(self) -> int:
        return take_all(self.ledger.engine, size=3)

    def compare(self) -> None:
        """Check each balance at every moment, with snapshots and from source, against an enumeration of its entries."""
        with reading(self.ledger.engine) as conn:
            for name in self.names:
                row = balance_store.find_indicator(conn, name, "USD")
                if row is None:
                    continue
                entries = self._entries(conn, row.key)
                sql = text("SELECT taken_at FROM snapshots WHERE balance = :key")
                changes = self.moments | set(conn.execute(sql, {"key": row.key}).scalars())
                for at in sorted({at - before for at in changes for before in (JUST, timedelta())}):
                    expected = _enumerated(entries, at)
                    assert sums_at(conn, row, at) == expected, (name, at)
                    assert sums_at(conn, row, at, from_source=True) == expected, (name, at)
                stored = row._replace(balance=0, credit_balance=0, debit_balance=0, version=0)
                stored = stored._replace(inflight_credit_balance=0, inflight_debit_balance=0)
                assert history.recomputed(conn, stored) == row

    def _entries(self, conn: Connection, key: int) -> list[tuple[datetime, int, int]]:
        """Return for each entry the time from which it counts, its credit and its debit."""
        sql = text("SELECT seq, amount, source = :key FROM outcomes WHERE status = 1 AND :key IN (source, destination)")
        return [
            (self.counts_from[seq], 0 if is_debit else amount, amount if is_debit else 0)
            for seq, amount, is_debit in conn.execute(sql, {"key": key})
        ]


def _enumerated(entries: list[tuple[datetime, int, int]], at: datetime) -> tuple[int, int]:
    counted = [(credit, debit) for since, credit, debit in entries if since <= at]
    return sum(credit for credit, _ in counted), sum(debit for _, debit in counted)


_DATES = st.sampled_from([None, None, None, "2020", "2021", "an hour ago", "in an hour", "2100"])
_POSITIONS = st.integers(0, 9)


def _date(name: str | None) -> datetime | None:
    now = datetime.now(UTC)
    dates = {
        "2020": YEAR_2020,
        "2021": YEAR_2021,
        "an hour ago": now - HOUR,
        "in an hour": now + HOUR,
        "2100": YEAR_2100,
    }
    return dates[name] if name is not None else None


_MOVES = st.tuples(st.permutations([0, 0, 1, 2, 3]), st.integers(1, 9), st.booleans(), _DATES)
_STEPS = st.one_of(
    st.tuples(st.just("post"), st.lists(_MOVES, min_size=1, max_size=3), st.booleans()),
    st.tuples(st.just("post"), st.lists(_MOVES, min_size=1, max_size=1), st.just(False)),
    st.tuples(st.just("split"), _MOVES, st.booleans()),
    *[st.tuples(st.sampled_from(["commit", "void", "refund"]), _POSITIONS, st.sampled_from([None, 1, 2]))] * 3,
    st.tuples(st.just("drain"), st.sets(st.integers(0, 7), min_size=1), st.none()),
    st.tuples(st.just("drain"), st.just(frozenset(range(8))), st.none()),
    st.tuples(st.just("snapshot"), st.none(), st.none()),
)


# Balances at a time


@search(20)
@given(steps=st.lists(_STEPS, min_size=12, max_size=24))
def test_a_balance_at_any_time_is_what_its_entries_come_to(ledger: Ledger, steps: list[tuple[Any, ...]]) -> None:
    past = Past(ledger)
    past.post(transaction(source=past.names[0], destination=past.names[1], precise_amount=20))
    for step in steps:
        _take(past, *step)
    past.compare()
    ledger.drain()
    past.snapshot()
    past.compare()


def _take(past: Past, what: str, argument: Any, option: Any) -> None:
    """Take one step, or leave it out if the state forbids it."""
    if what == "post":
        past.post(*(_request(past, *move) for move in argument), atomic=option)
    elif what == "split":
        request = _request(past, *argument)
        legs = [
            Leg(identifier=name, distribution=share) for name, share in zip(past.names, ("50%", "left"), strict=False)
        ]
        request.sources, request.source, request.atomic = legs, None, option
        request.destination = past.names[3]
        past.post(request)
    elif what == "drain":
        past.ledger.drain(*argument)
    elif what == "snapshot":
        past.snapshot()
    else:
        some = past.submitted if what == "refund" else past.held
        if argument % 2:
            past.ledger.drain()  # What is in line can be settled but not refunded.
        with suppress(InvalidRequest, NotFound, Conflict):
            if some and what == "refund":
                past.refund(some[argument % len(some)], option)
            elif some:
                past.settle(some[argument % len(some)], what, option if what == "commit" else None)


def _request(past: Past, positions: list[int], amount: int, inflight: bool, date: str | None) -> TransactionRequest:
    source, destination = list(dict.fromkeys(positions))[:2]
    return transaction(
        source=past.names[source],
        destination=past.names[destination],
        precise_amount=amount,
        inflight=inflight,
        effective_date=_date(date),
        allow_overdraft=source == 0 or inflight,
    )


def test_what_is_accepted_before_a_snapshot_and_decided_after_it_counts_from_its_acceptance(ledger: Ledger) -> None:
    past = Past(ledger)
    world, one, *_ = past.names
    past.post(transaction(source=world, destination=one, precise_amount=100))
    ledger.drain()
    (late,) = past.post(transaction(source=world, destination=one, precise_amount=7))
    assert past.snapshot() == 2
    ledger.drain()
    row = ledger.balance(one)
    with reading(ledger.engine) as conn:
        assert sums_at(conn, row, late.accepted_at - JUST) == (100, 0)
        assert sums_at(conn, row, late.accepted_at) == (107, 0)
        assert sums_at(conn, row, None) == (107, 0)
    past.compare()


def test_a_posting_dated_before_a_snapshot_does_not_make_it_wrong(ledger: Ledger) -> None:
    past = Past(ledger)
    world, one, *_ = past.names
    past.post(
        transaction(source=world, destination=one, precise_amount=100),
        transaction(source=world, destination=one, precise_amount=1_000, effective_date=YEAR_2100),
    )
    ledger.drain()
    past.snapshot()
    past.post(transaction(source=world, destination=one, precise_amount=7, effective_date=YEAR_2020))
    ledger.drain()
    row = ledger.balance(one)
    assert row.balance == 1_107
    with reading(ledger.engine) as conn:
        assert sums_at(conn, row, YEAR_2020 - JUST) == (0, 0)
        assert sums_at(conn, row, YEAR_2020) == (7, 0)
        assert sums_at(conn, row, None) == (107, 0)
        assert sums_at(conn, row, YEAR_2100) == (1_107, 0)
    past.compare()


def test_a_clock_that_was_set_back_does_not_make_a_snapshot_wrong(ledger: Ledger) -> None:
    past = Past(ledger)
    world, one, *_ = past.names
    (early,) = past.post(transaction(source=world, destination=one, precise_amount=100))
    ledger.drain()
    ahead = early.accepted_at + HOUR
    with begin(ledger.engine) as conn:  # As it would be there, had the clock been an hour ahead.
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        conn.execute(text("UPDATE log SET accepted_at = :ahead"), {"ahead": ahead})
    past.counts_from[early.seq] = ahead
    past.snapshot()
    row = ledger.balance(one)
    with reading(ledger.engine) as conn:
        assert sums_at(conn, row, None) == (0, 0)
        assert sums_at(conn, row, ahead) == (100, 0)
    past.compare()


def test_what_comes_after_a_balance_was_read_is_left_out(ledger: Ledger) -> None:
    """Else half of what one commit decided might be counted, for a balance is asked for in several statements."""

    def post(amount: int) -> BalanceRow:
        ledger.bulk(*(transaction(precise_amount=amount, effective_date=date) for date in (None, YEAR_2020, YEAR_2100)))
        ledger.drain()
        return ledger.balance("@A")

    first = post(1)
    take_all(ledger.engine)
    last = post(10)
    take_all(ledger.engine)
    with reading(ledger.engine) as conn:
        for at, expected in ((YEAR_2020, 1), (None, 2), (YEAR_2100, 3)):
            for from_source in (False, True):
                assert sums_at(conn, first, at, from_source=from_source) == (expected, 0)
                assert sums_at(conn, last, at, from_source=from_source) == (11 * expected, 0)


def test_from_source_believes_no_snapshot(ledger: Ledger) -> None:
    ledger.post(precise_amount=5)
    ledger.drain()
    row = ledger.balance("@A")
    with begin(ledger.engine) as conn:
        sql = "INSERT INTO snapshots VALUES (:key, 2, 1000, 0, clock_timestamp())"
        conn.execute(text(sql), {"key": row.key})
        assert sums_at(conn, row, None) == (1000, 0)
        assert sums_at(conn, row, None, from_source=True) == (5, 0)


def test_only_balances_that_changed_since_their_last_snapshot_get_one(ledger: Ledger) -> None:
    with begin(ledger.engine) as conn:
        balance_store.create_indicators(conn, [("@New", "USD", new_key())])
    ledger.post(destination="@A")
    ledger.post(destination="@B", source="@C", inflight=True)
    assert take_all(ledger.engine) == 0, "nothing is decided"
    ledger.drain()
    assert take_all(ledger.engine, size=1) == 4
    assert take_all(ledger.engine) == 0
    ledger.post(destination="@A")
    ledger.drain()
    assert take_all(ledger.engine) == 2


def test_what_would_add_up_too_many_entries_is_refused(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(6):
        ledger.post(source="@Pool", destination="@A")
    ledger.drain()
    monkeypatch.setattr(history, "MAX_SUMMED", 6)
    row = ledger.balance("@Pool")
    now = datetime.now(UTC)
    with reading(ledger.engine) as conn:
        with pytest.raises(InvalidRequest, match="7 entries"):
            history.balance_at(conn, row, now)
        with pytest.raises(InvalidRequest, match="7 entries"):
            history.recomputed(conn, row)
    take_all(ledger.engine)
    with reading(ledger.engine) as conn:
        assert history.balance_at(conn, row, None).balance == -6
        with pytest.raises(InvalidRequest):
            history.balance_at(conn, row, None, from_source=True)


def test_snapshots_cannot_be_changed(ledger: Ledger) -> None:
    ledger.post()
    ledger.drain()
    take_all(ledger.engine)
    for sql in ("UPDATE snapshots SET credit = 5", "DELETE FROM snapshots", "TRUNCATE snapshots"):
        with pytest.raises(Exception, match="append-only"), begin(ledger.engine) as conn:
            conn.execute(text(sql))


def test_two_that_take_snapshots_at_once_do_no_harm(ledger: Ledger) -> None:
    ledger.bulk(*(transaction(destination=f"@{number}") for number in range(50)))
    ledger.drain()
    with ThreadPoolExecutor() as threads:
        taken = list(threads.map(lambda _: take_all(ledger.engine, size=5), range(4)))
    assert sum(taken) == 51


ROUNDS = 12


def test_snapshots_are_exact_while_postings_run(ledger: Ledger) -> None:
    """Clients post, workers drain and snapshots are taken at the same time, in several rounds."""
    past = Past(ledger)
    world, *others = past.names
    dates = [None, None, YEAR_2020, YEAR_2100]
    past.post(*(transaction(source=world, destination=name, precise_amount=50) for name in others))
    ledger.drain()
    lock = threading.Lock()

    def post(number: int) -> None:
        for turn in range(3):
            source, destination = others[turn % 3], others[(turn + 1) % 3]
            requests = [
                transaction(source=source, destination=destination, effective_date=dates[number % 4]),
                transaction(source=world, destination=source, effective_date=dates[(number + turn) % 4]),
            ]
            submission = Submission(intake.draft_all(requests, ledger.directory))
            with begin(ledger.engine) as conn:
                append.append(conn, [submission])
            with lock:
                for request, one in zip(requests, submission.accepted, strict=True):
                    past.counts_from[one.seq] = request.effective_date or one.accepted_at
                    past.moments.add(past.counts_from[one.seq])

    def work(_: int) -> None:
        for _turn in range(2):
            ledger.drain()

    def snapshot(_: int) -> None:
        for _turn in range(4):
            past.snapshot()

    jobs = [post, post, work, snapshot, snapshot]
    with ThreadPoolExecutor(len(jobs)) as threads:
        for number in range(ROUNDS):
            list(threads.map(lambda job, number=number: job(number), jobs))
    ledger.drain()
    with reading(ledger.engine) as conn:
        taken = conn.execute(text("SELECT count(*), count(DISTINCT balance) FROM snapshots")).one()
    assert taken[1] == 4
    assert taken[0] >= 4 * (ROUNDS - 2), "each round leaves something for the next one to take"
    past.compare()


ENTRIES = 100_000
_MANY = """
    INSERT INTO log (seq, id, reference, kind, queue, source, destination, amount, currency, precision, description,
                     allow_overdraft, effective_date, accepted_at)
    SELECT n, gen_random_uuid(), 'many ' || n, 1, 0, :world, :one, 1, 'USD', 100, '', true, NULL,
           :start + n * interval '1 millisecond'
    FROM generate_series(1, :entries) AS n;
    INSERT INTO outcomes (seq, status, amount, source, source_version, source_balance, destination,
                          destination_version, destination_balance, decided_at)
    SELECT n, 1, 1, :world, n + 1, -n, :one, n + 1, n, :start FROM generate_series(1, :entries) AS n;
    UPDATE balances SET balance = :entries, credit_balance = :entries, version = :entries + 1, last_credit_seq = :entries
    WHERE id = :one;
    UPDATE balances SET balance = -:entries, debit_balance = :entries, version = :entries + 1 WHERE id = :world;
    UPDATE queues SET cursor = :entries
"""


# Cost


def test_a_balance_with_many_entries_and_a_late_snapshot_is_not_walked(own_database_url: str) -> None:
    engine = connect(own_database_url)
    ledger = Ledger(engine, Directory(engine))
    ledger.directory.create([("@World", "USD"), ("@A", "USD")])
    world, one = ledger.balance("@World"), ledger.balance("@A")
    start = one.created_at
    with begin(engine) as conn:
        for sql in _MANY.split(";"):
            conn.execute(text(sql), {"world": world.key, "one": one.key, "start": start, "entries": ENTRIES})
    assert take_all(engine) == 2
    with reading(engine) as conn:
        conn.execute(text("VACUUM ANALYZE"))
    ledger.bulk(*(transaction() for _ in range(20)), transaction(effective_date=YEAR_2020))
    ledger.drain()
    plans: list[Any] = []

    @event.listens_for(engine, "before_cursor_execute")
    def explain(conn: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not statement.startswith("EXPLAIN"):
            with conn.connection.cursor() as own:
                found = own.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).fetchone()[0]
                plans.append((found if isinstance(found, list) else json.loads(found))[0]["Plan"])

    with begin(engine) as conn:
        for name, expected in (("@A", (ENTRIES + 21, 0)), ("@World", (0, ENTRIES + 21))):
            row = ledger.balance(name)
            plans.clear()
            assert sums_at(conn, row, YEAR_2100) == expected
            scans = [node for plan in plans for node in _nodes(plan) if "Scan" in node["Node Type"]]
            big = [node for node in scans if node.get("Relation Name") in ("log", "outcomes")]
            assert len(big) >= 4
            assert [node for node in big if node["Node Type"] == "Seq Scan"] == []
            # A bitmap's heap scan says again what the scan of its index has said.
            walked = [node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in scans]
            assert sum(rows * node["Actual Loops"] for rows, node in zip(walked, scans, strict=True)) < 200
    engine.dispose()


def _nodes(plan: Any) -> Iterator[Any]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)
