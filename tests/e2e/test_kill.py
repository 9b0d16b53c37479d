"""Promises that hold whatever is killed: durable before answered, exactly once, one order.

Short here; ``pacioli torture --seconds 600`` is the long one.
"""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from ops.proving import torture
from ops.server.temporary import Running, running
from tests.harness.acceptance import case
from tests.harness.processes import WITHIN_S, kill, wait_until

CLIENTS = 8

STAGES = {"SCHEDULED": 0, "QUEUED": 1, "INFLIGHT": 2, "APPLIED": 3, "VOID": 3, "REJECTED": 3}
"""A transaction only moves on to a later stage."""


def test_nothing_acknowledged_is_lost_or_doubled_whatever_is_killed(tmp_path: Path) -> None:
    with running(tmp_path) as service, ThreadPoolExecutor(1) as readers:
        is_over = threading.Event()
        reading = readers.submit(_read_while, service, is_over)
        try:
            result = torture.run(service, seconds=10, seed=7)
        finally:
            is_over.set()
        assert reading.result() > 50
    assert result.wrong == []
    assert len({what.split()[0] for what in result.blows}) >= 3, result.blows
    assert result.acknowledged > 100


def _read_while(service: Running, is_over: threading.Event) -> int:
    """Read transactions until it is over: each stays there, and no status goes back. Return how many were there to read."""
    seen: dict[str, str] = {}
    with requests.Session() as session:
        while not is_over.is_set():
            latest = _read(session, f"{service.url}/transactions?limit=20") or []
            again = [_read(session, f"{service.url}/transactions/{id}") for id in list(seen)[-40::8]]
            for row in filter(None, [*latest, *again]):
                before = seen.setdefault(row["transaction_id"], row["status"])
                assert STAGES[row["status"]] >= STAGES[before], (before, row)
                seen[row["transaction_id"]] = row["status"]
    return len(seen)


def _read(session: requests.Session, url: str) -> Any:
    """Return the answer, or None while nobody answers, or 503 does."""
    with suppress(requests.RequestException):
        answer = session.get(url, timeout=20)
        if answer.status_code != 503:
            assert answer.status_code == 200, answer.text
            return answer.json()
    return None


@case(99)
def test_what_was_answered_outlives_the_web_server(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        acknowledged: list[str] = []

        def post_until_it_dies(number: int) -> None:
            with requests.Session() as session, suppress(requests.RequestException):
                while True:
                    body = _transaction(f"@Source{number}", "@Destination")
                    answer = session.post(f"{service.url}/transactions", json=body, timeout=30)
                    assert answer.status_code == 201, answer.text
                    acknowledged.append(answer.json()["transaction_id"])

        with ThreadPoolExecutor(CLIENTS) as clients:
            posting = [clients.submit(post_until_it_dies, number) for number in range(CLIENTS)]
            wait_until(lambda: len(acknowledged) > 200)
            kill(service, "web")
        assert [client.result() for client in posting] == [None] * CLIENTS
        for transaction_id in acknowledged:
            wait_until(partial(_is_applied, service, transaction_id))


@case(104)
def test_balances_are_free_again_when_a_worker_dies_in_the_middle_of_a_batch(tmp_path: Path) -> None:
    # Blnk: 423 for up to five minutes.
    with running(tmp_path) as service:
        first = _post(service, _transaction("@A", "@B", skip_queue=True))
        url = make_url(service.state["database_url"]).set(drivername="postgresql+psycopg")
        engine = create_engine(url, poolclass=NullPool)
        with engine.connect() as conn:
            # Someone else has the balances, so that the worker is surely in the middle when it is killed.
            conn.execute(text("SELECT FROM balances FOR UPDATE"))
            waiting = [_post(service, _transaction("@A", "@B"))["transaction_id"] for _ in range(20)]
            blocked = text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            with engine.connect() as watching:
                wait_until(lambda: watching.execute(blocked).scalar_one() > 0)
            kill(service, "worker")
        next_ = _post(service, _transaction("@A", "@B", skip_queue=True))
        assert (next_["status"], next_["source"]) == ("APPLIED", first["source"])
        assert {_status(service, transaction_id) for transaction_id in waiting} == {"APPLIED"}
        assert requests.get(f"{service.url}/balances/{first['source']}", timeout=30).json()["balance"] == -22
        engine.dispose()


def _transaction(source: str, destination: str, **fields: Any) -> dict[str, Any]:
    return {
        "precise_amount": 1,
        "precision": 100,
        "currency": "USD",
        "reference": str(uuid.uuid4()),
        "source": source,
        "destination": destination,
        "description": "killed",
        "allow_overdraft": True,
        **fields,
    }


def _post(service: Running, body: dict[str, Any]) -> dict[str, Any]:
    answer = requests.post(f"{service.url}/transactions", json=body, timeout=WITHIN_S)
    assert answer.status_code == 201, answer.text
    posted: dict[str, Any] = answer.json()
    return posted


def _status(service: Running, transaction_id: str) -> str | None:
    """Return the status of a transaction, or None while nobody answers."""
    with suppress(requests.RequestException):
        answer = requests.get(f"{service.url}/transactions/{transaction_id}", timeout=10)
        if answer.status_code != 503:
            assert answer.status_code == 200, answer.text
            return str(answer.json()["status"])
    return None


def _is_applied(service: Running, transaction_id: str) -> bool:
    return _status(service, transaction_id) == "APPLIED"
