"""Each way of tampering, by somebody who owns the database and makes all hashes fit: what verify says, and the notary.

The table in docs/explanation/proofs.md is made from these tests.
"""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text

from core.base.db import begin, driver, reading
from core.journal.actions import Action, Event
from core.journal.record import record
from core.notary import seal_store
from core.notary.following import Altered
from core.notary.notary import Notary
from core.notary.published import Published
from core.notary.seals import Seal, keypair, read, sign
from core.verification import pieces
from core.verification.report import Report
from core.verification.sealed import Known
from core.verification.verify import verify_all, verify_since_checkpoint
from tests.harness.factories import Ledger
from tests.harness.forging import as_owner
from tests.harness.history import KEY, checkpoint, named

OURS, OTHER = keypair(bytes(32)), keypair(b"\2" * 32)
PINNED = Known(keys=frozenset([OURS.public]))


def sealed(ledger: Ledger) -> Seal:
    """Seal what is new, as a notary that has just started."""
    with reading(ledger.engine) as conn:
        newest = seal_store.newest(conn)
    seal = Notary(ledger.engine, OURS, None if newest is None else newest[1]).seal()
    assert seal is not None
    return seal


def published(*seals: Seal) -> Known:
    return Known(
        keys=PINNED.keys,
        published=[Published(statement.number, seal.hash, seal) for seal in seals if (statement := read(seal))],
    )


def both(ledger: Ledger, known: Known = PINNED) -> Iterator[Report]:
    yield verify_all(ledger.engine, key=KEY, known=known)
    yield verify_since_checkpoint(ledger.engine, key=KEY, known=known)


def is_sound(ledger: Ledger, known: Known = PINNED) -> bool:
    return all(not report.problems for report in both(ledger, known))


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify a row at a time, as only pieces between the first and the last are checked by columns."""
    monkeypatch.setattr(pieces, "ROWS", 1)


@pytest.fixture
def ledger(ledger: Ledger) -> Ledger:
    """Seq 1 to 4 in @A, decided, with a checkpoint; 5 and 6 wait. All of it is in seal 1."""
    for number in range(1, 5):
        ledger.post(precise_amount=100 * number, reference=f"paid {number}", destination="@A" if number < 3 else "@B")
    ledger.drain()
    checkpoint(ledger)
    for number in (5, 6):
        ledger.post(precise_amount=100 * number, reference=f"paid {number}")
    with begin(ledger.engine) as conn:
        record(conn, Event(action=Action.QUEUES_RECOVERED, subject="queues"))
    return ledger


def test_a_sealed_ledger_is_sound(ledger: Ledger) -> None:
    first = sealed(ledger)
    assert is_sound(ledger, published(first))
    ledger.drain()
    ledger.post()
    second = sealed(ledger)
    for report in both(ledger, published(first, second)):
        assert report.problems == []
        assert report.sealed is not None
        assert (report.sealed.number, report.sealed.sequence, report.sealed.pinned) == (2, 7, True)
    assert Notary(ledger.engine, OURS, second).news().anything is False


@pytest.mark.parametrize("column", ["first_seq", "last_seq"])
def test_a_seal_that_is_found_by_other_rows_than_it_says_is_named(ledger: Ledger, column: str) -> None:
    sealed(ledger)
    with as_owner(ledger) as conn:
        conn.execute(text(f"UPDATE seals SET {column} = {column} + 1"))
    for report in both(ledger):
        named(report, "seals", "number 1", column)


ALTERED = {
    "a row of the log is altered": (
        "UPDATE log SET destination = source, source = destination WHERE seq = 5",
        "log",
        "seq 6",
    ),
    "a row of the log says another actor": ("UPDATE log SET actor = 'key_other' WHERE seq = 2", "log", "seq 6"),
    "a row of the log is written as by the release before": (
        "UPDATE log SET digest_version = 1, actor = NULL, part = NULL WHERE seq = 2",
        "log",
        "seq 6",
    ),
    "the newest rows of the log are removed": ("DELETE FROM log WHERE seq = 6", "log", "seq 6"),
    "rows of the log change places": (
        "UPDATE log SET seq = 16 - seq WHERE seq IN (5, 6); UPDATE log SET seq = seq - 5 WHERE seq > 9",
        "log",
        "seq 6",
    ),
    "a row of the log is put between": (
        "UPDATE log SET seq = 7 WHERE seq = 6; INSERT INTO log (seq, id, reference, kind, queue, source, destination, amount, "
        "currency, precision, description, allow_overdraft, accepted_at, digest_version) "
        "SELECT 6, gen_random_uuid(), 'forged', 1, queue, source, destination, 999, currency, precision, '', true, now(), 2 "
        "FROM log WHERE seq = 5",
        "log",
        "seq 6",
    ),
    "an outcome is altered": (
        "UPDATE outcomes SET decided_at = decided_at - interval '1 day' WHERE seq = 4",
        "outcomes",
        "seq 4, queue",
    ),
    "outcomes are removed, to be decided again": (
        "DELETE FROM outcomes WHERE seq = 4; UPDATE queues SET cursor = 3",
        "outcomes",
        "seq 4, queue",
    ),
    "two balances change their names": (
        "UPDATE balances SET indicator = '@X' WHERE indicator = '@A'; "
        "UPDATE balances SET indicator = '@A' WHERE indicator = '@B'",
        "seals",
        "number 1",
    ),
    "a balance moves to another ledger": (
        "INSERT INTO ledgers (ledger_id, name) VALUES ('ldg_x', 'other'); "
        "UPDATE balances SET ledger = (SELECT id FROM ledgers WHERE ledger_id = 'ldg_x') WHERE indicator = '@B'",
        "seals",
        "number 1",
    ),
    "the newest checkpoint is removed": ("DELETE FROM checkpoints", "checkpoints", "id 1"),
    "the newest rows of the audit log are removed": (
        "DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)",
        "audit",
        "id",
    ),
}


@pytest.mark.parametrize("way", ALTERED)
def test_what_the_owner_alters_is_named_although_all_hashes_fit(ledger: Ledger, way: str) -> None:
    statements, table, key = ALTERED[way]
    sealed(ledger)
    with as_owner(ledger) as conn:
        for statement in statements.split("; "):
            conn.exec_driver_sql(statement)
    report = verify_all(ledger.engine, key=KEY, known=PINNED)
    assert any(each.table == table and each.key.startswith(key) for each in report.problems), report.problems


@pytest.mark.parametrize("way", [way for way in ALTERED if ALTERED[way][1] in ("log", "outcomes")])
def test_the_notary_signs_nothing_after_it(ledger: Ledger, way: str) -> None:
    last = sealed(ledger)
    with as_owner(ledger) as conn:
        for statement in ALTERED[way][0].split("; "):
            conn.exec_driver_sql(statement)
    notary = Notary(ledger.engine, OURS, last)
    notary.catch_up()
    with pytest.raises(Altered):
        notary.seal()


def _remove_seals(conn: Connection, first: int) -> None:
    driver(conn).execute("DELETE FROM seals WHERE number >= %s", (first,))


def test_the_newest_rows_removed_with_their_seal_are_named_by_what_was_published(ledger: Ledger) -> None:
    first = sealed(ledger)
    ledger.post(reference="paid 7")
    second = sealed(ledger)
    with as_owner(ledger) as conn:
        _remove_seals(conn, 2)
        conn.exec_driver_sql("DELETE FROM log WHERE seq = 7")
    assert is_sound(ledger, published(first))  # Nothing in the database tells.
    for report in both(ledger, published(first, second)):
        named(report, "seals", "number 2", "seal")
        named(report, "log", "seq 7", "row")
    brief = Known(published=[Published(2, second.hash)])
    for report in both(ledger, brief):
        named(report, "seals", "number 2", "seal")
    with pytest.raises(Altered, match="seal 2 was published"):
        Notary(ledger.engine, OURS, second).catch_up()


def test_a_seal_that_is_missing_between_others_is_named(ledger: Ledger) -> None:
    sealed(ledger)
    for _ in range(2):
        ledger.post()
        sealed(ledger)
    with as_owner(ledger) as conn:
        conn.exec_driver_sql("DELETE FROM seals WHERE number = 2")
    for report in both(ledger):
        named(report, "seals", "number 2", "row")


def test_seals_that_somebody_else_signs_are_named_by_the_pinned_key(ledger: Ledger) -> None:
    first = sealed(ledger)
    with as_owner(ledger) as conn:
        _remove_seals(conn, 1)
        conn.exec_driver_sql("UPDATE log SET amount = 1 WHERE seq = 6")
    assert Notary(ledger.engine, OTHER).seal() is not None
    assert is_sound(ledger, Known())  # Without the key, or what was published, nothing tells.
    for report in both(ledger):
        named(report, "seals", "all", "key")
    for report in both(ledger, published(first)):
        named(report, "seals", "number 1", "seal")
    notary = Notary(ledger.engine, OURS)
    with pytest.raises(Altered, match="is by the key"):
        notary.catch_up()


def test_no_seal_at_all_is_named_by_the_pinned_key(ledger: Ledger) -> None:
    for report in both(ledger):
        named(report, "seals", "all", "key")
    sealed(ledger)
    with as_owner(ledger) as conn:
        _remove_seals(conn, 1)
    for report in both(ledger):
        named(report, "seals", "all", "key")


@pytest.mark.parametrize("what", ["statement", "signature"])
def test_a_seal_that_is_altered_or_forged_is_named(ledger: Ledger, what: str) -> None:
    seal = sealed(ledger)
    statement = read(seal)
    assert statement is not None
    text_of = {"statement": seal.statement.replace(":6,", ":5,", 1), "signature": sign(statement, OTHER).signature}
    with as_owner(ledger) as conn:
        conn.execute(text(f"UPDATE seals SET {what} = :text"), {"text": text_of[what]})
    for report in both(ledger):
        named(report, "seals", "number 1", "signature")


def test_rows_that_are_removed_before_they_are_sealed_leave_no_trace(ledger: Ledger) -> None:
    """The notary's absence: what it has not sealed, nobody can prove."""
    first = sealed(ledger)
    ledger.post(reference="paid 7")
    with as_owner(ledger) as conn:
        conn.exec_driver_sql("DELETE FROM log WHERE seq = 7")
    assert is_sound(ledger, published(first))


def test_the_notary_signs_nothing_that_does_not_follow(ledger: Ledger) -> None:
    with begin(ledger.engine) as conn:
        conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
        conn.exec_driver_sql("UPDATE log SET amount = 1 WHERE seq = 6")
    with pytest.raises(Altered, match="row 6 of the log"):
        Notary(ledger.engine, OURS).seal()


def test_a_queue_that_stands_still_stops_no_seal(ledger: Ledger) -> None:
    sealed(ledger)
    ledger.post(source="@C", destination="@D")
    seal = read(sealed(ledger))
    assert seal is not None
    assert (seal.last_seq, seal.decided) == (7, 0)
    ledger.drain()
    seal = read(sealed(ledger))
    assert seal is not None
    assert (seal.first_seq, seal.last_seq, seal.decided) == (8, 7, 3)
    assert is_sound(ledger)


def test_two_notaries_make_one_line_of_seals(ledger: Ledger) -> None:
    one, other = Notary(ledger.engine, OURS), Notary(ledger.engine, OURS)
    assert one.seal() is not None
    assert other.seal() is None
    other = Notary(ledger.engine, OURS)
    assert len(other.catch_up()) == 1
    ledger.post()
    assert other.seal() is not None
    assert is_sound(ledger)
