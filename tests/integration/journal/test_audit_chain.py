"""Nobody changes the audit log without the chain showing it."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from core.base.db import begin, driver, reading
from core.journal import audit_store
from core.journal.actions import Action, Event
from core.journal.audit_row import START, hash_of
from core.journal.cut import cut
from core.journal.record import record
from core.verification.verify import verify_all, verify_since_checkpoint
from tests.harness.cli import Run
from tests.harness.factories import Ledger

NEVER = datetime(2000, 1, 1, tzinfo=UTC)


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


# Cutting off the oldest rows


def _age(owner: Engine, upto: int) -> None:
    """Make rows old, and chain them anew, as if they had been written then."""
    with begin(owner) as conn:
        driver(conn).execute("SET LOCAL session_replication_role = replica")
        driver(conn).execute("UPDATE audit SET created_at = created_at - interval '10 days' WHERE id <= %s", (upto,))
        before = START
        for row in audit_store.read_range(conn, after=0, limit=100):
            before = hash_of(row, before)
            driver(conn).execute("UPDATE audit SET hash = %s WHERE id = %s", (before, row.id))


def test_a_cut_leaves_a_chain_that_can_be_checked_to_its_first_row(filled: Engine, owner: Engine) -> None:
    _age(owner, 3)
    assert cut(owner, NEVER) == 0
    with reading(owner) as conn:
        (last,) = audit_store.read_range(conn, after=4, limit=1)
    assert cut(owner, last.created_at - timedelta(days=1)) == 3
    with reading(owner) as conn:
        rows = audit_store.read_range(conn, after=0, limit=10)
    assert [row.id for row in rows] == [4, 5, 6]
    assert rows[-1].action == "audit.cut"
    assert verify_all(filled).problems == []
    assert cut(owner, last.created_at + timedelta(days=1)) == 3
    assert verify_all(filled).problems == []


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM audit WHERE id = 4",
        "UPDATE audit SET subject = 'other' WHERE id = 4",
        "UPDATE audit SET details = replace(details::text, '\"last\":3', '\"last\":4')::json WHERE id = 6",
        "UPDATE audit SET action = 'other' WHERE id = 6",
    ],
)
def test_damage_after_a_cut_shows(filled: Engine, owner: Engine, damage: str) -> None:
    _age(owner, 3)
    with reading(owner) as conn:
        (last,) = audit_store.read_range(conn, after=4, limit=1)
    cut(owner, last.created_at - timedelta(days=1))
    with begin(owner) as conn:
        driver(conn).execute("SET LOCAL session_replication_role = replica")
        driver(conn).execute(damage)
    assert verify_all(filled).problems[0].table == "audit"


def test_no_row_goes_that_no_cut_names(filled: Engine, owner: Engine) -> None:
    _age(owner, 3)
    with reading(owner) as conn:
        (last,) = audit_store.read_range(conn, after=4, limit=1)
    cut(owner, last.created_at - timedelta(days=1))
    with pytest.raises(IntegrityError, match="history is append-only"), begin(owner) as conn:
        conn.execute(text("DELETE FROM audit WHERE id = 4"))


def test_the_command_cuts_what_is_older_than_the_setting(
    filled: Engine, owner: Engine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    _age(owner, 3)
    assert run("audit", "cut", "--yes").exit_code == 2
    monkeypatch.setenv("PACIOLI_AUDIT_DAYS", "30")
    assert run("audit", "cut", "--yes").output == "0 rows removed\n"
    monkeypatch.setenv("PACIOLI_AUDIT_DAYS", "5")
    assert run("audit", "cut", "--yes").output == "3 rows removed\n"
