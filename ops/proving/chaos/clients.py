"""A user who posts all kinds of transactions, and repeats each request until it is answered."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from msgspec import UNSET, structs
from pacioli_client import Client
from pacioli_client.errors import Conflict, Invalid, NotFound, Unavailable, Unreachable
from pacioli_client.requests import NewBatch, NewTransaction, Refund, Settlement, Share
from pacioli_client.wire import new_reference

T = TypeVar("T")

NAMES = [f"@t{number}" for number in range(12)]

ANSWERED_S = 180.0
"""A request that is repeated for so long without an answer is a fault of the service."""


class Poster(threading.Thread):
    """Posts until it is stopped, and keeps what was acknowledged.

    Some requests skip the queue, and some are sent twice at the same moment.

    Each request is repeated with the same references, as a careful user would. A 503 says that it is not known whether it was
    accepted, like no answer at all.
    """

    def __init__(self, client: Client, dice: random.Random, stop: threading.Event, job_id: str) -> None:
        super().__init__(daemon=True)
        self.dice, self.job_id = dice, job_id
        self.runs: list[str] = []
        """Acknowledged, of the funding job."""
        self.acknowledged: dict[str, str] = {}
        """The ID that was given for each reference. It is empty for those of a batch."""
        self.wrong: list[str] = []
        self.children: list[str] = []
        """Acknowledged by their ids alone: settlements of the legs of a split, whose references are the ledger's."""
        self.expiring: list[str] = []
        """Holds that nobody settles but their date."""
        self.last_date = datetime.now(UTC)
        """After it, all that is scheduled or expires is due."""
        self._client, self._stopped = client, stop
        self._second = ThreadPoolExecutor(1)
        self._holds: list[str] = []
        self._refundable: list[str] = []

    def run(self) -> None:
        posts = [self._single, self._single, self._single, self._hold, self._settle, self._batch]
        posts += [self._split, self._scheduled, self._expiring, self._refund, self._fund, self._twice]
        while not self._stopped.is_set():
            try:
                self.dice.choice(posts)()
            except Exception as error:
                self.wrong.append(f"client: {error!r}")
                return

    def _single(self) -> None:
        if id := self._accept(self._item(skip_queue=self.dice.random() < 0.2)):
            self._refundable.append(id)

    def _twice(self) -> None:
        """Send a transaction twice at once. Both answers name the same one, and only one of them says that it is new."""
        item = self._item()
        both = [structs.replace(item, skip_queue=self.dice.random() < 0.7) for _ in range(2)]
        other = self._second.submit(self._accept, both[1])
        id, again = self._accept(both[0]), other.result()
        if "" not in (id, again) and id != again:
            self.wrong.append(f"{item.reference} was acknowledged as {id} and as {again}")

    def _hold(self) -> None:
        if id := self._accept(self._item(inflight=True, allow_overdraft=True)):
            self._holds.append(id)

    def _settle(self) -> None:
        """Commit or void a hold. One that is not decided yet, or was rejected, is refused, and that is no fault."""
        if not self._holds:
            return
        hold = self._holds.pop(self.dice.randrange(len(self._holds)))
        transactions = self._client.transactions
        settle = self.dice.choice([transactions.commit_inflight, transactions.void_inflight])
        asked = Settlement(reference=new_reference(), skip_queue=self.dice.random() < 0.5)
        try:
            answer = self._until_answered(lambda: settle(hold, asked))
        except (Invalid, NotFound, Conflict):
            return
        if answer.destinations is not UNSET:
            self.children += answer.child_transactions or [str(answer.child_transaction)]
        else:
            # One that skips the queue is itself the answer.
            child = answer.transaction_id if answer.child_transaction is UNSET else answer.child_transaction
            self.acknowledged[str(asked.reference)] = child

    def _split(self) -> None:
        """Post transfers or holds to several balances, which are settled and refunded whole."""
        source, *names = self.dice.sample(NAMES, 4)
        shares = zip(names, ("25%", "33.33", "left"), strict=True)
        inflight = self.dice.random() < 0.5
        item = self._item(
            source=source,
            destination=None,
            destinations=[Share(identifier=name, distribution=share) for name, share in shares],
            precise_amount=self.dice.randint(10_000, 20_000),
            inflight=inflight,
            atomic=self.dice.random() < 0.5,
        )
        if id := self._accept(item):
            (self._holds if inflight else self._refundable).append(id)

    def _scheduled(self) -> None:
        self._accept(self._item(scheduled_for=self._soon()))

    def _expiring(self) -> None:
        scheduled_for = self._soon() if self.dice.random() < 0.3 else None
        item = self._item(
            inflight=True, allow_overdraft=True, inflight_expiry_date=self._soon(), scheduled_for=scheduled_for
        )
        if id := self._accept(item):
            self.expiring.append(id)

    def _soon(self) -> datetime:
        at = datetime.now(UTC) + timedelta(seconds=self.dice.uniform(0, 5))
        self.last_date = max(self.last_date, at)
        return at

    def _refund(self) -> None:
        """Refund all of a transaction under its default reference, or one minor unit under a new one.

        A transaction that is not decided yet has nothing to refund, so a refusal is no fault.
        """
        if not self._refundable:
            return
        id = self.dice.choice(self._refundable[-50:])
        now = self.dice.random() < 0.3
        asked = Refund(skip_queue=now)
        if self.dice.random() < 0.5:
            asked = Refund(reference=new_reference(), precise_amount=1, skip_queue=now)
        try:
            answer = self._until_answered(lambda: self._client.transactions.refund(id, asked))
        except (Invalid, NotFound, Conflict):
            return
        self.acknowledged[answer.reference] = answer.transaction_id

    def _fund(self) -> None:
        if self.dice.random() < 0.9:
            return  # A run is as much as hundreds of the others.
        reference = new_reference()
        self.runs.append(self._until_answered(lambda: self._client.funding.run(self.job_id, reference)).run.run_id)

    def _batch(self) -> None:
        items = [self._item() for _ in range(self.dice.randint(2, 30))]
        asked = NewBatch(transactions=items, atomic=self.dice.random() < 0.5, skip_queue=self.dice.random() < 0.3)
        with suppress(Invalid):  # One that skips the queue says which of them was rejected. All are accepted.
            self._until_answered(lambda: self._client.transactions.create_batch(asked))
        self.acknowledged |= dict.fromkeys((str(item.reference) for item in items), "")

    def _item(self, **fields: Any) -> NewTransaction:
        source, destination = self.dice.sample(NAMES, 2)
        given = {
            "precise_amount": self.dice.randint(1, 100),
            "source": source,
            "destination": destination,
            "allow_overdraft": self.dice.random() < 0.5,
        }
        return NewTransaction(
            precision=100, currency="USD", reference=new_reference(), description="torture", **{**given, **fields}
        )

    def _accept(self, item: NewTransaction) -> str:
        try:
            id = self._until_answered(lambda: self._client.transactions.create(item)).transaction_id
        except Invalid as error:
            # One that skips the queue is rejected in its own answer.
            id = error.details.get("transaction_id", "") if isinstance(error.details, dict) else ""
            if not (item.skip_queue and id):
                raise
            self.acknowledged[str(item.reference)] = id
            return ""
        self.acknowledged[str(item.reference)] = id
        return id

    def _until_answered(self, ask: Callable[[], T]) -> T:
        """Ask again until there is an answer.

        Raises:
            Refused: the answer is an error.
            TimeoutError: there was none for very long.
        """
        deadline = time.monotonic() + ANSWERED_S
        while True:
            try:
                return ask()
            except (Unavailable, Unreachable) as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no answer for {ANSWERED_S:g} s") from error
                time.sleep(0.1)
