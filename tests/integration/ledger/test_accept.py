"""Accepting: names, references, precision, and what is refused before anything is written."""

from datetime import UTC, datetime

import pytest

from core.base.errors import InvalidRequest, NotFound, ReferenceConflict
from core.ledger.directory import Directory
from core.ledger.rules.model import Status
from tests.harness.factories import Ledger
from tests.harness.processes import wait_until
from web.accept.warming import Warming


def test_the_funding_pool_goes_negative_and_only_the_pool(ledger: Ledger) -> None:
    posted = ledger.post(
        precise_amount=12000023, source="@FundingPool", destination="@C", allow_overdraft=None, apply_overdraft=True
    )
    ledger.drain()
    assert ledger.transaction(posted.transaction_id).status is Status.APPLIED
    assert ledger.balance("@FundingPool").balance == -12000023
    assert ledger.balance("@C").balance == 12000023


def test_a_repeated_reference_is_answered_with_the_first_transaction(ledger: Ledger) -> None:
    first = ledger.post(reference="r", meta_data=b'{"a": 1.10}')
    again = ledger.post(reference="r", meta_data=b'{ "a": 1.10 }')
    assert again.replayed
    assert again.transaction_id == first.transaction_id


@pytest.mark.parametrize(
    ("change", "named"),
    [({"precise_amount": 2}, "amount"), ({"destination": "@B"}, "destination"), ({"inflight": True}, "inflight")],
)
def test_a_reference_with_other_content_is_a_conflict(ledger: Ledger, change: dict[str, object], named: str) -> None:
    ledger.post(reference="r")
    with pytest.raises(ReferenceConflict) as caught:
        ledger.post(reference="r", **change)
    assert caught.value.details["field"] == named


def test_an_unknown_balance_is_not_found_and_creates_nothing(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        ledger.post(source="@New", destination="bln_00000000-0000-0000-0000-000000000000")
    with pytest.raises(AssertionError):
        ledger.balance("@New")


def test_a_currency_keeps_the_precision_of_its_first_use(ledger: Ledger) -> None:
    ledger.post(precision=None, currency="JPY")
    ledger.post(precision=100)
    with pytest.raises(InvalidRequest) as caught:
        ledger.post(precision=1000)
    assert caught.value.code == "TXN_PRECISION_MISMATCH"
    assert "has precision 100" in caught.value.message


def test_a_name_just_looked_up_survives_another_lookup(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.ledger.directory.CAPACITY", 4)
    ledger.directory.create([("@a", "USD"), ("@b", "USD")])
    ledger.directory.create([("@c", "USD")])
    assert ledger.directory.balance(("@a", "USD")) is not None


def test_an_offset_that_postgres_does_not_know_is_stored_as_utc(ledger: Ledger) -> None:
    posted = ledger.post(effective_date=datetime.fromisoformat("0324-05-17T10:57:07-21:35"))
    assert ledger.transaction(posted.transaction_id).effective_date == datetime(324, 5, 18, 8, 32, 7, tzinfo=UTC)


def test_balances_are_read_ahead_as_they_would_be_found(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.ledger.directory._WARM_AT_ONCE", 2)
    names = [(f"@ahead{number}", "USD") for number in range(5)]
    ledger.directory.create(names)
    other = Directory(ledger.engine)
    while other.warm():
        pass
    assert {name: other.balance(name) for name in names} == Directory(ledger.engine).know(names)
    ids = [ref.balance_id for name in names if (ref := other.balance(name))]
    assert {id: other.balance(id) for id in ids} == Directory(ledger.engine).know(ids)
    ledger.directory.create([("@later", "USD")])
    assert other.balance(("@later", "USD")) is None
    assert not other.warm()
    assert other.balance(("@later", "USD")) is not None


def test_a_name_that_is_not_known_makes_a_web_process_read_ahead(ledger: Ledger) -> None:
    ledger.directory.create([("@one", "USD"), ("@two", "USD")])
    other = Directory(ledger.engine)
    Warming(other)
    other.know([("@one", "USD")])
    wait_until(lambda: other.balance(("@two", "USD")) is not None)


def test_what_reads_ahead_reads_nothing_more_when_it_is_stopped(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    warming, read = Warming(ledger.directory), []
    monkeypatch.setattr(ledger.directory, "warm", lambda: read.append(1))
    monkeypatch.setattr("web.accept.warming.APART_S", 0.0)
    warming.loop.stop()
    wait_until(lambda: not warming.loop.is_alive)
    assert read == []
