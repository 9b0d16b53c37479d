"""Compares each answer with its request, and with every other answer about the same transaction.

Requests meet in one commit, share reads, and are answered by other threads than their own. So an answer could be that of
another request, or name what is not in the ledger, and nothing but a comparison would show it.
"""

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote
from uuid import uuid4

import httpx
import msgspec

REQUEST_ID = "X-Request-Id"

STAGES = {"SCHEDULED": 0, "QUEUED": 1, "INFLIGHT": 2, "APPLIED": 3, "VOID": 3, "REJECTED": 3}
"""A transaction only moves on to a later stage."""

_ASKED = ("reference", "currency", "description", "precise_amount", "precision", "skip_queue")
"""The fields of a new transaction that its answer has as they were sent."""


class Said(NamedTuple):
    """The part of a transaction that is the same in every answer that gives it the same status."""

    reference: str
    currency: str
    precision: int
    precise_amount: int
    description: str
    sequence: int
    created_at: str


class Echoes:
    """Notices answers that do not belong to their requests, or contradict each other. Threads may share it."""

    def __init__(self) -> None:
        self.answers = 0
        """The number of answers that were compared with their request."""
        self.wrong: list[str] = []
        self.status: dict[str, str] = {}
        """The furthest status that an answer gave each transaction."""
        self._said: dict[tuple[str, str], Said] = {}
        self._lock = threading.Lock()

    def transport(self, inner: httpx.BaseTransport) -> httpx.BaseTransport:
        """Make a transport for one client. It gives each request an ID, and looks at each answer."""
        return _Echoing(self, inner)

    def look(self, request: httpx.Request, response: httpx.Response) -> None:
        """Compare an answer with its request. One that was not made by a view is left to others."""
        given, returned = request.headers[REQUEST_ID], response.headers.get(REQUEST_ID)
        name = f"{request.method} {request.url.path}"
        if returned != given and (returned is not None or response.status_code < 400):
            self.wrong.append(f"{name} had the request ID {given}, and its answer has {returned}")
        try:
            body = msgspec.json.decode(response.content)
        except msgspec.DecodeError:
            return
        self.answers += 1
        if response.status_code in (200, 201):
            self.wrong += [f"{name} {each}" for each in _differences(request, body)]
        for row in _transactions(body):
            self._note(row)

    def _note(self, row: dict[str, Any]) -> None:
        id, status = row["transaction_id"], row["status"]
        said = Said(*(row[name] for name in Said._fields))
        with self._lock:
            before = self._said.setdefault((id, status), said)
            if STAGES[status] >= STAGES[self.status.setdefault(id, status)]:
                self.status[id] = status
        # An amount that is pending is what is left now.
        if before._replace(precise_amount=0) != said._replace(precise_amount=0) or (
            before.precise_amount != said.precise_amount and status != "QUEUED"
        ):
            self.wrong.append(f"{id} was answered as {before}, and as {said}")

    def disagreements(self, found: dict[str, str]) -> Iterator[str]:
        """Say which answers the ledger does not bear out. ``found`` is the last status of each of its transactions."""
        for id, status in self.status.items():
            if id not in found:
                yield f"{id} was answered as {status}, and is not there"
            elif STAGES[found[id]] < STAGES[status] or (STAGES[status] == 3 and found[id] != status):
                yield f"{id} was answered as {status}, and is {found[id]}"


def _differences(request: httpx.Request, body: Any) -> Iterator[str]:
    """Say in what an answer is not that of its request."""
    _, first, *rest = request.url.path.split("/")
    if request.method == "POST" and (first, rest) == ("transactions", []):
        asked = msgspec.json.decode(request.content)
        for name in _ASKED:
            if name in asked and asked[name] != body[name]:
                yield f"asked for {name} {asked[name]!r}, and was answered {body[name]!r}"
    if request.method == "GET" and len(rest) == 1 and first in ("transactions", "balances"):
        key = f"{first[:-1]}_id"
        if key in body and body[key] != unquote(rest[0]):
            yield f"was answered with {body[key]}"


def _transactions(body: Any) -> Iterator[dict[str, Any]]:
    """Find the transactions of an answer: one, or a page of them."""
    for each in body if isinstance(body, list) else [body]:
        if isinstance(each, dict) and {"transaction_id", "status", "sequence"} <= each.keys():
            yield each


class _Echoing(httpx.BaseTransport):
    def __init__(self, echoes: Echoes, inner: httpx.BaseTransport) -> None:
        self._echoes, self._inner = echoes, inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.headers[REQUEST_ID] = str(uuid4())
        response = self._inner.handle_request(request)
        response.read()
        self._echoes.look(request, response)
        return response

    def close(self) -> None:
        self._inner.close()
