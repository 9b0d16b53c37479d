"""Nobody changes the audit log without the chain showing it."""

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from core.base.db import begin, driver
from core.journal.actions import Action, Event
from core.journal.record import record
from core.verification.verify import verify_all, verify_since_checkpoint
from tests.harness.factories import Ledger


@pytest.fixture
def filled(ledger: Ledger, engine: Engine) -> Engine:
    for number in range(1, 6):
        with begin(engine) as conn:
            record(conn, Event(action=Action.LEDGER_CREATED, subject=f"ldg_{number}", after='{"name": "Käse \\u0041"}'))
    assert verify_all(engine).ok
    return engine


DAMAGE = {
    "UPDATE audit SET subject = 'other' WHERE id = 3": "id 3",
    "UPDATE audit SET actor = 'other' WHERE id = 1": "id 1",
    "UPDATE audit SET created_at = created_at + interval '1 microsecond' WHERE id = 5": "id 5",
    "UPDATE audit SET owner = '' WHERE id = 2": "id 2",
    "UPDATE audit SET details = (details::text || ' ')::json WHERE id = 2": "id 2",
    "UPDATE audit SET request_id = 'other' WHERE id = 4": "id 4",
    "UPDATE audit SET part = 'tick' WHERE id = 4": "id 4",
    "UPDATE audit SET hash = decode(repeat('00', 32), 'hex') WHERE id = 2": "id 2",
    "DELETE FROM audit WHERE id = 3": "id 3",
    "DELETE FROM audit WHERE id <= 2": "id 1",
    "UPDATE audit SET id = 9 WHERE id = 5": "id 5",
    "INSERT INTO audit SELECT 6, created_at, actor, owner, part, request_id, action, subject, details, hash "
    "FROM audit WHERE id = 5": "id 6",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_shows_at_its_row(filled: Engine, owner: Engine, damage: str) -> None:
    with begin(owner) as conn:
        driver(conn).execute("SET LOCAL session_replication_role = replica")
        driver(conn).execute(damage)
    found = verify_all(filled)
    assert [problem.table for problem in found.problems][:1] == ["audit"]
    assert found.problems[0].key == DAMAGE[damage]
    if damage != "DELETE FROM audit WHERE id <= 2":  # It reads the newest rows alone.
        assert not verify_since_checkpoint(filled).ok


@pytest.mark.parametrize("statement", ["UPDATE audit SET subject = ''", "DELETE FROM audit", "TRUNCATE audit"])
def test_not_even_the_owner_changes_a_row_by_mistake(filled: Engine, owner: Engine, statement: str) -> None:
    with pytest.raises(IntegrityError, match="history is append-only"), begin(owner) as conn:
        conn.execute(text(statement))
