"""The rules of money: each guard, their order, the exact limits, and what changes when a posting succeeds."""

import copy
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ledger.rules.engine import Book, decide, decide_group
from core.ledger.rules.model import (
    Balance,
    Freeze,
    Hold,
    Kind,
    Limit,
    Outcome,
    Posting,
    Refunded,
    Rejection,
    RejectReason,
    Status,
)
from tests.oracle import Oracle, Sums, Verdict
from tests.strategies import ACCOUNTS, Account, Group, histories, limits, resolve

NOT_INFLIGHT = RejectReason.NOT_INFLIGHT
ALREADY_VOIDED = RejectReason.ALREADY_VOIDED
ALREADY_COMMITTED = RejectReason.ALREADY_COMMITTED
EXCEEDS_ORIGINAL = RejectReason.COMMIT_EXCEEDS_ORIGINAL
EXCEEDS_REMAINDER = RejectReason.COMMIT_EXCEEDS_REMAINDER
INSUFFICIENT_FUNDS = RejectReason.INSUFFICIENT_FUNDS
OVERDRAFT_LIMIT = RejectReason.OVERDRAFT_LIMIT
ALREADY_REFUNDED = RejectReason.ALREADY_REFUNDED
REFUND_EXCEEDS = RejectReason.REFUND_EXCEEDS_REMAINDER

SOURCE, DESTINATION = 1, 2
SEQ, HOLD_SEQ, MOVED_SEQ = 100, 50, 40

HUGE = 10**40


def balance(
    id: int, credit: int = 0, debit: int = 0, *, coming: int = 0, held: int = 0, version: int = 1, last: int = 0
) -> Balance:
    return Balance(id, credit, debit, coming, held, version, last)


def transfer(amount: int, *, kind: Kind = Kind.TRANSFER, flag: bool = False, limit: int | None = None) -> Posting:
    return Posting(SEQ, kind, 0, SOURCE, DESTINATION, amount, flag, limit, None, None, None)


def settlement(kind: Kind, amount: int = 0) -> Posting:
    return Posting(SEQ, kind, 0, SOURCE, DESTINATION, amount, False, None, HOLD_SEQ, None, None)


def refund(amount: int = 0) -> Posting:
    return Posting(SEQ, Kind.REFUND, 0, SOURCE, DESTINATION, amount, True, None, None, None, None, MOVED_SEQ)


def book(
    source: Balance | None = None,
    destination: Balance | None = None,
    *,
    hold: Hold | None = None,
    later: list[tuple[int, int]] | None = None,
    moved: tuple[int, int] | None = None,
) -> Book:
    """A book. ``moved`` is the amount that a refund may give back, and how much of it is refunded."""
    return Book(
        {SOURCE: source or balance(SOURCE), DESTINATION: destination or balance(DESTINATION)},
        {hold.seq: hold} if hold is not None else {},
        {SOURCE: later} if later is not None else {},
        {MOVED_SEQ: Refunded(MOVED_SEQ, *moved)} if moved is not None else {},
    )


def held_book(amount: int, *, committed: int = 0, voided: int = 0) -> Book:
    """A hold that is settled so far, and backed on both sides by what is left."""
    left = amount - committed - voided
    return book(
        balance(SOURCE, held=left), balance(DESTINATION, coming=left), hold=Hold(HOLD_SEQ, amount, committed, voided)
    )


# Spending


@pytest.mark.parametrize("kind", [Kind.TRANSFER, Kind.HOLD])
@pytest.mark.parametrize(
    ("has", "amount", "flag", "limit", "reason", "short_by"),
    [
        pytest.param(10, 9, False, None, None, 0, id="less than there is"),
        pytest.param(10, 10, False, None, None, 0, id="exactly what there is"),
        pytest.param(10, 11, False, None, INSUFFICIENT_FUNDS, 1, id="one more than there is"),
        pytest.param(0, 1, False, None, INSUFFICIENT_FUNDS, 1, id="something of nothing"),
        pytest.param(-5, 1, False, None, INSUFFICIENT_FUNDS, 6, id="below zero already"),
        pytest.param(HUGE, HUGE, False, None, None, 0, id="exactly a huge amount"),
        pytest.param(HUGE, HUGE + 1, False, None, INSUFFICIENT_FUNDS, 1, id="one more than a huge amount"),
        pytest.param(0, HUGE, True, None, None, 0, id="unlimited by the flag alone"),
        pytest.param(-HUGE, 1, True, None, None, 0, id="unlimited however low it is"),
        pytest.param(10, 10, True, 0, None, 0, id="limit 0 with the flag and exactly enough"),
        pytest.param(10, 11, True, 0, OVERDRAFT_LIMIT, 1, id="limit 0 with the flag is a limit"),
        pytest.param(10, 10, False, 0, None, 0, id="limit 0 without the flag and exactly enough"),
        pytest.param(10, 11, False, 0, INSUFFICIENT_FUNDS, 1, id="limit 0 without the flag is none"),
        pytest.param(10, 15, True, 5, None, 0, id="down to the limit"),
        pytest.param(10, 16, True, 5, OVERDRAFT_LIMIT, 1, id="one below the limit"),
        pytest.param(10, 15, False, 5, None, 0, id="down to the limit without the flag"),
        pytest.param(10, 16, False, 5, OVERDRAFT_LIMIT, 1, id="one below the limit without the flag"),
        pytest.param(-5, 1, True, 5, OVERDRAFT_LIMIT, 1, id="at the limit already"),
        pytest.param(-8, 1, True, 5, OVERDRAFT_LIMIT, 4, id="beyond the limit of this transaction already"),
    ],
)
def test_a_source_may_spend_what_it_has_and_its_overdraft(
    kind: Kind, has: int, amount: int, flag: bool, limit: int | None, reason: RejectReason | None, short_by: int
) -> None:
    source = balance(SOURCE, credit=max(has, 0), debit=max(-has, 0))
    outcome = decide(transfer(amount, kind=kind, flag=flag, limit=limit), book(source))
    if reason is None:
        assert (outcome.status, outcome.amount) == (
            Status.APPLIED if kind is Kind.TRANSFER else Status.INFLIGHT,
            amount,
        )
        assert outcome.rejection is None
    else:
        shown = limit if reason is OVERDRAFT_LIMIT else None
        rejection = Rejection(reason, has, amount, held=0, overdraft_limit=shown, short_by=short_by)
        assert outcome == Outcome(SEQ, Status.REJECTED, 0, rejection=rejection)


@pytest.mark.parametrize("kind", [Kind.TRANSFER, Kind.HOLD])
def test_held_money_may_not_be_spent(kind: Kind) -> None:
    source = balance(SOURCE, credit=10, held=4)
    assert decide(transfer(6, kind=kind), book(source)).rejection is None
    assert decide(transfer(7, kind=kind), book(source)).rejection == Rejection(
        INSUFFICIENT_FUNDS, available=6, requested=7, held=4, short_by=1
    )


def test_held_money_uses_up_an_overdraft_limit() -> None:
    source = balance(SOURCE, held=4)
    assert decide(transfer(1, flag=True, limit=5), book(source)).status is Status.APPLIED
    assert decide(transfer(2, flag=True, limit=5), book(source)).rejection == Rejection(
        OVERDRAFT_LIMIT, available=-4, requested=2, held=4, overdraft_limit=5, short_by=1
    )


def test_money_that_is_held_for_the_source_may_not_be_spent_yet() -> None:
    source = balance(SOURCE, credit=1, coming=10)
    assert decide(transfer(1), book(source)).status is Status.APPLIED
    assert decide(transfer(2), book(source)).rejection is not None


@pytest.mark.parametrize(
    ("later", "available"),
    [
        pytest.param([(SEQ + 1, 4)], 6, id="a later credit"),
        pytest.param([(SEQ + 1, 4), (SEQ + 7, 3)], 3, id="two later credits"),
        pytest.param([(SEQ - 1, 4), (SEQ + 1, 3)], 7, id="only what is later"),
        pytest.param([(SEQ - 1, 4)], 10, id="an earlier credit"),
    ],
)
@pytest.mark.parametrize(("flag", "limit"), [(False, None), (True, 0), (True, 5), (False, 5)])
def test_a_later_credit_does_not_count(
    later: list[tuple[int, int]], available: int, flag: bool, limit: int | None
) -> None:
    source = balance(SOURCE, credit=10, last=max(seq for seq, _ in later))
    most = available + (limit or 0)
    assert decide(transfer(most, flag=flag, limit=limit), book(source, later=later)).status is Status.APPLIED
    short = decide(transfer(most + 1, flag=flag, limit=limit), book(source, later=later)).rejection
    assert short is not None
    assert (short.available, short.short_by) == (available, 1)


def test_an_unlimited_overdraft_does_not_ask_for_later_credits() -> None:
    source = balance(SOURCE, credit=10, last=SEQ + 1)
    outcome = decide(transfer(50, flag=True), book(source, later=[(SEQ + 1, 10)]))
    assert outcome.status is Status.APPLIED


# Settling a hold: the guards, in their order

BOTH = [Kind.COMMIT_INFLIGHT, Kind.VOID_INFLIGHT]


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("amount", [0, 1, HUGE])
def test_what_is_not_held_cannot_be_settled(kind: Kind, amount: int) -> None:
    assert decide(settlement(kind, amount), book()).rejection == Rejection(NOT_INFLIGHT)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("amount", [0, 1, 10, 11])
@pytest.mark.parametrize(
    ("committed", "voided", "reason"),
    [
        pytest.param(0, 10, ALREADY_VOIDED, id="voided"),
        pytest.param(4, 6, ALREADY_VOIDED, id="committed in part, then voided"),
        pytest.param(10, 0, ALREADY_COMMITTED, id="committed whole"),
    ],
)
def test_a_settled_hold_says_how_it_was_settled_before_it_looks_at_the_amount(
    kind: Kind, amount: int, committed: int, voided: int, reason: RejectReason
) -> None:
    over = held_book(10, committed=committed, voided=voided)
    assert decide(settlement(kind, amount), over).rejection == Rejection(reason)


@pytest.mark.parametrize(
    ("committed", "amount", "reason", "left"),
    [
        pytest.param(0, 11, EXCEEDS_ORIGINAL, 10, id="more than was ever held"),
        pytest.param(4, 11, EXCEEDS_ORIGINAL, 6, id="more than was ever held, of a part"),
        pytest.param(4, 10, EXCEEDS_REMAINDER, 6, id="as much as was held, of a part"),
        pytest.param(4, 7, EXCEEDS_REMAINDER, 6, id="one more than is left"),
    ],
)
def test_a_commit_beyond_the_held_amount_is_rejected(
    committed: int, amount: int, reason: RejectReason, left: int
) -> None:
    rejection = decide(settlement(Kind.COMMIT_INFLIGHT, amount), held_book(10, committed=committed)).rejection
    assert rejection == Rejection(reason, available=left, requested=amount, short_by=amount - left)


# Refunds


@pytest.mark.parametrize("amount", [0, 1, 10, 11])
def test_what_is_given_back_whole_is_not_given_back_again(amount: int) -> None:
    rejection = decide(refund(amount), book(moved=(10, 10))).rejection
    assert rejection == Rejection(ALREADY_REFUNDED, available=0, requested=amount, short_by=amount)


@pytest.mark.parametrize(
    ("refunded", "amount", "left"),
    [
        pytest.param(0, 11, 10, id="more than was moved"),
        pytest.param(4, 7, 6, id="one more than is left"),
        pytest.param(4, 10, 6, id="as much as was moved, of a part"),
        pytest.param(0, HUGE, 10, id="far more"),
    ],
)
def test_no_more_is_given_back_than_was_moved_together(refunded: int, amount: int, left: int) -> None:
    rejection = decide(refund(amount), book(moved=(10, refunded))).rejection
    assert rejection == Rejection(REFUND_EXCEEDS, available=left, requested=amount, short_by=amount - left)


@pytest.mark.parametrize(
    ("amount", "moved"), [pytest.param(0, 6, id="all that is left"), pytest.param(6, 6, id="exactly"), (1, 1), (5, 5)]
)
def test_a_refund_moves_money_back_and_remembers_how_much(amount: int, moved: int) -> None:
    source = balance(SOURCE, 10, 3, coming=5, held=2, version=4, last=90)
    destination = balance(DESTINATION, 20, 30, coming=1, held=1, version=9, last=80)
    assert decide(refund(amount), book(source, destination, moved=(10, 4))) == Outcome(
        SEQ,
        Status.APPLIED,
        moved,
        balance(SOURCE, 10, 3 + moved, coming=5, held=2, version=5, last=90),
        balance(DESTINATION, 20 + moved, 30, coming=1, held=1, version=10, last=SEQ),
        refunded=Refunded(MOVED_SEQ, 10, 4 + moved),
    )


@pytest.mark.parametrize(
    "source",
    [
        balance(SOURCE),
        balance(SOURCE, debit=HUGE),
        balance(SOURCE, credit=10, held=10),
        balance(SOURCE, 10, last=SEQ + 1),
    ],
    ids=["nothing", "far below zero", "all of it held", "all of it credited later"],
)
def test_a_refund_does_not_ask_whether_the_money_is_still_there(source: Balance) -> None:
    over = book(source, later=[(SEQ + 1, 10)], moved=(10, 0))
    assert decide(refund(10), over).status is Status.APPLIED


def test_a_refund_that_comes_late_leaves_the_latest_credit_as_it_is() -> None:
    destination = decide(refund(), book(destination=balance(DESTINATION, last=SEQ + 1), moved=(10, 0))).destination
    assert destination is not None
    assert destination.last_credit_seq == SEQ + 1


# Atomic groups


def _numbered(*group: Posting) -> list[Posting]:
    return [posting._replace(seq=SEQ + number) for number, posting in enumerate(group)]


def _ready() -> Book:
    """A book with something of every kind to move, settle and give back."""
    return book(
        balance(SOURCE, 10, held=5), balance(DESTINATION, coming=5), hold=Hold(HOLD_SEQ, 9, 4, 0), moved=(10, 4)
    )


ALL_KINDS = [
    transfer(2),
    transfer(3, kind=Kind.HOLD),
    settlement(Kind.COMMIT_INFLIGHT, 3),
    settlement(Kind.VOID_INFLIGHT),
    refund(2),
    refund(),
]


def test_a_group_that_succeeds_is_written_as_its_members_would_be_one_by_one() -> None:
    group, whole, one_by_one = _numbered(*ALL_KINDS), _ready(), _ready()
    outcomes = []
    for posting in group:
        outcomes.append(decide(posting, one_by_one))
        one_by_one.write(outcomes[-1])
    assert decide_group(group, whole) == outcomes
    assert whole == one_by_one
    assert {outcome.rejection for outcome in outcomes} == {None}
    assert whole.holds == {HOLD_SEQ: Hold(HOLD_SEQ, 9, 7, 2), SEQ + 1: Hold(SEQ + 1, 3, 0, 0)}
    assert whole.refunds == {MOVED_SEQ: Refunded(MOVED_SEQ, 10, 10)}


@pytest.mark.parametrize(
    ("culprit", "reason"),
    [
        pytest.param(transfer(100), INSUFFICIENT_FUNDS, id="transfer"),
        pytest.param(settlement(Kind.COMMIT_INFLIGHT), ALREADY_VOIDED, id="commit of what the group has voided"),
        pytest.param(
            settlement(Kind.VOID_INFLIGHT)._replace(hold_seq=HOLD_SEQ + 1), NOT_INFLIGHT, id="void of no hold"
        ),
        pytest.param(refund(1), ALREADY_REFUNDED, id="refund of what the group has refunded"),
    ],
)
def test_a_group_that_fails_leaves_the_book_as_it_was(culprit: Posting, reason: RejectReason) -> None:
    group, over = _numbered(*ALL_KINDS, culprit, transfer(1)), _ready()
    before = copy.deepcopy(over)
    outcomes = decide_group(group, over)
    assert over == before
    assert [outcome.seq for outcome in outcomes] == [posting.seq for posting in group]
    assert {(outcome.status, outcome.amount, outcome.hold, outcome.refunded) for outcome in outcomes} == {
        (Status.REJECTED, 0, None, None)
    }
    rejections = [outcome.rejection for outcome in outcomes]
    own = rejections.pop(len(ALL_KINDS))
    assert own is not None and own.reason is reason
    assert set(rejections) == {Rejection(RejectReason.ATOMIC_GROUP, culprit=SEQ + len(ALL_KINDS))}


def test_a_hold_that_a_failed_group_settled_can_be_settled_after_it() -> None:
    over = _ready()
    assert decide_group(_numbered(settlement(Kind.COMMIT_INFLIGHT), transfer(100)), over)[0].rejection is not None
    assert decide(settlement(Kind.COMMIT_INFLIGHT), over).amount == 5


def test_what_a_failed_group_gave_back_can_be_given_back_after_it() -> None:
    over = _ready()
    assert decide_group(_numbered(refund(), transfer(100)), over)[0].rejection is not None
    assert decide(refund(), over).amount == 6


# Changes of a posting that succeeds


def test_a_transfer_moves_money_at_once() -> None:
    source = balance(SOURCE, 10, 3, coming=5, held=2, version=4, last=90)
    destination = balance(DESTINATION, 20, 30, coming=1, held=1, version=9, last=80)
    assert decide(transfer(5), book(source, destination)) == Outcome(
        SEQ,
        Status.APPLIED,
        5,
        balance(SOURCE, 10, 8, coming=5, held=2, version=5, last=90),
        balance(DESTINATION, 25, 30, coming=1, held=1, version=10, last=SEQ),
    )


def test_a_hold_reserves_money_on_both_sides_and_credits_nobody() -> None:
    source = balance(SOURCE, 10, 3, coming=5, held=2, version=4, last=90)
    destination = balance(DESTINATION, 20, 30, coming=1, held=1, version=9, last=80)
    assert decide(transfer(5, kind=Kind.HOLD), book(source, destination)) == Outcome(
        SEQ,
        Status.INFLIGHT,
        5,
        balance(SOURCE, 10, 3, coming=5, held=7, version=5, last=90),
        balance(DESTINATION, 20, 30, coming=6, held=1, version=10, last=80),
        Hold(SEQ, 5, 0, 0),
    )


@pytest.mark.parametrize(
    ("amount", "moved"), [pytest.param(0, 6, id="all that is left"), pytest.param(6, 6, id="exactly"), (1, 1), (5, 5)]
)
def test_a_commit_moves_held_money(amount: int, moved: int) -> None:
    assert decide(settlement(Kind.COMMIT_INFLIGHT, amount), held_book(10, committed=4)) == Outcome(
        SEQ,
        Status.APPLIED,
        moved,
        balance(SOURCE, debit=moved, held=6 - moved, version=2),
        balance(DESTINATION, credit=moved, coming=6 - moved, version=2, last=SEQ),
        Hold(HOLD_SEQ, 10, 4 + moved, 0),
    )


@pytest.mark.parametrize("committed", [0, 4])
def test_a_void_releases_what_is_left_and_credits_nobody(committed: int) -> None:
    left = 10 - committed
    assert decide(settlement(Kind.VOID_INFLIGHT), held_book(10, committed=committed)) == Outcome(
        SEQ,
        Status.VOID,
        left,
        balance(SOURCE, version=2),
        balance(DESTINATION, version=2),
        Hold(HOLD_SEQ, 10, committed, left),
    )


def test_a_commit_asks_for_no_money_but_the_held() -> None:
    poor = book(balance(SOURCE, debit=100, held=10), balance(DESTINATION, coming=10), hold=Hold(HOLD_SEQ, 10, 0, 0))
    assert decide(settlement(Kind.COMMIT_INFLIGHT), poor).status is Status.APPLIED


@pytest.mark.parametrize("posting", [transfer(5), settlement(Kind.COMMIT_INFLIGHT)], ids=["transfer", "commit"])
def test_a_credit_that_comes_late_leaves_the_latest_credit_as_it_is(posting: Posting) -> None:
    overtaken = book(
        balance(SOURCE, 10, held=5), balance(DESTINATION, coming=5, last=SEQ + 1), hold=Hold(HOLD_SEQ, 5, 0, 0)
    )
    destination = decide(posting, overtaken).destination
    assert destination is not None
    assert destination.last_credit_seq == SEQ + 1


@pytest.mark.parametrize(
    ("hold", "status"),
    [
        (Hold(1, 10, 0, 0), Status.INFLIGHT),
        (Hold(1, 10, 4, 0), Status.INFLIGHT),
        (Hold(1, 10, 10, 0), Status.APPLIED),
        (Hold(1, 10, 4, 6), Status.APPLIED),
        (Hold(1, 10, 0, 10), Status.VOID),
    ],
)
def test_a_hold_is_applied_once_settled_with_any_money_moved(hold: Hold, status: Status) -> None:
    assert hold.status is status


@pytest.mark.parametrize(
    "posting",
    [
        transfer(5),
        transfer(50),
        transfer(5, kind=Kind.HOLD),
        settlement(Kind.COMMIT_INFLIGHT, 3),
        settlement(Kind.COMMIT_INFLIGHT, 30),
        settlement(Kind.VOID_INFLIGHT),
        refund(3),
        refund(30),
    ],
    ids=["transfer", "rejected transfer", "hold", "commit", "rejected commit", "void", "refund", "rejected refund"],
)
def test_deciding_does_not_change_the_book(posting: Posting) -> None:
    open_book = book(
        balance(SOURCE, 20, held=5), balance(DESTINATION, coming=5), hold=Hold(HOLD_SEQ, 5, 0, 0), moved=(10, 4)
    )
    before = copy.deepcopy(open_book)
    outcome = decide(posting, open_book)
    assert open_book == before
    open_book.write(outcome)
    assert (open_book == before) == (outcome.status is Status.REJECTED)


# Limits of a balance


def limited(over: Book, *given: Limit, of: int = SOURCE) -> Book:
    return Book(over.balances, over.holds, over.later_credits, over.refunds, {of: list(given)})


BEFORE = SEQ - 1


@pytest.mark.parametrize("kind", [Kind.TRANSFER, Kind.HOLD])
@pytest.mark.parametrize(
    ("has", "amount", "floor", "short_by"),
    [
        (10, 10, 0, 0),
        (10, 11, 0, 1),
        (10, 10, 1, 1),
        (10, 9, 1, 0),
        (0, 5, -5, 0),
        (0, 6, -5, 1),
        (-5, 1, -5, 1),
        (0, HUGE, -HUGE, 0),
        (0, HUGE + 1, -HUGE, 1),
    ],
)
@pytest.mark.parametrize("limit", [None, 2 * HUGE])
def test_a_floor_is_lifted_by_no_overdraft(
    kind: Kind, has: int, amount: int, floor: int, short_by: int, limit: int | None
) -> None:
    over = limited(book(balance(SOURCE, max(has, 0), max(-has, 0))), Limit(BEFORE, floor, Freeze.NONE))
    outcome = decide(transfer(amount, kind=kind, flag=True, limit=limit), over)
    if short_by:
        assert outcome.rejection == Rejection(RejectReason.FLOOR, has, amount, 0, short_by=short_by, floor=floor)
    else:
        assert outcome.rejection is None


def test_a_floor_counts_what_is_held_and_not_what_came_later() -> None:
    over = book(balance(SOURCE, 20, held=3, last=SEQ + 5), later=[(SEQ + 5, 7)])
    outcome = decide(transfer(11, flag=True), limited(over, Limit(BEFORE, 0, Freeze.NONE)))
    assert outcome.rejection == Rejection(RejectReason.FLOOR, 10, 11, 3, short_by=1, floor=0)


def test_a_refund_does_not_go_below_the_floor() -> None:
    over = limited(book(balance(SOURCE, 4), moved=(5, 0)), Limit(BEFORE, 0, Freeze.NONE))
    assert decide(refund(), over).rejection == Rejection(RejectReason.FLOOR, 4, 5, 0, short_by=1, floor=0)
    assert decide(refund(4), over).status is Status.APPLIED


@pytest.mark.parametrize(
    ("of", "freeze", "reason"),
    [
        (SOURCE, Freeze.DEBITS, RejectReason.SOURCE_FROZEN),
        (SOURCE, Freeze.ALL, RejectReason.SOURCE_FROZEN),
        (DESTINATION, Freeze.DEBITS, None),
        (DESTINATION, Freeze.ALL, RejectReason.DESTINATION_FROZEN),
    ],
)
def test_a_frozen_balance_moves_no_money_and_a_void_moves_none(
    of: int, freeze: Freeze, reason: RejectReason | None
) -> None:
    limit = Limit(BEFORE, None, freeze)
    for posting, over in (
        (transfer(1), book(balance(SOURCE, 10))),
        (transfer(1, kind=Kind.HOLD), book(balance(SOURCE, 10))),
        (settlement(Kind.COMMIT_INFLIGHT), held_book(5)),
        (refund(), book(balance(SOURCE, 10), moved=(5, 0))),
    ):
        rejection = decide(posting, limited(over, limit, of=of)).rejection
        assert (rejection.reason if rejection else None) == reason
    assert decide(settlement(Kind.VOID_INFLIGHT), limited(held_book(5), limit, of=of)).status is Status.VOID


def test_a_floor_stops_no_commit_of_what_is_held() -> None:
    over = limited(held_book(5), Limit(BEFORE, 100, Freeze.NONE))
    assert decide(settlement(Kind.COMMIT_INFLIGHT), over).status is Status.APPLIED


def test_the_last_limit_that_was_set_before_a_posting_counts_for_it() -> None:
    set_so_far = [Limit(3, None, Freeze.ALL), Limit(50, None, Freeze.NONE), Limit(SEQ, None, Freeze.ALL)]
    over = book(balance(SOURCE, 10))
    assert decide(transfer(1), limited(over, *set_so_far)).rejection is None
    assert decide(transfer(1), limited(over, *set_so_far[:1], *set_so_far[2:])).rejection is not None
    assert decide(transfer(1), limited(over, *set_so_far[2:])).rejection is None
    twice = [Limit(BEFORE, None, Freeze.ALL), Limit(BEFORE, None, Freeze.NONE)]
    assert decide(transfer(1), limited(over, *twice)).rejection is None


def test_money_that_is_short_is_named_before_the_floor() -> None:
    outcome = decide(transfer(11), limited(book(balance(SOURCE, 10)), Limit(BEFORE, 5, Freeze.NONE)))
    assert outcome.rejection is not None and outcome.rejection.reason is INSUFFICIENT_FUNDS


# Any history


@given(histories(), st.lists(limits(), max_size=8), st.randoms(use_true_random=False))
def test_the_engine_agrees_with_the_oracle_and_keeps_all_money(
    history: list[Group], changes: list[tuple[Account, int | None, str | None]], random: Random
) -> None:
    oracle = Oracle()
    set_limits: dict[int, list[Limit]] = {}
    open_book = Book({id: balance(id) for id in range(len(ACCOUNTS))}, {}, limits=set_limits)
    for drawn in history:
        if changes and random.random() < 0.5:
            account, floor, frozen = changes.pop()
            oracle.limit(account, floor, frozen)
            freeze = {None: Freeze.NONE, "debits": Freeze.DEBITS, "all": Freeze.ALL}[frozen]
            limit = Limit(len(oracle.operations), floor, freeze)
            set_limits.setdefault(ACCOUNTS.index(account), []).append(limit)
        first = len(oracle.operations)
        if group := resolve(drawn, list(oracle.held), list(oracle.moved)):
            oracle.accept(*group)
        # A leg of a split that is not atomic is decided alone.
        whole = len(group) > 1 or (first in oracle.legs and group[0].atomic)  # type: ignore[union-attr]
        postings = [
            _posting(oracle, position)
            for position in range(first, len(oracle.operations))
            if position not in oracle.legs
        ]
        for some in [postings] if whole else [[posting] for posting in postings]:
            for posting in some:
                if posting.refund_of is not None:
                    moved, _ = oracle.moved[posting.refund_of - 1]
                    open_book.refunds.setdefault(posting.refund_of, Refunded(posting.refund_of, moved, 0))
            for outcome in _decided(some, open_book, whole=whole):
                assert _verdict(outcome) == oracle.verdicts[outcome.seq - 1]
        assert sum(each.balance for each in open_book.balances.values()) == 0
        assert sum(each.inflight_credit - each.inflight_debit for each in open_book.balances.values()) == 0
        assert sum(hold.remaining for hold in open_book.holds.values()) == sum(
            each.inflight_debit for each in open_book.balances.values()
        )
    assert {hold.seq - 1: hold[1:] for hold in open_book.holds.values()} == oracle.held
    for state in open_book.refunds.values():
        assert state[1:] == oracle.moved[state.seq - 1]
    for id, account in enumerate(ACCOUNTS):
        assert Sums(*open_book.balances[id][1:5]) == oracle.sums.get(account, Sums())


def _posting(oracle: Oracle, position: int) -> Posting:
    """Seqs are positions, counted from 1."""
    operation = oracle.operations[position]
    source, destination = oracle.sides(operation)
    return Posting(
        position + 1,
        operation.kind,
        0,
        ACCOUNTS.index(source),  # type: ignore[arg-type]
        ACCOUNTS.index(destination),  # type: ignore[arg-type]
        operation.amount,
        operation.allow_overdraft,
        operation.overdraft_limit,
        None if operation.hold is None else operation.hold + 1,
        None,
        None,
        None if operation.refund_of is None else operation.refund_of + 1,
    )


def _decided(postings: list[Posting], over: Book, *, whole: bool) -> list[Outcome]:
    if whole:
        return decide_group(postings, over)
    (posting,) = postings
    outcome = decide(posting, over)
    over.write(outcome)
    return [outcome]


def _verdict(outcome: Outcome) -> Verdict:
    why = outcome.rejection
    if why is None:
        return Verdict(outcome.status, outcome.amount)
    culprit = None if why.culprit is None else why.culprit - 1
    return Verdict(outcome.status, outcome.amount, why.reason, why.available, culprit)
