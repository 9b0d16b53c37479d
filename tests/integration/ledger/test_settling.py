"""Commits and voids of holds, of splits, of batches and of runs of funding jobs."""

from typing import Any

import pytest

from core.base.db import begin
from core.base.errors import Conflict, InvalidRequest, ReferenceConflict
from core.base.ids import new_id
from core.ledger import batches
from core.ledger.rules.model import BATCH_PREFIX, RejectReason, Status
from core.ledger.store import due as due_store
from tests.harness.factories import Ledger, fund, shares, transaction
from tests.harness.settling import applied, batch_of, held_of, legs_of, reason_of, split_of, statuses_of, sums_of

pytestmark = pytest.mark.usefixtures("verified")


def _held_split(ledger: Ledger, **fields: Any) -> str:
    """Hold 30 for @A and 70 for @B."""
    return split_of(ledger, 100, ("@A", 30), ("@B", "left"), inflight=True, **fields)


# Commits and voids


@pytest.mark.parametrize("skip_queue", [False, True])
@pytest.mark.parametrize(("status", "expected"), [("commit", [-100, 30, 70]), ("void", [0, 0, 0])])
def test_a_split_is_settled_whole(ledger: Ledger, status: str, expected: list[int], skip_queue: bool) -> None:
    split = _held_split(ledger)
    assert held_of(ledger, "@World", "@A", "@B") == [-100, 30, 70]
    settled = ledger.settle_all(split, status, skip_queue=skip_queue)
    assert len(settled) == 2
    assert set(statuses_of(ledger, *settled)) == {Status.APPLIED if status == "commit" else Status.VOID}
    assert sums_of(ledger, "@World", "@A", "@B") == expected
    assert held_of(ledger, "@World", "@A", "@B") == [0, 0, 0]
    assert ledger.transaction(split).status is (Status.APPLIED if status == "commit" else Status.VOID)


def test_a_partial_commit_of_a_split_is_shared_in_proportion_to_what_is_left(ledger: Ledger) -> None:
    split = _held_split(ledger)
    ledger.settle_all(split, "commit", precise_amount=11)
    ledger.drain()
    assert sums_of(ledger, "@A", "@B") == [3, 8]
    ledger.settle(legs_of(ledger, split)[0].transaction_id, "void")
    ledger.drain()
    (only,) = ledger.settle_all(split, "commit", precise_amount=50)
    assert statuses_of(ledger, only) == [Status.APPLIED]
    assert sums_of(ledger, "@A", "@B") == [3, 58]
    with pytest.raises(InvalidRequest, match=r"remaining amount\. Available: USD0\.12, Requested: USD0\.13"):
        ledger.settle_all(split, "commit", precise_amount=13)
    ledger.settle_all(split, "commit")
    ledger.drain()
    assert sums_of(ledger, "@World", "@A", "@B") == [-73, 3, 70]
    assert ledger.transaction(split).status is Status.APPLIED
    with pytest.raises(Conflict, match="has already been voided"):
        ledger.settle_all(split, "commit")


def test_the_commit_of_a_split_is_rejected_whole_when_one_leg_was_settled_meanwhile(ledger: Ledger) -> None:
    split = _held_split(ledger)
    ledger.settle(legs_of(ledger, split)[1].transaction_id, "void")
    overtaken = ledger.settle_all(split, "commit", skip_queue=True)
    assert statuses_of(ledger, *overtaken) == [Status.REJECTED, Status.REJECTED]
    assert [reason_of(ledger, each) for each in overtaken] == [RejectReason.ATOMIC_GROUP, RejectReason.ALREADY_VOIDED]
    assert sums_of(ledger, "@A", "@B") == [0, 0]
    assert held_of(ledger, "@World", "@A", "@B") == [-30, 30, 0]
    again = ledger.settle_all(split, "commit")
    assert statuses_of(ledger, *again) == [Status.APPLIED]


def test_a_batch_is_settled_each_hold_by_itself(ledger: Ledger) -> None:
    batch = batch_of(
        ledger,
        transaction(precise_amount=10, inflight=True),
        transaction(precise_amount=20, inflight=True, destination="@B"),
        transaction(precise_amount=5),
        transaction(
            precise_amount=30, inflight=True, destination=None, destinations=shares(("@C", "50%"), ("@D", "50%"))
        ),
    )
    ledger.settle(legs_of(ledger, batch)[0].transaction_id, "void")
    overtaken = ledger.settle_all(batch, "commit", skip_queue=True)
    assert [reason_of(ledger, each) for each in overtaken if statuses_of(ledger, each) == [Status.REJECTED]] == [
        RejectReason.ALREADY_VOIDED
    ]
    assert sums_of(ledger, "@A", "@B", "@C", "@D") == [5, 20, 15, 15]
    with pytest.raises(Conflict, match="already been voided"):
        ledger.settle_all(batch, "void")


def test_a_second_settlement_in_the_queue_is_refused_and_without_the_queue_takes_its_turn(ledger: Ledger) -> None:
    hold = applied(ledger, precise_amount=10, inflight=True)
    ledger.settle(hold, "commit", precise_amount=6)
    with pytest.raises(Conflict, match="already queued") as caught:
        ledger.settle(hold, "void")
    assert caught.value.code == "GEN_CONFLICT"
    void = ledger.settle(hold, "void", skip_queue=True)
    assert statuses_of(ledger, void) == [Status.VOID]
    assert (sums_of(ledger, "@A"), held_of(ledger, "@A")) == ([6], [0])


def test_a_hold_may_be_settled_before_it_is_decided(ledger: Ledger) -> None:
    split = ledger.post(
        precise_amount=100, destination=None, destinations=shares(("@A", 30), ("@B", "left")), inflight=True
    )
    commits = ledger.settle_all(split.transaction_id, "commit", precise_amount=50)
    assert statuses_of(ledger, *commits) == [Status.APPLIED, Status.APPLIED]
    assert sums_of(ledger, "@A", "@B") == [15, 35]


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
    hold, other = (applied(ledger, precise_amount=10, inflight=True) for _ in range(2))
    first = ledger.settle(hold, "commit", precise_amount=4, reference="mine")
    for _ in range(2):
        again = ledger.settle(hold, "commit", precise_amount=4, reference="mine")
        assert (again.transaction_id, again.replayed) == (first.transaction_id, True)
        ledger.drain()
    assert sums_of(ledger, "@A") == [4]
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
    assert sums_of(ledger, "@World") == [-(amount or 100)]


def test_a_repeated_reference_settles_a_split_once_also_when_a_leg_was_rejected_meanwhile(ledger: Ledger) -> None:
    applied(ledger, destination="@Payer", precise_amount=60)
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
    assert [leg.status for leg in legs_of(ledger, split)].count(Status.REJECTED) == 1
    again = ledger.settle_all(split, "commit", precise_amount=10, reference="mine")
    assert {each.transaction_id for each in again} == {each.transaction_id for each in first}
    assert all(each.replayed for each in again)


def test_a_repeated_reference_settles_a_batch_once_also_when_it_has_grown_meanwhile(ledger: Ledger) -> None:
    batch = new_id(BATCH_PREFIX)
    ledger.bulk(transaction(precise_amount=10, inflight=True), parent=batch)
    ledger.drain()
    first = ledger.settle_all(batch, "commit", precise_amount=4, reference="mine")
    ledger.bulk(transaction(precise_amount=10, inflight=True), parent=batch)  # As a scheduled member of it would.
    ledger.drain()
    again = ledger.settle_all(batch, "commit", precise_amount=4, reference="mine")
    assert [each.transaction_id for each in again] == [each.transaction_id for each in first]
    ledger.drain()
    assert sums_of(ledger, "@A") == [4]


# A run of a funding job, by its id


@pytest.mark.smoke
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
    monkeypatch.setattr(batches, "MAX_SETTLED", 1)
    run = fund(ledger, "@A", "@B", inflight=True)
    with pytest.raises(InvalidRequest, match="2 transactions are too many"):
        ledger.settle_all(run.run_id, "commit")
