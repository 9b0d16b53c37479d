"""Postings over HTTP with dates, and the balances that they reach."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine

from core.ledger import history
from core.ledger.store.balances import BalanceRow

JUST = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
YEAR_2020 = datetime(2020, 6, 1, tzinfo=UTC)
YEAR_2021 = datetime(2021, 6, 1, tzinfo=UTC)
YEAR_2100 = datetime(2100, 1, 1, tzinfo=UTC)
runs = itertools.count(1)


def sums_at(conn: Connection, row: BalanceRow, at: datetime | None, *, from_source: bool = False) -> tuple[int, int]:
    """Return credit and debit."""
    then = history.balance_at(conn, row, at, from_source=from_source)
    assert then.balance == then.credit - then.debit
    return then.credit, then.debit


def take_all(engine: Engine, *, size: int = history.BATCH) -> int:
    """Take snapshots of all balances that changed since their last one, batch by batch, and return how many."""
    total, last = history.take_batch(engine, size=size)
    while last is not None:
        taken, last = history.take_batch(engine, after=last, size=size)
        total += taken
    return total


def post_dated(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    """Post one USD cent from @World to @A, or what the fields say."""
    body = {
        "precise_amount": 1,
        "precision": 100,
        "currency": "USD",
        "reference": f"history {next(runs)}",
        "source": "@World",
        "destination": "@A",
        "description": "a test",
        "allow_overdraft": True,
        **fields,
    }
    response = client.post("/transactions", json={name: value for name, value in body.items() if value is not None})
    assert response.status_code == 201, response.text
    posted: dict[str, Any] = response.get_json()
    return posted


def id_of(client: FlaskClient, name: str) -> str:
    found: str = client.get(f"/balances/indicator/{name}/currency/USD").get_json()["balance_id"]
    return found


def refusal_of(client: FlaskClient, method: str, path: str, status: int) -> tuple[str, str]:
    response = client.open(path, method=method)
    assert response.status_code == status, response.text
    detail = response.get_json()["error_detail"]
    return detail["code"], detail["message"]
