"""A user who reads while others post, and notices when a status goes back or something has gone."""

import itertools
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from pacioli_client import Client
from pacioli_client.answers.transactions import Transaction
from pacioli_client.errors import NotFound, Unavailable, Unreachable

from ops.proving.chaos.echoes import STAGES

T = TypeVar("T")

_LISTS: list[dict[str, Any]] = [
    {},
    {"status_eq": "QUEUED"},
    {"status_eq": "REJECTED"},
    {"sort_by": "sequence", "sort_order": "asc"},
    {"amount_gte": "0.5"},
]
"""The filters of the lists that are read in turn."""


class Reader(threading.Thread):
    """Reads transactions, balances, queues and the health until it is stopped."""

    def __init__(self, client: Client, dice: random.Random, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.wrong: list[str] = []
        self.seen: dict[str, str] = {}
        """The last status of each transaction that was there to read."""
        self._balances: dict[str, None] = {}
        self._client, self._dice, self._stopped = client, dice, stop

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._look()
            except Exception as error:
                self.wrong.append(f"reader: {error!r}")
                return

    def _look(self) -> None:
        client = self._client
        filters = self._dice.choice(_LISTS)
        for row in _answer(lambda: list(itertools.islice(client.transactions.list(limit=20, **filters), 20))) or []:
            self._note(row)
            if row.source:  # A split may have several.
                self._balances[row.source] = None
        recent = list(self.seen)[-200:]
        for id in self._dice.sample(recent, min(5, len(recent))):
            try:
                again = _answer(partial(client.transactions.read, id))
            except NotFound:
                self.wrong.append(f"{id} was there to read, and is not there any more")
            else:
                if again:
                    self._note(again)
        for id in self._dice.sample(known := [*self._balances][-20:], min(2, len(known))):
            _answer(partial(client.balances.read, id))
        with suppress(NotFound):
            _answer(lambda: client.balances.by_indicator("@t0", "USD", with_queued=True))
        _answer(client.queues)
        _answer(client.health)

    def _note(self, row: Transaction) -> None:
        before = self.seen.setdefault(row.transaction_id, row.status)
        if STAGES[row.status] < STAGES[before]:
            self.wrong.append(f"{row.transaction_id} was {before} and is {row.status}")
        self.seen[row.transaction_id] = row.status


def _answer(ask: Callable[[], T]) -> T | None:
    """Return the answer, or None while nobody answers, or 503 does."""
    with suppress(Unreachable, Unavailable):
        return ask()
    return None
