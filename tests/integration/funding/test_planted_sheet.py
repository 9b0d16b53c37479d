"""A spreadsheet full of mistakes: each is refused with its row, its field and the reason, and no other row is.

The table is written as CSV, .xlsx and .ods. Cells of a spreadsheet that text cannot have, such as dates, are in the books only.
"""

import csv
import io
import itertools
import json
from datetime import date
from typing import Any, NamedTuple

import pytest
from werkzeug.test import TestResponse

from core.base.ids import new_id
from tests.harness.api import Api
from tests.harness.factories import Ledger
from tests.harness.funding import create_ledger, give
from tests.harness.sheets import ODS_TYPE, XLSX_TYPE, Error, Formula, Shown, Value, csv_of, ods_of, xlsx_of

_numbers = itertools.count(1)

EUROS, POOL, TWICE, UNKNOWN = "the id of a balance in EUR", "the id of the pool", "@Good0", new_id("bln_")
"""Stand for ids that a test puts in their place."""


class Mistake(NamedTuple):
    """A row with a mistake, and how it is refused."""

    name: str
    row: tuple[Value, ...]
    """Destination, amount, description, and the currency or nothing."""
    field: str
    reason: str
    """A part of the message."""
    only: str = "csv xlsx ods"
    """The formats in which the mistake can be made."""


# The thirty-two of the first morning, as the tester planted them.
FIRST = [
    Mistake("a blank destination", ("", 5, "x"), "destination", "cannot be blank"),
    Mistake("a name without its @", ("Ana", 5, "x"), "destination", "there is no balance 'Ana'"),
    Mistake("an id of no balance", (UNKNOWN, 5, "x"), "destination", "there is no balance"),
    Mistake("an id that is cut off", ("bln_0192", 5, "x"), "destination", "there is no balance"),
    Mistake("a balance in another currency", (EUROS, 5, "x"), "destination", "is in EUR, and the job is in USD"),
    Mistake("the pool by its name", ("@Pool", 5, "x"), "destination", "a pool cannot fund itself"),
    Mistake("the pool by its id", (POOL, 5, "x"), "destination", "a pool cannot fund itself"),
    Mistake("the same destination again", (TWICE, 5, "x"), "destination", "is in row"),
    Mistake("a name with a space", ("@Ana Maria", 5, "x"), "destination", "without spaces"),
    Mistake("an @ alone", ("@", 5, "x"), "destination", "@"),
    Mistake("a name with an unseen character", ("@Z\u200bero", 5, "x"), "destination", "U+200B"),
    Mistake("a no-break space behind a name", ("@Nbsp\u00a0", 5, "x"), "destination", "U+00A0"),
    Mistake("a name that is too long", ("@" + "n" * 300, 5, "x"), "destination", "255"),
    Mistake("no amount", ("@NoAmount", "", "x"), "amount", "is required"),
    Mistake("an amount of zero", ("@Zero", 0, "x"), "amount", "must be greater than zero"),
    Mistake("a negative amount", ("@Minus", -5, "x"), "amount", "must be greater than zero"),
    Mistake("a negative amount in parentheses", ("@Paren", "(5.00)", "x"), "amount", "which is negative"),
    Mistake("a tenth of a cent", ("@Mill", 5.005, "x"), "amount", "is not a whole number of minor units"),
    Mistake("a currency sign before", ("@Dollar", "$5.00", "x"), "amount", "without a currency, not \"$5.00\"; did you mean 5?"),
    Mistake("a currency sign behind", ("@Euro", "5,00 \u20ac", "x"), "amount", "without a currency"),
    Mistake("a currency code", ("@Code", "USD 5", "x"), "amount", "without a currency, not \"USD 5\"; did you mean 5?"),
    Mistake("thousands in groups", ("@Group", "1,250.00", "x"), "amount", "thousands, not \"1,250.00\"; did you mean 1250?"),
    Mistake("thousands set apart by a space", ("@Space", "1 250", "x"), "amount", "did you mean 1250?"),
    Mistake("an apostrophe before a number", ("@Apostrophe", "'5", "x"), "amount", "did you mean 5?"),
    Mistake("a word for a number", ("@Word", "five", "x"), "amount", "must be a number such as 12.50"),
    Mistake("a letter O for a zero", ("@Letter", "1O", "x"), "amount", "must be a number such as 12.50, not \"1O\""),
    Mistake("an exponent", ("@Exponent", "1e3", "x"), "amount", "did you mean 1000?"),
    Mistake("not a number", ("@NaN", "NaN", "x"), "amount", "must be a number"),
    Mistake("a dash for nothing", ("@Dash", "-", "x"), "amount", "must be a number such as 12.50, not \"-\""),
    Mistake("two dots", ("@Dots", "1.2.3", "x"), "amount", "must be a number such as 12.50, not \"1.2.3\""),
    Mistake("a description that is too long", ("@Long", 5, "d" * 5000), "description", "4096"),
    Mistake("a total row", ("Total", 5, ""), "destination", "looks like a total row"),
]  # fmt: skip

# Twenty more.
MORE = [
    Mistake("a reference to a deleted cell", ("@Ref", Error("#REF!"), "x"), "amount", "has the error #REF!", "xlsx ods"),
    Mistake("an error as text", ("@RefText", "#N/A", "x"), "amount", "must be a number such as 12.50, not \"#N/A\""),
    Mistake("a name that could not be looked up", (Error("#N/A"), 5, "x"), "destination", "has the error #N/A", "xlsx ods"),
    Mistake("a formula without a value", ("@Formula", Formula("=1+1"), "x"), "amount", "was never computed", "xlsx ods"),
    Mistake("a formula as text", ("@Equals", '="5"', "x"), "amount", "without a formula, not"),
    Mistake("an amount that became a date", ("@Date", date(2026, 5, 12), "x"), "amount", "is the date 2026-05-12", "xlsx ods"),
    Mistake("a date as text", ("@DateText", "12.05.2026", "x"), "amount", "must be a number such as 12.50, not \"12.05.2026\""),
    Mistake("a percentage", ("@Percent", Shown(0.05, "0%", "5%"), "x"), "amount", "is a percentage", "xlsx ods"),
    Mistake("an amount shown rounded", ("@Rounded", Shown(5.004, "0.00", "5.00"), "x"), "amount", "holds 5.004", "xlsx ods"),
    Mistake("a third", ("@Third", 10 / 3, "x"), "amount", "comes of computing and is not exact", "xlsx ods"),
    Mistake("an amount shown in thousands", ("@Thousands", Shown(5000.0, "0,", "5"), "x"), "amount", "shows", "xlsx ods"),
    Mistake("too many digits", ("@Huge", 12345678901234567890.0, "x"), "amount", "of 20 digits", "xlsx ods"),
    Mistake("an id as a number", (1234567890123456, 5, "x"), "destination", "shown as 1.23457E+15", "xlsx ods"),
    Mistake("an id that a spreadsheet shortened", ("1.23E+15", 5, "x"), "destination", "has shortened"),
    Mistake("yes for an amount", ("@Yes", True, "x"), "amount", "must be a number such as 12.50, not \"TRUE\""),
    Mistake("digits of another script", ("@Arabic", "\u0665", "x"), "amount", "did you mean 5?"),
    Mistake("digits of full width", ("@Wide", "\uff15", "x"), "amount", "did you mean 5?"),
    Mistake("a minus of typographers", ("@Minus2", "\u22125", "x"), "amount", "must be a number"),
    Mistake("two names in one cell", ("@A; @B", 5, "x"), "destination", "without spaces"),
    Mistake("another currency", ("@Pounds", 5, "x", "GBP"), "currency", "is \"GBP\", and the job is in USD"),
    Mistake("a line break in a name", ("@Two\nlines", 5, "x"), "destination", "", "xlsx ods"),
    Mistake("a remark in the list", ("", "", "see the next page"), "destination", "cannot be blank"),
]  # fmt: skip

FORMATS = ("csv", "xlsx", "ods")
TYPES = {"csv": "text/csv", "xlsx": XLSX_TYPE, "ods": ODS_TYPE}
HEADER = ("Wallet ID", "Amount", "Purpose", "Currency")
COLUMNS = {"Wallet ID": "destination", "Purpose": "description"}


class Planted(NamedTuple):
    """A file with mistakes, and where they are."""

    data: bytes
    rows: dict[int, Mistake]
    """The mistakes by their row."""
    fine: dict[str, int]
    """The cents that the fine rows pay to each name."""


def planted(kind: str, ids: dict[str, str]) -> Planted:
    """Write a sheet with a title, every mistake that the format can have, and a fine row before each."""
    table: list[tuple[Value, ...]] = [("Payroll, May 2026",), (), HEADER]
    mistakes, fine = {}, {}
    for number, mistake in enumerate(each for each in (*FIRST, *MORE) if kind in each.only.split()):
        name = f"@Good{number}"
        fine[name] = 1000 + number
        table.append((name, f"{fine[name] / 100:.2f}" if kind == "csv" else fine[name] / 100, "fine", "USD"))
        row = [ids.get(cell, cell) if isinstance(cell, str) else cell for cell in mistake.row]
        table.append((*row, "USD")[:4])
        mistakes[len(table)] = mistake
    write = {"csv": csv_of, "xlsx": xlsx_of, "ods": ods_of}[kind]
    return Planted(write(table), mistakes, fine)


def sent(api: Api, kind: str, data: bytes, path: str = "/funding-jobs", **fields: Any) -> TestResponse:
    """Send a file as the body, with the job in the query."""
    job = {
        "name": f"morning {next(_numbers)}", "source": "@Pool", "currency": "USD", "precision": 100, "allow_overdraft": True,
        **fields,
    }  # fmt: skip
    query = {"job": json.dumps(job)}
    return api.client.post(path, query_string=query, data=data, content_type=TYPES[kind])


@pytest.fixture
def ids(ledger: Ledger) -> dict[str, str]:
    """The pool with money, and a balance in another currency."""
    give(ledger, Pool=1_000_000)
    _, (euros,) = create_ledger(ledger, "EUR")
    return {EUROS: euros, POOL: ledger.balance("@Pool").balance_id}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_planted_mistake_is_named_with_row_field_and_reason(api: Api, ids: dict[str, str], kind: str) -> None:
    sheet = planted(kind, ids)
    response = sent(api, kind, sheet.data, "/funding-jobs/rejects", file={"columns": COLUMNS})
    assert response.status_code == 200, response.text
    why = {int(line["row"]): line["why"] for line in csv.DictReader(io.StringIO(response.data.decode("utf-8-sig")))}
    for row, mistake in sheet.rows.items():
        found = why.pop(row, "")
        assert mistake.field in found and mistake.reason in found, (mistake.name, row, found)
    assert not why, "rows that are right"
    assert int(response.headers["X-Rows-Fine"]) == len(sheet.fine)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_refusal_shows_each_wrong_cell_as_it_stands_and_counts_the_fine_rows(
    api: Api, ids: dict[str, str], kind: str
) -> None:
    sheet = planted(kind, ids)
    response = sent(api, kind, sheet.data, file={"columns": COLUMNS})
    assert response.status_code == 400
    details = response.get_json()["error_detail"]["details"]
    assert (details["rows"], details["rows_fine"]) == (len(sheet.rows) + len(sheet.fine), len(sheet.fine))
    assert {each["row"] for each in details["problems"]} == sheet.rows.keys()
    assert details["file"]["header_row"] == 3
    by_row = {each["row"]: each for each in details["problems"]}
    dollar = next(row for row, mistake in sheet.rows.items() if mistake.name == "a currency sign before")
    assert by_row[dollar]["text"] == "$5.00"


@pytest.mark.parametrize("kind", FORMATS)
def test_the_fine_rows_are_paid_and_the_rejects_are_mended_and_paid_too(
    api: Api, ledger: Ledger, ids: dict[str, str], kind: str
) -> None:
    sheet = planted(kind, ids)
    terms: dict[str, Any] = {"columns": COLUMNS}
    rejects = sent(api, kind, sheet.data, "/funding-jobs/rejects", file=terms)
    lines = list(csv.reader(io.StringIO(rejects.data.decode("utf-8-sig"))))
    rows = [int(line[0]) for line in lines[1:]]
    first = sent(api, kind, sheet.data, file={**terms, "without_rows": rows})
    assert first.status_code == 201, first.text
    again = sent(api, "csv", rejects.data, file=terms)
    assert again.get_json()["error_detail"]["details"]["rows_fine"] < len(rows), "nothing is mended yet"
    destination, amount, purpose, currency = (lines[0].index(name) for name in HEADER)
    for number, line in enumerate(lines[1:]):
        line[destination], line[amount], line[purpose], line[currency] = f"@Mended{number}", "7.50", "mended", "USD"
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    second = sent(api, "csv", text.getvalue().encode(), file=terms)
    assert second.status_code == 201, second.text
    assert second.get_json()["rows"] == len(rows)
    assert (first.get_json()["precise_amount"], first.get_json()["rows"]) == (sum(sheet.fine.values()), len(sheet.fine))


def test_fifty_two_mistakes_are_planted() -> None:
    assert len(FIRST) == 32
    assert len(MORE) >= 20
    assert len({each.name for each in (*FIRST, *MORE)}) == len(FIRST) + len(MORE)
