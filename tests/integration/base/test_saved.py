"""A database that gets the rows of an earlier one back goes on as that one would have."""

from sqlalchemy import Engine

from core.ledger.directory import Directory
from core.verification.verify import verify_all
from tests.harness.factories import Ledger
from tests.harness.saved import restore, save


def test_a_ledger_that_is_restored_holds_what_it_held_and_goes_on(ledger: Ledger, owner: Engine) -> None:
    posted = [ledger.post(inflight=number == 1) for number in range(3)]
    ledger.drain()
    ledger.post()
    saved = save(owner)
    ledger.post(destination="@Later")
    ledger.drain()
    assert save(owner) != saved
    restore(owner, saved)
    assert save(owner) == saved
    again = Ledger(owner, Directory(owner))
    assert again.post().seq == 5
    again.drain()
    report = verify_all(owner)
    assert (report.problems, report.transactions, report.undecided) == ([], 5, 0)
    assert again.transaction(posted[1].transaction_id).status == "INFLIGHT"
