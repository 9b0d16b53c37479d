"""The metrics of the ledger: facts that are in Postgres, read when somebody asks, in a thread, and kept for some seconds.

When the database is away they are left out, and ``pacioli_scrape_errors_total`` grows, so no alarm is quiet because a figure
is old.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import Engine

from core.base.db import reading_within
from core.doors import metrics
from core.flows import rollup_store
from core.flows.rollup_store import Lag
from core.upkeep import figures, heartbeats, probes
from core.upkeep.figures import Figures
from core.upkeep.heartbeats import Heartbeat
from core.upkeep.probes import Sealed, Ticked, Verified
from core.webhooks import deliveries
from core.webhooks.deliveries import Health
from web.probing.facts import FAILING_S, WORKER_SILENT_S

KEPT_S = 3.0
"""The time for which the figures are kept. Several scrapers then cost as much as one."""

WITHIN_S = 1.5
"""The longest time that a scrape waits for the database."""
STATEMENT_S = 2.0

SUMS_KEPT_S = 60.0
_PARTS = ("web", "worker", "beat", "deliverer", "notary")

SUMS_SHARE = 100
"""Sums are kept for a minute, and for so many times as long as they took, so they cost one percent of a core at most."""
SUMS_WITHIN_S = 5.0
FIRST_SUMS_S = 1.0
"""The first scrape waits so long for the sums, and leaves them out after that."""
SUMS_WAIT_S = 0.03
"""Later ones wait so long, and give the sums of before after that."""


class LedgerCollector:
    """Reads the figures of the ledger for a scrape, in a thread of its own, and keeps them for some seconds."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="figures")
        self._adder = ThreadPoolExecutor(1, thread_name_prefix="sums")
        self._adding: Future[None] | None = None
        self._lock = threading.Lock()
        self._kept: tuple[float, list[Metric]] | None = None
        self._sums: dict[str, int] = {}
        self._sums_at: float | None = None
        self._sums_due_at = 0.0
        self._pending: Any = None

    def registry(self) -> CollectorRegistry:
        """Make a registry of these metrics alone."""
        found = CollectorRegistry()
        found.register(self)
        return found

    def describe(self) -> list[Metric]:
        """Say nothing beforehand, so that registering reads no database."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Read the figures, or return those of a moment ago. Returns none if the database does not answer in time."""
        with self._lock:
            if self._kept is not None and time.monotonic() - self._kept[0] < KEPT_S:
                return self._kept[1]
            if self._pending is None:
                self._pending = self._thread.submit(self._read)
            pending = self._pending
        try:
            found: list[Metric] = pending.result(WITHIN_S)
        except Late:
            metrics.SCRAPE_ERRORS.inc()
            return []
        except Exception:
            found = []
        with self._lock:
            if self._pending is pending:
                self._pending = None
                self._kept = (time.monotonic(), found) if found else None
        if not found:
            metrics.SCRAPE_ERRORS.inc()
        return found

    def _read(self) -> list[Metric]:
        with reading_within(self._engine, STATEMENT_S) as conn:
            found = figures.read(conn)
            ticks, verified, beats = probes.ticks(conn), probes.verified(conn), heartbeats.every(conn)
            sealed, webhooks, lag = probes.sealed(conn), deliveries.health(conn), rollup_store.lag(conn)
            unverified_s = probes.ledger_age_s(conn) if verified is None else verified.age_s
        self._add_up_beside()
        sums = None if self._sums_at is None else (self._sums, time.monotonic() - self._sums_at)
        parts = (
            *_parts(ticks, beats),
            *_verification(verified, unverified_s),
            *_seal(sealed),
            *_webhooks(webhooks),
            *_flows(lag),
        )
        return [*_figures(found), *parts, *_sums(sums)]

    def _add_up_beside(self) -> None:
        """Add up all balances in another thread, if it is time, and wait a little for it."""
        if self._adding is not None and self._adding.done():
            self._adding = None
        if self._adding is None and time.monotonic() >= self._sums_due_at:
            self._adding = self._adder.submit(self._add_up)
        if self._adding is not None:
            wait([self._adding], FIRST_SUMS_S if self._sums_at is None else SUMS_WAIT_S)

    def _add_up(self) -> None:
        """Add up all balances. A sum that takes too long is left out, and tried again later."""
        began = time.monotonic()
        with suppress(Exception), reading_within(self._engine, SUMS_WITHIN_S) as conn:
            self._sums = figures.sums(conn)
            self._sums_at = time.monotonic()
        self._sums_due_at = time.monotonic() + max(SUMS_KEPT_S, SUMS_SHARE * (time.monotonic() - began))


def _gauge(name: str, help: str, labels: tuple[str, ...], rows: Iterable[tuple[list[str], float]]) -> Metric:
    family = GaugeMetricFamily(name, help, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _counter(name: str, help: str, labels: tuple[str, ...], rows: Iterable[tuple[list[str], float]]) -> Metric:
    family = CounterMetricFamily(name, help, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _figures(found: Figures) -> Iterator[Metric]:
    lines = found.lines
    yield _counter("pacioli_accepted", "Rows of the log: transactions accepted.", (), [([], found.last_seq)])
    queue = ("queue",)
    yield _gauge("pacioli_queue_depth", "Waiting postings.", queue, [([str(n.queue)], n.depth) for n in lines])
    yield _gauge(
        "pacioli_queue_oldest_age_seconds",
        "Age of the oldest waiting posting.",
        queue,
        [([str(n.queue)], n.oldest_age_s) for n in lines],
    )
    yield _counter("pacioli_queue_decided", "Postings decided.", queue, [([str(n.queue)], n.decided) for n in lines])
    yield _gauge("pacioli_holds_open", "Holds that are not settled.", (), [([], found.holds_open)])
    yield _gauge("pacioli_holds_overdue", "Holds that should be settled by now.", (), [([], found.holds_overdue)])
    statuses = ("PENDING", "POSTING", "POSTED")
    runs = [([status], float(found.runs.get(status, 0))) for status in statuses]
    yield _gauge("pacioli_funding_runs_unfinished", "Funding runs that have not ended.", ("status",), runs)


def _verification(verified: Verified | None, age_s: float) -> Iterator[Metric]:
    """A ledger that was never verified is as old as its last verification would be."""
    problems = 0 if verified is None else verified.problem_count
    yield _gauge("pacioli_verification_age_seconds", "Time since the last verification.", (), [([], age_s)])
    yield _gauge("pacioli_verification_problems", "Problems found and not cleared.", (), [([], problems)])


def _seal(sealed: Sealed | None) -> Iterator[Metric]:
    if sealed is not None:
        yield _gauge("pacioli_seal_age_seconds", "Time since the notary's newest signature.", (), [([], sealed.age_s)])
        rows = float(sealed.unsealed)
        yield _gauge("pacioli_unsealed_rows", "Rows of the log that the notary has not signed.", (), [([], rows)])


def _flows(lag: Lag) -> Iterator[Metric]:
    yield _gauge(
        "pacioli_flows_behind", "Rows of the log that are not in the sums of flows.", (), [([], float(lag.rows))]
    )
    yield _gauge("pacioli_flows_behind_seconds", "Age of the first of them.", (), [([], lag.age_s)])


def _webhooks(found: list[Health]) -> Iterator[Metric]:
    count = sum((each.failing_s or 0.0) > FAILING_S or each.disabled_why is not None for each in found)
    yield _gauge("pacioli_webhooks_failing", "Endpoints that take nothing.", (), [([], float(count))])
    failing = [([each.webhook_id], each.failing_s or 0.0) for each in found]
    yield _gauge(
        "pacioli_webhook_failing_seconds", "Time for which an endpoint has taken nothing.", ("webhook",), failing
    )
    behind = [([each.webhook_id], float(each.behind)) for each in found]
    yield _gauge("pacioli_webhook_behind", "Transactions after the cursor of an endpoint.", ("webhook",), behind)
    pending = [([each.webhook_id], float(each.pending)) for each in found]
    yield _gauge("pacioli_webhook_pending", "Deliveries that wait for another attempt.", ("webhook",), pending)
    given_up = [([each.webhook_id], float(each.given_up)) for each in found]
    yield _gauge("pacioli_webhook_given_up", "Deliveries whose last attempt has failed.", ("webhook",), given_up)


def _parts(ticks: list[Ticked], beats: list[Heartbeat]) -> Iterator[Metric]:
    late = [([tick.name], tick.late_s) for tick in ticks if tick.late_s is not None]
    yield _gauge("pacioli_tick_age_seconds", "Time since a tick last began.", ("tick",), late)
    lately = [beat for beat in beats if beat.age_s <= WORKER_SILENT_S]
    alive = [([part], float(sum(beat.part == part for beat in lately))) for part in _PARTS]
    yield _gauge("pacioli_processes_alive", "Processes heard of lately.", ("part",), alive)
    offsets = {beat.host: beat.clock_off_s for beat in lately}
    clocks = [([host], off_s) for host, off_s in offsets.items()]
    yield _gauge(
        "pacioli_clock_offset_seconds", "How far a host's clock is ahead of the database's.", ("host",), clocks
    )


def _sums(sums: tuple[dict[str, int], float] | None) -> Iterator[Metric]:
    if sums is not None:
        by_currency = [([currency], float(total)) for currency, total in sums[0].items()]
        yield _gauge("pacioli_balance_sum", "Sum of all balances: zero.", ("currency",), by_currency)
        yield _gauge("pacioli_balance_sum_age_seconds", "Age of that sum.", (), [([], sums[1])])
