"""The chain and its checkpoints: whatever is altered, added or missing is named, and nothing else is."""

import json
import random
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, make_url, text
from structlog.testing import capture_logs

from core.base.db import begin, connect, reading
from core.ledger import resize
from core.ledger.rules import chain
from core.ledger.rules.model import GENERAL_LEDGER
from core.ledger.rules.requests import Leg
from core.ledger.store import balances as balance_store
from core.ledger.store import outcomes as outcome_store
from core.verification import audit, checkpoint_store, checkpoints
from core.verification import store as audit_store
from core.verification.audit import Report
from core.verification.checkpoints import Checkpoint
from core.verification.store import Logged, Recorded
from tests.harness.factories import Ledger
from tests.integration.verification.test_audit import NO_TRIGGERS, mix, refund
from web.app import create_app

KEY, OTHER_KEY = bytes(range(32)), bytes(32)


@pytest.fixture
def chained(ledger: Ledger) -> Ledger:
    """Seq 1: 100 to @A, with everything filled in. 2: rejected. 3 to 5: a split and its legs. 6: a hold, 7 commits it.
    8: gives back 1. All decided, and every column of the log has a value somewhere.

    The ids are always the same, and so are the queues: @A is in 4.
    """
    with begin(ledger.engine) as conn:
        for number, name in enumerate(["@World", "@A", "@B", "@C"]):
            balance_store.create(
                conn, key=UUID(int=number), ledger_id=GENERAL_LEDGER, indicator=name, currency="USD", meta_data=None
            )
    first = ledger.post(
        precise_amount=100, overdraft_limit="9.99", effective_date=datetime.fromisoformat("2020-01-02T03:04:05.678901+05:30"),
        meta_data=b'{ "a": 1.50, "b": "\\u00e9" }',
    )  # fmt: skip
    ledger.post(precise_amount=101, source="@A", destination="@B", allow_overdraft=False)
    parts = [Leg("@B", "30%"), Leg("@C", "left")]
    ledger.post(precise_amount=10, source="@A", destination=None, destinations=parts, reference="S", atomic=True)
    hold = ledger.post(precise_amount=20, source="@A", destination="@B", inflight=True, allow_overdraft=False)
    ledger.drain()
    ledger.settle(hold.transaction_id, "commit")
    refund(ledger, first.transaction_id, precise_amount=1)
    ledger.drain()
    report = audit.verify(ledger.engine)
    assert (report.problems, report.transactions) == ([], 8)
    return ledger


def tamper(ledger: Ledger, *statements: str) -> None:
    """As a superuser may, who turns the guards off."""
    with begin(ledger.engine) as conn:
        conn.execute(text(NO_TRIGGERS))
        for statement in statements:
            conn.exec_driver_sql(statement)


def both(ledger: Ledger, key: bytes | None = None) -> Iterator[Report]:
    yield audit.verify(ledger.engine, key=key)
    yield audit.verify_since_checkpoint(ledger.engine, key=key)


def checkpoint(ledger: Ledger, key: bytes | None = KEY) -> Checkpoint:
    report = audit.verify(ledger.engine, key=key)
    assert report.problems == []
    written = checkpoints.write(ledger.engine, report.reached, key)
    assert written is not None
    return written


def named(report: Report, table: str, key: str, what: str) -> None:
    assert any((one.table, one.what) == (table, what) and one.key == key for one in report.problems), report.problems


# One row


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
    "digest": "digest = decode(repeat('ab', 32), 'hex') WHERE seq = 1",
}


def test_there_is_an_edit_of_every_column_of_the_log() -> None:
    assert list(LOG_EDITS) == list(Logged._fields)


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
        (row,) = audit_store.history(conn, seq, seq)
        assert row.logged is not None
        digest = chain.digest(audit_store.digest_at(conn, seq - 1) or chain.START, row.logged[:-1])
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
        resize.resize(chained.engine, count)
        chained.post(source="@A", destination="@B")
        chained.drain()
    for report in both(chained, KEY):
        assert report.problems == []
    tamper(chained, "UPDATE log SET digest = NULL WHERE seq > 8", "UPDATE outcomes SET hash = NULL WHERE seq > 8")
    for report in both(chained):
        named(report, "outcomes", "seq 11, queue 0", "hash")
    report = audit.verify(chained.engine)
    named(report, "outcomes", "seq 9, queue 4", "hash")


# Checkpoints


def test_a_cut_tail_is_named_by_the_checkpoint_alone(chained: Ledger) -> None:
    tables = ("log", "outcomes", "queues", "balances", "holds", "refunds")
    saved = save(chained, tables)
    chained.post(source="@A", destination="@B", precise_amount=2)
    chained.drain()
    made = checkpoint(chained)
    assert made.heads.sequence == 9
    restore(chained, saved)
    for report in both(chained):
        named(report, "log", "seq 9", "row")
    # As much happened since, and more.
    for _ in range(2):
        chained.post(source="@A", destination="@B", precise_amount=3)
    chained.drain()
    named(audit.verify(chained.engine, key=KEY), "checkpoints", "id 1", "at sequence 9, of queue 4")
    named(audit.verify_since_checkpoint(chained.engine, key=KEY), "outcomes", "seq 9, queue 4", "hash")
    tamper(chained, "DELETE FROM checkpoints")
    for report in both(chained):
        assert report.problems == []


def test_outcomes_that_were_taken_back_are_named(chained: Ledger) -> None:
    tables = ("outcomes", "queues", "balances")
    chained.post(source="@A", destination="@B", precise_amount=2)
    saved = save(chained, tables)
    chained.drain()
    checkpoint(chained)
    restore(chained, saved)
    named(audit.verify(chained.engine, key=KEY), "checkpoints", "id 1", "at sequence 9, of queue 4")
    report = audit.verify_since_checkpoint(chained.engine, key=KEY)
    named(report, "outcomes", "seq 9, queue 4", "hash")
    named(report, "queues", "number 4", "cursor")


def save(ledger: Ledger, tables: tuple[str, ...]) -> dict[str, str]:
    """Rows of tables as JSON."""
    with reading(ledger.engine) as conn:
        return {
            table: conn.execute(text(f"SELECT coalesce(json_agg(t), '[]')::text FROM {table} t")).scalar_one()
            for table in tables
        }


def restore(ledger: Ledger, saved: dict[str, str]) -> None:
    with begin(ledger.engine) as conn:
        conn.execute(text(NO_TRIGGERS))
        for table, rows in saved.items():
            conn.execute(text(f"DELETE FROM {table}"))
            overriding = "OVERRIDING SYSTEM VALUE" if table == "balances" else ""
            sql = f"INSERT INTO {table} {overriding} SELECT * FROM json_populate_recordset(NULL::{table}, CAST(:r AS json))"
            conn.execute(text(sql), {"r": rows})


def forge(conn: Connection) -> None:
    """Compute every digest and hash anew over what is there now, as whoever has the database but not the key can."""
    conn.execute(text(NO_TRIGGERS))
    heads: dict[int, bytes] = {}
    digest = chain.START
    for row in audit_store.history(conn, 1, 100):
        assert row.logged is not None
        digest = chain.digest(digest, row.logged[:-1])
        conn.execute(text("UPDATE log SET digest = :d WHERE seq = :s"), {"d": digest, "s": row.seq})
        if row.recorded is not None and row.logged.queue is not None:
            line = outcome_store.line_of_row(row.recorded[:-1])
            hash = heads[row.logged.queue] = chain.link(heads.get(row.logged.queue, chain.START), line)
            conn.execute(text("UPDATE outcomes SET hash = :h WHERE seq = :s"), {"h": hash, "s": row.seq})
    for number, hash in heads.items():
        conn.execute(text("UPDATE queues SET hash = :h WHERE number = :n"), {"h": hash, "n": number})


REWRITTEN = {
    "UPDATE log SET description = 'nothing special' WHERE seq = 1": ("of the log", [("seq 8", "digest")]),
    "UPDATE log SET description = 'nothing special' WHERE seq = 3": ("of the log", [("seq 8", "digest")]),
    "UPDATE log SET description = 'nothing special' WHERE seq = 8": ("of the log", [("seq 8", "digest")]),
    "UPDATE outcomes SET decided_at = decided_at - interval '1 day' WHERE seq = 2":
        ("of queue 4", [("seq 8, queue 4", "hash"), ("number 4", "hash")]),
}  # fmt: skip


@pytest.mark.parametrize("edit", REWRITTEN)
def test_a_history_that_was_rewritten_is_named_by_the_checkpoint_alone(chained: Ledger, edit: str) -> None:
    checkpoint(chained)
    tamper(chained, edit)
    with begin(chained.engine) as conn:
        forge(conn)
    of_what, at = REWRITTEN[edit]
    full, since = both(chained, KEY)
    assert [(one.key, one.what) for one in full.problems] == [("id 1", f"at sequence 8, {of_what}")]
    assert [(one.key, one.what) for one in since.problems] == at
    tamper(chained, "DELETE FROM checkpoints")
    for report in both(chained, KEY):
        assert report.problems == []


@pytest.fixture
def thrice(chained: Ledger) -> Ledger:
    """With checkpoints 1, 2 and 3, at sequences 8, 9 and 10."""
    checkpoint(chained)
    for _ in range(2):
        chained.post(source="@A", destination="@B")
        chained.drain()
        checkpoint(chained)
    return chained


CHECKPOINT_EDITS = {
    "UPDATE checkpoints SET heads = replace(heads::text, '\"sequence\":10', '\"sequence\":9')::json WHERE id = 3": (
        3,
        3,
    ),
    'UPDATE checkpoints SET heads = \'{"sequence":10,"queues":{}}\' WHERE id = 3': (3, 3),
    "UPDATE checkpoints SET heads = '[]' WHERE id = 3": (3, 3),
    "UPDATE checkpoints SET at = at + interval '1 microsecond' WHERE id = 3": (3, 3),
    "UPDATE checkpoints SET signature = '' WHERE id = 3": (3, 3),
    "UPDATE checkpoints SET heads = '{}' WHERE id = 1": (1, None),
    "DELETE FROM checkpoints WHERE id = 2": (3, 3),
    "DELETE FROM checkpoints WHERE id = 1": (2, None),
}


@pytest.mark.parametrize("edit", CHECKPOINT_EDITS)
def test_a_checkpoint_that_was_edited_or_removed_is_named(thrice: Ledger, edit: str) -> None:
    tamper(thrice, edit)
    by_all, by_newest = CHECKPOINT_EDITS[edit]
    full, since = both(thrice, KEY)
    named(full, "checkpoints", f"id {by_all}", "signature")
    assert len(full.problems) == 1
    if by_newest:
        named(since, "checkpoints", f"id {by_newest}", "signature")
    assert len(since.problems) == bool(by_newest)
    assert since.from_sequence == (11 if not by_newest else 10 if "WHERE id = 3" in edit else 9)


def test_a_checkpoint_that_was_made_without_the_key_is_named(thrice: Ledger) -> None:
    with begin(thrice.engine) as conn:
        before = checkpoint_store.newest(conn, 1)[0]
        heads = before.heads.replace('"sequence":10', '"sequence":11')
        for key in (None, OTHER_KEY):
            made = chain.signature(key, heads, before.at, before.signature)
            checkpoint_store.add(conn, heads=heads, signature=made, at=before.at)
    for report in both(thrice, KEY):
        named(report, "checkpoints", "id 4", "signature")
        named(report, "checkpoints", "id 5", "signature")
    for report in both(thrice, OTHER_KEY):
        named(report, "checkpoints", "id 1", "signature")


def test_a_checkpoint_is_written_only_when_there_is_something_new_to_say(chained: Ledger) -> None:
    nothing = checkpoints.NOTHING
    assert checkpoints.write(chained.engine, nothing, None) is None
    reached = audit.verify(chained.engine).reached
    first = checkpoints.write(chained.engine, reached, None)
    assert first is not None and (first.id, first.heads.sequence, first.signed) == (1, 8, False)
    assert checkpoints.write(chained.engine, reached, None) is None
    # With the key, what is not signed is no reason to sign nothing, nor to go on from there.
    assert audit.verify_since_checkpoint(chained.engine, key=KEY).from_sequence == 1
    signed = checkpoints.write(chained.engine, reached, KEY)
    assert signed is not None and signed.signed
    assert checkpoints.write(chained.engine, reached, KEY) is None
    assert audit.verify_since_checkpoint(chained.engine, key=KEY).from_sequence == 9
    # Without it, nothing can be added to what is signed.
    chained.post()
    chained.drain()
    report = audit.verify_since_checkpoint(chained.engine)
    assert (report.problems, report.from_sequence, report.reached.sequence) == ([], 9, 9)
    assert checkpoints.write(chained.engine, report.reached, None) is None


def test_where_nothing_can_be_written_no_checkpoint_is(chained: Ledger, database_url: str) -> None:
    reached = audit.verify(chained.engine).reached
    replica = make_url(database_url).update_query_dict({"options": "-c default_transaction_read_only=on"})
    engine = connect(replica.render_as_string(hide_password=False))
    with begin(engine) as conn:
        conn.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
    with begin(engine) as conn:
        assert not checkpoint_store.may_add(conn)
    assert checkpoints.write(engine, reached, KEY) is None
    engine.dispose()


# Going on from a checkpoint


@pytest.mark.parametrize("seed", range(3))
def test_a_random_mix_is_sound_in_small_steps_and_across_resizes(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(audit, "BATCH", 5)
    rng = random.Random(seed)
    for count in (8, 3, 8, 1, 5):
        resize.resize(ledger.engine, count)
        mix(ledger, rng, steps=30)
        while True:
            report = audit.verify_since_checkpoint(ledger.engine, key=KEY, limit=9)
            assert report.problems == []
            written = checkpoints.write(ledger.engine, report.reached, KEY)
            assert written is not None or report.complete or report.undecided
            if written is None:
                break
    ledger.drain()
    report = audit.verify(ledger.engine, key=KEY)
    assert report.problems == []
    assert report.checkpoint is not None and report.checkpoint.id > 5


def test_it_reads_only_what_came_after_and_stops_at_the_limit(chained: Ledger) -> None:
    report = audit.verify_since_checkpoint(chained.engine, limit=3)
    # A split is not torn from its legs.
    assert (report.ok, report.complete, report.to_sequence, report.reached.sequence) == (True, False, 5, 5)
    assert checkpoints.write(chained.engine, report.reached, None) is not None
    report = audit.verify_since_checkpoint(chained.engine, limit=3)
    assert (report.ok, report.complete, report.from_sequence, report.to_sequence) == (True, True, 6, 8)
    assert report.transactions == 3


def test_a_checkpoint_ends_before_what_waits_and_before_a_split_that_does(chained: Ledger) -> None:
    parts = [Leg("@A", "30%"), Leg("@B", "left")]
    chained.post(precise_amount=10, source=None, sources=parts, destination="@C")
    chained.drain(4)  # One leg is decided, the other is not.
    report = audit.verify(chained.engine)
    assert (report.problems, report.undecided, report.reached.sequence) == ([], 1, 8)
    checkpoint(chained)
    chained.drain()
    for report in both(chained, KEY):
        assert (report.problems, report.reached.sequence) == ([], 11)


SINCE = {
    "UPDATE balances SET balance = balance + 1, credit_balance = credit_balance + 1 WHERE id = 2":
        [("bln_00000000-0000-0000-0000-000000000001 @A", "balance"), ("all in USD", "balance")],
    "UPDATE balances SET balance = balance + 1, credit_balance = credit_balance + 1 WHERE id = 4":
        [("all in USD", "balance")],  # It was not touched since.
    "UPDATE balances SET version = version + 1 WHERE id = 2":
        [("bln_00000000-0000-0000-0000-000000000001 @A", "version")],
    "UPDATE balances SET version = version - 1 WHERE id = 2":
        [("bln_00000000-0000-0000-0000-000000000001 @A", "version")],
    "UPDATE balances SET inflight_debit_balance = 1 WHERE id = 2": [("all in USD", "inflight")],
    "DELETE FROM balances WHERE id = 2": [("key 2", "row"), ("seq 9", "source"), ("all in USD", "balance")],
    "UPDATE outcomes SET source_version = 99 WHERE seq = 9":
        [("seq 9, queue 4", "hash"), ("seq 9", "source_version")],
    "UPDATE outcomes SET destination_balance = 99 WHERE seq = 9":
        [("seq 9, queue 4", "hash"), ("seq 9", "destination_balance")],
    "UPDATE outcomes SET amount = 99 WHERE seq = 9":
        [("seq 9, queue 4", "hash"), ("seq 9", "amount"), ("seq 9", "source_balance"), ("seq 9", "destination_balance")],
    "UPDATE outcomes SET source = 1 WHERE seq = 9": [("seq 9", "source"), ("seq 9", "source_version")],
    "UPDATE outcomes SET destination = 4 WHERE seq = 9": [("seq 9", "destination")],
    "UPDATE queues SET cursor = 0 WHERE number = 4": [("number 4", "cursor"), ("seq 9", "row")],
    "DELETE FROM queues WHERE number = 7": [],
    "DELETE FROM queues WHERE number = 6": [("all", "numbers")],
    "UPDATE due SET transaction = gen_random_uuid()": [],
}  # fmt: skip


@pytest.mark.parametrize("edit", SINCE)
def test_what_is_altered_after_a_checkpoint_is_named_without_starting_over(chained: Ledger, edit: str) -> None:
    checkpoint(chained)
    chained.post(source="@A", destination="@B", precise_amount=2)
    chained.drain()
    tamper(chained, edit)
    found = [(one.key, one.what) for one in audit.verify_since_checkpoint(chained.engine, key=KEY).problems]
    for expected in SINCE[edit]:
        assert expected in found
    assert bool(found) == bool(SINCE[edit])


# The hourly task, and over HTTP


@pytest.fixture
def task(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The task as a function, with what it would send to itself."""
    from worker import tasks

    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(tasks, "engine", lambda: engine)
    monkeypatch.setattr(tasks, "CHAIN_KEY", KEY)
    monkeypatch.setattr(tasks, "VERIFIED", 3)
    monkeypatch.setattr(tasks.verify, "apply_async", lambda **options: sent.append(options))
    return tasks.verify, sent


def test_the_task_writes_checkpoints_in_steps_and_only_if_something_happened(chained: Ledger, task: Any) -> None:
    verify, sent = task
    verify()
    assert len(sent) == 1
    verify()
    verify()
    assert len(sent) == 1
    with reading(chained.engine) as conn:
        rows = checkpoint_store.newest(conn, 10)
    assert [json.loads(row.heads)["sequence"] for row in rows] == [8, 5]
    assert audit.verify(chained.engine, key=KEY).problems == []


def test_the_task_says_what_is_wrong_and_writes_nothing(chained: Ledger, task: Any) -> None:
    verify, sent = task
    tamper(chained, "UPDATE log SET description = 'x' WHERE seq = 2")
    with capture_logs() as logs:
        verify()
    assert [(log["event"], log["log_level"]) for log in logs] == [("the ledger is damaged", "error")]
    assert "seq 2, queue 4, digest" in logs[0]["problems"][0]
    assert sent == []
    with reading(chained.engine) as conn:
        assert checkpoint_store.newest(conn, 10) == []


@pytest.fixture
def client(database_url: str, chained: Ledger) -> Iterator[FlaskClient]:
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_CHAIN_KEY": KEY.hex()})
    yield app.test_client()
    app.extensions["pacioli"].engine.dispose()


def test_over_http_it_goes_on_from_the_checkpoint(client: FlaskClient, chained: Ledger) -> None:
    answer = client.get("/verify")
    body = answer.get_json()
    assert answer.status_code == 200
    assert (body["ok"], body["from_sequence"], body["to_sequence"], body["transactions"]) == (True, 1, 8, 8)
    assert (body["problems"], body["checkpoint"], body["signed"], body["complete"]) == ([], None, False, True)
    assert (body["rejected"], body["undecided"], body["holds"]) == (1, 0, None)
    made = checkpoint(chained)
    chained.post()
    chained.drain()
    body = client.get("/verify?full=false").get_json()
    assert (body["ok"], body["from_sequence"], body["to_sequence"], body["transactions"]) == (True, 9, 9, 1)
    assert (body["checkpoint"]["id"], body["checkpoint"]["sequence"], body["signed"]) == (made.id, 8, True)
    tamper(chained, "UPDATE log SET description = 'x' WHERE seq = 9")
    answer = client.get("/verify")
    assert answer.status_code == 200
    body = answer.get_json()
    assert not body["ok"]
    assert body["problems"][0].keys() == {"table", "key", "what", "expected", "found"}
    assert (body["problems"][0]["key"], body["problems"][0]["what"]) == ("seq 9, queue 2", "digest")


def test_over_http_it_says_how_far_it_came(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.verification.VERIFIED", 3)
    body = client.get("/verify").get_json()
    assert (body["ok"], body["complete"], body["to_sequence"]) == (True, False, 5)
    assert body["note"].startswith("stopped after sequence 5; run `pacioli verify --since-checkpoint`")


def test_over_http_the_whole_is_refused_and_so_is_a_second_at_the_same_time(client: FlaskClient) -> None:
    answer = client.get("/verify?full=true")
    assert answer.status_code == 400
    assert "full: is too much for a request; run `pacioli verify`" in answer.get_json()["error"]
    assert "full: must be true or false" in client.get("/verify?full=yes").get_json()["error"]
    from web import verification

    with verification._busy:
        answer = client.get("/verify")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert client.get("/verify").status_code == 200


def test_a_key_that_is_none_stops_the_web_server(database_url: str) -> None:
    with pytest.raises(SystemExit, match="PACIOLI_CHAIN_KEY must be at least 64 hexadecimal digits"):
        create_app({"DATABASE_URL": database_url, "PACIOLI_CHAIN_KEY": "secret"})
