"""`pacioli bench --vs` counts what a server applied, and what it refused, dropped or left undone."""

import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner

from ops.cli.main import main
from ops.proving import versus
from ops.proving.versus import Pair, Server, Versus, Work, listening

Fate = Callable[[int], str]
"""Tells from the number of a posting what becomes of it: ``applied``, ``refused``, ``dropped`` or ``forgotten``."""


class Ledger(ThreadingHTTPServer):
    """A server that speaks enough of the API, and treats each posting as it is told."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, fate: Fate, *, chunked: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fate, self.chunked = fate, chunked
        self.numbers, self.lock = itertools.count(), threading.Lock()
        self.credits: dict[str, int] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Ledger

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        kind, _, id = self.path[1:].partition("/")
        self._answer(200, {"credit_balance": self.server.credits[id]} if kind == "balances" else {"id": id})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = next(self.server.numbers)
        if self.path in ("/ledgers", "/balances"):
            self.server.credits[str(number)] = 0
            self._answer(201, {f"{self.path[1:-1]}_id": str(number)})
            return
        fate = self.server.fate(number)
        if fate == "dropped":
            self.close_connection = True
            return
        if fate == "applied":
            with self.server.lock:
                for item in body.get("transactions", [body]):
                    self.server.credits[item["destination"]] += 100
        self._answer(400 if fate == "refused" else 201, {"transaction_id": str(number)})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        if self.server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            content = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
        else:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving(fate: Fate, *, chunked: bool = False) -> Iterator[Ledger]:
    with Ledger(fate, chunked=chunked) as ledger:
        threading.Thread(target=ledger.serve_forever, args=(0.02,), daemon=True).start()
        yield ledger
        ledger.shutdown()


def _server(ledger: Ledger) -> Server:
    return Server(name=ledger.url, url=ledger.url, headers={}, pids={"web": os.getpid()})


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little work, and little patience with what never comes."""
    works = [Work(name="single", count=40, connections=4), Work(name="bulk", count=2, size=10, connections=2)]
    monkeypatch.setattr(versus, "works", lambda scale: [*works, Work(name="read", count=20, read=True)])
    monkeypatch.setattr(versus, "PATIENCE_S", 0.2)
    monkeypatch.setattr(versus, "BALANCES", 8)


def _measured(ours: Ledger, theirs: Ledger, rounds: int = 1) -> list[Pair]:
    return list(Versus(_server(ours), _server(theirs), 1.0, rounds, lambda text: None).measure())


def test_all_that_was_accepted_is_applied() -> None:
    with serving(lambda number: "applied") as ours, serving(lambda number: "applied", chunked=True) as theirs:
        pairs = _measured(ours, theirs, rounds=2)
    assert [pair.name for pair in pairs] == ["single", "bulk", "read"]
    for side in [pair.ours for pair in pairs] + [pair.theirs for pair in pairs]:
        assert (side.refused, side.unanswered, side.not_applied) == (0, 0, 0)
        assert side.applied_rate > 0
        assert side.cpu_us is not None


def test_what_goes_wrong_is_counted_by_postings() -> None:
    fates = {0: "refused", 1: "dropped", 2: "forgotten"}
    with serving(lambda number: "applied") as ours, serving(lambda number: fates.get(number % 10, "applied")) as theirs:
        single, *_ = _measured(ours, theirs)
    assert (single.ours.refused, single.ours.unanswered, single.ours.not_applied) == (0, 0, 0)
    assert (single.theirs.refused, single.theirs.unanswered, single.theirs.not_applied) == (4, 4, 4)
    assert single.theirs.applied_rate < single.theirs.accepted_rate


def test_a_bulk_counts_for_its_postings() -> None:
    with serving(lambda number: "applied") as ours, serving(lambda number: "applied") as theirs:
        done = itertools.count()
        theirs.fate = lambda number: "forgotten" if next(done) >= 41 else "applied"
        _, bulk, _ = _measured(ours, theirs)
    assert bulk.theirs.not_applied == 10


def test_who_listens_at_a_url_is_seen() -> None:
    with serving(lambda number: "applied") as ledger:
        assert listening(ledger.url) == {"web": os.getpid()}
    assert listening("http://ledger.example:5001") == {}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--vs", "https://127.0.0.1"], "takes the root of a server"),
        (["--vs", "http://127.0.0.1/ledgers"], "takes the root of a server"),
        (["--vs", "http://127.0.0.1:1", "--vs-pid", "postgres"], "takes a part and a running process"),
        (["--vs", "http://127.0.0.1:1", "--only", "core"], "over HTTP only"),
        (["--vs-pid", "postgres=1"], "belong to --vs"),
    ],
)
def test_options_that_cannot_be_are_refused(options: list[str], says: str) -> None:
    result = CliRunner().invoke(main, ["bench", *options])
    assert result.exit_code == 2
    assert says in result.output
