"""Statements and books: they add up, page by page and period by period, whatever is posted meanwhile."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from core.ledger import history
from tests.harness.api import Api, ok, refused
from tests.harness.factories import Ledger

START = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def busy(ledger: Ledger) -> str:
    """A balance with 40 entries of both sides, half of them backdated, some at one moment; and holds, which move nothing."""
    dice = random.Random(1)
    for number in range(40):
        sides = ("@World", "@A") if dice.random() < 0.6 else ("@A", "@World")
        when = {"effective_date": START + timedelta(days=dice.randrange(20))} if number % 2 else {}
        ledger.post(source=sides[0], destination=sides[1], precise_amount=dice.randrange(1, 500), **when)
        ledger.post(source="@World", destination="@A", precise_amount=7, inflight=True)
        ledger.drain()
    return str(ledger.balance("@A").balance_id)


def all_pages(client: FlaskClient, path: str, **query: Any) -> list[dict[str, Any]]:
    """Every page of a statement."""
    pages = []
    response = client.get(path, query_string=query or None)
    while True:
        assert response.status_code == 200, response.get_json()
        pages.append(response.get_json())
        link = response.headers.get("Link")
        if link is None:
            return pages
        response = client.get(link.partition(">")[0].removeprefix("<"))


@pytest.mark.parametrize("basis", ["booked", "effective"])
def test_a_statement_adds_up_by_itself_and_with_its_neighbours(client: FlaskClient, busy: str, basis: str) -> None:
    path = f"/balances/{busy}/statement"
    (whole,) = all_pages(client, path, basis=basis)
    at = "effective_date" if basis == "effective" else "at"
    assert (whole["opening_balance"], whole["entry_count"]) == (0, 40)
    assert [entry[at] for entry in whole["entries"]] == sorted(entry[at] for entry in whole["entries"])
    held = 0
    for entry in whole["entries"]:
        held += entry["precise_amount"] * (-1 if entry["direction"] == "debit" else 1)
        assert entry["precise_balance_after"] == held
    assert whole["closing_balance"] == held == client.get(f"/balances/{busy}").get_json()["balance"]
    cuts = [whole["entries"][number][at] for number in (7, 19, 31)]
    before = 0
    for since, until in zip([None, *cuts], [*cuts, None], strict=True):
        query = {name: time for name, time in (("from", since), ("to", until)) if time}
        pages = all_pages(client, path, basis=basis, limit=3, **query)
        entries = [entry for page in pages for entry in page["entries"]]
        assert all(page["opening_balance"] == before for page in pages)
        assert pages[0]["entry_count"] == len(entries)
        before = pages[0]["closing_balance"]
        assert (entries[-1]["precise_balance_after"] if entries else before) == before
        assert entries == [
            e for e in whole["entries"] if (not since or e[at] >= since) and (not until or e[at] < until)
        ]
        sums = [sum(e["precise_amount"] for e in entries if e["direction"] == side) for side in ("debit", "credit")]
        assert [pages[0]["debits"], pages[0]["credits"]] == sums
    assert before == whole["closing_balance"]


def test_the_pages_of_a_statement_are_as_of_the_first(client: FlaskClient, busy: str, ledger: Ledger) -> None:
    first = client.get(f"/balances/{busy}/statement?basis=effective&limit=10")
    before = first.get_json()
    ledger.post(precise_amount=10_000, effective_date=START - timedelta(days=9))
    ledger.drain()
    rest = all_pages(client, first.headers["Link"].partition(">")[0].removeprefix("<"))
    assert {page["closing_balance"] for page in rest} == {before["closing_balance"]}
    assert len(before["entries"]) + sum(len(page["entries"]) for page in rest) == 40
    assert client.get(f"/balances/{busy}/statement").get_json()["entry_count"] == 41


@pytest.mark.parametrize("basis", ["booked", "effective"])
def test_each_bound_of_a_page_is_summed_once(
    client: FlaskClient, busy: str, basis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each costs up to a span of entries. A first page begins where its period does."""
    summed: list[int] = []
    sums_until = history.sums_until
    monkeypatch.setattr(history, "sums_until", lambda *given: summed.append(len(given[-1])) or sums_until(*given))
    path = f"/balances/{busy}/statement"
    query = {"basis": basis, "from": "2020-01-01T00:00:00Z", "limit": 3}
    all_pages(client, path, **query)
    assert summed[:3] == [2, 3, 3]


def test_a_statement_is_csv_too(client: FlaskClient, busy: str) -> None:
    response = client.get(f"/balances/{busy}/statement?limit=5", headers={"Accept": "text/csv"})
    lines = response.text.splitlines()
    assert (len(lines), lines[0].split(",")[0], "Link" in response.headers) == (6, "version", True)


def test_a_balance_without_entries_has_a_statement(api: Api) -> None:
    empty = api.new_balance("USD")
    found = api.get(f"/balances/{empty}/statement")
    assert (found["opening_balance"], found["closing_balance"], found["entries"]) == (0, 0, [])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("basis=cash", "basis"),
        ("from=2026-05-02T00:00:00Z&to=2026-05-01T00:00:00Z", "to"),
        ("from=yesterday", "from"),
        ("after=5", "after"),
        ("after=99999-5", "after"),
        ("after=1-1", "after"),
        ("colour=red", "colour"),
    ],
)
def test_what_no_statement_has_is_refused(api: Api, query: str, field: str) -> None:
    balance = api.new_balance("USD")
    response = api.client.get(f"/balances/{balance}/statement?{query}")
    assert response.status_code == 400
    assert field in str(response.get_json())


def test_an_unknown_balance_has_no_statement(api: Api) -> None:
    refused(api.client.get("/balances/bln_nonsense/statement"), 404, "BAL_NOT_FOUND")


# Books and currencies


def test_the_books_add_up_to_zero(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = api.client.post("/ledgers", json={"name": "Customers"}).get_json()["ledger_id"]
    own = [
        api.client.post("/balances", json={"ledger_id": ledger, "currency": "USD"}).get_json()["balance_id"]
        for _ in range(2)
    ]
    for number, destination in enumerate([*own, "@Fees"], 1):
        api.done(destination=destination, precise_amount=100 * number)
    api.done(currency="EUR", precise_amount=5)
    euros, dollars = api.get("/books")
    assert (euros["currency"], dollars["currency"], euros["balance"], dollars["balance"]) == ("EUR", "USD", 0, 0)
    lines = {line["indicator"] or line["ledger"]: (line["balances"], line["balance"]) for line in dollars["lines"]}
    assert lines == {"@World": (1, -600), "@Fees": (1, 300), "Customers": (2, 300)}
    assert (dollars["debits"], dollars["credits"], dollars["precision"]) == (600, 600, 100)
    monkeypatch.setattr("core.ledger.books.MAX_NAMES", 1)
    lines = {line["indicator"] or line["ledger"]: line["balance"] for line in api.get("/books")[1]["lines"]}
    assert lines == {"@World": -600, "General Ledger": 300, "Customers": 300}


def test_the_books_of_many_balances_are_kept_for_a_moment(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> tuple[int, str | None]:
        response = api.client.get("/books")
        return ok(response, 200)[0]["credits"], response.headers.get("Age")

    api.done(precise_amount=100)
    assert read() == (100, None)
    monkeypatch.setattr("core.ledger.books.MANY", 1)
    assert read() == (100, None)
    api.done(precise_amount=10)
    assert read() == (100, "1")


def test_a_currency_is_fixed_once(api: Api) -> None:
    def fix(currency: str, precision: object) -> Any:
        return api.client.put(f"/currencies/{currency}", json={"precision": precision})

    assert fix("JPY", 1).get_json() == {"currency": "JPY", "precision": 1}
    assert fix("JPY", 1).status_code == 200
    refused(fix("JPY", 100), 409, "GEN_CONFLICT")
    api.done()
    refused(fix("USD", 1000), 409, "GEN_CONFLICT")
    assert api.get("/currencies") == [{"currency": "JPY", "precision": 1}, {"currency": "USD", "precision": 100}]
    for currency, precision in (("usd", 100), ("X", 0), ("X", -1), ("X", "100"), ("X", 10**19), (" ", 1)):
        assert fix(currency, precision).status_code == 400, (currency, precision)
