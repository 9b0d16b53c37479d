"""A reader of the feed alone rebuilds every balance while the service is killed around it."""

import random
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import requests

from ops.server.temporary import Running
from tests.harness.processes import WITHIN_S, kill, wait_until
from tests.harness.rebuilding import Books

NAMES = [f"@Feed{number}" for number in range(6)]
KILLS = ("worker", "web", "postgres")
PAUSE_S = 0.02


class Reader:
    """Follows the feed, and goes on from its cursor after every failure."""

    def __init__(self, service: Running, after: str = "0.0") -> None:
        self.service, self.books, self.told, self.after = service, Books(), list[dict[str, Any]](), after

    def follow(self, until: threading.Event) -> None:
        while not (until.is_set() and self.read() is False):
            self.read()

    def read(self, limit: int = 200) -> bool:
        """Read a page, and return whether it had an event or may be followed by one. No answer may be too."""
        query = {"after": self.after, "wait": "500ms", "limit": str(limit)}
        with suppress(requests.RequestException):
            found = requests.get(f"{self.service.url}/events", query, headers=self.service.headers, timeout=20)
            if found.status_code == 200:
                page = found.json()
                for event in page["events"]:
                    self.books.book(event["id"], event["type"], event["data"])
                self.told += page["events"]
                self.after = page["next"]
                return bool(page["events"] or page["more"] or page["held"])
            assert found.status_code in (500, 502, 503), found.text
        time.sleep(0.05)
        return True


def test_a_reader_of_the_feed_rebuilds_every_balance_whatever_is_killed(service: Running) -> None:
    earlier = read_to_the_end(service)  # Other tests have told it.
    with ThreadPoolExecutor(6) as threads:
        reader, is_over = Reader(service, earlier.after), threading.Event()
        following = threads.submit(reader.follow, is_over)
        stop = threading.Event()
        posting = [threads.submit(post, service, number, stop) for number in range(4)]
        for part in KILLS:
            before = len(reader.told)
            wait_until(lambda before=before: len(reader.told) > before + 20)  # type: ignore[misc]
            kill(service, part)
        count = len(reader.told)
        wait_until(lambda: len(reader.told) > count + 20)
        stop.set()
        acknowledged = {id for each in posting for id in each.result()}
        is_over.set()
        following.result(WITHIN_S)

    all_told = earlier.told + reader.told
    assert acknowledged <= {each["data"].get("transaction_id") for each in reader.told}
    sequences = [each["sequence"] for each in all_told if each["type"].startswith("transaction.")]
    assert sequences == list(range(1, len(sequences) + 1))
    assert read_to_the_end(service, limit=97).told == all_told
    balances = [balance_of(service, name) for name in (*NAMES, "@World")]
    held = {each["balance_id"]: sums_of(each) for each in balances}
    assert held == {balance: reader.books.sums.get(balance, [0] * 4) for balance in held}


def read_to_the_end(service: Running, limit: int = 200) -> Reader:
    reader = Reader(service)
    while reader.read(limit):
        pass
    return reader


def post(service: Running, seed: int, stop: threading.Event) -> list[str]:
    """Post transfers and holds, and settle some, until told to stop. Returns what was acknowledged."""
    chance, acknowledged, holds = random.Random(seed), list[str](), list[str]()
    with requests.Session() as session:
        session.headers.update(service.headers)
        while not stop.wait(PAUSE_S):
            with suppress(requests.RequestException):
                if holds and chance.random() < 0.3:
                    body = {"status": chance.choice(["commit", "void"])}
                    path = f"/transactions/inflight/{holds.pop()}"
                    answer = session.put(f"{service.url}{path}", json=body, timeout=30)
                else:
                    fields = {"inflight": chance.random() < 0.3, "allow_overdraft": chance.random() < 0.6}
                    answer = session.post(f"{service.url}/transactions", json=_body(chance, fields), timeout=30)
                if answer.status_code == 201:
                    acknowledged.append(answer.json()["transaction_id"])
                    if answer.json()["inflight"]:
                        holds.insert(0, acknowledged[-1])
    return acknowledged


def _body(chance: random.Random, fields: dict[str, Any]) -> dict[str, Any]:
    source, destination = chance.sample([*NAMES, "@World"], 2)
    return {
        "precise_amount": chance.randint(1, 9), "precision": 100, "currency": "USD", "reference": str(uuid.uuid4()),
        "source": source, "destination": destination, "description": "killed", **fields,
    }  # fmt: skip


def balance_of(service: Running, name: str) -> dict[str, Any]:
    path = f"/balances/indicator/{name}/currency/USD"
    answer = requests.get(service.url + path, headers=service.headers, timeout=WITHIN_S)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def sums_of(balance: dict[str, Any]) -> list[int]:
    names = ("credit_balance", "debit_balance", "inflight_credit_balance", "inflight_debit_balance")
    return [balance[name] for name in names]
