"""The chain names whatever is altered, added or missing, and nothing else."""

import pytest
from sqlalchemy import text

from core.base.db import begin, reading
from core.ledger import queues
from core.ledger.rules import chain
from core.ledger.rules.log_row import COLUMNS, digest_of
from core.verification import history_store
from core.verification.history_store import Recorded
from core.verification.verify import verify_all
from tests.harness.factories import Ledger
from tests.harness.history import KEY, NO_TRIGGERS, both, checkpoint, named, tamper

LOG_EDITS = {
    "seq": "seq = 100 WHERE seq = 8",
    "id": "id = gen_random_uuid() WHERE seq = 1",
    "reference": "reference = 'other' WHERE seq = 1",
    "kind": "kind = 2 WHERE seq = 1",
    "queue": "queue = 3 WHERE seq = 2",
    "source": "source = 1 WHERE seq = 2",
    "destination": "destination = 4 WHERE seq = 2",
    "amount": "amount = 102 WHERE seq = 2",
    "currency": "currency = 'EUR' WHERE seq = 1",
    "precision": "precision = 1000 WHERE seq = 1",
    "description": "description = description || ' ' WHERE seq = 1",
    "allow_overdraft": "allow_overdraft = NOT allow_overdraft WHERE seq = 1",
    "overdraft_limit": "overdraft_limit = NULL WHERE seq = 1",
    "hold_seq": "hold_seq = 1 WHERE seq = 7",
    "refund_of": "refund_of = 4 WHERE seq = 8",
    "group_first": "group_first = 2 WHERE seq = 4",
    "group_last": "group_last = 6 WHERE seq = 4",
    "parent": "parent = NULL WHERE seq = 7",
    "effective_date": "effective_date = effective_date + interval '1 microsecond' WHERE seq = 1",
    # The same as jsonb, and not the same text.
    "meta_data": """meta_data = '{"a": 1.50}' WHERE seq = 1""",
    "terms": "terms = NULL WHERE seq = 3",
    "accepted_at": "accepted_at = accepted_at + interval '1 microsecond' WHERE seq = 1",
    "request_id": "request_id = 'another' WHERE seq = 1",
    "actor": "actor = 'key_other' WHERE seq = 1",
    "part": "part = 'expiry' WHERE seq = 1",
    "digest_version": "digest_version = 1 WHERE seq = 1",
    "digest": "digest = decode(repeat('ab', 32), 'hex') WHERE seq = 1",
}


def test_there_is_an_edit_of_every_column_of_the_log() -> None:
    assert set(LOG_EDITS) == set(COLUMNS)


@pytest.mark.parametrize("column", [*LOG_EDITS, "digest = NULL WHERE seq = 2"])
def test_an_edit_of_the_log_is_named(chained: Ledger, column: str) -> None:
    edit = LOG_EDITS.get(column, column)
    tamper(chained, f"UPDATE log SET {edit}")
    seq = {"seq": "100"}.get(column, edit.rpartition(" ")[2])
    for report in both(chained):
        assert [one.key.partition(",")[0] for one in report.problems if one.what == "digest"][:1] == [f"seq {seq}"]


@pytest.mark.parametrize("column", [name for name in LOG_EDITS if name not in ("seq", "digest")])
def test_an_edit_of_the_log_with_a_digest_to_match_is_named_at_the_next_row(chained: Ledger, column: str) -> None:
    chained.post()
    edit = LOG_EDITS[column]
    tamper(chained, f"UPDATE log SET {edit}")
    seq = int(edit.rpartition(" ")[2])
    with begin(chained.engine) as conn:
        (row,) = history_store.history(conn, first=seq, last=seq)
        assert row.logged is not None
        digest = digest_of(row.logged, history_store.digest_at(conn, seq - 1) or chain.START)
        conn.execute(text(NO_TRIGGERS))
        conn.execute(text("UPDATE log SET digest = :digest WHERE seq = :seq"), {"digest": digest, "seq": seq})
    for report in both(chained):
        wrong = [one.key.partition(",")[0] for one in report.problems if one.what == "digest"]
        assert wrong == [f"seq {seq + 1}"]


OUTCOME_EDITS = {
    "seq": "seq = 100 WHERE seq = 8",
    "status": "status = 2 WHERE seq = 1",
    "amount": "amount = 101 WHERE seq = 1",
    "source": "source = 4 WHERE seq = 1",
    "source_version": "source_version = 77 WHERE seq = 1",
    "source_balance": "source_balance = -101 WHERE seq = 1",
    "destination": "destination = 99 WHERE seq = 1",
    "destination_version": "destination_version = 77 WHERE seq = 1",
    "destination_balance": "destination_balance = NULL WHERE seq = 1",
    "reason": "reason = 7 WHERE seq = 2",
    "rejection": """rejection = rejection || '{"note": 1}' WHERE seq = 2""",
    "decided_at": "decided_at = decided_at - interval '1 microsecond' WHERE seq = 2",
    "hash": "hash = NULL WHERE seq = 2",
}


def test_there_is_an_edit_of_every_column_of_the_outcomes() -> None:
    assert list(OUTCOME_EDITS) == [name.removesuffix("_json") for name in Recorded._fields]


@pytest.mark.parametrize("column", OUTCOME_EDITS)
def test_an_edit_of_an_outcome_is_named(chained: Ledger, column: str) -> None:
    edit = OUTCOME_EDITS[column]
    with reading(chained.engine) as conn:
        queue = conn.execute(text(f"SELECT queue FROM log {edit[edit.index('WHERE') :]}")).scalar_one()
    tamper(chained, f"UPDATE outcomes SET {edit}")
    for report in both(chained):
        if column == "seq":
            named(report, "outcomes", "seq 8", "row")
            named(report, "queues", f"number {queue}", "hash")
        else:
            named(report, "outcomes", f"seq {edit[-1]}, queue {queue}", "hash")


SWAP = "UPDATE {0} SET seq = 26 - seq WHERE seq IN (1, 2); UPDATE {0} SET seq = seq - 23 WHERE seq > 20"


@pytest.mark.parametrize("table", ["log", "outcomes"])
def test_rows_that_changed_places_are_named(chained: Ledger, table: str) -> None:
    tamper(chained, *SWAP.format(table).split("; "))
    for report in both(chained):
        for key in ("seq 1", "seq 2"):
            what = "digest" if table == "log" else "hash"
            assert [one for one in report.problems if one.what == what and one.key.startswith(key)], report.problems


def test_rows_that_are_gone_from_the_middle_are_named_also_when_the_gap_is_closed(chained: Ledger) -> None:
    tamper(chained, "DELETE FROM log WHERE seq = 2", "DELETE FROM outcomes WHERE seq = 2")
    for report in both(chained):
        named(report, "log", "seq 2", "row")
        named(report, "outcomes", "seq 4, queue 4", "hash")
    for n in range(3, 9):
        groups = "group_first = group_first - 1, group_last = group_last - 1"
        tamper(chained, f"UPDATE log SET seq = seq - 1, {groups} WHERE seq = {n}")
        tamper(chained, f"UPDATE outcomes SET seq = seq - 1 WHERE seq = {n}")
    for report in both(chained):
        named(report, "log", "seq 2", "digest")


def test_metadata_that_was_added_is_not_part_of_the_chain(chained: Ledger) -> None:
    checkpoint(chained)
    with begin(chained.engine) as conn:
        conn.execute(text("INSERT INTO annotations SELECT id, '{\"added\": 1}' FROM log"))
        conn.execute(text("UPDATE balances SET meta_data = '{}'"))
    for report in both(chained, KEY):
        assert report.problems == []


def test_the_head_of_a_queue_is_compared_with_its_chain(chained: Ledger) -> None:
    tamper(chained, "UPDATE queues SET hash = decode(repeat('00', 32), 'hex') WHERE number = 4")
    for report in both(chained):
        assert [(one.table, one.key, one.what) for one in report.problems] == [("queues", "number 4", "hash")]


def test_a_version_that_there_is_not_is_named(chained: Ledger) -> None:
    tamper(chained, "UPDATE log SET digest_version = 3 WHERE seq = 2")
    for report in both(chained):
        named(report, "log", "seq 2, queue 4", "digest_version")


def test_a_row_that_passes_for_one_of_the_first_version_keeps_no_actor(chained: Ledger) -> None:
    """Whoever computes all digests anew by the first version cannot keep an actor that it does not cover."""
    tamper(chained, "UPDATE log SET digest_version = 1, actor = 'key_other'")
    for report in both(chained):
        named(report, "log", "seq 2, queue 4", "actor")


# A ledger from before the chain


def test_what_is_older_than_the_chain_needs_no_hash_and_what_is_younger_does(chained: Ledger) -> None:
    zeros = "decode(repeat('00', 32), 'hex')"
    tamper(
        chained,
        "UPDATE log SET digest = NULL",
        "UPDATE outcomes SET hash = NULL",
        f"UPDATE queues SET hash = {zeros}, chained_after = CASE number WHEN 7 THEN 8 ELSE 0 END, cursor = 8",
    )
    chained.post(source="@A", destination="@B", precise_amount=3)
    chained.drain()
    for report in both(chained):
        assert report.problems == []
    checkpoint(chained)
    chained.post(source="@A", destination="@B", precise_amount=3)
    chained.drain()
    for report in both(chained, KEY):
        assert report.problems == []
    # A queue that goes and comes back, and one with old outcomes that had gone.
    for count in (1, 8):
        queues.resize(chained.engine, count)
        chained.post(source="@A", destination="@B")
        chained.drain()
    for report in both(chained, KEY):
        assert report.problems == []
    tamper(chained, "UPDATE log SET digest = NULL WHERE seq > 8", "UPDATE outcomes SET hash = NULL WHERE seq > 8")
    for report in both(chained):
        named(report, "outcomes", "seq 11, queue 0", "hash")
    report = verify_all(chained.engine)
    named(report, "outcomes", "seq 9, queue 4", "hash")
