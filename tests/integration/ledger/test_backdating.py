"""A posting counts from its effective date, and moves money now."""

import csv
import io
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient

from core.base.db import reading
from core.ledger import due
from core.ledger.rules.requests import Leg
from core.ledger.store import transactions as transaction_store
from tests.harness.dated import HOUR, JUST, YEAR_2020, YEAR_2021, id_of, post_dated, sums_at
from tests.harness.factories import Ledger, transaction


@pytest.mark.parametrize("way", ["queue", "skip_queue", "backlog"])
def test_a_backdated_posting_counts_from_its_date_and_moves_money_now(  # [86]
    client: FlaskClient, ledger: Ledger, way: str
) -> None:
    if way == "backlog":
        for _ in range(3):
            post_dated(client)
    asked = {"precise_amount": 500, "effective_date": "2020-06-01T12:00:00Z", "skip_queue": way == "skip_queue"}
    posted = post_dated(client, **asked)
    if way == "backlog":
        post_dated(client)
    ledger.drain()
    assert posted["effective_date"] == "2020-06-01T12:00:00Z"
    found = client.get(f"/transactions/{posted['transaction_id']}").get_json()
    assert (found["status"], found["effective_date"]) == ("APPLIED", "2020-06-01T12:00:00Z")
    assert found["created_at"] > "2021"
    path = f"/balances/{id_of(client, '@A')}"
    others = 4 if way == "backlog" else 0
    assert client.get(path).get_json()["balance"] == 500 + others
    assert client.get(f"{path}/at").get_json()["balance"]["balance"] == 500 + others
    assert client.get(f"{path}/at?timestamp=2021-01-01T00:00:00Z").get_json()["balance"]["balance"] == 500
    assert client.get(f"{path}/at?timestamp=2020-06-01T11:59:59Z").get_json()["balance"]["balance"] == 0


@pytest.mark.smoke
def test_a_posting_dated_ahead_moves_money_now_and_counts_later(client: FlaskClient) -> None:
    post_dated(client, precise_amount=500, effective_date="2100-01-01T00:00:00Z", skip_queue=True)
    path = f"/balances/{id_of(client, '@A')}"
    assert client.get(path).get_json()["balance"] == 500
    assert client.get(f"{path}/at").get_json()["balance"]["balance"] == 0
    assert client.get(f"{path}/at?timestamp=2100-01-01T00:00:00Z").get_json()["balance"]["balance"] == 500


def test_what_follows_a_backdated_hold_counts_from_its_own_time(client: FlaskClient) -> None:
    hold = post_dated(client, precise_amount=9, inflight=True, skip_queue=True, effective_date="2020-01-01T00:00:00Z")
    path = f"/transactions/inflight/{hold['transaction_id']}"
    commit = client.put(path, json={"status": "commit", "skip_queue": True}).get_json()
    assert commit["effective_date"] == commit["created_at"]
    path = f"/balances/{id_of(client, '@A')}/at"
    assert client.get(f"{path}?timestamp=2021-01-01T00:00:00Z").get_json()["balance"]["balance"] == 0
    assert client.get(path).get_json()["balance"]["balance"] == 9


def test_an_effective_date_reaches_the_postings_of_bulks_splits_and_schedules(ledger: Ledger) -> None:
    dated = {"effective_date": YEAR_2020, "source": "@World"}
    split = {**dated, "destination": None, "precise_amount": 10}
    legs = [Leg(identifier="@B", distribution="30%"), Leg(identifier="@C", distribution="left")]
    later = datetime.now(UTC) + HOUR
    bulk = [transaction(**dated, destination="@A"), transaction(destination="@A")]
    ledger.bulk(*bulk, atomic=True)
    ledger.bulk(transaction(**split, destinations=legs))
    ledger.bulk(
        transaction(**dated, destination="@D", scheduled_for=later.isoformat()),
        transaction(**{**split, "source": "@W"}, destinations=legs, scheduled_for=later.isoformat()),
    )
    due.accept_due(ledger.engine, later)
    ledger.drain()
    with reading(ledger.engine) as conn:
        for name, expected in (("@A", 1), ("@B", 6), ("@C", 14), ("@D", 1)):
            assert sums_at(conn, ledger.balance(name), YEAR_2021) == (expected, 0)
            assert sums_at(conn, ledger.balance(name), YEAR_2020 - JUST) == (0, 0)
        rows = transaction_store.find_seqs(conn, list(range(1, 100)))
    assert [row.effective_date for row in rows] == [YEAR_2020, None] + [YEAR_2020] * 7


def test_a_statement_says_from_when_each_entry_counts(client: FlaskClient) -> None:
    plain = post_dated(client, skip_queue=True)
    post_dated(client, skip_queue=True, effective_date="2020-06-01T12:00:00Z")
    path = f"/balances/{id_of(client, '@A')}/entries"
    entries = client.get(path).get_json()
    assert [entry["effective_date"] for entry in entries] == [plain["created_at"], "2020-06-01T12:00:00Z"]
    rows = list(csv.DictReader(io.StringIO(client.get(path, headers={"Accept": "text/csv"}).text, newline="")))
    assert [row["effective_date"] for row in rows] == [
        datetime.fromisoformat(entry["effective_date"]).isoformat() for entry in entries
    ]
