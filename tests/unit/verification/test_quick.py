"""A piece that is checked by columns agrees exactly when the engine, which decides row by row, has decided as recorded."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import astuple

from core.ledger.rules.engine import Book, decide
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import Balance, Hold, Kind, Limit, Outcome, Posting
from core.ledger.store import outcomes as outcome_store
from core.verification import quick
from core.verification.history_store import Recorded, history_row
from core.verification.quick import QuickPiece
from core.verification.replay import Always, Pile
from core.verification.report import Report
from core.verification.tally import Start, Sums, SumsByKey, Tally, new_salt
from core.verification.walk import Known
from tests.harness.searching import search

AT = datetime(2026, 1, 1, tzinfo=UTC)
SALT = new_salt()
KEYS = range(1, 4)
AFTER = 100
NUMBERS = {"APPLIED": 1, "INFLIGHT": 2, "VOID": 3, "REJECTED": 4}

move = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([Kind.TRANSFER, Kind.TRANSFER, Kind.HOLD, Kind.VOID_INFLIGHT]),
        "sides": st.permutations(KEYS),
        "amount": st.integers(1, 4),
        "allow_overdraft": st.booleans(),
        "overdraft_limit": st.sampled_from([None, None, 0, 5]),
    }
)
begun = st.dictionaries(st.sampled_from(KEYS), st.builds(Sums, st.integers(0, 9), st.integers(0, 3)))
limits = st.dictionaries(
    st.sampled_from(KEYS),
    st.lists(
        st.builds(Limit, st.integers(AFTER, AFTER + 9), st.sampled_from([None, -3, 2]), st.integers(0, 2)), max_size=2
    ),
    max_size=1,
)


def _row(seq: int, fields: dict[str, Any], hold_seq: int | None) -> LogRow:
    source, destination, *_ = fields["sides"]
    return LogRow(
        seq=seq, id=f"id {seq}", reference=f"r{seq}", kind=int(fields["kind"]), queue=source % 2,
        source=source, destination=destination, amount=0 if hold_seq is not None else fields["amount"], currency="USD",
        precision=100, description="", allow_overdraft=fields["allow_overdraft"],
        overdraft_limit=fields["overdraft_limit"], hold_seq=hold_seq, accepted_at=AT, digest=bytes(32),
    )  # fmt: skip


def _recorded(outcome: Outcome) -> tuple[Any, ...]:
    source, to, why = outcome.source, outcome.destination, outcome.rejection
    sides: Sequence[Any] = (None,) * 6
    if source is not None and to is not None:
        sides = (source.id, source.version, source.balance, to.id, to.version, to.balance)
    rejection = None if why is None else outcome_store._rejection_json(why)
    reason = None if why is None else int(why.reason)
    return (outcome.seq, NUMBERS[outcome.status], outcome.amount, *sides, reason, rejection, AT, bytes(32))


def _edited(recorded: tuple[Any, ...], posting: Posting, edit: str) -> tuple[Any, ...]:
    """The outcome as somebody might have written it who wants another one."""
    seq, status, amount, *_ = recorded
    sides = (posting.source, 2, 0, posting.destination, 2, 0)
    if edit == "amount" and status != 4:
        return (seq, status, amount + 1, *recorded[3:])
    if edit in ("flip", "applied") and status == 4:
        return (seq, 1 if posting.kind == Kind.TRANSFER else 2, posting.amount, *sides, None, None, AT, bytes(32))
    if edit == "flip":
        return (seq, 4, 0, *(None,) * 6, 6, '{"available": 0}', AT, bytes(32))
    return recorded


def _move(kind: Kind, amount: int, *, allow_overdraft: bool = False) -> dict[str, Any]:
    return {
        "kind": kind,
        "sides": KEYS,
        "amount": amount,
        "allow_overdraft": allow_overdraft,
        "overdraft_limit": None,
    }


@search(300)
@example([_move(Kind.TRANSFER, 1, allow_overdraft=True)], {}, {1: [Limit(AFTER, None, 1)]}, 0, "flip")
@example([_move(Kind.HOLD, 3), _move(Kind.TRANSFER, 3)], {1: Sums(4)}, {}, 1, "flip")
@example([_move(Kind.TRANSFER, 3, allow_overdraft=True), _move(Kind.HOLD, 3)], {1: Sums(4)}, {}, 1, "flip")
@given(
    st.lists(move, min_size=1, max_size=12),
    begun,
    limits,
    st.integers(0, 14),
    st.sampled_from(["flip", "amount", "whole"]),
)
def test_a_piece_agrees_exactly_when_the_engine_has_decided_as_recorded(
    moves: list[dict[str, Any]], sums: dict[int, Sums], limits: dict[int, list[Limit]], wrong: int, edit: str
) -> None:
    balances = {key: sums.get(key, Sums()) for key in KEYS}
    engine = Book(
        {key: Balance(key, one.credit, one.debit, 0, 0, 1, 0) for key, one in balances.items()}, {}, limits=limits
    )
    rows, outcomes, is_right, holds = [], [], True, []
    for seq, fields in enumerate(moves, AFTER + 1):
        hold_seq = None
        if fields["kind"] == Kind.VOID_INFLIGHT:
            if not holds:
                continue
            hold = holds.pop()
            hold_seq, fields = hold.seq, fields | {"sides": (hold.source, hold.destination)}
        values = astuple(_row(seq, fields, hold_seq))
        posting = history_row((*values, *(None,) * 13)).posting
        assert posting is not None
        outcome = decide(posting, engine)
        engine.write(outcome)
        if outcome.hold is not None and hold_seq is None:
            holds.append(posting)
        recorded = _recorded(outcome)
        edited = recorded
        if hold_seq is None and (len(rows) == wrong or edit == "whole"):
            edited = _edited(recorded, posting, "applied" if edit == "whole" else edit)
        is_right = is_right and edited == recorded
        rows.append(values)
        outcomes.append(edited)
    if not rows:
        return
    piece = QuickPiece(Known.__new__(Known), Always(limits, frozenset()))
    report = Report()
    piece._tally(list(zip(*rows, strict=True)), rows, outcomes, SALT)
    piece._tally_others(report)
    assert report.problem_count == 0
    needed = {key: sums[key] for key in piece.needs().balances if key in sums}
    start = Start(SumsByKey(needed), {}, {}, {})
    assert piece.agrees(start) == is_right


@given(st.lists(move, min_size=1, max_size=12), begun)
def test_columns_are_tallied_as_rows_are(moves: list[dict[str, Any]], sums: dict[int, Sums]) -> None:
    book = Book({key: Balance(key, 10, 0, 0, 0, 1, 0) for key in KEYS}, dict[int, Hold]())
    pile = Pile(Always({}, frozenset()), SALT)
    rows, outcomes = [], []
    for seq, fields in enumerate((one for one in moves if one["kind"] != Kind.VOID_INFLIGHT), AFTER + 1):
        values = astuple(_row(seq, fields, None))
        row = history_row((*values, *(None,) * 13))
        assert row.posting is not None
        outcome = decide(row.posting, book)
        book.write(outcome)
        outcomes.append(_recorded(outcome))
        rows.append(values)
        pile.judge([row._replace(recorded=Recorded._make(outcomes[-1]))])
    if not rows:
        return
    piece = QuickPiece(Known.__new__(Known), Always({}, frozenset()))
    piece._tally(list(zip(*rows, strict=True)), rows, outcomes, SALT)
    piece._tally_others(Report())
    assert piece.tally == pile.tally
    assert set(pile.needs().holds) == set(piece.needs().holds)


def test_a_credit_by_another_row_is_not_older_than_one_by_a_transfer() -> None:
    tally = Tally()
    tally.add_all([8], [1], [2], [5])
    hold = Posting(7, int(Kind.COMMIT_INFLIGHT), 0, 1, 2, 0, False, None, 3, None, None)
    tally.add(hold, Recorded(7, 1, 5, 1, 2, 0, 2, 2, 5, None, None, AT, None), frozenset())
    assert tally.sums[2].last_credit_seq == 8


@pytest.mark.parametrize("status", [1, 2, 3, 4])
def test_lines_are_written_as_one_by_one(status: int) -> None:
    moved = (7, status, 10**18, 5, 2, -3, 6, 9, 10**18, None, None, AT, bytes(32))
    rejected = (8, 4, 0, *(None,) * 6, 6, '{"short_by": 3, "available": 2}', AT.replace(microsecond=5), bytes(32))
    odd = (*moved[:10], '{"short_by": 3}', AT, bytes(32))
    outcomes = [moved, rejected, moved, odd]
    columns = list(zip(*outcomes, strict=True))
    expected = [outcome_store.line_of_row(outcome[:-1]).encode() for outcome in outcomes]
    assert quick._lines(columns, outcomes) == expected
