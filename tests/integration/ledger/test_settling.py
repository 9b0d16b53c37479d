"""What follows a transaction: refunds, commits and voids of holds, of splits and of batches. And its rehearsal."""

import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from sqlalchemy import text

from core.base.db import begin, reading
from core.base.errors import Conflict, InvalidRequest, NotFound, ReferenceConflict
from core.base.ids import new_id
from core.base.tables import metadata
from core.ledger import append, drain, intake, settling
from core.ledger import dry_run as preview
from core.ledger.append import Submission
from core.ledger.intake import Virtual
from core.ledger.rules.model import Accepted, Draft, Kind, RejectReason, Status
from core.ledger.rules.requests import RefundRequest, SettleRequest, TransactionRequest
from core.ledger.store import due as due_store
from core.ledger.store import outcomes as outcome_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store.transactions import TransactionRow
from core.verification import audit
from core.verification import store as audit_store
from tests.harness.factories import Ledger, fund, shares, transaction

SEEDS = range(int(os.environ.get("PACIOLI_SEED", "1")), int(os.environ.get("PACIOLI_SEED", "1")) + 4)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(5) as executor:
        yield executor


@pytest.fixture(autouse=True)
def _verified(ledger: Ledger) -> Iterator[None]:
    """Whatever a test did, the history adds up."""
    yield
    assert audit.verify(ledger.engine).problems == []


def _applied(ledger: Ledger, **fields: Any) -> str:
    posted = ledger.post(**fields)
    ledger.drain()
    row = ledger.transaction(posted.transaction_id)
    assert row.status in (Status.APPLIED, Status.INFLIGHT), row.rejection
    return posted.transaction_id


def _split(ledger: Ledger, amount: int, *parts: tuple[str, str | int], **fields: Any) -> str:
    """From @World, decided."""
    return _applied(ledger, precise_amount=amount, destination=None, destinations=shares(*parts), **fields)


def _batch(ledger: Ledger, *requests: TransactionRequest) -> str:
    batch_id = new_id(settling.BATCH_PREFIX)
    ledger.bulk(*requests, parent=batch_id)
    ledger.drain()
    return batch_id


def _legs(ledger: Ledger, transaction_id: str) -> list[TransactionRow]:
    with reading(ledger.engine) as conn:
        return transaction_store.legs_of(conn, transaction_id)


def _sums(ledger: Ledger, *names: str) -> list[int]:
    return [ledger.balance(name).balance for name in names]


def _held(ledger: Ledger, *names: str) -> list[int]:
    rows = [ledger.balance(name) for name in names]
    return [row.inflight_credit_balance - row.inflight_debit_balance for row in rows]


def _decided(ledger: Ledger, *accepted: Accepted) -> list[Status]:
    ledger.drain()
    return [ledger.transaction(each.transaction_id).status for each in accepted]


def _reason(ledger: Ledger, accepted: Accepted) -> RejectReason | None:
    rejection = ledger.transaction(accepted.transaction_id).rejection
    return rejection.reason if rejection is not None else None


# Refunds


def test_a_refund_gives_everything_back_and_is_called_after_the_original(ledger: Ledger) -> None:
    original = _applied(ledger, precise_amount=10, meta_data=b'{"a": 1, "b": 2}')
    refund = ledger.refund(original, meta_data=b'{"b": 3}', description="sorry")
    assert _decided(ledger, refund) == [Status.APPLIED]
    row = ledger.transaction(refund.transaction_id)
    assert (row.reference, row.parent, row.amount) == (f"{original}_refund", original, 10)
    assert (row.description, row.meta_data) == ("sorry", '{"a":1,"b":3}')
    assert _sums(ledger, "@World", "@A") == [0, 0]
    assert ledger.transaction(original).status is Status.APPLIED


@pytest.mark.parametrize("decided", [False, True])
@pytest.mark.parametrize("amount", [None, 1])
def test_what_was_refunded_whole_is_refused_and_says_by_what(ledger: Ledger, decided: bool, amount: int | None) -> None:
    original = _applied(ledger, precise_amount=10)
    first = ledger.refund(original)
    if decided:
        ledger.drain()
    with pytest.raises(Conflict, match="has already been refunded") as caught:
        ledger.refund(original, precise_amount=amount)
    assert caught.value.code == "TXN_ALREADY_REFUNDED"
    assert caught.value.details == {"refund_transaction_id": first.transaction_id}
    ledger.drain()
    assert _sums(ledger, "@World", "@A") == [0, 0]


def test_partial_refunds_and_then_the_rest(ledger: Ledger) -> None:
    original = _applied(ledger, precise_amount=10)
    for amount, left in ((3, 7), (4, 3), (None, 0)):
        refund = ledger.refund(original, precise_amount=amount)
        assert _decided(ledger, refund) == [Status.APPLIED]
        assert _sums(ledger, "@A") == [left]
    assert ledger.transaction(refund.transaction_id).amount == 3
    with pytest.raises(Conflict, match="has already been refunded"):
        ledger.refund(original, precise_amount=1)


def test_partial_refunds_that_come_to_the_whole_leave_nothing_to_refund(ledger: Ledger) -> None:
    original = _applied(ledger, precise_amount=10)
    for amount in (3, 7):
        ledger.refund(original, precise_amount=amount)
    ledger.drain()
    with pytest.raises(Conflict, match="has already been refunded") as caught:
        ledger.refund(original)
    assert caught.value.code == "TXN_ALREADY_REFUNDED"


def test_more_than_is_left_is_refused_with_what_is_left(ledger: Ledger) -> None:
    original = _applied(ledger, precise_amount=1000)
    ledger.refund(original, precise_amount=400)
    ledger.drain()
    with pytest.raises(InvalidRequest, match=r"Available: USD6\.00, Requested: USD6\.01") as caught:
        ledger.refund(original, precise_amount=601)
    assert caught.value.code == "TXN_INVALID_AMOUNT"


def test_what_is_not_decided_yet_is_left_to_the_engine(ledger: Ledger) -> None:
    original = _applied(ledger, precise_amount=10)
    refunds = [ledger.refund(original, precise_amount=6) for _ in range(2)]
    assert _decided(ledger, *refunds) == [Status.APPLIED, Status.REJECTED]
    rejection = ledger.transaction(refunds[1].transaction_id).rejection
    assert rejection is not None
    assert rejection.reason is RejectReason.REFUND_EXCEEDS_REMAINDER
    assert (rejection.available, rejection.requested, rejection.short_by) == (4, 6, 2)


@pytest.mark.parametrize("amount", ["nan", "-1", "0.001"])
def test_an_amount_that_is_none_is_refused(ledger: Ledger, amount: str) -> None:
    original = _applied(ledger, precise_amount=10)
    with pytest.raises(InvalidRequest):
        ledger.refund(original, amount=Decimal(amount))


@pytest.mark.parametrize("of_split", [False, True])
def test_of_five_whole_refunds_at_once_one_is_done(ledger: Ledger, threads: ThreadPoolExecutor, of_split: bool) -> None:
    original = _split(ledger, 10, ("@A", 4), ("@B", "left")) if of_split else _applied(ledger, precise_amount=10)
    start = threading.Barrier(5)

    def refund() -> bool:
        start.wait()
        try:
            return not ledger.refund(original).replayed
        except Conflict:
            return False

    done = [threads.submit(refund) for _ in range(5)]
    assert [future.result() for future in done].count(True) == 1
    ledger.drain()
    assert _sums(ledger, "@World", "@A") == [0, 0]


def test_of_five_partial_refunds_at_once_as_many_are_done_as_there_is_money(
    ledger: Ledger, threads: ThreadPoolExecutor
) -> None:
    original = _applied(ledger, precise_amount=10)
    start = threading.Barrier(5)

    def refund() -> Accepted:
        start.wait()
        accepted = ledger.refund(original, precise_amount=3)
        drain.drain(ledger.engine, accepted.queue)
        return accepted

    refunds = [future.result() for future in [threads.submit(refund) for _ in range(5)]]
    assert Counter(_decided(ledger, *refunds)) == {Status.APPLIED: 3, Status.REJECTED: 2}
    assert _sums(ledger, "@World", "@A") == [-1, 1]


def test_a_refund_can_be_refunded_and_that_as_well(ledger: Ledger) -> None:
    transaction_id = _applied(ledger, precise_amount=10)
    for expected in (0, 10, 0):
        refund = ledger.refund(transaction_id)
        assert _decided(ledger, refund) == [Status.APPLIED]
        assert _sums(ledger, "@A") == [expected]
        transaction_id = refund.transaction_id


@pytest.mark.parametrize("state", ["unknown", "QUEUED", "INFLIGHT", "SCHEDULED", "REJECTED", "VOID", "a void"])
def test_where_no_money_was_moved_there_is_nothing_to_refund(ledger: Ledger, state: str) -> None:
    if state == "unknown":
        transaction_id = new_id("txn_")
    elif state == "SCHEDULED":
        transaction_id = ledger.post(scheduled_for="2999-01-01T00:00:00Z").transaction_id
    elif state == "REJECTED":
        transaction_id = ledger.post(source="@Poor", allow_overdraft=False).transaction_id
        ledger.drain()
    elif state == "QUEUED":
        transaction_id = ledger.post().transaction_id
    else:
        transaction_id = _applied(ledger, inflight=True)
        if state != "INFLIGHT":
            void = ledger.settle(transaction_id, "void")
            ledger.drain()
            transaction_id = void.transaction_id if state == "a void" else transaction_id
    with pytest.raises(NotFound, match="no transaction to refund") as caught:
        ledger.refund(transaction_id)
    assert caught.value.code == "TXN_NOT_FOUND"


def test_a_refund_of_a_split_gives_each_leg_back(ledger: Ledger) -> None:
    split = _split(ledger, 100, ("@A", "20%"), ("@B", 30), ("@C", "left"))
    refund = ledger.refund(split)
    assert _decided(ledger, refund) == [Status.APPLIED]
    row = ledger.transaction(refund.transaction_id)
    assert (row.reference, row.parent, row.amount) == (f"{split}_refund", split, 100)
    legs = _legs(ledger, refund.transaction_id)
    assert [leg.reference for leg in legs] == [f"{split}_refund_{number}" for number in (1, 2, 3)]
    assert [leg.amount for leg in legs] == [20, 30, 50]
    assert _sums(ledger, "@World", "@A", "@B", "@C") == [0, 0, 0, 0]


def test_a_part_of_a_split_is_given_back_in_proportion_to_what_is_left(ledger: Ledger) -> None:
    split = _split(ledger, 100, ("@A", 20), ("@B", 30), ("@C", "left"))
    ledger.refund(split, precise_amount=10)
    ledger.drain()
    assert _sums(ledger, "@A", "@B", "@C") == [18, 27, 45]
    ledger.refund(_legs(ledger, split)[2].transaction_id)
    ledger.drain()
    assert _sums(ledger, "@A", "@B", "@C") == [18, 27, 0]
    ledger.refund(split, precise_amount=5)
    ledger.drain()
    assert _sums(ledger, "@A", "@B", "@C") == [16, 24, 0]
    with pytest.raises(InvalidRequest, match=r"Available: USD0\.40"):
        ledger.refund(split, precise_amount=41)
    rest = ledger.refund(split)
    assert _decided(ledger, rest) == [Status.APPLIED]
    assert _sums(ledger, "@World", "@A", "@B", "@C") == [0, 0, 0, 0]


def test_the_refund_of_a_split_shows_what_it_gave_back(ledger: Ledger) -> None:
    """Also when something was given back between its request and its turn: it is whole, or it is rejected."""
    split = _split(ledger, 100, ("@A", 20), ("@B", "left"))
    ledger.refund(split, precise_amount=10)
    refund = ledger.refund(split)
    ledger.drain()
    row = ledger.transaction(refund.transaction_id)
    moved = sum(leg.decided_amount or 0 for leg in _legs(ledger, refund.transaction_id))
    assert (row.status, moved) == (Status.REJECTED, 0) or (row.status, moved) == (Status.APPLIED, row.amount)


def test_a_whole_refund_that_was_rejected_does_not_forbid_another(ledger: Ledger) -> None:
    split = _split(ledger, 100, ("@A", 20), ("@B", "left"))
    ledger.refund(_legs(ledger, split)[0].transaction_id)
    overtaken = ledger.refund(split)
    assert _decided(ledger, overtaken) == [Status.REJECTED]
    again = ledger.refund(split)
    assert again.transaction_id != overtaken.transaction_id
    assert _decided(ledger, again) == [Status.APPLIED]
    assert _sums(ledger, "@World", "@A", "@B") == [0, 0, 0]
    with pytest.raises(Conflict, match="already been refunded"):
        ledger.refund(split)


def test_a_split_that_was_applied_in_part_is_refunded_as_far_as_it_was(ledger: Ledger) -> None:
    _applied(ledger, destination="@Payer", precise_amount=25)
    split = ledger.post(
        precise_amount=100,
        source="@Payer",
        destination=None,
        destinations=shares(("@A", 20), ("@B", 80)),
        allow_overdraft=False,
    )
    ledger.drain()
    assert [leg.status for leg in _legs(ledger, split.transaction_id)] == [Status.APPLIED, Status.REJECTED]
    refund = ledger.refund(split.transaction_id)
    assert _decided(ledger, refund) == [Status.APPLIED]
    assert ledger.transaction(refund.transaction_id).amount == 20
    assert _sums(ledger, "@Payer", "@A", "@B") == [25, 0, 0]


def test_the_refund_of_a_split_can_be_refunded(ledger: Ledger) -> None:
    split = _split(ledger, 100, ("@A", 20), ("@B", "left"))
    refund = ledger.refund(split)
    ledger.drain()
    back = ledger.refund(refund.transaction_id)
    assert _decided(ledger, back) == [Status.APPLIED]
    assert _sums(ledger, "@World", "@A", "@B") == [-100, 20, 80]


@pytest.mark.parametrize("parts", [[None], [3, 4], [3, 4, None]])
def test_of_a_hold_what_was_committed_is_refunded(ledger: Ledger, parts: list[int | None]) -> None:
    hold = _applied(ledger, precise_amount=10, inflight=True)
    for part in parts:
        ledger.settle(hold, "commit", precise_amount=part)
        ledger.drain()
    committed = sum(part or 10 - sum(p or 0 for p in parts) for part in parts)
    if committed < 10:
        with pytest.raises(NotFound):
            ledger.refund(hold)
        ledger.settle(hold, "void")
        ledger.drain()
    assert _sums(ledger, "@A") == [committed]
    ledger.refund(hold, precise_amount=2)
    ledger.drain()
    assert _sums(ledger, "@A") == [committed - 2]
    refund = ledger.refund(hold)
    assert _decided(ledger, refund) == [Status.APPLIED]
    assert ledger.transaction(refund.transaction_id).amount == committed - 2
    assert _sums(ledger, "@World", "@A") == [0, 0]
    assert _held(ledger, "@World", "@A") == [0, 0]


def test_one_commit_of_a_hold_can_be_refunded_by_itself(ledger: Ledger) -> None:
    hold = _applied(ledger, precise_amount=10, inflight=True)
    commits = []
    for amount in (3, 7):
        commits.append(ledger.settle(hold, "commit", precise_amount=amount))
        ledger.drain()
    ledger.refund(commits[0].transaction_id)
    ledger.drain()
    assert _sums(ledger, "@A") == [7]
    ledger.refund(hold)
    ledger.drain()
    assert _sums(ledger, "@A") == [0]


def test_a_refund_of_a_batch_gives_all_of_it_back_and_is_not_of_the_batch(ledger: Ledger) -> None:
    batch = _batch(
        ledger,
        transaction(precise_amount=10),
        transaction(precise_amount=100, destination=None, destinations=shares(("@A", 20), ("@B", "left"))),
        transaction(source="@Poor", allow_overdraft=False),
    )
    with reading(ledger.engine) as conn:
        before = transaction_store.batch(conn, batch)
    refund = ledger.refund(batch)
    assert _decided(ledger, refund) == [Status.APPLIED]
    assert ledger.transaction(refund.transaction_id).amount == 110
    assert _sums(ledger, "@World", "@A", "@B") == [0, 0, 0]
    with reading(ledger.engine) as conn:
        assert transaction_store.batch(conn, batch) == before


def test_a_refund_by_a_repeated_reference_is_answered_with_the_first(ledger: Ledger) -> None:
    original, other = (_applied(ledger, precise_amount=10) for _ in range(2))
    first = ledger.refund(original, precise_amount=4, reference="mine")
    for _ in range(2):
        again = ledger.refund(original, precise_amount=4, reference="mine")
        assert (again.transaction_id, again.replayed) == (first.transaction_id, True)
        ledger.drain()
    assert _sums(ledger, "@A") == [16]
    with pytest.raises(ReferenceConflict, match="amount differs"):
        ledger.refund(original, precise_amount=5, reference="mine")
    with pytest.raises(ReferenceConflict, match="amount differs"):
        ledger.refund(original, reference="mine")
    with pytest.raises(ReferenceConflict, match="transaction differs"):
        ledger.refund(other, precise_amount=4, reference="mine")


@pytest.mark.parametrize("amount", [None, 10])
def test_a_refund_of_a_split_by_a_repeated_reference_is_answered_with_the_first(
    ledger: Ledger, amount: int | None
) -> None:
    split = _split(ledger, 100, ("@A", 20), ("@B", "left"))
    first = ledger.refund(split, precise_amount=amount, reference="mine")
    for _ in range(2):
        again = ledger.refund(split, precise_amount=amount, reference="mine")
        assert (again.transaction_id, again.replayed) == (first.transaction_id, True)
        ledger.drain()
    assert _sums(ledger, "@World") == [-(100 - (amount or 100))]


# Commits and voids


def _held_split(ledger: Ledger, **fields: Any) -> str:
    """30 for @A, 70 for @B, held."""
    return _split(ledger, 100, ("@A", 30), ("@B", "left"), inflight=True, **fields)


@pytest.mark.parametrize("skip_queue", [False, True])
@pytest.mark.parametrize(("status", "expected"), [("commit", [-100, 30, 70]), ("void", [0, 0, 0])])
def test_a_split_is_settled_whole(ledger: Ledger, status: str, expected: list[int], skip_queue: bool) -> None:
    split = _held_split(ledger)
    assert _held(ledger, "@World", "@A", "@B") == [-100, 30, 70]
    settled = ledger.settle_all(split, status, skip_queue=skip_queue)
    assert len(settled) == 2
    assert set(_decided(ledger, *settled)) == {Status.APPLIED if status == "commit" else Status.VOID}
    assert _sums(ledger, "@World", "@A", "@B") == expected
    assert _held(ledger, "@World", "@A", "@B") == [0, 0, 0]
    assert ledger.transaction(split).status is (Status.APPLIED if status == "commit" else Status.VOID)


def test_a_partial_commit_of_a_split_is_shared_in_proportion_to_what_is_left(ledger: Ledger) -> None:
    split = _held_split(ledger)
    ledger.settle_all(split, "commit", precise_amount=11)
    ledger.drain()
    assert _sums(ledger, "@A", "@B") == [3, 8]
    ledger.settle(_legs(ledger, split)[0].transaction_id, "void")
    ledger.drain()
    (only,) = ledger.settle_all(split, "commit", precise_amount=50)
    assert _decided(ledger, only) == [Status.APPLIED]
    assert _sums(ledger, "@A", "@B") == [3, 58]
    with pytest.raises(InvalidRequest, match=r"remaining amount\. Available: USD0\.12, Requested: USD0\.13"):
        ledger.settle_all(split, "commit", precise_amount=13)
    ledger.settle_all(split, "commit")
    ledger.drain()
    assert _sums(ledger, "@World", "@A", "@B") == [-73, 3, 70]
    assert ledger.transaction(split).status is Status.APPLIED
    with pytest.raises(Conflict, match="has already been voided"):
        ledger.settle_all(split, "commit")


def test_the_commit_of_a_split_is_rejected_whole_when_one_leg_was_settled_meanwhile(ledger: Ledger) -> None:
    split = _held_split(ledger)
    ledger.settle(_legs(ledger, split)[1].transaction_id, "void")
    overtaken = ledger.settle_all(split, "commit", skip_queue=True)
    assert _decided(ledger, *overtaken) == [Status.REJECTED, Status.REJECTED]
    assert [_reason(ledger, each) for each in overtaken] == [RejectReason.ATOMIC_GROUP, RejectReason.ALREADY_VOIDED]
    assert _sums(ledger, "@A", "@B") == [0, 0]
    assert _held(ledger, "@World", "@A", "@B") == [-30, 30, 0]
    again = ledger.settle_all(split, "commit")
    assert _decided(ledger, *again) == [Status.APPLIED]


def test_a_batch_is_settled_each_hold_by_itself(ledger: Ledger) -> None:
    batch = _batch(
        ledger,
        transaction(precise_amount=10, inflight=True),
        transaction(precise_amount=20, inflight=True, destination="@B"),
        transaction(precise_amount=5),
        transaction(
            precise_amount=30, inflight=True, destination=None, destinations=shares(("@C", "50%"), ("@D", "50%"))
        ),
    )
    ledger.settle(_legs(ledger, batch)[0].transaction_id, "void")
    overtaken = ledger.settle_all(batch, "commit", skip_queue=True)
    assert [_reason(ledger, each) for each in overtaken if _decided(ledger, each) == [Status.REJECTED]] == [
        RejectReason.ALREADY_VOIDED
    ]
    assert _sums(ledger, "@A", "@B", "@C", "@D") == [5, 20, 15, 15]
    with pytest.raises(Conflict, match="already been voided"):
        ledger.settle_all(batch, "void")


def test_a_second_settlement_in_the_queue_is_refused_and_without_the_queue_takes_its_turn(ledger: Ledger) -> None:
    hold = _applied(ledger, precise_amount=10, inflight=True)
    ledger.settle(hold, "commit", precise_amount=6)
    with pytest.raises(Conflict, match="already queued") as caught:
        ledger.settle(hold, "void")
    assert caught.value.code == "GEN_CONFLICT"
    void = ledger.settle(hold, "void", skip_queue=True)
    assert _decided(ledger, void) == [Status.VOID]
    assert (_sums(ledger, "@A"), _held(ledger, "@A")) == ([6], [0])


def test_a_hold_may_be_settled_before_it_is_decided(ledger: Ledger) -> None:
    split = ledger.post(
        precise_amount=100, destination=None, destinations=shares(("@A", 30), ("@B", "left")), inflight=True
    )
    commits = ledger.settle_all(split.transaction_id, "commit", precise_amount=50)
    assert _decided(ledger, *commits) == [Status.APPLIED, Status.APPLIED]
    assert _sums(ledger, "@A", "@B") == [15, 35]


@pytest.mark.parametrize("of_split", [False, True])
@pytest.mark.parametrize("cancelled", [False, True])
def test_what_is_scheduled_holds_nothing_yet(ledger: Ledger, of_split: bool, cancelled: bool) -> None:
    more: dict[str, Any] = {"destination": None, "destinations": shares(("@A", "left"))} if of_split else {}
    hold = ledger.post(inflight=True, scheduled_for="2999-01-01T00:00:00Z", **more)
    if cancelled:
        with begin(ledger.engine) as conn:
            assert due_store.cancel(conn, hold.transaction_id)
    with pytest.raises(InvalidRequest, match="transaction is not in inflight status") as caught:
        ledger.settle_all(hold.transaction_id, "commit")
    assert caught.value.code == "TXN_NOT_INFLIGHT"


def test_a_repeated_reference_settles_a_hold_once(ledger: Ledger) -> None:
    hold, other = (_applied(ledger, precise_amount=10, inflight=True) for _ in range(2))
    first = ledger.settle(hold, "commit", precise_amount=4, reference="mine")
    for _ in range(2):
        again = ledger.settle(hold, "commit", precise_amount=4, reference="mine")
        assert (again.transaction_id, again.replayed) == (first.transaction_id, True)
        ledger.drain()
    assert _sums(ledger, "@A") == [4]
    for field, fields in (
        ("amount", {"precise_amount": 5}),
        ("amount", {}),
        ("status", {"status": "void"}),
        ("transaction", {"hold": other, "precise_amount": 4}),
    ):
        asked: dict[str, Any] = {"hold": hold, "status": "commit", **fields}
        with pytest.raises(ReferenceConflict, match=f"{field} differs"):
            ledger.settle(**asked, reference="mine")


@pytest.mark.parametrize("amount", [None, 1, 11])
def test_a_repeated_reference_settles_a_split_once(ledger: Ledger, amount: int | None) -> None:
    split = _held_split(ledger)
    first = ledger.settle_all(split, "commit", precise_amount=amount, reference="mine")
    for _ in range(2):
        again = ledger.settle_all(split, "commit", precise_amount=amount, reference="mine")
        assert [each.transaction_id for each in again] == [each.transaction_id for each in first]
        assert all(each.replayed for each in again)
        ledger.drain()
    assert _sums(ledger, "@World") == [-(amount or 100)]


def test_a_repeated_reference_settles_a_split_once_also_when_a_leg_was_rejected_meanwhile(ledger: Ledger) -> None:
    _applied(ledger, destination="@Payer", precise_amount=60)
    split = ledger.post(
        precise_amount=100,
        source="@Payer",
        destination=None,
        destinations=shares(("@A", 30), ("@B", 40), ("@C", "left")),
        inflight=True,
        allow_overdraft=False,
    ).transaction_id
    first = ledger.settle_all(split, "commit", precise_amount=10, reference="mine")
    ledger.drain()
    assert [leg.status for leg in _legs(ledger, split)].count(Status.REJECTED) == 1
    again = ledger.settle_all(split, "commit", precise_amount=10, reference="mine")
    assert {each.transaction_id for each in again} == {each.transaction_id for each in first}
    assert all(each.replayed for each in again)


def test_a_repeated_reference_settles_a_batch_once_also_when_it_has_grown_meanwhile(ledger: Ledger) -> None:
    batch = new_id(settling.BATCH_PREFIX)
    ledger.bulk(transaction(precise_amount=10, inflight=True), parent=batch)
    ledger.drain()
    first = ledger.settle_all(batch, "commit", precise_amount=4, reference="mine")
    ledger.bulk(transaction(precise_amount=10, inflight=True), parent=batch)  # As a scheduled member of it would.
    ledger.drain()
    again = ledger.settle_all(batch, "commit", precise_amount=4, reference="mine")
    assert [each.transaction_id for each in again] == [each.transaction_id for each in first]
    ledger.drain()
    assert _sums(ledger, "@A") == [4]


# Rehearsals


class _Play:
    """Random requests of all kinds: each is rehearsed, and then done."""

    def __init__(self, ledger: Ledger, dice: Random) -> None:
        self.ledger, self.dice = ledger, dice
        self.names = [f"@{number}" for number in range(5)]
        self.posted: list[str] = []
        self.seen: Counter[str] = Counter()

    def turn(self) -> None:
        make = self.dice.choice(
            [self._post, self._post, self._post, self._bulk, self._settle, self._settle, self._refund]
        )
        make()

    def _post(self) -> None:
        self._play_requests([self._request()], atomic=False)

    def _bulk(self) -> None:
        requests = [self._request() for _ in range(self.dice.randint(2, 4))]
        self._play_requests(requests, atomic=self.dice.random() < 0.6)

    def _request(self) -> TransactionRequest:
        sides = self.dice.sample(["@World", *self.names], 5)
        if self.dice.random() < 0.3:
            sides = ["@World", *(name for name in sides if name != "@World")]
        fields: dict[str, Any] = {
            "precise_amount": self.dice.randint(1, 12),
            "allow_overdraft": self.dice.random() < 0.2,
            "inflight": self.dice.random() < 0.4,
            "source": sides[0],
            "destination": sides[1],
        }
        if sides[0] == "@World":
            fields["allow_overdraft"] = True
        if self.dice.random() < 0.3:
            fields |= {"destination": None, "destinations": shares((sides[1], "40%"), (sides[2], "left"))}
        if self.dice.random() < 0.2:
            fields |= {"source": None, "sources": shares((sides[0], "left"), (sides[3], 1))}
        return transaction(atomic=self.dice.random() < 0.5, **fields)

    def _play_requests(self, requests: Sequence[TransactionRequest], *, atomic: bool) -> None:
        virtual, before = Virtual(), self._all_rows()
        drafts = intake.draft_all(requests, self.ledger.directory, virtual=virtual)
        assert self._all_rows() == before
        rehearsed = self._rehearse(drafts, atomic=atomic, virtual=virtual)
        self._really_do(intake.draft_all(requests, self.ledger.directory), rehearsed, atomic=atomic)

    def _settle(self) -> None:
        if not self.posted:
            return
        status = self.dice.choice(["commit", "commit", "void"])
        amount = self.dice.choice([None, 1, 2, 5]) if status == "commit" else None
        asked = SettleRequest(status=status, precise_amount=amount)
        try:
            with reading(self.ledger.engine) as conn:
                drafts = settling.draft_settlements(conn, self.dice.choice(self.posted[-8:]), asked)
        except (InvalidRequest, Conflict):
            return
        self._really_do(drafts, self._rehearse(drafts, atomic=len(drafts) > 1), atomic=len(drafts) > 1)

    def _refund(self) -> None:
        if not self.posted:
            return
        asked = RefundRequest(precise_amount=self.dice.choice([None, 1, 2]))
        try:
            with reading(self.ledger.engine) as conn:
                draft = settling.draft_refund(conn, self.dice.choice(self.posted[-8:]), asked)
        except (InvalidRequest, Conflict, NotFound):
            return
        self._really_do([draft], self._rehearse([draft], atomic=False), atomic=False)

    def _rehearse(self, drafts: list[Draft], *, atomic: bool, virtual: Virtual | None = None) -> Any:
        """Statuses, reasons and amounts of the postings, and the balances afterwards. Nothing is written."""
        before = self._all_rows()
        with audit_store.snapshot(self.ledger.engine) as conn:
            rehearsed = preview.rehearse(conn, drafts, atomic=atomic)
        assert self._all_rows() == before
        names = {ref.key: ref.balance_id for ref in (virtual or Virtual()).values()} | self._names()
        balances = {names[key]: balance[1:5] for one in rehearsed for key, balance in one.after.items()}
        outcomes = [
            (outcome.status, outcome.amount, outcome.rejection and outcome.rejection.reason)
            for one in rehearsed
            for outcome in one.outcomes
        ]
        return outcomes, balances

    def _really_do(self, drafts: list[Draft], rehearsed: Any, *, atomic: bool) -> None:
        submission = Submission(drafts, atomic=atomic)
        with begin(self.ledger.engine) as conn:
            append.append(conn, [submission])
        assert submission.error is None
        self.ledger.drain()
        expected_outcomes, expected_balances = rehearsed
        with reading(self.ledger.engine) as conn:
            rows = transaction_store.find_seqs(conn, [one.seq for one in submission.postings()])
            balances = outcome_store.read_balances(conn, self._names())
        outcomes = []
        for row in rows:
            assert row.outcome is not None
            status = Status.INFLIGHT if row.kind == Kind.HOLD and row.hold is not None else row.status
            outcomes.append((status, row.decided_amount, row.rejection and row.rejection.reason))
            self.seen[f"{Kind(row.kind).name} {status}"] += 1
        assert outcomes == expected_outcomes
        names = self._names()
        assert {names[key]: balance[1:5] for key, balance in balances.items() if names[key] in expected_balances} == (
            expected_balances
        )
        self.posted += [one.transaction_id for one in submission.accepted]

    def _names(self) -> dict[int, str]:
        with reading(self.ledger.engine) as conn:
            rows = conn.execute(text("SELECT id, indicator FROM balances")).fetchall()
        return {row[0]: row[1] for row in rows}

    def _all_rows(self) -> dict[str, str]:
        """A digest of each table."""
        with reading(self.ledger.engine) as conn:
            return {
                table.name: conn.execute(
                    text(f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table.name} AS t")
                ).scalar_one()
                for table in metadata.sorted_tables
            }


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rehearsal_says_what_then_happens_and_writes_nothing(ledger: Ledger, seed: int) -> None:
    play = _Play(ledger, Random(seed))
    for _ in range(80):
        play.turn()
    assert len(play.seen) >= 6, play.seen


# A run of a funding job, by its id


def test_a_run_of_holds_is_committed_in_part_and_voided_by_its_id(ledger: Ledger) -> None:
    run = fund(ledger, "@A", "@B", inflight=True)
    ledger.settle_all(run.run_id, "commit", precise_amount=4)
    ledger.drain()
    assert [ledger.balance(name).balance for name in ("@A", "@B", "@Pool")] == [2, 2, -4]
    ledger.settle_all(run.run_id, "void")
    ledger.drain()
    assert (ledger.balance("@Pool").balance, ledger.balance("@Pool").inflight_debit_balance) == (-4, 0)


def test_a_run_is_refunded_by_its_id(ledger: Ledger) -> None:
    run = fund(ledger, "@A", "@B")
    ledger.refund(run.run_id)
    ledger.drain()
    assert [ledger.balance(name).balance for name in ("@A", "@B", "@Pool")] == [0, 0, 0]


def test_a_run_of_too_many_rows_is_not_settled_in_one_request(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "MAX_SETTLED", 1)
    run = fund(ledger, "@A", "@B", inflight=True)
    with pytest.raises(InvalidRequest, match="2 transactions are too many"):
        ledger.settle_all(run.run_id, "commit")
