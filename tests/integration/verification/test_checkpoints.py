"""A checkpoint names a history that was cut or rewritten, and the verifier goes on from there."""

import random

import pytest
from sqlalchemy import Connection, make_url, text

from core.base.db import begin, connect, reading
from core.ledger import queues
from core.ledger.rules import chain
from core.ledger.rules.log_row import digest_of
from core.ledger.rules.requests import Leg
from core.ledger.store import outcomes as outcome_store
from core.verification import checkpoint_store, checkpoints, history_store, walk
from core.verification.verify import verify_all, verify_since_checkpoint
from tests.harness.factories import Ledger
from tests.harness.history import KEY, NO_TRIGGERS, OTHER_KEY, both, checkpoint, mix, named, tamper


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
    # As many rows were accepted since, and more.
    for _ in range(2):
        chained.post(source="@A", destination="@B", precise_amount=3)
    chained.drain()
    named(verify_all(chained.engine, key=KEY), "checkpoints", "id 1", "at sequence 9, of queue 4")
    named(verify_since_checkpoint(chained.engine, key=KEY), "outcomes", "seq 9, queue 4", "hash")
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
    named(verify_all(chained.engine, key=KEY), "checkpoints", "id 1", "at sequence 9, of queue 4")
    report = verify_since_checkpoint(chained.engine, key=KEY)
    named(report, "outcomes", "seq 9, queue 4", "hash")
    named(report, "queues", "number 4", "cursor")


def save(ledger: Ledger, tables: tuple[str, ...]) -> dict[str, str]:
    """Return the rows of tables as JSON."""
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
    for row in history_store.history(conn, first=1, last=100):
        assert row.logged is not None
        digest = digest_of(row.logged, digest)
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
    """A ledger with checkpoints 1, 2 and 3, at sequences 8, 9 and 10."""
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
    reached = verify_all(chained.engine).reached
    first = checkpoints.write(chained.engine, reached, None)
    assert first is not None and (first.id, first.heads.sequence, first.signed) == (1, 8, False)
    assert checkpoints.write(chained.engine, reached, None) is None
    # With the key, an unsigned checkpoint does not stop signing, and is not gone on from.
    assert verify_since_checkpoint(chained.engine, key=KEY).from_sequence == 1
    signed = checkpoints.write(chained.engine, reached, KEY)
    assert signed is not None and signed.signed
    assert checkpoints.write(chained.engine, reached, KEY) is None
    assert verify_since_checkpoint(chained.engine, key=KEY).from_sequence == 9
    # Nobody can add to signed checkpoints without the key.
    chained.post()
    chained.drain()
    report = verify_since_checkpoint(chained.engine)
    assert (report.problems, report.from_sequence, report.reached.sequence) == ([], 9, 9)
    assert checkpoints.write(chained.engine, report.reached, None) is None


def test_where_nothing_can_be_written_no_checkpoint_is(chained: Ledger, database_url: str) -> None:
    reached = verify_all(chained.engine).reached
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
    monkeypatch.setattr(walk, "ROWS_AT_A_TIME", 5)
    rng = random.Random(seed)
    for count in (8, 3, 8, 1, 5):
        queues.resize(ledger.engine, count)
        mix(ledger, rng, steps=30)
        while True:
            report = verify_since_checkpoint(ledger.engine, key=KEY, limit=9)
            assert report.problems == []
            written = checkpoints.write(ledger.engine, report.reached, KEY)
            assert written is not None or report.complete or report.undecided
            if written is None:
                break
    ledger.drain()
    report = verify_all(ledger.engine, key=KEY)
    assert report.problems == []
    assert report.checkpoint is not None and report.checkpoint.id > 5


def test_it_reads_only_what_came_after_and_stops_at_the_limit(chained: Ledger) -> None:
    report = verify_since_checkpoint(chained.engine, limit=3)
    # A split is not torn from its legs.
    assert (report.ok, report.complete, report.to_sequence, report.reached.sequence) == (True, False, 5, 5)
    assert checkpoints.write(chained.engine, report.reached, None) is not None
    report = verify_since_checkpoint(chained.engine, limit=3)
    assert (report.ok, report.complete, report.from_sequence, report.to_sequence) == (True, True, 6, 8)
    assert report.transactions == 3


@pytest.fixture
def stuck(chained: Ledger) -> Ledger:
    """Queue 4 stands still: 10 and 12 wait in it, as does the second leg of the split 13. A checkpoint covers all."""
    chained.post()
    chained.post(source="@A", destination="@B")
    chained.post()
    chained.post(source="@A", destination="@C")
    parts = [Leg("@World", "30%"), Leg("@A", "left")]
    chained.post(precise_amount=10, source=None, sources=parts, destination="@C")
    chained.drain(2)
    report = verify_all(chained.engine)
    assert (report.problems, report.undecided, report.reached.sequence) == ([], 3, 15)
    assert {queue: seq for queue, (seq, _) in checkpoint(chained).heads.queues.items()} == {2: 14, 4: 8}
    return chained


def test_a_queue_that_stands_still_stops_no_checkpoint(stuck: Ledger) -> None:
    stuck.post()
    stuck.drain(2)
    report = verify_since_checkpoint(stuck.engine, key=KEY)
    assert (report.problems, report.transactions, report.undecided, report.reached.sequence) == ([], 1, 3, 16)
    assert checkpoints.write(stuck.engine, report.reached, KEY) is not None
    stuck.drain()
    late = verify_since_checkpoint(stuck.engine, key=KEY)
    assert (late.problems, late.transactions, late.undecided, late.balances) == ([], 0, 0, 3)
    # What was decided late is covered by the next checkpoint, although no row was added.
    assert checkpoints.write(stuck.engine, late.reached, KEY) is not None
    assert checkpoints.write(stuck.engine, verify_since_checkpoint(stuck.engine, key=KEY).reached, KEY) is None
    assert verify_all(stuck.engine, key=KEY).problems == []


def test_what_is_decided_late_is_read_in_steps(stuck: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "ROWS_AT_A_TIME", 1)
    stuck.drain()
    for complete in (False, False, False, True):
        report = verify_since_checkpoint(stuck.engine, key=KEY, limit=1)
        assert (report.problems, report.complete) == ([], complete)
        assert (checkpoints.write(stuck.engine, report.reached, KEY) is None) == complete


LATE = {
    "UPDATE outcomes SET decided_at = decided_at - interval '1 day' WHERE seq = 10": ("seq 10, queue 4", "hash"),
    "UPDATE outcomes SET source_balance = 99 WHERE seq = 12": ("seq 12", "source_balance"),
    "UPDATE outcomes SET amount = amount + 1 WHERE seq = 15": ("seq 15", "amount"),
    "DELETE FROM outcomes WHERE seq = 12": ("seq 12", "row"),
    "UPDATE balances SET balance = balance + 1, credit_balance = credit_balance + 1 WHERE id = 2":
        ("bln_00000000-0000-0000-0000-000000000001 @A", "balance"),
}  # fmt: skip


@pytest.mark.parametrize("edit", LATE)
def test_damage_of_what_was_decided_late_is_named(stuck: Ledger, edit: str) -> None:
    stuck.drain()
    tamper(stuck, edit)
    report = verify_since_checkpoint(stuck.engine, key=KEY)
    assert LATE[edit] in [(each.key, each.what) for each in report.problems], report.problems


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
    found = [(one.key, one.what) for one in verify_since_checkpoint(chained.engine, key=KEY).problems]
    for expected in SINCE[edit]:
        assert expected in found
    assert bool(found) == bool(SINCE[edit])
