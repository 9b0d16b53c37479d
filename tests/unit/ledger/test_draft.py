"""Drafts, out of what is priced."""

from datetime import UTC, datetime
from unittest.mock import ANY

import pytest
from msgspec.structs import replace

from core.ledger.draft import Part, Priced, draft, draft_alike, settle_at
from core.ledger.rules.columns import DraftColumns
from core.ledger.rules.log_row import COLUMNS
from core.ledger.rules.model import Draft, Kind
from core.ledger.rules.requests import Terms, terms_of

DATE = datetime(2999, 1, 1, tzinfo=UTC)
PRICED = Priced(
    reference="r",
    kind=Kind.HOLD,
    source=1,
    destination=2,
    route=7,
    amount=5,
    currency="USD",
    precision=100,
    description="d",
    allow_overdraft=True,
    overdraft_limit=3,
    parent="bulk_1",
    effective_date=DATE,
    meta_data="{}",
    hold_seq=8,
    refund_of=9,
)
POSITION = {
    "seq",
    "queue",
    "group_first",
    "group_last",
    "accepted_at",
    "digest",
    "request_id",
    "actor",
    "part",
    "digest_version",
}


def test_a_row_says_all_that_is_priced() -> None:
    row = draft(PRICED).row
    assert {name for name in COLUMNS if not hasattr(PRICED, name)} == POSITION | {"id"}
    for name in COLUMNS.keys() - POSITION - {"id"}:
        assert getattr(row, name) == getattr(PRICED, name), name
    assert draft(PRICED) == Draft(row=replace(row, id=ANY), route=7)


def test_terms_say_when_to_accept_and_when_to_settle() -> None:
    terms = Terms(scheduled_for=DATE, inflight_expiry_date=DATE)
    waiting = draft(replace(PRICED, terms=replace(terms, scheduled_at=DATE)))
    assert (waiting.due_at, waiting.settle_at) == (DATE, ((Kind.VOID_INFLIGHT, DATE),))
    assert terms_of(waiting.row.terms).scheduled_at == DATE
    assert draft(replace(PRICED, terms=terms)).due_at is None


def test_a_leg_is_like_its_split_but_for_its_part() -> None:
    legs = (Part(1, 3, 7, 2, refund_of=5), Part(2, 3, 8, 3, "own", "[]"))
    split = draft(replace(PRICED, terms=Terms(atomic=True), atomic=True, legs=legs))
    assert (split.row.kind, split.row.parent, split.atomic, split.route) == (Kind.SPLIT, "bulk_1", True, 7)
    first, second = (leg.row for leg in split.legs)
    like = draft(PRICED).row
    parent = split.row.transaction_id
    assert first == replace(
        like, id=first.id, reference="r_1", source=1, destination=3, amount=2, refund_of=5, parent=parent
    )
    assert (second.reference, second.description, second.meta_data, second.refund_of) == ("r_2", "own", "[]", None)
    assert [leg.route for leg in split.legs] == [7, 8]
    assert len({split.row.id, first.id, second.id}) == 3


@pytest.mark.parametrize("overdraft_limit", [None, 0, 9])
@pytest.mark.parametrize("terms", [None, Terms(inflight_commit_date=DATE)])
def test_what_agrees_in_all_but_a_part_is_as_if_drafted_alone(terms: Terms | None, overdraft_limit: int | None) -> None:
    common = replace(PRICED, hold_seq=None, refund_of=None, terms=terms, overdraft_limit=overdraft_limit)
    parts = [("a", 4, 6, None, None), ("b", 5, 7, "own", None), ("c", 4, 8, None, "[]"), ("d", 4, 9, "own", "[]")]
    made = list(draft_alike(common, parts))
    assert len({each.row.id for each in made}) == 4
    for each, (reference, destination, amount, description, meta_data) in zip(made, parts, strict=True):
        own = replace(
            common,
            reference=reference,
            destination=destination,
            amount=amount,
            description=description or common.description,
            meta_data=meta_data or common.meta_data,
        )
        alone = draft(own)
        assert each == replace(alone, row=replace(alone.row, id=each.row.id))
        assert each.settle_at == (() if terms is None else settle_at(terms))


def test_parts_with_dates_or_a_limit_are_written_row_by_row() -> None:
    """Columns have neither."""
    parts = [("a", 4, 6, None, None)]
    plain = replace(PRICED, hold_seq=None, refund_of=None, terms=None, overdraft_limit=None)
    assert isinstance(draft_alike(plain, parts), DraftColumns)
    assert not isinstance(draft_alike(replace(plain, terms=Terms(inflight_commit_date=DATE)), parts), DraftColumns)
    assert not isinstance(draft_alike(replace(plain, overdraft_limit=0), parts), DraftColumns)
