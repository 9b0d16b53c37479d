"""Appending: seq order is commit order without a gap, and one submission's trouble is its own."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from sqlalchemy import Engine, text

from core.base.db import begin, connect, reading
from core.base.errors import ReferenceConflict
from core.base.ids import new_id, new_key
from core.ledger import append, intake
from core.ledger.append import Submission
from core.ledger.directory import Directory
from core.ledger.rules.routing import queue_of
from core.ledger.store import balances as balance_store
from core.ledger.store import log as log_store
from core.ledger.store import queues as queue_store
from core.ledger.store import transactions as transaction_store
from tests.harness.factories import Ledger, start_until_blocked, transaction
from tests.harness.searching import search


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as executor:
        yield executor


# The order


def test_a_second_append_waits_for_the_commit_of_the_first(ledger: Ledger, threads: ThreadPoolExecutor) -> None:
    first, second = _submission(ledger, {"reference": "first"}), _submission(ledger, {"reference": "second"})
    with begin(ledger.engine) as conn:
        append.append(conn, [first])
        waiting = start_until_blocked(ledger.engine, threads, lambda: _append(ledger.engine, second))
        assert _log(ledger.engine) == []
    waiting.result()
    assert [row[:2] for row in _log(ledger.engine)] == [(1, "first"), (2, "second")]


def test_a_place_that_was_not_committed_is_given_to_the_next(ledger: Ledger) -> None:
    _append(ledger.engine, _submission(ledger, {"reference": "first"}))
    with begin(ledger.engine) as conn:
        append.append(conn, [_submission(ledger, {"reference": "lost"})])
        conn.rollback()
    _append(ledger.engine, _submission(ledger, {"reference": "second"}))
    assert [row[:2] for row in _log(ledger.engine)] == [(1, "first"), (2, "second")]


def test_a_reader_never_sees_a_smaller_seq_appear_later(ledger: Ledger, threads: ThreadPoolExecutor) -> None:
    submissions = [[_submission(ledger, {}, {}) for _ in range(10)] for _ in range(6)]
    start = threading.Barrier(len(submissions), timeout=30)

    def append_each(mine: list[Submission]) -> None:
        start.wait()
        for submission in mine:
            _append(ledger.engine, submission)

    appending = [threads.submit(append_each, mine) for mine in submissions]
    seen: list[tuple[int, int]] = []
    with reading(ledger.engine) as conn:
        while not all(future.done() for future in appending):
            last, count = conn.execute(text("SELECT coalesce(max(seq), 0), count(*) FROM log")).one()
            seen.append((last, count))
    for future in appending:
        future.result()
    assert all(last == count for last, count in seen)  # Nothing is missing before the last one that is seen.
    assert [row[0] for row in _log(ledger.engine)] == list(range(1, 121))
    for submission in (each for mine in submissions for each in mine):
        one, two = submission.accepted
        assert two.seq == one.seq + 1


def test_the_time_of_acceptance_follows_the_order(ledger: Ledger, threads: ThreadPoolExecutor) -> None:
    for future in [threads.submit(_append, ledger.engine, _submission(ledger, {})) for _ in range(30)]:
        future.result()
    with reading(ledger.engine) as conn:
        times = list(conn.execute(text("SELECT accepted_at FROM log ORDER BY seq")).scalars())
    assert len(times) == 30
    assert times == sorted(times)


def test_an_append_that_waits_for_a_resize_goes_by_the_new_number_of_queues(
    ledger: Ledger, threads: ThreadPoolExecutor
) -> None:
    submission = _submission(ledger, *[{"source": f"@{number}"} for number in range(20)])
    with begin(ledger.engine) as conn:
        log_store.lock_head(conn)
        waiting = start_until_blocked(ledger.engine, threads, lambda: _append(ledger.engine, submission))
        queue_store.resize(conn, 3)
    waiting.result()
    expected = [queue_of(draft.route, 3) for draft in submission.drafts]
    assert [row[2] for row in _log(ledger.engine)] == expected
    assert [accepted.queue for accepted in submission.accepted] == expected
    ledger.drain()
    assert _undecided(ledger.engine) == 0


# One group of submissions


def test_the_conflict_of_one_submission_leaves_the_others(ledger: Ledger) -> None:
    ledger.post(reference="taken")
    before = _submission(ledger, {"reference": "before"})
    conflicting = _submission(ledger, {"reference": "new"}, {"reference": "taken", "precise_amount": 2})
    after = _submission(ledger, {"reference": "after"})
    _append(ledger.engine, before, conflicting, after)
    assert [row[:2] for row in _log(ledger.engine)] == [(1, "taken"), (2, "before"), (3, "after")]
    assert (before.error, after.error) == (None, None)
    assert [after.accepted[0].seq, before.accepted[0].seq] == [3, 2]
    assert isinstance(conflicting.error, ReferenceConflict)
    assert conflicting.error.details["reference"] == "taken"
    assert conflicting.accepted == []


def test_a_reference_is_replayed_within_one_group_too(ledger: Ledger) -> None:
    first, again = _submission(ledger, {"reference": "r"}), _submission(ledger, {"reference": "r"}, {"reference": "s"})
    _append(ledger.engine, first, again)
    assert [row[:2] for row in _log(ledger.engine)] == [(1, "r"), (2, "s")]
    replayed, fresh = again.accepted
    assert replayed == first.accepted[0]._replace(replayed=True)
    assert (fresh.seq, fresh.replayed) == (2, False)


def test_a_reference_conflicts_within_one_group_too(ledger: Ledger) -> None:
    first, other = _submission(ledger, {"reference": "r"}), _submission(ledger, {"reference": "r", "currency": "EUR"})
    third = _submission(ledger, {"reference": "t"})
    _append(ledger.engine, first, other, third)
    assert [row[:2] for row in _log(ledger.engine)] == [(1, "r"), (2, "t")]
    assert isinstance(other.error, ReferenceConflict)
    assert other.error.details["transaction_id"] == first.accepted[0].transaction_id


def test_many_who_send_one_reference_at_once_get_one_transaction(ledger: Ledger, threads: ThreadPoolExecutor) -> None:
    start = threading.Barrier(8, timeout=30)

    def send() -> Submission:
        submission = _submission(ledger, {"reference": "r"})
        start.wait()
        _append(ledger.engine, submission)
        return submission

    sent = [future.result() for future in [threads.submit(send) for _ in range(8)]]
    assert [row[:2] for row in _log(ledger.engine)] == [(1, "r")]
    assert len({submission.accepted[0].transaction_id for submission in sent}) == 1
    assert sum(not submission.accepted[0].replayed for submission in sent) == 1


# Atomic groups


def test_every_member_of_an_atomic_group_knows_its_first_and_last(ledger: Ledger) -> None:
    single = _submission(ledger, {"reference": "a"})
    group = _submission(ledger, *[{"reference": name} for name in "bcd"], atomic=True)
    loose = _submission(ledger, *[{"reference": name} for name in "ef"])
    another = _submission(ledger, *[{"reference": name} for name in "gh"], atomic=True)
    _append(ledger.engine, single, group, loose, another)
    assert [(row[1], *row[3:]) for row in _log(ledger.engine)] == [
        ("a", None, None),
        *[(name, 2, 4) for name in "bcd"],
        *[(name, None, None) for name in "ef"],
        *[(name, 7, 8) for name in "gh"],
    ]


def test_an_atomic_group_of_one_is_a_transaction_like_any_other(ledger: Ledger) -> None:
    _append(ledger.engine, _submission(ledger, {}, atomic=True))
    assert _log(ledger.engine)[0][3:] == (None, None)


def test_an_atomic_group_is_replayed_whole_or_conflicts(ledger: Ledger) -> None:
    fields = [{"reference": "a"}, {"reference": "b"}]
    first, again = _submission(ledger, *fields, atomic=True), _submission(ledger, *fields, atomic=True)
    partly = _submission(ledger, {"reference": "b"}, {"reference": "c"}, atomic=True)
    _append(ledger.engine, first)
    _append(ledger.engine, again, partly)
    assert [row[:2] for row in _log(ledger.engine)] == [(1, "a"), (2, "b")]
    assert again.accepted == [accepted._replace(replayed=True) for accepted in first.accepted]
    assert isinstance(partly.error, ReferenceConflict)
    assert partly.error.details["field"] == "atomic batch"


# Names


def test_many_who_name_a_new_balance_at_once_create_it_once(database_url: str, threads: ThreadPoolExecutor) -> None:
    engine = connect(database_url, connections=72)
    start = threading.Barrier(24, timeout=30)

    def name(number: int) -> int:
        """Create names as a process of its own does, which remembers nothing of the others."""
        ledger = Ledger(engine, Directory(engine))
        # Half name the two in the other order, so that creating them could deadlock.
        names = (
            {"source": "@New", "destination": "@Other"} if number % 2 else {"source": "@Other", "destination": "@New"}
        )
        start.wait()
        submission = _submission(ledger, names)
        _append(engine, submission)
        row = submission.drafts[0].row
        key = row.source if number % 2 else row.destination
        assert key is not None
        return key

    try:
        keys = {future.result() for future in [threads.submit(name, number) for number in range(24)]}
        assert len(keys) == 1
        with reading(engine) as conn:
            assert conn.execute(text("SELECT count(*) FROM balances")).scalar_one() == 2
        assert len(_log(engine)) == 24
    finally:
        engine.dispose()


def test_names_are_created_in_one_order_so_that_two_requests_cannot_deadlock(
    ledger: Ledger, threads: ThreadPoolExecutor
) -> None:
    low, high = ("@A", "USD"), ("@Z", "USD")
    with begin(ledger.engine) as conn:
        balance_store.create_indicators(conn, [(*low, new_key())])
        waiting = start_until_blocked(ledger.engine, threads, lambda: ledger.directory.create([high, low]))
        assert not waiting.done()
        balance_store.create_indicators(conn, [(*high, new_key())])  # A deadlock, had the other got here first.
    waiting.result()
    assert ledger.directory.balance(low) is not None
    assert ledger.directory.balance(high) is not None


@search(60)
@given(
    description=st.one_of(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1),
        st.text('\\"\n\r\t\x01,.u0N', min_size=1),
        st.sampled_from(["null", "\n\\.\n", '"', "\\", '\\"', "\\\\n", "\r"]),
    ),
    reference=st.text('\\Nnt.é",[]', min_size=1, max_size=8),
    name=st.text("\\Nx", min_size=1, max_size=4),
)
def test_text_is_stored_as_it_came(ledger: Ledger, description: str, reference: str, name: str) -> None:
    """COPY gives a backslash, a quote, a comma, null and the end of a line a meaning of their own."""
    reference = f"{new_id('')} {reference}"
    meta_data = json.dumps({name: description, "\\n": "\\N"})
    ledger.post(description=description, reference=reference, meta_data=Raw(meta_data.encode()), destination=f"@{name}")
    with reading(ledger.engine) as conn:
        row = transaction_store.find_reference(conn, reference)
    assert row is not None
    assert (row.description, row.reference, row.meta_data) == (description, reference, meta_data)


def _submission(ledger: Ledger, *fields: dict[str, Any], atomic: bool = False) -> Submission:
    return Submission(intake.draft_all([transaction(**each) for each in fields], ledger.directory), atomic=atomic)


def _append(engine: Engine, *submissions: Submission) -> None:
    with begin(engine) as conn:
        append.append(conn, submissions)


def _log(engine: Engine) -> list[tuple[Any, ...]]:
    with reading(engine) as conn:
        rows = conn.execute(text("SELECT seq, reference, queue, group_first, group_last FROM log ORDER BY seq"))
        return [tuple(row) for row in rows]


def _undecided(engine: Engine) -> int:
    with reading(engine) as conn:
        sql = "SELECT count(*) FROM log WHERE NOT EXISTS (SELECT FROM outcomes WHERE outcomes.seq = log.seq)"
        count: int = conn.execute(text(sql)).scalar_one()
    return count
