"""Promises that hold whatever is killed: durable before answered, exactly once, one order.

Short here; ``pacioli torture --seconds 600`` is the long one.
"""

import random
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
from ops.proving.chaos.arena import arena
from ops.proving.chaos.repertoire import ALL_DEAD, IN_THE_MIDDLE, MAINS, STUTTER
from ops.server.temporary import Running
from tests.harness.acceptance import case
from tests.harness.processes import WITHIN_S, kill, wait_until

CLIENTS = 8
SEED = 7


def test_nothing_acknowledged_is_lost_or_doubled_and_no_read_hangs_whatever_is_hit(tmp_path: Path) -> None:
    faults = [*MAINS, *IN_THE_MIDDLE, STUTTER, ALL_DEAD]
    random.Random(SEED).shuffle(faults)
    with arena(tmp_path) as ours:
        result = torture.run(ours, faults, seed=SEED, for_s=(3.5, 3.5))
    assert result.wrong == []
    assert {name: (hit.blows, hit.missed) for name, hit in result.faults.items()} == {
        fault.name: (1, 0) for fault in faults
    }
    assert result.longest_read_s < torture.READ_BOUND_S
    assert result.acknowledged > 100
    assert result.reads > 100
    assert result.compared > result.acknowledged
    assert result.delivered > result.acknowledged


@case(99)
def test_what_was_answered_outlives_the_web_server(service: Running) -> None:
    acknowledged: list[str] = []
    is_killed = threading.Event()  # Who sends nothing at that moment sees no error, and meets the next server.

    def post_until_it_dies(number: int) -> None:
        with requests.Session() as session, suppress(requests.RequestException):
            session.headers.update(service.headers)
            while not is_killed.is_set():
                body = _transaction(f"@Source{number}", "@Destination")
                answer = session.post(f"{service.url}/transactions", json=body, timeout=30)
                assert answer.status_code == 201, answer.text
                acknowledged.append(answer.json()["transaction_id"])

    with ThreadPoolExecutor(CLIENTS) as clients:
        posting = [clients.submit(post_until_it_dies, number) for number in range(CLIENTS)]
        wait_until(lambda: len(acknowledged) > 200)
        kill(service, "web")
        is_killed.set()
    assert [client.result() for client in posting] == [None] * CLIENTS
    for transaction_id in acknowledged:
        wait_until(partial(_is_applied, service, transaction_id))


@case(104)
def test_balances_are_free_again_when_a_worker_dies_in_the_middle_of_a_batch(service: Running) -> None:
    # Blnk: 423 for up to five minutes.
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
    found = requests.get(f"{service.url}/balances/{first['source']}", headers=service.headers, timeout=30)
    assert found.json()["balance"] == -22
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
    answer = requests.post(f"{service.url}/transactions", json=body, headers=service.headers, timeout=WITHIN_S)
    assert answer.status_code == 201, answer.text
    posted: dict[str, Any] = answer.json()
    return posted


def _status(service: Running, transaction_id: str) -> str | None:
    """Return the status of a transaction, or None while nobody answers."""
    with suppress(requests.RequestException):
        answer = requests.get(f"{service.url}/transactions/{transaction_id}", headers=service.headers, timeout=10)
        if answer.status_code != 503:
            assert answer.status_code == 200, answer.text
            return str(answer.json()["status"])
    return None


def _is_applied(service: Running, transaction_id: str) -> bool:
    return _status(service, transaction_id) == "APPLIED"
