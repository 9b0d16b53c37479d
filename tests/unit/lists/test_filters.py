"""Filters are read from a query or a body, or refused."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from core.base.errors import InvalidRequest
from core.ledger.rules.model import Status
from core.ledger.store.balance_list import BALANCE_ROWS, BALANCES
from core.ledger.store.ledger_list import LEDGER_ROWS, LEDGERS
from core.ledger.store.transaction_list import TRANSACTIONS
from core.ledger.store.transaction_relations import LOG_ROWS, SCHEDULED_ROWS
from core.lists import filters
from core.lists.fields import OPERATORS, Filter, Listing, Member, Relation, Resource, Span, Type
from core.lists.requests import FilterClause, FilterRequest

FIELDS = TRANSACTIONS.fields
ROWS = ((LEDGERS, LEDGER_ROWS), (BALANCES, BALANCE_ROWS), (TRANSACTIONS, LOG_ROWS), (TRANSACTIONS, SCHEDULED_ROWS))


def _query(*pairs: tuple[str, str], resource: Resource = TRANSACTIONS) -> Listing:
    return filters.of_query(resource, pairs, limit=10, offset=5)


def _body(*clauses: tuple[str, str, Any], resource: Resource = TRANSACTIONS, **fields: Any) -> Listing:
    asked = [
        FilterClause(field, operator, values=value)
        if operator in ("in", "between")
        else FilterClause(field, operator, value)
        for field, operator, value in clauses
    ]
    return filters.of_request(resource, FilterRequest(asked, **fields), default=20)


def test_nothing_asked_for_is_everything_newest_first() -> None:
    assert _body() == Listing(TRANSACTIONS, (), False, 20, 0, None, "created_at", True, False)
    assert _query() == Listing(TRANSACTIONS, (), False, 10, 5, None, "created_at", True, False)


def test_an_operator_may_be_written_as_its_alias() -> None:
    for alias, operator in (("neq", "ne"), ("gteq", "gte"), ("lteq", "lte")):
        expected = Filter(FIELDS["precision"], "", operator, (100,))
        assert _query((f"precision_{alias}", "100")).filters == _body(("precision", alias, 100)).filters == (expected,)


def test_numbers_are_exact() -> None:
    many = "0.1000000000000000000000000000000000000000000001"
    assert _query(("amount_eq", many)).filters[0].values == (Decimal(many),)
    (value,) = _body(("amount", "eq", Decimal("1e3"))).filters[0].values
    assert value == 1000 and isinstance(value, int), "an index on integers can be asked for an int"


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2024", "2024-01-01", "2025-01-01"),
        ("2024-12", "2024-12-01", "2025-01-01"),
        ("2024-02-29", "2024-02-29", "2024-03-01"),
        ("2024-02-29T23", "2024-02-29T23:00", "2024-03-01"),
        ("2024-02-29T23:59", "2024-02-29T23:59", "2024-03-01"),
        ("2024-02-29T23:59:59", "2024-02-29T23:59:59", "2024-03-01"),
        ("2024-02-29t23:59:59.25z", "2024-02-29T23:59:59.25", "2024-02-29T23:59:59.26"),
        ("2024-02-29T23:59:59.123456789Z", "2024-02-29T23:59:59.123456", "2024-02-29T23:59:59.123457"),
        ("2024-02-29T23:30+01:30", "2024-02-29T22:00", "2024-02-29T22:01"),
        ("2024-02-29 23:30:00 01:30", "2024-02-29T22:00", "2024-02-29T22:00:01"),
        ("2024-02-29T23:30:00-01:30", "2024-03-01T01:00", "2024-03-01T01:00:01"),
    ],
)
def test_a_time_is_all_of_the_unit_that_was_given(text: str, start: str, end: str) -> None:
    expected = Span(*(datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (start, end)))
    for listing in (_query(("created_at_eq", text)), _body(("created_at", "eq", text))):
        assert listing.filters[0].values == (expected,)


@pytest.mark.parametrize(
    "text",
    [
        *("", "24", "2024-13", "2024-02-30", "2024-02-29T24", "0000", "2024-02-29Z", "2024-02-29T10:00+99:00", "٢٠٢٤"),
        *("0001-01-01T00:00+01:00", "2024-1-1", "2024-02-29T10:00:00.", "now"),
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="created_at: must be compared with a time such as"):
        _body(("created_at", "gt", text))


def test_the_end_of_time_is_a_time() -> None:
    for text in ("9999", "9999-12", "9999-12-31", "9999-12-31T23:59:59.999999Z"):
        (span,) = _query(("created_at_lte", text)).filters[0].values
        assert span.start < span.end or span.start == datetime.max.replace(tzinfo=UTC)


def test_a_member_of_the_metadata_keeps_its_type_in_a_body_and_may_be_either_in_a_query() -> None:
    assert _body(("meta_data.a", "eq", 5)).filters[0].values == (Member(("5",), Decimal(5), "5"),)
    assert _body(("meta_data.a", "eq", "5")).filters[0].values == (Member(('"5"',), None, "5"),)
    assert _body(("meta_data.a", "eq", True)).filters[0].values == (Member(("true",), None, "true"),)
    assert _query(("meta_data.a_eq", "5")).filters[0].values == (Member(('"5"', "5"), Decimal(5), "5"),)
    assert _query(("meta_data.a_eq", "true")).filters[0].values == (Member(('"true"', "true"), None, "true"),)
    assert _query(("meta_data.a_eq", "05")).filters[0].values == (Member(('"05"',), None, "05"),)
    assert _query(("meta_data.a_eq", "x")).filters == (
        Filter(FIELDS["meta_data"], "a", "eq", (Member(('"x"',), None, "x"),)),
    )


def test_lists_of_a_query_are_split() -> None:
    assert _query(("status_in", "VOID,queued")).filters[0].values == (Status.VOID, Status.QUEUED)
    assert _query(("amount_between", "1|2.5")).filters[0].values == (1, Decimal("2.5"))
    for pair in (("status_in", ""), ("amount_between", "1"), ("amount_between", "1|2|3"), ("status_in", "VOID,")):
        with pytest.raises(InvalidRequest):
            _query(pair)


def test_null_needs_no_value() -> None:
    expected = (Filter(FIELDS["parent_transaction"], "", "isnull", ()),)
    assert _query(("parent_transaction_isnull", "")).filters == expected
    assert _body(("parent_transaction", "isnull", None)).filters == expected


def test_a_pattern_that_ends_in_an_escape_is_refused() -> None:
    for pattern in ("\\", "x\\", "\\\\\\"):
        with pytest.raises(InvalidRequest, match="escape"):
            _body(("reference", "like", pattern))
    for pattern in ("\\\\", "x\\%", ""):
        assert _body(("reference", "like", pattern)).filters[0].values == (pattern,)


def test_after_a_row_there_is_nothing_to_leave_out() -> None:
    assert _query(("after", "7")).offset == 0
    assert _query(("after", "")).offset == 5
    assert (_body(after=7, offset=3).offset, _body(after=7, offset=3).after) == (0, "7")


def test_a_field_by_its_name_alone_is_equality() -> None:
    assert _query(("status", "REJECTED")) == _query(("status_eq", "REJECTED"))
    assert _query(("meta_data.a", "5")) == _query(("meta_data.a_eq", "5"))
    assert _query(("meta_data.is_in", "5")).filters == (Filter(FIELDS["meta_data"], "is", "in", _member("5")),)
    assert _query(("meta_data.is_in_eq", "5")).filters == (Filter(FIELDS["meta_data"], "is_in", "eq", _member("5")),)


def _member(text: str) -> tuple[Member]:
    return (Member((f'"{text}"', text), Decimal(text), text),)


def test_every_bad_clause_is_named() -> None:
    with pytest.raises(InvalidRequest) as refused:
        _query(("colour", "red"), ("status_gt", "VOID"), ("amount", "much"), ("sort_by", "colour"), ("currency", "USD"))
    named = [field for field, _ in refused.value.problems]
    assert named == ["colour", "status", "amount", "sort_by"]


@pytest.mark.parametrize(("resource", "rows"), ROWS)
def test_every_field_has_a_column_or_its_own_way_to_be_found(resource: Resource, rows: Relation) -> None:
    assert set(OPERATORS) == set(Type)
    for field in resource.fields.values():
        assert field.description
        assert field.find is not None or field.column_of(rows) is not None
        if field.sortable:
            assert (field.sort_key or field.column or rows.table.c[field.name]) is not None
    assert resource.id in resource.fields
    assert "created_at" in resource.sortable
