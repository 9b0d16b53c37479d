"""One answer says all that is wrong, and a field that cannot be read is not called missing."""

import pytest

from core.base.decoding import MALFORMED, UNKNOWN_FIELD, Unread
from core.base.errors import InvalidRequest, LedgerError, NotFound
from core.base.problems import MAX_LISTED, Problem, details_of, refusal, refusal_of_batch, unexplained


def test_a_field_that_cannot_be_read_is_said_beside_the_others() -> None:
    unread = [Unread("amount", "expected decimal, got bool")]
    error = refusal(unread, [("reference", "cannot be blank"), ("amount", "is required")], "TXN_VALIDATION_ERROR")
    assert error.message == "Invalid input: amount: expected decimal, got bool; reference: cannot be blank"
    assert error.code == MALFORMED
    assert details_of(error) == {
        "field": "amount",
        "problems": [
            {"field": "amount", "message": "expected decimal, got bool"},
            {"field": "reference", "message": "cannot be blank"},
        ],
        "problem_count": 2,
    }


@pytest.mark.parametrize(
    ("unread", "message", "code", "field"),
    [
        (Unread("at", "expected x"), "Invalid input: at: expected x", MALFORMED, "at"),
        (Unread("", "expected object"), "Invalid input: body: expected object", MALFORMED, "body"),
        (Unread("at", "is no time", None), "at: is no time.", "OWN", "at"),
        (Unread("ta", "unknown field", UNKNOWN_FIELD), "ta: unknown field.", UNKNOWN_FIELD, "ta"),
    ],
)
def test_one_field_that_cannot_be_read(unread: Unread, message: str, code: str, field: str) -> None:
    error = refusal([unread], [], "OWN")
    assert (error.message, error.code) == (message, code)
    listed = [{"field": field, "message": unread.text}]
    assert details_of(error) == {"field": field, "problems": listed, "problem_count": 1}


def test_the_details_name_each_field_beside_what_the_error_adds() -> None:
    wrong = InvalidRequest([("to", "is before from"), ("from", "is no time")], "OWN", {"field": "to", "least": 3})
    assert details_of(wrong) == {
        "field": "to",
        "problems": [{"field": "from", "message": "is no time"}, {"field": "to", "message": "is before from"}],
        "problem_count": 2,
        "least": 3,
    }


def test_details_stay_as_they_are_without_a_field_or_in_blnks_form() -> None:
    in_blnks_form = [{"Param": "sort_by", "Message": "must be status"}]
    assert details_of(InvalidRequest([("", "the batch is empty")], "OWN")) is None
    assert details_of(InvalidRequest([("sort_by", "must be status")], "OWN", in_blnks_form)) == in_blnks_form
    assert details_of(NotFound("BAL_NOT_FOUND", "Balance not found")) == {}


def test_a_field_of_the_wrong_type_is_worse_than_one_that_is_not_known() -> None:
    unread = [Unread("a", "unknown field", UNKNOWN_FIELD), Unread("b", "expected int")]
    assert refusal(unread, [], "OWN").code == MALFORMED


@pytest.mark.parametrize(
    ("unread", "explained"),
    [
        ("amount", {"amount"}),
        ("precise_amount", {"amount", "precise_amount"}),
        ("sources", {"source", "sources[0].identifier", "sources[1].identifier"}),
        ("sources[0]", {"source", "sources[0].identifier"}),
        ("sources[1].identifier", {"source", "sources[1].identifier"}),
        ("rows[0].precise_amount", {"rows[0].amount"}),
        (
            "",
            {
                "amount",
                "precise_amount",
                "source",
                "sources[0].identifier",
                "sources[1].identifier",
                "status",
                "rows[0].amount",
            },
        ),
    ],
)
def test_what_a_field_that_cannot_be_read_explains(unread: str, explained: set[str]) -> None:
    problems = [
        Problem("amount", "", ("amount", "precise_amount")),
        Problem("precise_amount", ""),
        Problem("source", "", ("source", "sources")),
        Problem("sources[0].identifier", ""),
        Problem("sources[1].identifier", ""),
        Problem("status", ""),
        Problem("amount", "", ("amount", "precise_amount")).inside("rows[0]"),
    ]
    left = unexplained([Unread(unread, "")], problems)
    assert {each.field for each in left} == {each.field for each in problems} - explained
    assert unexplained([Unread(unread, "", UNKNOWN_FIELD)], problems) == problems


def test_the_code_is_that_of_the_first_rule_whose_fields_were_read() -> None:
    problems = [Problem("", "first", ("a",), "FIRST"), Problem("", "second", (), "SECOND"), Problem("b", "third")]
    assert refusal([], problems, "OWN").code == "FIRST"
    assert refusal([Unread("a", "is no time", None)], problems, "OWN").code == "SECOND"
    assert refusal([], [("b", "is wrong"), *problems], "OWN").code == "OWN"


def test_a_batch_answers_for_its_first_bad_row_and_lists_all() -> None:
    failures: dict[int, LedgerError] = {
        7: NotFound("BAL_NOT_FOUND", "Balance with ID 'x' not found"),
        2: refusal([], [("source", "is wrong"), ("amount", "is wrong")], "OWN", within="transactions[2]"),
    }
    error = refusal_of_batch(failures)
    assert error.message == "transactions[2]: amount: is wrong; source: is wrong; 1 more problems in details"
    assert (error.code, type(error)) == ("OWN", InvalidRequest)
    assert error.details == {
        "field": "transactions[2].amount",
        "index": 2,
        "problems": [
            {"index": 2, "field": "amount", "message": "is wrong"},
            {"index": 2, "field": "source", "message": "is wrong"},
            {"index": 7, "field": "", "message": "Balance with ID 'x' not found"},
        ],
        "problem_count": 3,
    }


def test_a_batch_with_one_problem_names_its_row_and_field() -> None:
    error = refusal_of_batch({0: refusal([], [("amount", "is wrong")], "OWN", within="transactions[0]")})
    assert error.message == "transactions[0]: amount: is wrong."
    listed = [{"index": 0, "field": "amount", "message": "is wrong"}]
    assert error.details == {
        "field": "transactions[0].amount",
        "index": 0,
        "problems": listed,
        "problem_count": 1,
    }


def test_a_row_with_a_field_that_cannot_be_read_is_named_by_its_path() -> None:
    unread = [Unread("transactions[3].amount", "expected decimal, got bool")]
    error = refusal(
        unread, [("amount", "is required"), ("reference", "cannot be blank")], "OWN", within="transactions[3]"
    )
    assert error.message == (
        "Invalid input: transactions[3]: reference: cannot be blank; transactions[3].amount: expected decimal, got bool"
    )
    assert error.problems == [("amount", "expected decimal, got bool"), ("reference", "cannot be blank")]


def test_a_batch_lists_a_hundred_problems_and_counts_all() -> None:
    row = [(f"field {number}", "is wrong") for number in range(60)]
    error = refusal_of_batch(
        {position: refusal([], row, "OWN", within=f"transactions[{position}]") for position in range(3)}
    )
    assert (len(error.details["problems"]), error.details["problem_count"]) == (MAX_LISTED, 180)
