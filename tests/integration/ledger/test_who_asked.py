"""Each row of the log says which key asked for it, and which part of the service accepted it, however much later."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from core.base import actors
from core.base.actors import Part, acting_for, with_all_rights
from core.base.db import reading
from core.funding import runs
from core.ledger import due
from core.verification.verify import verify_all
from tests.harness.factories import Ledger, new_run, shares

ALICE, BOB = with_all_rights("key_alice"), with_all_rights("key_bob")
SOON = datetime.now(UTC) + timedelta(hours=1)


def _rows(ledger: Ledger) -> list[tuple[str, str, str]]:
    with reading(ledger.engine) as conn:
        found = conn.execute(text("SELECT reference, actor, part FROM log ORDER BY seq"))
        return [(reference, actor, part) for reference, actor, part in found]


def test_a_row_has_the_actor_of_its_request(ledger: Ledger) -> None:
    with acting_for(ALICE):
        ledger.post(
            reference="one", precise_amount=100, destination=None, destinations=shares(("@A", "50%"), ("@B", "left"))
        )
    with acting_for(BOB.through(Part.COMMAND)):
        ledger.post(reference="two")
    assert _rows(ledger) == [
        ("one", "key_alice", "web"),
        ("one_1", "key_alice", "web"),
        ("one_2", "key_alice", "web"),
        ("two", "key_bob", "command"),
    ]


def test_what_is_due_has_the_actor_who_asked_for_it_and_the_part_that_accepts_it(ledger: Ledger) -> None:
    with acting_for(ALICE):
        ledger.post(reference="later", scheduled_for=SOON.isoformat())
        ledger.post(reference="hold", inflight=True, inflight_expiry_date=SOON.isoformat())
    ledger.drain()
    with acting_for(actors.TICK):
        due.accept_due(ledger.engine, SOON + timedelta(hours=1))
    assert [row[1:] for row in _rows(ledger)] == [("key_alice", "web"), ("key_alice", "tick"), ("key_alice", "tick")]
    ledger.drain()
    assert verify_all(ledger.engine).problems == []


def test_a_funding_row_has_the_actor_of_its_job(ledger: Ledger) -> None:
    with acting_for(ALICE):
        new_run(ledger, "@A", "@B")
    with acting_for(actors.TICK):
        runs.advance(ledger.engine, for_s=60)
    assert [row[1:] for row in _rows(ledger)] == [("key_alice", "funding"), ("key_alice", "funding")]
