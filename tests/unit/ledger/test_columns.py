"""Rows that are written column by column are the same as those written one by one, to the last byte."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from core.base.actors import Actor
from core.ledger.append import Submission, _Writer
from core.ledger.rules.columns import DraftColumns
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import Draft, Kind
from core.ledger.store.log import LogHead
from tests.harness.searching import search

_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20) | st.sampled_from(
    ['"', "\\", "\\N", "null", "a\nb", "a\tb", "\u2028", "\x7f", "\x01", '\\"', ","]
)
_rows = st.builds(
    LogRow,
    id=st.uuids().map(str),
    reference=_texts,
    kind=st.sampled_from([int(Kind.TRANSFER), int(Kind.HOLD)]),
    source=st.integers(1, 2**63 - 1),
    destination=st.integers(1, 2**63 - 1),
    amount=st.integers(1, 2**63 - 1),
)
_templates = st.builds(
    LogRow,
    id=st.just(""),
    reference=st.just(""),
    kind=st.sampled_from([int(Kind.TRANSFER), int(Kind.HOLD)]),
    source=st.none(),
    destination=st.none(),
    amount=st.just(0),
    currency=st.sampled_from(["USD", "OLD MONEY"]),
    precision=st.sampled_from([1, 100]),
    description=_texts,
    allow_overdraft=st.booleans(),
    parent=st.none() | st.just("bulk_1"),
    meta_data=st.none() | st.just('{"a": "\\u00e9 \\\\ b"}'),
)
_submissions = st.builds(
    Submission,
    drafts=st.just([]),
    request_id=st.none() | _texts,
    actor=st.sampled_from([Actor(key_id="api_key_1", owner="o"), Actor(key_id="master", owner="o")]),
    asked_by=st.none() | st.just("api_key_2"),
)
_head = LogHead(41, bytes(range(32)), 8, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


@search(100)
@given(
    rows=st.lists(_rows, min_size=1, max_size=5),
    templates=st.lists(_templates, min_size=1, max_size=3),
    routes=st.lists(st.integers(0, 2**32 - 1), min_size=5, max_size=5),
    submission=_submissions,
    is_atomic=st.booleans(),
)
def test_columns_are_written_as_their_rows(
    rows: list[LogRow], templates: list[LogRow], routes: list[int], submission: Submission, is_atomic: bool
) -> None:
    drafts = _columns(rows, templates, routes)
    group = (42, 41 + len(rows)) if is_atomic else None
    by_rows, by_columns = _writer(), _writer()
    assert by_columns.add(drafts, group, submission) == by_rows.add(list(drafts), group, submission)
    assert by_columns.lines == by_rows.lines
    assert by_columns.postings == by_rows.postings
    assert (by_columns.seq, by_columns.digest) == (by_rows.seq, by_rows.digest)


def _writer() -> _Writer:
    return _Writer(_head, {}, keeps_rows=False, keeps_postings=True)


def _columns(rows: list[LogRow], templates: list[LogRow], routes: list[int]) -> DraftColumns:
    sources, destinations = [row.source or 0 for row in rows], [row.destination or 0 for row in rows]
    return DraftColumns(
        [row.id for row in rows],
        [row.reference for row in rows],
        balances=(sources, destinations, routes[: len(rows)]),
        amounts=[row.amount for row in rows],
        templates=[templates[number % len(templates)] for number in range(len(rows))],
    )


def test_columns_are_a_sequence_of_drafts() -> None:
    row = LogRow(
        id="i", reference="r", kind=1, source=1, destination=2, amount=3, currency="USD", precision=1, description="d"
    )
    columns = _columns([row, row], [row], [7, 8, 9, 9, 9])
    assert list(columns) == [columns[0], columns[1]] == columns[:] == [Draft(row, 7), Draft(row, 8)]
    assert len(columns) == 2 and columns[-1] == Draft(row, 8)
