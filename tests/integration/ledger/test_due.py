"""Scheduled transactions, and holds that are committed or voided when their date comes.

Time is given as ``now``, far enough ahead that the database's own clock does not matter.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from core.base.db import begin, reading
from core.base.errors import ReferenceConflict
from core.ledger import append, due, intake, limits
from core.ledger.append import Submission
from core.ledger.limits import LimitsRequest
from core.ledger.rules.model import Accepted, Status
from core.ledger.store import due as due_store
from core.ledger.store import families as family_store
from core.ledger.store import log as log_store
from core.ledger.store import queues as queue_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store.transaction_rows import TransactionRow
from core.verification.verify import verify_all
from tests.harness.factories import Ledger, shares, start_until_blocked, transaction

NOW = datetime.now(UTC).replace(microsecond=0)
SOON = NOW + timedelta(hours=1)
LATER = SOON + timedelta(hours=1)
DAYS_LATER = NOW + timedelta(days=9)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.fixture(autouse=True)
def _verified(ledger: Ledger) -> Iterator[None]:
    """Check after each test that the history adds up."""
    yield
    ledger.drain()
    assert verify_all(ledger.engine).problems == []


def _scheduled(ledger: Ledger, at: datetime = SOON, /, **fields: Any) -> Accepted:
    return ledger.post(scheduled_for=at.isoformat(), **fields)


def _hold(ledger: Ledger, *, drained: bool = True, **dates: datetime) -> Accepted:
    """Post ten cents from @World to @A, with an ``expiry`` or a ``commit`` date."""
    return _dated(ledger, {"precise_amount": 10}, drained=drained, **dates)


def _dated(ledger: Ledger, fields: dict[str, Any], *, drained: bool = True, **dates: datetime) -> Accepted:
    texts = {f"inflight_{name}_date": at.isoformat() for name, at in dates.items()}
    accepted = ledger.post(inflight=True, **texts, **fields)
    if drained:
        ledger.drain()
    return accepted


def _pass(ledger: Ledger, now: datetime) -> None:
    """Accept what is due, and drain."""
    due.accept_due(ledger.engine, now)
    ledger.drain()


def _status(ledger: Ledger, accepted: Accepted) -> Status:
    return ledger.transaction(accepted.transaction_id).status


def _settlements(ledger: Ledger, hold: Accepted) -> list[tuple[str, Status, int]]:
    """Reference without the hold's id, status and amount of each child, also of a rejected one."""
    with reading(ledger.engine) as conn:
        seqs = conn.execute(
            text("SELECT seq FROM log WHERE parent = :id ORDER BY seq"), {"id": hold.transaction_id}
        ).scalars()
        rows: list[TransactionRow] = transaction_store.find_seqs(conn, list(seqs))
    return [(row.reference.removeprefix(f"{hold.transaction_id}_"), row.status, row.amount) for row in rows]


def _count(ledger: Ledger, table: str) -> int:
    with reading(ledger.engine) as conn:
        count: int = conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
    return count


# Scheduled transactions


@pytest.mark.parametrize("downtime", [timedelta(0), timedelta(seconds=1), timedelta(days=9)])
def test_a_scheduled_transaction_is_accepted_once_it_is_due_under_the_same_id(
    ledger: Ledger, downtime: timedelta
) -> None:
    scheduled = _scheduled(ledger, reference="mine", precise_amount=5, meta_data=b'{"a": 1.50}')
    assert (scheduled.seq, _status(ledger, scheduled)) == (0, Status.SCHEDULED)
    _pass(ledger, SOON - timedelta(microseconds=1))
    assert _status(ledger, scheduled) is Status.SCHEDULED
    assert _count(ledger, "log") == 0
    queues = due.accept_due(ledger.engine, SOON + downtime)
    row = ledger.transaction(scheduled.transaction_id)
    assert queues == {row.queue}
    assert (row.status, row.reference, row.meta_data) == (Status.QUEUED, "mine", '{"a": 1.50}')
    ledger.drain()
    assert _status(ledger, scheduled) is Status.APPLIED
    with reading(ledger.engine) as conn:
        found = transaction_store.find_reference(conn, "mine")
    assert found is not None and found.transaction_id == scheduled.transaction_id
    for later in (SOON, DAYS_LATER):
        _pass(ledger, later)
    assert (ledger.balance("@A").balance, _count(ledger, "log"), _count(ledger, "scheduled")) == (5, 1, 0)


def test_what_is_due_is_accepted_in_the_order_of_its_dates(ledger: Ledger) -> None:
    order = [3, 1, 5, 2, 4]
    scheduled = [_scheduled(ledger, SOON + timedelta(seconds=second)) for second in order]
    _pass(ledger, DAYS_LATER)
    assert [ledger.transaction(each.transaction_id).seq for each in scheduled] == order


def test_money_is_needed_when_it_is_due_and_not_before(ledger: Ledger) -> None:
    poor = _scheduled(ledger, source="@Payer", allow_overdraft=False, precise_amount=5)
    rich = _scheduled(ledger, LATER, source="@Payer", allow_overdraft=False, precise_amount=5)
    _pass(ledger, SOON)
    assert _status(ledger, poor) is Status.REJECTED
    ledger.post(destination="@Payer", precise_amount=5)
    _pass(ledger, LATER)
    assert _status(ledger, rich) is Status.APPLIED


def test_a_date_that_has_passed_is_now(ledger: Ledger) -> None:
    accepted = _scheduled(ledger, NOW - timedelta(days=1))
    assert accepted.seq == 1


def test_a_repeated_reference_is_the_same_transaction_while_it_waits_and_after(ledger: Ledger) -> None:
    fields: dict[str, Any] = {"reference": "mine", "precise_amount": 5}
    first = _scheduled(ledger, **fields)
    for status in (Status.SCHEDULED, Status.QUEUED, Status.APPLIED):
        again = _scheduled(ledger, **fields)
        assert (again.transaction_id, again.replayed) == (first.transaction_id, True)
        assert _status(ledger, first) is status
        with pytest.raises(ReferenceConflict, match="amount differs"):
            _scheduled(ledger, **{**fields, "precise_amount": 6})
        with pytest.raises(ReferenceConflict, match="scheduled_for differs"):
            _scheduled(ledger, LATER, **fields)
        with pytest.raises(ReferenceConflict, match="scheduled_for differs"):
            ledger.post(**fields)
        if status is Status.SCHEDULED:
            due.accept_due(ledger.engine, SOON)
        else:
            ledger.drain()
    assert ledger.balance("@A").balance == 5


def test_a_reference_that_is_taken_cannot_be_scheduled(ledger: Ledger) -> None:
    ledger.post(reference="mine")
    with pytest.raises(ReferenceConflict):
        _scheduled(ledger, reference="mine")
    assert _count(ledger, "scheduled") == 0


def test_a_cancelled_transaction_is_never_accepted_and_keeps_its_reference(ledger: Ledger) -> None:
    scheduled = _scheduled(ledger, reference="mine")
    for done in (True, False):
        with begin(ledger.engine) as conn:
            assert due_store.cancel(conn, scheduled.transaction_id) is done
    assert _status(ledger, scheduled) is Status.VOID
    _pass(ledger, DAYS_LATER)
    assert (_status(ledger, scheduled), _count(ledger, "log")) == (Status.VOID, 0)
    again = _scheduled(ledger, reference="mine")
    assert (again.transaction_id, again.replayed) == (scheduled.transaction_id, True)


def test_a_cancellation_that_comes_first_wins(ledger: Ledger) -> None:
    scheduled = _scheduled(ledger)
    with begin(ledger.engine) as conn:
        assert due_store.cancel(conn, scheduled.transaction_id)
        assert due.accept_due(ledger.engine, SOON) == set()
    _pass(ledger, SOON)
    assert _status(ledger, scheduled) is Status.VOID


@pytest.mark.parametrize("committed", [False, True])
def test_a_cancellation_that_comes_second_waits_and_then_says_what_it_is(
    ledger: Ledger, threads: ThreadPoolExecutor, committed: bool
) -> None:
    scheduled = _scheduled(ledger)

    def cancel() -> bool:
        with begin(ledger.engine) as conn:
            return due_store.cancel(conn, scheduled.transaction_id)

    class GivenUp(Exception):
        pass

    try:
        with begin(ledger.engine) as conn:
            drafts, _ = due_store.take_scheduled(conn, SOON, 10)
            append.append(conn, [Submission([draft]) for draft in drafts])
            waiting = start_until_blocked(ledger.engine, threads, cancel)
            assert not waiting.done()
            if not committed:
                raise GivenUp
    except GivenUp:
        pass
    assert waiting.result() is not committed
    assert _status(ledger, scheduled) is (Status.QUEUED if committed else Status.VOID)


def test_cancelling_and_accepting_at_once_do_one_of_the_two_for_each(
    ledger: Ledger, threads: ThreadPoolExecutor
) -> None:
    scheduled = ledger.bulk(*[transaction(scheduled_for=SOON.isoformat()) for _ in range(40)])
    start = threading.Barrier(3)

    def cancel() -> list[bool]:
        start.wait()
        done = []
        for each in scheduled:
            with begin(ledger.engine) as conn:
                done.append(due_store.cancel(conn, each.transaction_id))
        return done

    def accept() -> None:
        start.wait()
        due.accept_due(ledger.engine, SOON)

    cancelling, *accepting = threads.submit(cancel), threads.submit(accept), threads.submit(accept)
    for future in accepting:
        future.result()
    cancelled = cancelling.result()
    _pass(ledger, SOON)
    expected = [Status.VOID if done else Status.APPLIED for done in cancelled]
    assert [_status(ledger, each) for each in scheduled] == expected
    assert ledger.balance("@A").balance == cancelled.count(False)


@pytest.mark.parametrize("by", ["id", "reference"])
def test_a_transaction_can_be_read_while_it_moves_into_the_log(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """A reader looks in two tables, one after the other. The transaction must not slip through between them."""
    scheduled = _scheduled(ledger, reference="mine")
    look, looks = transaction_store._one, 0

    def accepted_after_the_first_look(*arguments: Any) -> TransactionRow | None:
        nonlocal looks
        looks += 1
        row = look(*arguments)
        if looks == 1:
            due.accept_due(ledger.engine, SOON)
        return row

    monkeypatch.setattr(transaction_store, "_one", accepted_after_the_first_look)
    with reading(ledger.engine) as conn:
        row = (
            transaction_store.find(conn, scheduled.transaction_id)
            if by == "id"
            else transaction_store.find_reference(conn, "mine")
        )
    assert row is not None
    assert (row.transaction_id, row.status) == (scheduled.transaction_id, Status.QUEUED)


# Many, at once, and in spite of crashes


def test_several_who_ask_at_once_accept_each_once(ledger: Ledger, threads: ThreadPoolExecutor) -> None:
    scheduled = ledger.bulk(*[transaction(scheduled_for=SOON.isoformat()) for _ in range(60)])
    holds = ledger.bulk(
        *[transaction(inflight=True, destination="@B", inflight_expiry_date=SOON.isoformat()) for _ in range(60)]
    )
    ledger.drain()
    start = threading.Barrier(4)

    def accept() -> None:
        start.wait()
        due.accept_due(ledger.engine, SOON)

    for future in [threads.submit(accept) for _ in range(4)]:
        future.result()
    ledger.drain()
    assert Counter(_status(ledger, each) for each in [*scheduled, *holds]) == {Status.APPLIED: 60, Status.VOID: 60}
    assert ledger.balance("@A").balance == 60
    assert _count(ledger, "log") == 180


@pytest.mark.parametrize("where", ["log_store.append", "due_store.add", "begin"])
def test_a_crash_before_the_commit_loses_nothing_and_doubles_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    scheduled = _scheduled(ledger, precise_amount=5, inflight=True, inflight_commit_date=LATER.isoformat())
    held = _hold(ledger, expiry=SOON)
    before = _count(ledger, "log")

    def crash(*arguments: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        if where == "log_store.append":
            patch.setattr(log_store, "append", crash)
        elif where == "due_store.add":
            patch.setattr(due_store, "add", crash)
        else:
            patch.setattr(Submission, "queues", crash)  # The last thing before the commit.
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                due.accept_due(ledger.engine, SOON)
    assert (_count(ledger, "log"), _status(ledger, scheduled)) == (before, Status.SCHEDULED)
    for now in (SOON, LATER, DAYS_LATER):
        _pass(ledger, now)
    assert [_status(ledger, each) for each in (scheduled, held)] == [Status.APPLIED, Status.VOID]
    assert ledger.balance("@A").balance == 5
    assert (_count(ledger, "scheduled"), _count(ledger, "due")) == (0, 0)


def test_five_thousand_that_are_due_at_once_are_all_accepted(ledger: Ledger) -> None:
    ledger.bulk(*[transaction(scheduled_for=SOON.isoformat()) for _ in range(2500)])
    ledger.bulk(
        *[transaction(inflight=True, destination="@B", inflight_expiry_date=SOON.isoformat()) for _ in range(2500)]
    )
    ledger.drain()
    _pass(ledger, SOON)
    assert (_count(ledger, "log"), _count(ledger, "scheduled"), _count(ledger, "due")) == (7500, 0, 0)
    assert ledger.balance("@A").balance == 2500
    assert (ledger.balance("@B").balance, ledger.balance("@B").inflight_credit_balance) == (0, 0)


# Scheduled splits


def _scheduled_split(ledger: Ledger, reference: str, at: datetime = SOON, /, **fields: Any) -> Accepted:
    return _scheduled(
        ledger,
        at,
        reference=reference,
        precise_amount=100,
        destination=None,
        destinations=shares(("@A", "30%"), ("@B", "left")),
        **fields,
    )


def _legs(ledger: Ledger, split: Accepted) -> list[TransactionRow]:
    with reading(ledger.engine) as conn:
        return family_store.legs_of(conn, split.transaction_id)


@pytest.mark.parametrize("atomic", [False, True])
def test_a_scheduled_split_is_accepted_with_its_legs(ledger: Ledger, atomic: bool) -> None:
    split = _scheduled_split(ledger, "split", source="@Payer", allow_overdraft=False, atomic=atomic)
    ledger.post(destination="@Payer", precise_amount=40)
    _pass(ledger, SOON)
    legs = _legs(ledger, split)
    assert [(leg.reference, leg.requested) for leg in legs] == [("split_1", 30), ("split_2", 70)]
    assert [leg.status for leg in legs] == [Status.REJECTED if atomic else Status.APPLIED, Status.REJECTED]
    again = _scheduled_split(ledger, "split", source="@Payer", allow_overdraft=False, atomic=atomic)
    assert (again.transaction_id, again.replayed) == (split.transaction_id, True)


@pytest.mark.parametrize("waits", [False, True], ids=["in the log", "scheduled"])
def test_a_scheduled_split_is_accepted_also_when_the_reference_of_a_leg_was_taken_meanwhile(
    ledger: Ledger, waits: bool
) -> None:
    split = _scheduled_split(ledger, "split")
    taker = _scheduled(ledger, LATER, reference="split_2") if waits else ledger.post(reference="split_2")
    _pass(ledger, SOON)
    assert _status(ledger, split) is Status.APPLIED
    assert [leg.reference for leg in _legs(ledger, split)] == [leg.transaction_id for leg in _legs(ledger, split)]
    _pass(ledger, LATER)
    assert _status(ledger, taker) is Status.APPLIED


@pytest.mark.parametrize("same", [False, True], ids=["other content", "the content of the leg"])
@pytest.mark.parametrize("split_first", [False, True])
def test_what_is_called_as_a_leg_is_accepted_together_with_the_split(
    ledger: Ledger, split_first: bool, same: bool
) -> None:
    split = _scheduled_split(ledger, "split", SOON if split_first else LATER)
    fields: dict[str, Any] = {"precise_amount": 30, "destination": "@A"} if same else {"destination": "@C"}
    single = _scheduled(ledger, LATER if split_first else SOON, reference="split_1", **fields)
    other = _scheduled(ledger)
    _pass(ledger, DAYS_LATER)
    assert [_status(ledger, each) for each in (split, single, other)] == [Status.APPLIED] * 3
    assert ledger.transaction(single.transaction_id).reference == "split_1"


def test_what_is_called_as_a_leg_is_no_obstacle_to_others_that_are_appended_with_both(ledger: Ledger) -> None:
    split = intake.draft_all(
        [transaction(reference="split", destination=None, destinations=shares(("@A", "left")))], ledger.directory
    )
    single, other = (intake.draft_all([transaction(reference=name)], ledger.directory) for name in ("split_1", "other"))
    submissions = [Submission(drafts) for drafts in (split, single, other)]
    submissions[1].drafts = [submissions[1].drafts[0].with_row(amount=2)]
    with begin(ledger.engine) as conn:
        append.append(conn, submissions)
    assert isinstance(submissions[1].error, ReferenceConflict)
    assert [each.accepted[0].seq for each in (submissions[0], submissions[2])] == [1, 3]


def test_a_scheduled_member_of_a_batch_is_of_the_batch_before_and_after(ledger: Ledger) -> None:
    ledger.bulk(transaction(), transaction(scheduled_for=SOON.isoformat()), parent="bulk_1")
    for now, expected in (
        (NOW, {Status.APPLIED: 1, Status.SCHEDULED: 1}),
        (SOON, {Status.APPLIED: 2}),
    ):
        _pass(ledger, now)
        with reading(ledger.engine) as conn:
            batch = family_store.batch(conn, "bulk_1")
        assert batch is not None and batch.by_status == expected


# Expiry and commit dates of holds


def test_a_hold_expires_at_its_date_and_not_before(ledger: Ledger) -> None:
    hold = _hold(ledger, expiry=SOON)
    _pass(ledger, SOON - timedelta(microseconds=1))
    assert _status(ledger, hold) is Status.INFLIGHT
    for now in (SOON, SOON, DAYS_LATER):
        _pass(ledger, now)
        assert _status(ledger, hold) is Status.VOID
        assert _settlements(ledger, hold) == [("expired", Status.VOID, 10)]
    assert (ledger.balance("@A").balance, ledger.balance("@A").inflight_credit_balance) == (0, 0)


def test_an_expiry_voids_only_what_is_left(ledger: Ledger) -> None:
    hold = _hold(ledger, expiry=SOON)
    ledger.settle(hold.transaction_id, "commit", precise_amount=4, reference=f"{hold.transaction_id}_part")
    _pass(ledger, DAYS_LATER)
    assert _settlements(ledger, hold) == [("part", Status.APPLIED, 4), ("expired", Status.VOID, 6)]
    assert (_status(ledger, hold), ledger.balance("@A").balance) == (Status.APPLIED, 4)


def test_a_hold_that_was_committed_before_its_expiry_does_not_expire_and_others_are_left_alone(ledger: Ledger) -> None:
    """Case 60."""
    hold, other = _hold(ledger, expiry=SOON), _hold(ledger)
    ledger.settle(hold.transaction_id, "commit", reference=f"{hold.transaction_id}_all")
    ledger.drain()
    _pass(ledger, SOON)
    assert _settlements(ledger, hold) == [("all", Status.APPLIED, 10)]
    assert [_status(ledger, each) for each in (hold, other)] == [Status.APPLIED, Status.INFLIGHT]
    assert ledger.balance("@A").inflight_credit_balance == 10


def test_an_expiry_that_comes_after_a_commit_in_the_queue_finds_nothing_left(ledger: Ledger) -> None:
    hold = _hold(ledger, expiry=SOON)
    ledger.settle(hold.transaction_id, "commit", reference=f"{hold.transaction_id}_all")
    _pass(ledger, SOON)
    assert _settlements(ledger, hold) == [("all", Status.APPLIED, 10), ("expired", Status.REJECTED, 0)]
    assert (_status(ledger, hold), ledger.balance("@A").balance) == (Status.APPLIED, 10)


def test_a_hold_is_committed_at_its_commit_date(ledger: Ledger) -> None:
    hold = _hold(ledger, commit=SOON)
    ledger.settle(hold.transaction_id, "commit", precise_amount=4, reference=f"{hold.transaction_id}_part")
    ledger.drain()
    _pass(ledger, SOON)
    assert _settlements(ledger, hold) == [("part", Status.APPLIED, 4), ("committed_when_due", Status.APPLIED, 6)]
    assert (_status(ledger, hold), ledger.balance("@A").balance) == (Status.APPLIED, 10)


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize(
    ("commit", "expiry", "name", "status"),
    [
        (SOON, LATER, "committed_when_due", Status.APPLIED),
        (LATER, SOON, "expired", Status.VOID),
        (SOON, SOON, "committed_when_due", Status.APPLIED),
    ],
)
def test_of_two_dates_the_earlier_one_counts(
    ledger: Ledger, commit: datetime, expiry: datetime, name: str, status: Status, at_once: bool
) -> None:
    hold = _hold(ledger, commit=commit, expiry=expiry)
    for now in [DAYS_LATER] if at_once else [SOON, LATER]:
        _pass(ledger, now)
    assert _settlements(ledger, hold) == [(name, status, 10)]
    _pass(ledger, DAYS_LATER + timedelta(seconds=1))
    assert _settlements(ledger, hold) == [(name, status, 10)]
    assert (_status(ledger, hold), _count(ledger, "due")) == (status, 0)


@pytest.mark.parametrize("at_once", [False, True])
def test_a_hold_that_a_frozen_balance_keeps_from_its_commit_expires(ledger: Ledger, at_once: bool) -> None:
    hold = _hold(ledger, commit=SOON, expiry=LATER)
    with begin(ledger.engine) as conn:
        limits.put(conn, ledger.balance("@A").balance_id, LimitsRequest(frozen="all", reason="fraud"))
    for now in [DAYS_LATER, DAYS_LATER + timedelta(seconds=1)] if at_once else [SOON, LATER]:
        _pass(ledger, now)
    found = [("committed_when_due", Status.REJECTED, 0), ("expired", Status.VOID, 10)]
    assert _settlements(ledger, hold) == found
    assert (_status(ledger, hold), _count(ledger, "due")) == (Status.VOID, 0)


def test_the_due_commit_of_an_atomic_split_is_decided_whole(ledger: Ledger) -> None:
    parts = shares(("@A", 20), ("@B", "left"))
    fields = {"precise_amount": 100, "atomic": True, "destination": None, "destinations": parts}
    split = _dated(ledger, fields, commit=SOON, expiry=LATER)
    with begin(ledger.engine) as conn:
        limits.put(conn, ledger.balance("@A").balance_id, LimitsRequest(frozen="all", reason="fraud"))
    _pass(ledger, SOON)
    assert [ledger.balance(name).balance for name in ("@A", "@B")] == [0, 0]
    _pass(ledger, LATER)
    assert ledger.balance("@B").inflight_credit_balance == 0
    assert _status(ledger, split) is Status.VOID


def test_a_hold_that_is_not_decided_keeps_its_date(ledger: Ledger) -> None:
    hold = _hold(ledger, expiry=SOON, drained=False)
    for _ in range(2):
        assert due.accept_due(ledger.engine, SOON) == set()
    assert (_count(ledger, "due"), _status(ledger, hold)) == (1, Status.QUEUED)
    ledger.drain()
    _pass(ledger, SOON)
    assert (_count(ledger, "due"), _status(ledger, hold)) == (0, Status.VOID)


def test_a_hold_that_was_rejected_has_nothing_to_settle(ledger: Ledger) -> None:
    hold = _dated(ledger, {"source": "@Poor", "allow_overdraft": False}, expiry=SOON, commit=LATER)
    _pass(ledger, DAYS_LATER)
    assert (_status(ledger, hold), _settlements(ledger, hold), _count(ledger, "due")) == (Status.REJECTED, [], 0)


def test_an_expiry_goes_on_when_somebody_has_taken_its_reference(ledger: Ledger) -> None:
    hold = _hold(ledger, expiry=SOON)
    ledger.post(reference=f"{hold.transaction_id}_expired")
    _pass(ledger, SOON)
    assert _status(ledger, hold) is Status.VOID


def test_a_date_without_a_hold_has_no_effect(ledger: Ledger) -> None:
    for name in ("inflight_expiry_date", "inflight_commit_date"):
        ledger.post(**{name: SOON.isoformat()})
    ledger.drain()
    assert _count(ledger, "due") == 0


def test_a_split_of_holds_expires_whole(ledger: Ledger) -> None:
    parts = shares(("@A", "30%"), ("@B", "left"))
    split = _dated(ledger, {"precise_amount": 100, "destination": None, "destinations": parts}, expiry=SOON)
    ledger.settle(_legs(ledger, split)[0].transaction_id, "commit", precise_amount=10)
    ledger.drain()
    _pass(ledger, SOON)
    assert [_settlements(ledger, _as_accepted(leg))[-1] for leg in _legs(ledger, split)] == [
        ("expired", Status.VOID, 20),
        ("expired", Status.VOID, 70),
    ]
    assert [ledger.balance(name).balance for name in ("@A", "@B")] == [10, 0]
    assert [ledger.balance(name).inflight_credit_balance for name in ("@A", "@B")] == [0, 0]
    assert _status(ledger, split) is Status.APPLIED


def test_a_split_of_holds_with_one_that_is_not_decided_keeps_its_date(ledger: Ledger) -> None:
    """One of its two sources waits in a queue that nobody has drained."""
    with begin(ledger.engine) as conn:
        queue_store.resize(conn, 64)
    payers = [f"@Payer{number}" for number in range(8)]
    fields = {"source": None, "sources": shares(*[(name, "12.5%") for name in payers]), "precise_amount": 80}
    split = _dated(ledger, fields, expiry=SOON, drained=False)
    queues = sorted({leg.queue for leg in _legs(ledger, split) if leg.queue is not None})
    assert len(queues) > 1
    ledger.drain(queues[0])
    assert due.accept_due(ledger.engine, SOON) == set()
    assert _count(ledger, "due") == 1
    ledger.drain()
    _pass(ledger, SOON)
    assert (_status(ledger, split), _count(ledger, "due")) == (Status.VOID, 0)


def test_a_scheduled_hold_expires_at_its_own_date(ledger: Ledger) -> None:
    hold = _scheduled(ledger, precise_amount=10, inflight=True, inflight_expiry_date=LATER.isoformat())
    assert _count(ledger, "due") == 0
    _pass(ledger, SOON)
    assert _status(ledger, hold) is Status.INFLIGHT
    _pass(ledger, LATER)
    assert _settlements(ledger, hold) == [("expired", Status.VOID, 10)]


@pytest.mark.parametrize("of_split", [False, True])
def test_after_days_of_downtime_a_scheduled_hold_is_held_and_then_expires(ledger: Ledger, of_split: bool) -> None:
    dates: dict[str, Any] = {"inflight": True, "inflight_expiry_date": LATER.isoformat()}
    hold = _scheduled_split(ledger, "split", **dates) if of_split else _scheduled(ledger, **dates)
    _pass(ledger, DAYS_LATER)
    assert _status(ledger, hold) is Status.INFLIGHT
    _pass(ledger, DAYS_LATER)
    assert (_status(ledger, hold), _count(ledger, "due")) == (Status.VOID, 0)
    assert ledger.balance("@World").inflight_debit_balance == 0


def _as_accepted(row: TransactionRow) -> Accepted:
    return Accepted(row.transaction_id, row.seq, row.queue or 0, row.accepted_at, row.parent, False)
