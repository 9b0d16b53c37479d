"""Compares what was acknowledged with what is there when all is quiet again."""

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime

from pacioli_client import Client
from pacioli_client.answers.service import Health
from pacioli_client.errors import PacioliError
from pacioli_client.requests import NewJob, Recipient

from ops.proving.chaos.clients import NAMES, Poster
from ops.proving.chaos.echoes import Echoes
from ops.proving.chaos.receiver import Receiver

FUNDED = 200
"""Rows of the funding job that the clients run again and again."""

FINAL = ("APPLIED", "REJECTED", "INFLIGHT", "VOID")

QUIET_S = 60.0
"""After the last blow something must move within so long, until all that was acknowledged is final."""

UP_S = 90.0
"""The health must be UP so long after all is final. A verification that is late is one of the reasons why it may not be."""


def create_job(client: Client) -> str:
    """Create the funding job that the clients run, and return its ID."""
    asked = NewJob(
        name="torture",
        source="@FundingPool",
        currency="USD",
        precision=100,
        allow_overdraft=True,
        allow_duplicates=True,
        again=True,
    )
    recipients = [Recipient(destination=NAMES[row % len(NAMES)], precise_amount=1) for row in range(FUNDED)]
    return client.funding.create(asked, recipients).job.job_id


def await_final(client: Client, posters: Iterable[Poster], job_id: str) -> list[str]:
    """Wait until everything that was acknowledged is decided and everything with a date was due. Returns what is wrong."""
    last_date = max(poster.last_date for poster in posters)
    expiring = {id for poster in posters for id in poster.expiring}
    left: dict[str, int] = {}
    changed_at = time.monotonic()
    while time.monotonic() - changed_at < QUIET_S:
        with suppress(PacioliError):
            before, left = left, _left(client, expiring, job_id)
            if datetime.now(UTC) > last_date and not any(left.values()):
                return []
            if left != before:
                changed_at = time.monotonic()
        time.sleep(0.2)
    return [f"for {QUIET_S:g} s nothing has moved, and this is left: {left}"]


def _left(client: Client, expiring: set[str], job_id: str) -> dict[str, int]:
    """Count what is still to be done, by its kind. What has a date comes first, because it goes through a queue then."""
    return {
        "runs": sum(run.ended_at is None for run in client.funding.runs(job_id, limit=1000)),
        "scheduled": sum(1 for _ in client.transactions.list(status_eq="SCHEDULED", limit=1000)),
        "expiring": sum(
            hold.transaction_id in expiring for hold in client.transactions.list(status_eq="INFLIGHT", limit=1000)
        ),
        "queued": sum(queue.depth for queue in client.queues()),
    }


def await_up(client: Client) -> list[str]:
    """Wait until the service says that nothing is amiss. Returns what it says instead."""
    deadline = time.monotonic() + UP_S
    health: Health | None = None
    while time.monotonic() < deadline:
        with suppress(PacioliError):
            health = client.health()
            if health.status == "UP":
                return []
        time.sleep(0.5)
    problems = health.problems if health else []
    return [f"the health is not UP again: {problem.part}: {problem.what}" for problem in problems] or ["no health"]


def check_runs(client: Client, posters: Iterable[Poster], job_id: str) -> tuple[int, list[str]]:
    """Check that every acknowledged run is there, and that each is posted whole. Returns their number and what is wrong."""
    runs = list(client.funding.runs(job_id))
    acknowledged = {run for poster in posters for run in poster.runs}
    wrong = [f"lost: {run}" for run in acknowledged - {run.run_id for run in runs}]
    wrong += [
        f"{run.run_id} is {run.status} with {run.rows_accepted} rows"
        for run in runs
        if (run.status, run.rows_accepted) != ("COMPLETED", FUNDED)
    ]
    return len(runs), wrong


def check_log(client: Client, posters: Iterable[Poster], echoes: Echoes) -> tuple[Counter[str], list[str]]:
    """Walk the whole log: everything acknowledged is there once, under the ID that was given, and final.

    All that was ever answered is borne out. Returns how many transactions have which status, and what is wrong.
    """
    there: dict[str, str] = {}
    acknowledged = {reference: id for poster in posters for reference, id in poster.acknowledged.items()}
    expiring = {id for poster in posters for id in poster.expiring}
    lost = {id for poster in posters for id in poster.children}
    found: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    wrong = []
    for row in client.transactions.list(sort_order="asc", limit=1000):
        found[row.reference] += 1
        statuses[row.status] += 1
        there[row.transaction_id] = row.status
        lost.discard(row.transaction_id)
        given = acknowledged.get(row.reference)
        if given and given != row.transaction_id:
            wrong.append(f"{row.reference} was acknowledged as {given} and is {row.transaction_id}")
        if row.status not in FINAL or (row.transaction_id in expiring and row.status != "VOID"):
            wrong.append(f"{row.transaction_id} is {row.status}")
    lost |= {reference for reference in acknowledged if found[reference] == 0}
    wrong += [f"lost: {each}" for each in sorted(lost)]
    wrong += [f"twice: {reference}" for reference, count in found.items() if count > 1]
    return statuses, wrong + list(echoes.disagreements(there))


def await_told(client: Client, receiver: Receiver) -> list[str]:
    """Wait until the receiver has each event of a transaction. Returns what is wrong."""
    told, after, more = dict[str, int](), None, True
    while more:
        page = client.events.page(after, types=["transaction.*"], limit=1000)
        told |= {event.id: event.sequence for event in page.events}
        after, more = page.next, page.more
    left, changed_at = told.keys() - receiver.ids, time.monotonic()
    while left and time.monotonic() - changed_at < QUIET_S:
        time.sleep(0.2)
        if len(still := told.keys() - receiver.ids) < len(left):
            left, changed_at = still, time.monotonic()
    wrong = [f"event {id}, of the sequence {told[id]}, was not delivered for {QUIET_S:g} s" for id in sorted(left)]
    return wrong + [f"event {id} was delivered, and is not there" for id in receiver.ids - told.keys()]
