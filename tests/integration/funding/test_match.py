"""Recipients are named by what people know of them: the metadata of their balances. Each name is one balance, or a refusal."""

import json
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest

from core.base.db import begin
from core.base.errors import InvalidRequest
from core.funding import create
from core.funding.files.reader import FileReader
from core.funding.job_store import JobRow
from core.funding.requests import FundingRule
from core.ledger.store import balances as balance_store
from core.ledger.store import ledgers as ledger_store
from core.lists.requests import FilterClause
from tests.harness.factories import Ledger
from tests.harness.funding import NOW, advance_all, funding_request, paid_pairs

pytestmark = pytest.mark.usefixtures("sound")

MATCH = "meta_data.customer_id"


@pytest.fixture
def customers(ledger: Ledger) -> dict[str, str]:
    """Balances of customers: C-1 and C-3 in USD, C-2 in EUR, two of C-4, and one whose ID is a number."""
    made = {}
    with begin(ledger.engine) as conn:
        ledger_store.create(conn, "ldg_1", "Customers", None)
        for name, currency, customer_id in (
            ("one", "USD", "C-1"), ("euro", "EUR", "C-2"), ("three", "USD", "C-3"),
            ("four", "USD", "C-4"), ("four again", "USD", "C-4"), ("number", "USD", 17),
        ):  # fmt: skip
            meta = json.dumps({"customer_id": customer_id, "in": {"sheet": f"row of {name}"}})
            row = balance_store.create(conn, ledger_id="ldg_1", indicator=None, currency=currency, meta_data=meta)
            made[name] = row.balance_id
    return made


def pay(ledger: Ledger, *rows: tuple[str, int], match: str = MATCH, **fields: Any) -> JobRow:
    asked = funding_request(*rows, match=match, **fields)
    job = create.create_job(ledger.engine, asked, None, ledger.directory, NOW).job
    advance_all(ledger)
    return job


def test_each_row_pays_the_one_balance_that_has_its_text(ledger: Ledger, customers: dict[str, str]) -> None:
    job = pay(ledger, ("C-3", 30), ("17", 17), ("C-1", 10), ("@Fees", 1))
    assert paid_pairs(ledger, job) == [
        (customers["three"], 30), (customers["number"], 17), (customers["one"], 10), ("@Fees", 1),
    ]  # fmt: skip
    nested = pay(ledger, ("row of one", 5), match="meta_data.in.sheet")
    assert paid_pairs(ledger, nested) == [(customers["one"], 5)]


def test_a_file_names_its_recipients_so_too(ledger: Ledger, customers: dict[str, str]) -> None:
    file = BytesIO(b"destination,amount\nC-1,1\nC-3,2.50\n")
    asked = funding_request(match=MATCH)
    job = create.create_job(ledger.engine, asked, FileReader(file, None), ledger.directory, NOW).job
    advance_all(ledger)
    assert paid_pairs(ledger, job) == [(customers["one"], 100), (customers["three"], 250)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("C-9", "no balance in USD has meta_data.customer_id 'C-9'"),
        ("c-1", "no balance in USD has meta_data.customer_id 'c-1'"),
        ("C-2", "no balance in USD has meta_data.customer_id 'C-2'"),
        ("C-4", "2 balances in USD have meta_data.customer_id 'C-4', and a row pays one"),
        ("", "cannot be blank"),
    ],
)
def test_a_text_of_no_balance_or_of_several_is_refused_with_its_row(
    ledger: Ledger, customers: dict[str, str], text: str, says: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        pay(ledger, ("C-1", 1), (text, 1))
    assert caught.value.details["problems"] == [{"row": 2, "field": "destination", "message": says}]


def test_two_texts_of_one_balance_are_a_duplicate(ledger: Ledger, customers: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="is in row 1 too"):
        pay(ledger, ("C-1", 1), ("C-1", 2))


@pytest.mark.parametrize(
    "match", ["customer_id", "meta_data.", "meta_data..id", "meta_data", "ledger_id", "meta_data.a\x00"]
)
def test_what_is_no_path_in_metadata_is_refused(ledger: Ledger, match: str) -> None:
    with pytest.raises(InvalidRequest, match="match"):
        pay(ledger, ("C-1", 1), match=match)


def test_a_rule_has_no_use_for_it(ledger: Ledger) -> None:
    rule = FundingRule(filters=[FilterClause("currency", "eq", "USD")], amount=Decimal(1))
    with pytest.raises(InvalidRequest, match="is for a list"):
        pay(ledger, rule=rule)
