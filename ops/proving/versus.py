"""The same work on two servers that speak the same API, in turn, in one run.

Whatever else the machine does meets both. What is measured is what was *applied*: each round pays into new balances, and
ends when they have received what was accepted. So a server that only takes postings in gains nothing by it.
"""

import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import click
import msgspec
import psutil
import requests

from core.base.ids import new_id
from ops.proving.cpu import Cost, metered
from ops.proving.load import NO_ANSWER, Load, request, send_all
from ops.proving.rows import BULK, Say

TAKEN = (200, 201, 202)
LAST = 16
"""So many of the requests that were taken last say when all is applied."""
PATIENCE_S = 30.0
"""How long a server may take, after its last answer, to apply what it accepted."""
BALANCES = 200
"""So many balances pay in each round, and so many are paid."""
MINOR = 100
"""The amount that each posting moves, in minor units."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A server under test, and the main processes of its parts, as far as this machine shows them."""

    name: str
    url: str
    headers: Mapping[str, str]
    pids: Mapping[str, int]


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of work: so many requests of so many postings each."""

    name: str
    count: int
    size: int = 1
    connections: int = 64
    hot: bool = False
    at_once: bool = False
    read: bool = False

    @property
    def rows(self) -> int:
        return self.count * self.size


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One server's part in one round, or the middle one of all rounds. Rates are postings a second."""

    accepted_rate: float
    applied_rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float | None
    """CPU microseconds for each posting that was applied. None: no process of the server is seen."""
    refused: int
    unanswered: int
    not_applied: int
    """So many postings were accepted, and were not applied `PATIENCE_S` after the last answer."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """The results of both servers with the same work. ``ratio`` is the middle of the rounds' ratios of applied rates."""

    name: str
    ours: Result
    theirs: Result
    ratio: float


def works(scale: float) -> list[Work]:
    """Return every kind of work. ``scale`` 1 takes minutes."""
    singles, bulks = max(64, int(6_000 * scale)), max(2, int(40 * scale))
    bulk = Work(name=f"bulk of {BULK:,}", count=bulks, size=BULK, connections=4)
    single = Work(name="single", count=singles)
    replace = msgspec.structs.replace
    return [
        single,
        replace(single, name="single, one hot source", hot=True),
        replace(single, name="single, skip_queue", at_once=True),
        replace(single, name="single, skip_queue, one hot source", at_once=True, hot=True),
        bulk,
        replace(bulk, name="bulk, skip_queue", at_once=True),
        replace(single, name="read by id", read=True),
    ]


@dataclass
class Versus:
    """Gives both servers every kind of work in turn."""

    ours: Server
    theirs: Server
    scale: float
    rounds: int
    say: Say

    def measure(self) -> Iterator[Pair]:
        """Measure. The server that begins changes with each round.

        Raises:
            click.ClickException: a server refuses what the rounds stand on: a ledger or a balance.
        """
        sides = [_Side(self.ours), _Side(self.theirs)]
        for work in works(self.scale):
            rounds: tuple[list[Result], list[Result]] = ([], [])
            for number in range(self.rounds):
                for side in (0, 1) if number % 2 == 0 else (1, 0):
                    self.say(f"{work.name}: round {number + 1} of {self.rounds}, {sides[side].server.name}")
                    rounds[side].append(sides[side].round(work))
            ratios = [ours.applied_rate / max(theirs.applied_rate, 1e-9) for ours, theirs in zip(*rounds, strict=True)]
            yield Pair(
                name=work.name, ours=_middle(rounds[0]), theirs=_middle(rounds[1]), ratio=statistics.median(ratios)
            )


class _Side:
    """One server, with a ledger of its own on it."""

    def __init__(self, server: Server) -> None:
        self.server, self.random = server, random.Random(1)
        self.session = requests.Session()
        self.session.headers.update({"Content-Type": "application/json", **server.headers})
        self.ledger = self._made("/ledgers", {"name": new_id("bench_")})["ledger_id"]
        self.payers = self._balances()
        self.read_ids: list[str] = []

    def round(self, work: Work) -> Result:
        if work.read:
            return self._reads(work)
        paid, path = self._balances(), "/transactions/bulk" if work.size > 1 else "/transactions"
        items = [[self._item(work, paid) for _ in range(work.size)] for _ in range(work.count)]
        bodies = [json.dumps(_body(work, each)).encode() for each in items]
        asked = [request(self.server.url, "POST", path, self.server.headers, body) for body in bodies]
        started = time.perf_counter()
        with metered(self.server.pids) as cost:
            load = send_all(self.server.url, asked, connections=work.connections)
            taken = [place for place, status in enumerate(load.statuses) if status in TAKEN]
            owed = Counter(str(item["destination"]) for place in taken for item in items[place])
            self._await({str(items[place][-1]["destination"]) for place in taken[-LAST:]}, owed)
            seconds = time.perf_counter() - started
        # The last ones are there, so the others are too, unless the server works out of order or loses some.
        if missing := self._missing(owed):
            self._await(owed, owed)
            seconds = time.perf_counter() - started
            missing = self._missing(owed)
        if work.size == 1 and not work.hot and not work.at_once:
            self.read_ids += [json.loads(load.bodies[place])["transaction_id"] for place in taken]
        return self._result(work, load, cost, (len(taken) * work.size - missing, missing, seconds))

    def _reads(self, work: Work) -> Result:
        ids = self.read_ids
        if not ids:
            raise click.ClickException(f"{self.server.name} took no transaction, so there is none to read")
        paths = [f"/transactions/{ids[place % len(ids)]}" for place in range(work.count)]
        asked = [request(self.server.url, "GET", path, self.server.headers) for path in paths]
        with metered(self.server.pids) as cost:
            load = send_all(self.server.url, asked, connections=work.connections)
        return self._result(work, load, cost, (load.counts[200], 0, load.seconds))

    def _result(self, work: Work, load: Load, cost: Cost, applied: tuple[int, int, float]) -> Result:
        rows, missing, seconds = applied
        good = sum(count for status, count in load.counts.items() if status in TAKEN)
        waits_ms = sorted(wait * 1000 for wait, status in zip(load.waits_s, load.statuses, strict=True) if status)
        return Result(
            accepted_rate=good * work.size / load.seconds,
            applied_rate=rows / seconds,
            p50_ms=waits_ms[len(waits_ms) // 2] if waits_ms else 0.0,
            p99_ms=waits_ms[int(len(waits_ms) * 0.99)] if waits_ms else 0.0,
            cpu_us=cost.us_a_row(rows) if self.server.pids and rows else None,
            refused=(len(load.statuses) - good - load.counts[NO_ANSWER]) * work.size,
            unanswered=load.counts[NO_ANSWER] * work.size,
            not_applied=missing,
        )

    def _item(self, work: Work, paid: Sequence[str]) -> dict[str, object]:
        return {
            "amount": MINOR // 100,
            "precision": 100,
            "currency": "USD",
            "reference": new_id("vs_"),
            "source": self.payers[0] if work.hot else self.random.choice(self.payers),
            "destination": self.random.choice(paid),
            "description": "bench",
            "allow_overdraft": True,
        }

    def _balances(self) -> list[str]:
        body = json.dumps({"ledger_id": self.ledger, "currency": "USD"}).encode()
        asked = [request(self.server.url, "POST", "/balances", self.server.headers, body)] * BALANCES
        load = send_all(self.server.url, asked, connections=8)
        if load.counts[201] != BALANCES:
            raise click.ClickException(f"{self.server.name} answered {dict(load.counts)} to {BALANCES} POST /balances")
        return [str(json.loads(made)["balance_id"]) for made in load.bodies]

    def _await(self, balances: Iterable[str], owed: Mapping[str, int]) -> None:
        """Wait until these balances have received what they are owed, at most `PATIENCE_S`."""
        deadline = time.monotonic() + PATIENCE_S
        for balance in balances:
            while self._received(balance) < owed[balance] and time.monotonic() < deadline:
                time.sleep(0.005)

    def _missing(self, owed: Mapping[str, int]) -> int:
        """Return how many postings have not reached their balance."""
        asked = [request(self.server.url, "GET", f"/balances/{id}", self.server.headers) for id in owed]
        load = send_all(self.server.url, asked, connections=8)
        return sum(max(0, due - _credited(body)) for due, body in zip(owed.values(), load.bodies, strict=True))

    def _received(self, balance: str) -> int:
        answer = self.session.get(f"{self.server.url}/balances/{balance}", timeout=60)
        return _credited(answer.content)

    def _made(self, path: str, body: Mapping[str, object]) -> dict[str, str]:
        answer = self.session.post(self.server.url + path, json.dumps(body), timeout=60)
        if not answer.ok:
            text = f"{self.server.name} answered {answer.status_code} to POST {path}: {answer.text[:300]}"
            raise click.ClickException(
                f"{text}\nIf it wants a key, put the key into a file and name it by --vs-key-file."
            )
        made: dict[str, str] = answer.json()
        return made


def _credited(body: bytes) -> int:
    """Return how many postings a balance has received, by what a server says of it."""
    with suppress(ValueError, KeyError, TypeError):
        return int(json.loads(body)["credit_balance"]) // MINOR
    return 0


def listening(url: str) -> dict[str, int]:
    """Return the processes of this machine that listen at a URL, as ``{"web": pid}``; empty when none is seen."""
    address = urlsplit(url)
    if address.hostname not in ("127.0.0.1", "localhost", "::1"):
        return {}
    found: set[int] = set()
    with suppress(psutil.AccessDenied):
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr.port == (address.port or 80) and one.pid:
                found.add(one.pid)
    tops = [pid for pid in found if not found & {parent.pid for parent in _parents(pid)}]
    return {"web" if number == 0 else f"web {number + 1}": pid for number, pid in enumerate(sorted(tops))}


def _parents(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        parents: list[psutil.Process] = psutil.Process(pid).parents()
        return parents
    return []


def _body(work: Work, items: list[dict[str, object]]) -> dict[str, object]:
    body: dict[str, object] = items[0] if work.size == 1 else {"transactions": items}
    return {**body, "skip_queue": True} if work.at_once else body


def _middle(rounds: Sequence[Result]) -> Result:
    """Return the round in the middle by applied rate, with all that went wrong in any round."""
    middle = sorted(rounds, key=lambda each: each.applied_rate)[len(rounds) // 2]
    wrong = {name: sum(getattr(each, name) for each in rounds) for name in ("refused", "unanswered", "not_applied")}
    return msgspec.structs.replace(middle, **wrong)
