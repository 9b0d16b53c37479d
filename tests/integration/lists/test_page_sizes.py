"""A page has at most so many bytes, and its Link goes on where it ended."""

from typing import Any

import pytest

from tests.harness.api import Api, ok
from tests.integration.funding.test_funding_http import job
from web.http import pages

LONG = "x" * 4_000
ROOM = 10_000
"""Two rows with such a text fit, and three do not."""


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE", ROOM)


def walk(api: Api, path: str, body: Any = None, headers: Any = None) -> list[Any]:
    """Return all pages of a list, by their links."""
    found = []
    following: str | None = path
    while following:
        method = "GET" if body is None else "POST"
        response = api.client.open(following, method=method, json=body, headers=headers)
        assert response.status_code == 200, response.text
        assert len(response.data) < ROOM + 500
        found.append(response.text if headers else response.get_json())
        link = response.headers.get("Link")
        following = link[1 : link.index(">")] if link else None
    return found


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/transactions?sort_order=asc", None),
        ("/transactions?sort_by=amount&sort_order=asc&limit=4", None),
        ("/transactions?include_count=true&sort_order=asc", None),
        ("/transactions/filter", {"filters": [], "sort_order": "asc"}),
    ],
)
def test_a_page_of_transactions_ends_early_and_none_is_left_out(api: Api, path: str, body: Any) -> None:
    sent = [api.done(description=LONG, precise_amount=number + 1)["transaction_id"] for number in range(5)]
    found = walk(api, path, body)
    rows = [page["data"] if isinstance(page, dict) else page for page in found]
    assert [len(page) for page in rows] == [2, 2, 1]
    assert [row["transaction_id"] for page in rows for row in page] == sent
    assert all(page["total_count"] == 5 for page in found if isinstance(page, dict))


@pytest.mark.usefixtures("_small")
def test_a_row_that_is_larger_than_a_page_is_a_page(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE", 100)
    sent = [api.done()["transaction_id"] for _ in range(2)]
    assert [row["transaction_id"] for page in walk(api, "/transactions") for row in page] == sent[::-1]


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("accept", [None, {"Accept": "text/csv"}])
def test_a_statement_ends_early_and_no_entry_is_left_out(api: Api, accept: Any) -> None:
    references = [api.done(description=LONG)["reference"] for _ in range(5)]
    balance = api.balance("@A")["balance_id"]
    found = walk(api, f"/balances/{balance}/entries", headers=accept)
    if accept:
        assert [page.count(LONG) for page in found] == [2, 2, 1]
        assert [line.count(f"{each},") for each, line in zip(references, "".join(found).split(LONG), strict=False)] == [
            1
        ] * 5
        return
    assert [entry["reference"] for page in found for entry in page] == references


@pytest.mark.usefixtures("_small")
def test_lists_of_jobs_and_balances_end_early_too(api: Api) -> None:
    for number in range(5):
        ok(api.client.post("/funding-jobs", json=job(name=f"J{number}", reference=f"j{number}", description=LONG)), 201)
        ledger = {"name": f"L{number}", "meta_data": {"a": LONG}}
        ledger_id = ok(api.client.post("/ledgers", json=ledger), 201)["ledger_id"]
        asked = {"ledger_id": ledger_id, "currency": "USD", "meta_data": {"a": LONG}}
        ok(api.client.post("/balances", json=asked), 201)
    for path, name, count in (
        ("/funding-jobs", "job_id", 5),
        ("/ledgers", "ledger_id", 6),
        ("/balances", "balance_id", 0),
    ):
        ids = [row[name] for page in walk(api, path) for row in page]
        assert len(ids) == len(set(ids)) and len(ids) >= count
