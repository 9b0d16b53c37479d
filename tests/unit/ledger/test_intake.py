"""Intake makes five values, each from the one before. All problems are named at once."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.base.decoding import Unread
from core.base.errors import InvalidRequest, LedgerError, NotFound
from core.ledger.directory import Name
from core.ledger.dry_run import Imagined
from core.ledger.intake import Batch, draft_all
from core.ledger.rules.model import BalanceRef, Draft, Kind
from core.ledger.rules.requests import Terms, TransactionRequest, terms_of
from core.ledger.rules.validation import NO_TIME, Found, check
from tests.harness.factories import shares, transaction

NOW = datetime(2026, 11, 26, tzinfo=UTC)
LATER = datetime(2999, 1, 1, tzinfo=UTC)


class Known:
    """A directory without a database. It notes what it is told to write."""

    check_precision = True

    def __init__(self) -> None:
        self.balances: dict[Name, BalanceRef] = {}
        self.precisions = {"USD": 100}
        self.written: list[object] = []
        for key, (name, currency) in enumerate([("@World", "USD"), ("@A", "USD"), ("@A", "EUR")], 1):
            ref = BalanceRef(key, f"bln_{key}", currency, name, key)
            self.balances[name, currency] = self.balances[ref.balance_id] = ref

    def now(self) -> datetime:
        return datetime.now(UTC)

    def know(self, names: Iterable[Name]) -> dict[Name, BalanceRef]:
        return {name: self.balances[name] for name in names if name in self.balances}

    def create(self, names: Collection[tuple[str, str]]) -> dict[Name, BalanceRef]:
        self.written.append(sorted(names))
        for name in sorted(set(names) - self.balances.keys()):
            key = 100 + len(self.balances)
            self.balances[name] = BalanceRef(key, f"bln_{key}", name[1], name[0], key)
        return self.know(names)

    def uses(self, currency: str) -> bool:
        return any(ref.currency == currency for ref in self.balances.values())

    def accepted(self, references: Collection[str]) -> Collection[str]:
        return set()

    def precision(self, currency: str) -> int | None:
        return self.precisions.get(currency)

    def fix_precision(self, currency: str, precision: int) -> int:
        self.written.append((currency, precision))
        return self.precisions.setdefault(currency, precision)


@pytest.fixture
def directory() -> Known:
    return Known()


def _refused(directory: Known, *requests: TransactionRequest | None, unread: Any = (), **batch: Any) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        draft_all(requests, directory, batch=Batch("bulk_1", **batch), unread=unread)
    assert directory.written == []
    return caught.value


def _one(directory: Known, **fields: Any) -> Draft:
    (draft,) = draft_all([transaction(**fields)], directory)
    return draft


# Checked


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, []),
        ({"amount": 1, "precise_amount": 1}, ["amount"]),
        ({"precise_amount": "1.5"}, ["precise_amount"]),
        ({"precise_amount": -1, "amount": 1}, ["amount", "amount"]),
        ({"currency": " ", "reference": "", "description": ""}, ["currency", "description", "reference"]),
        ({"reference": "x" * 513}, ["reference"]),
        ({"source": "@A"}, ["destination"]),
        ({"source": "@ B"}, ["source"]),
        ({"source": None}, ["source"]),
        ({"sources": shares(("@B", "left"))}, ["source"]),
        ({"source": None, "sources": shares(("@B", "50%"), ("@A", "left"))}, ["destination"]),
        ({"source": None, "sources": shares(("", "50%"), ("@B C", "left"))}, ["sources[0].identifier", "sources[1].identifier"]),
        ({"overdraft_limit": -1, "precision": 1.5, "status": "APPLIED"}, ["overdraft_limit", "precision", "status"]),
        ({"inflight_expiry_date": LATER, "inflight_commit_date": LATER}, []),
        ({"scheduled_for": LATER, "skip_queue": True}, ["skip_queue"]),
        ({"scheduled_for": NOW, "skip_queue": True}, []),
        ({"inflight_expiry_date": NO_TIME, "scheduled_for": NO_TIME, "skip_queue": True}, []),
        ({"effective_date": datetime.fromisoformat("0001-01-01T00:00:00+01:00")}, ["effective_date"]),
        ({"scheduled_for": datetime.fromisoformat("9999-12-31T23:59:59-01:00")}, ["scheduled_for"]),
    ],
    ids=lambda each: ", ".join(each) if isinstance(each, dict) else "",
)  # fmt: skip
def test_every_rule_that_a_request_breaks_is_named(fields: dict[str, Any], named: list[str]) -> None:
    problems: Found = []
    check(0, transaction(**fields), NOW, problems)
    assert sorted(each[0] for each in problems) == named


@given(st.sets(st.sampled_from(["reference", "description", "currency", "precision", "overdraft_limit", "status"])))
def test_one_problem_does_not_hide_another(broken: set[str]) -> None:
    bad = {"precision": -1, "overdraft_limit": -1, "status": "x"}
    problems: Found = []
    check(0, transaction(**{name: bad.get(name, "") for name in broken}), NOW, problems)
    assert {each[0] for each in problems} == broken


def test_dates_are_read_once_and_are_in_utc_from_then_on() -> None:
    date = datetime.fromisoformat("2999-01-01T02:00:00+02:00")
    dates = {"scheduled_for": date, "inflight_expiry_date": date + timedelta(hours=1)}
    checked = check(0, transaction(inflight=True, effective_date=date, **dates), NOW, [])
    assert checked.terms == Terms(
        scheduled_for=LATER, scheduled_at=NOW, inflight_expiry_date=LATER + timedelta(hours=1)
    )
    assert (checked.effective_date, str(checked.effective_date)) == (LATER, "2999-01-01 00:00:00+00:00")
    assert check(0, transaction(), NOW, []).terms is None


# A batch


def test_all_problems_of_all_rows_come_at_once_from_whatever_step(directory: Known) -> None:
    error = _refused(
        directory,
        transaction(),
        transaction(amount="1.005"),
        transaction(reference="", description=""),
        None,
        transaction(source="nobody", destination="bln_9"),
        transaction(currency="EUR", source="bln_1"),
        transaction(precision=10),
        transaction(destination=None, destinations=shares(("@B", "60%"), ("@C", "60%"))),
        transaction(source="bln_1", destination="@World"),
    )
    assert (type(error), error.code) == (InvalidRequest, "TXN_INVALID_AMOUNT")
    assert error.message.startswith(
        "transactions[1]: amount: is not a whole number of minor units at precision 100; 9 more"
    )
    assert error.details["index"] == 1
    assert error.details["problem_count"] == 10
    assert [(each["index"], each["field"]) for each in error.details["problems"]] == [
        (1, "amount"),
        (2, "description"),
        (2, "reference"),
        (3, ""),
        (4, "source"),
        (4, "destination"),
        (5, "currency"),
        (6, "precision"),
        (7, "destinations"),
        (8, "destination"),
    ]


def test_the_answer_to_a_batch_is_that_to_its_first_bad_row(directory: Known) -> None:
    unknown, blank = transaction(source="nobody"), transaction(reference="")
    error = _refused(directory, transaction(), unknown, blank)
    assert (type(error), error.code, error.details["index"]) == (NotFound, "BAL_NOT_FOUND", 1)
    assert _refused(directory, transaction(), blank, unknown).code == "TXN_VALIDATION_ERROR"


def test_a_field_that_cannot_be_read_is_said_beside_the_problems_of_the_others(directory: Known) -> None:
    unread = [
        Unread("transactions[1].amount", "expected decimal, got bool"),
        Unread("atomic", "expected bool, got int"),
    ]
    bad = TransactionRequest(reference="r", description="", source="@World", destination="@A")
    error = _refused(directory, transaction(reference=""), bad, unread=unread)
    assert error.code == "GEN_MALFORMED_REQUEST"
    assert error.details["problems"] == [
        {"field": "atomic", "message": "expected bool, got int"},
        {"index": 0, "field": "reference", "message": "cannot be blank"},
        {"index": 1, "field": "amount", "message": "expected decimal, got bool"},
        {"index": 1, "field": "description", "message": "cannot be blank"},
    ]


def test_a_reference_names_one_transaction_of_a_batch(directory: Known) -> None:
    split = {"destination": None, "destinations": shares(("@B", "left"))}
    again = _refused(directory, transaction(reference="r"), transaction(), transaction(reference="r"))
    assert (again.code, again.details["index"]) == ("TXN_DUPLICATE_REFERENCE", 2)
    leg = _refused(directory, transaction(reference="r", **split), transaction(reference="r_1"))
    assert leg.message == "transactions[1]: reference r_1 is used by transactions[0] too."


def test_nothing_of_a_batch_that_is_decided_at_once_waits(directory: Known) -> None:
    waiting = transaction(scheduled_for=LATER)
    error = _refused(directory, transaction(), waiting, decided_at_once=True)
    assert error.message.startswith("transactions[1].scheduled_for: cannot wait for a date")
    draft_all([waiting, transaction(scheduled_for=NO_TIME)], directory, batch=Batch("bulk_1"))


def test_a_batch_is_the_parent_of_its_transactions(directory: Known) -> None:
    drafts = draft_all([transaction(), transaction()], directory, batch=Batch("bulk_1"))
    assert [draft.row.parent for draft in drafts] == ["bulk_1"] * 2
    assert _one(directory).row.parent is None


@given(st.lists(st.sampled_from(["good", "blank", "unknown", "inexact", "none"]), min_size=1, max_size=12))
def test_a_batch_is_accepted_when_each_row_would_be(kinds: list[str]) -> None:
    made: dict[str, dict[str, Any]] = {
        "good": {},
        "blank": {"description": ""},
        "unknown": {"source": "nobody"},
        "inexact": {"amount": "0.001"},
    }
    requests = [None if kind == "none" else transaction(**made[kind]) for kind in kinds]
    bad = [index for index, kind in enumerate(kinds) if kind != "good"]
    directory = Known()
    if not bad:
        assert len(draft_all(requests, directory, batch=Batch("bulk_1"))) == len(kinds)
        return
    error = _refused(directory, *requests)
    assert error.details["index"] == bad[0]
    assert len(bad) == 1 or [each["index"] for each in error.details["problems"]] == bad


# Resolved, priced, drafted


def test_what_is_named_and_not_there_is_created_when_all_is_right(directory: Known) -> None:
    drafts = draft_all(
        [
            transaction(source="@New", destination="@A"),
            transaction(source="bln_1", destination="@New"),
            transaction(currency="XXX", precision=8, destination="@A"),
            transaction(),
        ],
        directory,
    )
    assert directory.written == [("XXX", 8), [("@A", "XXX"), ("@New", "USD"), ("@World", "XXX")]]
    new = directory.balances["@New", "USD"].key
    assert [(draft.row.source, draft.row.destination) for draft in drafts] == [
        (new, 2),
        (1, new),
        (directory.balances["@World", "XXX"].key, directory.balances["@A", "XXX"].key),
        (1, 2),
    ]


def test_the_currency_is_that_of_the_side_that_is_there(directory: Known) -> None:
    assert _one(directory, source="bln_1", destination="@A", currency=None).row.currency == "USD"
    with pytest.raises(InvalidRequest, match="currency: cannot be blank"):
        _one(directory, source="bln_1", destination="bln_2", currency=None)


def test_a_split_has_legs_that_add_up(directory: Known) -> None:
    legs = shares(("@A", "33%"), ("@B", "left"))
    draft = _one(directory, destination=None, destinations=legs, precise_amount=10, inflight=True, scheduled_for=LATER)
    assert (draft.row.kind, draft.row.source, draft.row.destination, draft.due_at) == (Kind.SPLIT, 1, None, LATER)
    assert [(leg.row.amount, leg.row.kind, leg.row.parent) for leg in draft.legs] == [
        (3, Kind.HOLD, draft.row.transaction_id),
        (7, Kind.HOLD, draft.row.transaction_id),
    ]
    assert [leg.row.reference for leg in draft.legs] == [f"{draft.row.reference}_{number}" for number in (1, 2)]
    assert terms_of(draft.row.terms).destinations == legs
    assert draft.legs[0].row.terms is None


def test_a_date_that_has_come_is_not_waited_for(directory: Known) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    draft = _one(directory, scheduled_for=past, inflight=True, inflight_commit_date=LATER)
    assert (draft.due_at, terms_of(draft.row.terms).scheduled_for) == (None, past)
    assert draft.settle_at == ((Kind.COMMIT_INFLIGHT, LATER),)


def test_a_dry_run_imagines_what_a_request_would_create(directory: Known) -> None:
    imagined = Imagined(directory)
    request = transaction(source="@New", currency="XXX", precision=8)
    draft, other = draft_all([request, transaction(source="@New", destination="@Newer")], imagined)
    assert directory.written == []
    assert imagined.balances.keys() == {("@New", "XXX"), ("@A", "XXX"), ("@New", "USD"), ("@Newer", "USD")}
    keys = [draft.row.source, draft.row.destination, other.row.source, other.row.destination]
    assert sorted(key for key in keys if key is not None) == [-4, -3, -2, -1]
    assert draft.row.precision == 8
