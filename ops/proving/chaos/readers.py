"""A user who reads while others post, and notices when a status goes back or something has gone."""

import itertools
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from pacioli_client import Client
from pacioli_client.answers.transactions import Transaction
from pacioli_client.errors import NotFound, Unavailable, Unreachable

T = TypeVar("T")

STAGES = {"SCHEDULED": 0, "QUEUED": 1, "INFLIGHT": 2, "APPLIED": 3, "VOID": 3, "REJECTED": 3}
"""A transaction only moves on to a later stage."""


class Reader(threading.Thread):
    """Reads transactions, balances, queues and the health until it is stopped."""

    def __init__(self, client: Client, dice: random.Random, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.wrong: list[str] = []
        self.seen: dict[str, str] = {}
        """The last status of each transaction that was there to read."""
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
        for row in _answer(lambda: list(itertools.islice(client.transactions.list(limit=20), 20))) or []:
            self._note(row)
        recent = list(self.seen)[-200:]
        for id in self._dice.sample(recent, min(5, len(recent))):
            try:
                again = _answer(partial(client.transactions.read, id))
            except NotFound:
                self.wrong.append(f"{id} was there to read, and is not there any more")
            else:
                if again:
                    self._note(again)
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
