"""A monitor fires once for each crossing, whatever is killed, and with several queues."""

import random
import uuid
from typing import Any

import requests

from ops.server.temporary import Running
from tests.harness.processes import WITHIN_S, kill, wait_until

ROUNDS = 24


def test_workers_that_are_killed_lose_no_crossing_and_repeat_none(service: Running) -> None:
    chance = random.Random(5)
    balance = _ask(service, "POST", "/balances", {"ledger_id": "general_ledger_id", "currency": "JPY"}, 201)
    balance_id = balance["balance_id"]
    condition = {"field": "balance", "operator": "<", "value": 0, "precision": 1}
    edge, level = (
        _ask(
            service,
            "POST",
            "/balance-monitors",
            {"balance_id": balance_id, "condition": condition, "mode": mode},
            201,
        )
        for mode in ("edge", "level")
    )
    # Each round takes the balance below zero and back. The money comes back from balances in other queues.
    for round in range(ROUNDS):
        down = _posting(balance_id, "@Sink", 3)
        more = _posting(balance_id, "@Sink", 1)
        back = _posting(f"@Source{round % 7}", balance_id, 4)
        bulk = {"transactions": [down, more, back], "skip_queue": chance.random() < 0.2}
        _ask(service, "POST", "/transactions/bulk", bulk, 201)
        if round in (8, 16):
            kill(service, "worker")
    wait_until(lambda: _ask(service, "GET", f"/balances/{balance_id}", None, 200)["version"] == 1 + 3 * ROUNDS)
    crossings, all_below = (_firings(service, each["monitor_id"]) for each in (edge, level))
    assert [(each["from"], each["to"]) for each in crossings] == [(0, -3)] * ROUNDS
    assert [each["to"] for each in all_below] == [-4, -3] * ROUNDS
    sequences = [each["sequence"] for each in crossings]
    assert sequences == sorted(sequences, reverse=True) and len(set(sequences)) == ROUNDS
    events = _events(service)
    told = [each["data"]["crossed"]["sequence"] for each in events if each["data"]["mode"] == "edge"]
    assert told == sorted(sequences)
    assert len(events) == 3 * ROUNDS == len({each["id"] for each in events})
    state = _ask(service, "GET", f"/balance-monitors/{level['monitor_id']}", None, 200)["state"]
    assert (state["fired"], state["triggered"]) == (2 * ROUNDS, False)


def _posting(source: str, destination: str, amount: int) -> dict[str, Any]:
    return {
        "precise_amount": amount,
        "precision": 1,
        "currency": "JPY",
        "reference": str(uuid.uuid4()),
        "source": source,
        "destination": destination,
        "description": "killed",
        "allow_overdraft": True,
    }


def _ask(service: Running, method: str, path: str, body: Any, status: int) -> Any:
    answer = requests.request(method, f"{service.url}{path}", json=body, headers=service.headers, timeout=WITHIN_S)
    assert answer.status_code == status, answer.text
    return answer.json()


def _firings(service: Running, monitor_id: str) -> list[dict[str, Any]]:
    """All firings, the latest first."""
    found: list[dict[str, Any]] = []
    after = ""
    while page := _ask(service, "GET", f"/balance-monitors/{monitor_id}/events?limit=100{after}", None, 200):
        found += page
        after = f"&after={page[-1]['event_id']}"
    return [each["crossed"] for each in found]


def _events(service: Running) -> list[dict[str, Any]]:
    """All events of monitors in the feed, the first first."""
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = _ask(service, "GET", f"/events?types=balance.monitor&limit=100{after}", None, 200)
        found += page["events"]
        if not page["more"]:
            return found
        after = f"&after={page['next']}"
