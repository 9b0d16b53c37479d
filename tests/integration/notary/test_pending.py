"""Pending work is done as it was accepted, or not at all, and its alteration is named."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from core.base.db import begin, reading
from core.ledger import due
from core.notary.following import Altered
from core.notary.notary import Notary
from core.notary.seals import keypair
from core.upkeep import probes
from core.verification.verify import verify_all, verify_since_checkpoint
from tests.harness.factories import Ledger, shares
from tests.harness.history import named, tamper
from web.probing import facts

OURS = keypair(bytes(32))
SOON = datetime.now(UTC) + timedelta(hours=1)
LATER = SOON + timedelta(hours=1)

EDITS = {
    "amount": "amount = 9999",
    "source": "source = destination, destination = source",
    "destination": "destination = (SELECT max(id) FROM balances)",
    "currency": "currency = 'EUR'",
    "precision": "precision = 1",
    "description": "description = 'other'",
    "reference": "reference = 'other'",
    "kind": "kind = 2",
    "allow_overdraft": "allow_overdraft = NOT allow_overdraft",
    "overdraft_limit": "overdraft_limit = 5",
    "parent": "parent = 'bulk_other'",
    "effective_date": "effective_date = now()",
    "meta_data": """meta_data = '{"a": 2}'""",
    "terms": """terms = terms::jsonb - 'scheduled_for'""",
    "legs": "legs = '[]'",
    "due_at": "due_at = due_at - interval '1 minute'",
    "actor": "actor = 'key_other'",
    "no actor": "actor = NULL",
    "id": "id = gen_random_uuid()",
}


@pytest.fixture
def waiting(ledger: Ledger) -> Ledger:
    """A split and a transfer that are due soon, and a balance that is paid by neither."""
    ledger.post(destination="@Mallory")
    legs = shares(("@A", 30), ("@B", 70))
    ledger.post(
        reference="rent", scheduled_for=SOON.isoformat(), precise_amount=100, destination=None, destinations=legs,
        meta_data=b'{"a": 1.50}', effective_date=datetime(2020, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    ledger.post(reference="wage", scheduled_for=SOON.isoformat(), precise_amount=7, destination="@A")
    ledger.drain()
    return ledger


def _log(ledger: Ledger) -> list[str]:
    with reading(ledger.engine) as conn:
        return list(conn.execute(text("SELECT reference FROM log WHERE seq > 1 ORDER BY seq")).scalars())


def test_what_was_not_altered_is_done(waiting: Ledger) -> None:
    assert verify_all(waiting.engine).problems == []
    due.accept_due(waiting.engine, LATER)
    assert sorted(_log(waiting)) == ["rent", "rent_1", "rent_2", "wage"]
    waiting.drain()
    assert verify_all(waiting.engine).problems == []


@pytest.mark.parametrize("column", EDITS)
def test_what_was_altered_is_named_and_pays_nobody(waiting: Ledger, column: str) -> None:
    reference = "wage" if column in ("source", "destination") else "rent"
    tamper(waiting, f"UPDATE scheduled SET {EDITS[column]} WHERE reference = '{reference}'")
    for report in (verify_all(waiting.engine), verify_since_checkpoint(waiting.engine)):
        assert [each.table for each in report.problems][:1] == ["scheduled"]
    due.accept_due(waiting.engine, LATER)
    done = ["wage"] if reference == "rent" else ["rent", "rent_1", "rent_2"]
    assert _log(waiting) == done
    due.accept_due(waiting.engine, LATER)  # It is not looked at again, and holds up nothing else.
    waiting.post(reference="next", scheduled_for=SOON.isoformat())
    due.accept_due(waiting.engine, LATER)
    assert _log(waiting) == [*done, "next"]


def test_what_was_refused_is_told_by_the_health(waiting: Ledger) -> None:
    tamper(
        waiting, "UPDATE scheduled SET amount = 9 WHERE reference = 'wage'", "UPDATE scheduled SET refused_at = now()"
    )
    with begin(waiting.engine) as conn:
        conn.execute(text("UPDATE scheduled SET due_at = now() - interval '1 minute'"))
        refused = probes.refused(conn)
    assert len(refused) == 2
    (trouble,) = facts._refused(refused)
    assert refused[0] in trouble.what


def test_what_was_removed_is_named(waiting: Ledger) -> None:
    tamper(waiting, "DELETE FROM scheduled WHERE reference = 'wage'")
    report = verify_all(waiting.engine)
    assert [(each.table, each.what, each.found) for each in report.problems] == [("scheduled", "row", "none")]


def test_what_was_cancelled_is_no_problem(waiting: Ledger) -> None:
    with begin(waiting.engine) as conn:
        (id,) = conn.execute(text("SELECT 'txn_' || id FROM scheduled WHERE reference = 'wage'")).scalars()
        due.cancel(conn, id)
    assert verify_all(waiting.engine).problems == []


def test_what_the_release_before_scheduled_is_done_without_a_pledge(waiting: Ledger) -> None:
    tamper(waiting, "DELETE FROM pledges", "UPDATE scheduled SET actor = NULL")
    assert verify_all(waiting.engine).problems == []
    due.accept_due(waiting.engine, LATER)
    assert sorted(_log(waiting)) == ["rent", "rent_1", "rent_2", "wage"]


def test_a_pledge_that_is_altered_to_match_is_named_by_its_chain_and_by_the_seal(waiting: Ledger) -> None:
    last = Notary(waiting.engine, OURS).seal()
    tamper(waiting, "UPDATE pledges SET digest = '\\x00' WHERE number = 2")
    named(verify_all(waiting.engine), "pledges", "number 2", "hash")
    tamper(waiting, "DELETE FROM pledges WHERE number = 2", "DELETE FROM scheduled WHERE reference = 'wage'")
    report = verify_all(waiting.engine)
    named(report, "pledges", "number 2", "hash")
    with pytest.raises(Altered, match="pledge 2"):
        Notary(waiting.engine, OURS, last).seal()
