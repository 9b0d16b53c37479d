"""Refunds of transactions, of holds, of splits and of batches."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from core.base.db import reading
from core.base.errors import Conflict, InvalidRequest, NotFound, ReferenceConflict
from core.base.ids import new_id
from core.ledger import drain, refunds
from core.ledger.rules.model import Accepted, RejectReason, Status
from core.ledger.rules.requests import Terms
from core.ledger.store import families as family_store
from tests.harness.factories import Ledger, shares, transaction
from tests.harness.settling import applied, batch_of, held_of, legs_of, split_of, statuses_of, sums_of

pytestmark = pytest.mark.usefixtures("verified")


@pytest.mark.smoke
def test_a_refund_gives_everything_back_and_is_called_after_the_original(ledger: Ledger) -> None:
    original = applied(ledger, precise_amount=10, meta_data=b'{"a": 1, "b": 2}')
    refund = ledger.refund(original, meta_data=b'{"b": 3}', description="sorry")
    assert statuses_of(ledger, refund) == [Status.APPLIED]
    row = ledger.transaction(refund.transaction_id)
    assert (row.reference, row.parent, row.amount) == (f"{original}_refund", original, 10)
    assert (row.description, row.meta_data) == ("sorry", '{"a":1,"b":3}')
    assert sums_of(ledger, "@World", "@A") == [0, 0]
    assert ledger.transaction(original).status is Status.APPLIED


@pytest.mark.parametrize("decided", [False, True])
@pytest.mark.parametrize("amount", [None, 1])
def test_what_was_refunded_whole_is_refused_and_says_by_what(ledger: Ledger, decided: bool, amount: int | None) -> None:
    original = applied(ledger, precise_amount=10)
    first = ledger.refund(original)
    if decided:
        ledger.drain()
    with pytest.raises(Conflict, match="has already been refunded") as caught:
        ledger.refund(original, precise_amount=amount)
    assert caught.value.code == "TXN_ALREADY_REFUNDED"
    assert caught.value.details == {"refund_transaction_id": first.transaction_id}
    ledger.drain()
    assert sums_of(ledger, "@World", "@A") == [0, 0]


def test_partial_refunds_and_then_the_rest(ledger: Ledger) -> None:
    original = applied(ledger, precise_amount=10)
    for amount, left in ((3, 7), (4, 3), (None, 0)):
        refund = ledger.refund(original, precise_amount=amount)
        assert statuses_of(ledger, refund) == [Status.APPLIED]
        assert sums_of(ledger, "@A") == [left]
    assert ledger.transaction(refund.transaction_id).amount == 3
    with pytest.raises(Conflict, match="has already been refunded"):
        ledger.refund(original, precise_amount=1)


def test_partial_refunds_that_come_to_the_whole_leave_nothing_to_refund(ledger: Ledger) -> None:
    original = applied(ledger, precise_amount=10)
    for amount in (3, 7):
        ledger.refund(original, precise_amount=amount)
    ledger.drain()
    with pytest.raises(Conflict, match="has already been refunded") as caught:
        ledger.refund(original)
    assert caught.value.code == "TXN_ALREADY_REFUNDED"


def test_more_than_is_left_is_refused_with_what_is_left(ledger: Ledger) -> None:
    original = applied(ledger, precise_amount=1000)
    ledger.refund(original, precise_amount=400)
    ledger.drain()
    with pytest.raises(InvalidRequest, match=r"Available: USD6\.00, Requested: USD6\.01") as caught:
        ledger.refund(original, precise_amount=601)
    assert caught.value.code == "TXN_INVALID_AMOUNT"


def test_what_is_not_decided_yet_is_left_to_the_engine(ledger: Ledger) -> None:
    original = applied(ledger, precise_amount=10)
    refunds = [ledger.refund(original, precise_amount=6) for _ in range(2)]
    assert statuses_of(ledger, *refunds) == [Status.APPLIED, Status.REJECTED]
    rejection = ledger.transaction(refunds[1].transaction_id).rejection
    assert rejection is not None
    assert rejection.reason is RejectReason.REFUND_EXCEEDS_REMAINDER
    assert (rejection.available, rejection.requested, rejection.short_by) == (4, 6, 2)


@pytest.mark.parametrize("amount", ["nan", "-1", "0.001"])
def test_an_amount_that_is_none_is_refused(ledger: Ledger, amount: str) -> None:
    original = applied(ledger, precise_amount=10)
    with pytest.raises(InvalidRequest):
        ledger.refund(original, amount=Decimal(amount))


@pytest.mark.parametrize("of_split", [False, True])
def test_of_five_whole_refunds_at_once_one_is_done(ledger: Ledger, threads: ThreadPoolExecutor, of_split: bool) -> None:
    original = split_of(ledger, 10, ("@A", 4), ("@B", "left")) if of_split else applied(ledger, precise_amount=10)
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
    assert sums_of(ledger, "@World", "@A") == [0, 0]


def test_of_five_partial_refunds_at_once_as_many_are_done_as_there_is_money(
    ledger: Ledger, threads: ThreadPoolExecutor
) -> None:
    original = applied(ledger, precise_amount=10)
    start = threading.Barrier(5)

    def refund() -> Accepted:
        start.wait()
        accepted = ledger.refund(original, precise_amount=3)
        drain.drain(ledger.engine, accepted.queue)
        return accepted

    refunds = [future.result() for future in [threads.submit(refund) for _ in range(5)]]
    assert Counter(statuses_of(ledger, *refunds)) == {Status.APPLIED: 3, Status.REJECTED: 2}
    assert sums_of(ledger, "@World", "@A") == [-1, 1]


def test_a_refund_can_be_refunded_and_that_as_well(ledger: Ledger) -> None:
    transaction_id = applied(ledger, precise_amount=10)
    for expected in (0, 10, 0):
        refund = ledger.refund(transaction_id)
        assert statuses_of(ledger, refund) == [Status.APPLIED]
        assert sums_of(ledger, "@A") == [expected]
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
        transaction_id = applied(ledger, inflight=True)
        if state != "INFLIGHT":
            void = ledger.settle(transaction_id, "void")
            ledger.drain()
            transaction_id = void.transaction_id if state == "a void" else transaction_id
    with pytest.raises(NotFound, match="no transaction to refund") as caught:
        ledger.refund(transaction_id)
    assert caught.value.code == "TXN_NOT_FOUND"


def test_a_refund_of_a_split_gives_each_leg_back(ledger: Ledger) -> None:
    split = split_of(ledger, 100, ("@A", "20%"), ("@B", 30), ("@C", "left"))
    refund = ledger.refund(split)
    assert statuses_of(ledger, refund) == [Status.APPLIED]
    row = ledger.transaction(refund.transaction_id)
    assert (row.reference, row.parent, row.amount) == (f"{split}_refund", split, 100)
    legs = legs_of(ledger, refund.transaction_id)
    assert [leg.reference for leg in legs] == [f"{split}_refund_{number}" for number in (1, 2, 3)]
    assert [leg.amount for leg in legs] == [20, 30, 50]
    assert sums_of(ledger, "@World", "@A", "@B", "@C") == [0, 0, 0, 0]


def test_a_part_of_a_split_is_given_back_in_proportion_to_what_is_left(ledger: Ledger) -> None:
    split = split_of(ledger, 100, ("@A", 20), ("@B", 30), ("@C", "left"))
    ledger.refund(split, precise_amount=10)
    ledger.drain()
    assert sums_of(ledger, "@A", "@B", "@C") == [18, 27, 45]
    ledger.refund(legs_of(ledger, split)[2].transaction_id)
    ledger.drain()
    assert sums_of(ledger, "@A", "@B", "@C") == [18, 27, 0]
    ledger.refund(split, precise_amount=5)
    ledger.drain()
    assert sums_of(ledger, "@A", "@B", "@C") == [16, 24, 0]
    with pytest.raises(InvalidRequest, match=r"Available: USD0\.40"):
        ledger.refund(split, precise_amount=41)
    rest = ledger.refund(split)
    assert statuses_of(ledger, rest) == [Status.APPLIED]
    assert sums_of(ledger, "@World", "@A", "@B", "@C") == [0, 0, 0, 0]


def test_the_refund_of_a_split_shows_what_it_gave_back(ledger: Ledger) -> None:
    """A refund is whole or rejected, even if something was given back between its request and its turn."""
    split = split_of(ledger, 100, ("@A", 20), ("@B", "left"))
    ledger.refund(split, precise_amount=10)
    refund = ledger.refund(split)
    ledger.drain()
    row = ledger.transaction(refund.transaction_id)
    moved = sum(leg.decided_amount or 0 for leg in legs_of(ledger, refund.transaction_id))
    assert (row.status, moved) == (Status.REJECTED, 0) or (row.status, moved) == (Status.APPLIED, row.amount)


def test_a_whole_refund_that_was_rejected_does_not_forbid_another(ledger: Ledger) -> None:
    split = split_of(ledger, 100, ("@A", 20), ("@B", "left"))
    ledger.refund(legs_of(ledger, split)[0].transaction_id)
    overtaken = ledger.refund(split)
    assert statuses_of(ledger, overtaken) == [Status.REJECTED]
    again = ledger.refund(split)
    assert again.transaction_id != overtaken.transaction_id
    assert statuses_of(ledger, again) == [Status.APPLIED]
    assert sums_of(ledger, "@World", "@A", "@B") == [0, 0, 0]
    with pytest.raises(Conflict, match="already been refunded"):
        ledger.refund(split)


def test_a_split_that_was_applied_in_part_is_refunded_as_far_as_it_was(ledger: Ledger) -> None:
    applied(ledger, destination="@Payer", precise_amount=25)
    split = ledger.post(
        precise_amount=100,
        source="@Payer",
        destination=None,
        destinations=shares(("@A", 20), ("@B", 80)),
        allow_overdraft=False,
    )
    ledger.drain()
    assert [leg.status for leg in legs_of(ledger, split.transaction_id)] == [Status.APPLIED, Status.REJECTED]
    refund = ledger.refund(split.transaction_id)
    assert statuses_of(ledger, refund) == [Status.APPLIED]
    assert ledger.transaction(refund.transaction_id).amount == 20
    assert sums_of(ledger, "@Payer", "@A", "@B") == [25, 0, 0]


def test_the_refund_of_a_split_can_be_refunded(ledger: Ledger) -> None:
    split = split_of(ledger, 100, ("@A", 20), ("@B", "left"))
    refund = ledger.refund(split)
    ledger.drain()
    back = ledger.refund(refund.transaction_id)
    assert statuses_of(ledger, back) == [Status.APPLIED]
    assert sums_of(ledger, "@World", "@A", "@B") == [-100, 20, 80]


@pytest.mark.parametrize("parts", [[None], [3, 4], [3, 4, None]])
def test_of_a_hold_what_was_committed_is_refunded(ledger: Ledger, parts: list[int | None]) -> None:
    hold = applied(ledger, precise_amount=10, inflight=True)
    for part in parts:
        ledger.settle(hold, "commit", precise_amount=part)
        ledger.drain()
    committed = sum(part or 10 - sum(p or 0 for p in parts) for part in parts)
    if committed < 10:
        with pytest.raises(NotFound):
            ledger.refund(hold)
        ledger.settle(hold, "void")
        ledger.drain()
    assert sums_of(ledger, "@A") == [committed]
    ledger.refund(hold, precise_amount=2)
    ledger.drain()
    assert sums_of(ledger, "@A") == [committed - 2]
    refund = ledger.refund(hold)
    assert statuses_of(ledger, refund) == [Status.APPLIED]
    assert ledger.transaction(refund.transaction_id).amount == committed - 2
    assert sums_of(ledger, "@World", "@A") == [0, 0]
    assert held_of(ledger, "@World", "@A") == [0, 0]


def test_one_commit_of_a_hold_can_be_refunded_by_itself(ledger: Ledger) -> None:
    hold = applied(ledger, precise_amount=10, inflight=True)
    commits = []
    for amount in (3, 7):
        commits.append(ledger.settle(hold, "commit", precise_amount=amount))
        ledger.drain()
    ledger.refund(commits[0].transaction_id)
    ledger.drain()
    assert sums_of(ledger, "@A") == [7]
    ledger.refund(hold)
    ledger.drain()
    assert sums_of(ledger, "@A") == [0]


def test_a_refund_of_a_batch_gives_all_of_it_back_and_is_not_of_the_batch(ledger: Ledger) -> None:
    batch = batch_of(
        ledger,
        transaction(precise_amount=10),
        transaction(precise_amount=100, destination=None, destinations=shares(("@A", 20), ("@B", "left"))),
        transaction(source="@Poor", allow_overdraft=False),
    )
    with reading(ledger.engine) as conn:
        before = family_store.batch(conn, batch)
    refund = ledger.refund(batch)
    assert statuses_of(ledger, refund) == [Status.APPLIED]
    assert ledger.transaction(refund.transaction_id).amount == 110
    assert sums_of(ledger, "@World", "@A", "@B") == [0, 0, 0]
    with reading(ledger.engine) as conn:
        assert family_store.batch(conn, batch) == before


def test_a_refund_by_a_repeated_reference_is_answered_with_the_first(ledger: Ledger) -> None:
    original, other = (applied(ledger, precise_amount=10) for _ in range(2))
    first = ledger.refund(original, precise_amount=4, reference="mine")
    for _ in range(2):
        again = ledger.refund(original, precise_amount=4, reference="mine")
        assert (again.transaction_id, again.replayed) == (first.transaction_id, True)
        ledger.drain()
    assert sums_of(ledger, "@A") == [16]
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
    split = split_of(ledger, 100, ("@A", 20), ("@B", "left"))
    first = ledger.refund(split, precise_amount=amount, reference="mine")
    for _ in range(2):
        again = ledger.refund(split, precise_amount=amount, reference="mine")
        assert (again.transaction_id, again.replayed) == (first.transaction_id, True)
        ledger.drain()
    assert sums_of(ledger, "@World") == [-(100 - (amount or 100))]
    for other in {None, 10, 100} - {amount}:
        with pytest.raises(ReferenceConflict, match="amount differs"):
            ledger.refund(split, precise_amount=other, reference="mine")


def test_a_refund_of_a_split_by_an_older_release_is_answered_too(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = split_of(ledger, 100, ("@A", 20), ("@B", "left"))
    with monkeypatch.context() as older:
        older.setattr(refunds, "Terms", lambda refund, whole: Terms(refund=refund))
        first = ledger.refund(split, reference="mine")
    for amount in (None, 100):
        assert ledger.refund(split, precise_amount=amount, reference="mine").transaction_id == first.transaction_id
    with pytest.raises(ReferenceConflict, match="amount differs"):
        ledger.refund(split, precise_amount=10, reference="mine")


@pytest.mark.parametrize("amount", [None, 10])
def test_a_refund_by_the_reference_of_the_commit_is_a_conflict(ledger: Ledger, amount: int | None) -> None:
    hold = applied(ledger, precise_amount=10, inflight=True)
    ledger.settle(hold, "commit", precise_amount=amount, reference="mine")
    ledger.drain()
    with pytest.raises(ReferenceConflict, match="kind differs"):
        ledger.refund(hold, precise_amount=amount, reference="mine")


def test_a_refund_by_the_reference_of_what_it_gives_back_is_a_conflict(ledger: Ledger) -> None:
    batch = batch_of(
        ledger,
        transaction(precise_amount=10, reference="one"),
        transaction(
            precise_amount=100, reference="split", destination=None, destinations=shares(("@A", 20), ("@B", 80))
        ),
    )
    for reference, amount in (("one", 10), ("split", None), ("split", 100)):
        with pytest.raises(ReferenceConflict, match="kind differs"):
            ledger.refund(batch, precise_amount=amount, reference=reference)
