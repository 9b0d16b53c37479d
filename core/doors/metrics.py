"""The metrics of a process of the service, which web and worker share, and how they are told to Prometheus.

The processes of one host write into one folder, PROMETHEUS_MULTIPROC_DIR, and whoever is asked answers for all of them.
Without that folder a process tells only its own. Names follow Prometheus: base units, and ``_total`` for what only grows.
"""

import fcntl
import os
import threading
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from glob import glob
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog

from core.ledger import drain
from core.ledger.rules.model import Outcome, RejectReason, Status

RESERVED = {"counter": 1 << 18, "histogram": 1 << 19, "gauge_livesum": 1 << 16}
"""The bytes of each file of a process. They are taken from the disk before the file is mapped into memory, because a
process that writes to a mapped page for which the disk has no room is killed (SIGBUS)."""

logger = structlog.get_logger()


def _reserve() -> None:
    """Take the room for the files of this process.

    Raises:
        OSError: the folder cannot be written, or its disk is full.
    """
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        os.makedirs(folder, exist_ok=True)
        Path(folder, "lock").touch()
        for kind, size in RESERVED.items():
            path = Path(folder, f"{kind}_{os.getpid()}.db")
            with path.open("ab") as file:
                if file.tell() == 0:
                    try:
                        os.posix_fallocate(file.fileno(), 0, size)
                    except OSError:
                        path.unlink(missing_ok=True)
                        raise


try:
    _reserve()
except OSError as error:
    logger.warning("metrics of this process are not shared", error=str(error))
    del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def _reserve_in_child() -> None:
    with suppress(OSError):
        _reserve()


os.register_at_fork(after_in_child=_reserve_in_child)

# prometheus_client reads the environment when it is imported.
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest, make_wsgi_app  # noqa: E402
from prometheus_client.mmap_dict import MmapedDict, mmap_key  # noqa: E402
from prometheus_client.multiprocess import MultiProcessCollector  # noqa: E402

OWN = CollectorRegistry()
"""The metrics of this process."""

_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_REQUEST_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)

HTTP_REQUESTS = Counter(
    "pacioli_http_requests_total", "Requests answered.", ("route", "method", "status"), registry=OWN
)
HTTP_SECONDS = Histogram(
    "pacioli_http_request_duration_seconds",
    "Time to answer a request, with the wait that it asked for.",
    ("route",),
    buckets=_REQUEST_SECONDS,
    registry=OWN,
)
APPEND_ROWS = Histogram("pacioli_append_rows", "Rows in one commit to the log.", buckets=_ROWS, registry=OWN)
APPEND_SECONDS = Histogram(
    "pacioli_append_duration_seconds", "Time of one commit to the log.", buckets=_SECONDS, registry=OWN
)
REFUSED = Counter("pacioli_append_refused_total", "Submissions that could not be appended.", registry=OWN)
DRAIN_ROWS = Histogram("pacioli_drain_rows", "Postings decided in one commit.", buckets=_ROWS, registry=OWN)
DRAIN_SECONDS = Histogram(
    "pacioli_drain_duration_seconds", "Time to decide one batch and commit it.", buckets=_SECONDS, registry=OWN
)
DECIDED = Counter(
    "pacioli_decided_total",
    "Postings decided, by status, and by reason if rejected.",
    ("status", "reason"),
    registry=OWN,
)
RUNG = Counter("pacioli_doorbells_rung_total", "Doorbells that the broker got from a web process.", registry=OWN)
COALESCED = Counter("pacioli_doorbells_coalesced_total", "Doorbells saved, for one was waiting.", registry=OWN)
FAILED = Counter("pacioli_doorbells_failed_total", "Doorbells that the broker did not take.", registry=OWN)
LOST = Counter(
    "pacioli_doorbells_lost_total", "Queues that a sweep found waiting, and that nobody was draining.", registry=OWN
)
TICKS = Counter("pacioli_ticks_total", "Runs of ticks.", ("tick",), registry=OWN)
FUNDING_ROWS = Counter("pacioli_funding_rows_total", "Rows of funding runs posted.", registry=OWN)
FUNDING_RUNS = Counter("pacioli_funding_runs_total", "Funding runs that ended.", ("status",), registry=OWN)
DELIVERIES = Counter(
    "pacioli_webhook_attempts_total", "Attempts to deliver an event to an endpoint.", ("result",), registry=OWN
)
DELIVERY_SECONDS = Histogram("pacioli_webhook_seconds", "Time of an attempt to deliver.", registry=OWN)
THREAD_FAILURES = Counter("pacioli_thread_failures_total", "Steps of threads that failed.", ("thread",), registry=OWN)
CONNECTIONS = Gauge(
    "pacioli_database_connections",
    "Database connections of this host's web processes, by pool.",
    ("pool", "state"),
    multiprocess_mode="livesum",
    registry=OWN,
)
SCRAPE_ERRORS = Counter(
    "pacioli_scrape_errors_total", "Scrapes that could not read the database in time.", registry=OWN
)


# A series that is there from the start can be told from one that is missing, and its first step is seen.
for _status in ("APPLIED", "INFLIGHT", "VOID"):
    DECIDED.labels(_status, "")
for _reason in RejectReason:
    DECIDED.labels(Status.REJECTED, _reason.name)
for _status in ("COMPLETED", "REFUSED", "CANCELLED"):
    FUNDING_RUNS.labels(_status)


class Growing:
    """Follows numbers that only grow, which somebody else counts, and adds what is new to counters."""

    def __init__(self) -> None:
        self._last: dict[Any, float] = {}

    def follow(self, counter: Any, value: float, source: object = None) -> None:
        """Add what the value has grown by. Several sources may add to one counter."""
        key = source or counter
        if (grown := value - self._last.get(key, 0)) > 0:
            counter.inc(grown)
        self._last[key] = value


def count_append(rows: int, seconds: float) -> None:
    """Count a commit to the log."""
    APPEND_ROWS.observe(rows)
    APPEND_SECONDS.observe(seconds)


def count_drain(outcomes: Sequence[Outcome], seconds: float) -> None:
    """Count a commit of a drain, by status and by the reason of a rejection."""
    DRAIN_ROWS.observe(len(outcomes))
    DRAIN_SECONDS.observe(seconds)
    decided = Tally((each.status, each.rejection.reason.name if each.rejection else "") for each in outcomes)
    for (status, reason), number in decided.items():
        DECIDED.labels(status, reason).inc(number)


drain.observers.append(count_drain)


def count_funding(posted: int, ended: Iterable[str]) -> None:
    """Count rows that were posted, and the statuses of runs that ended."""
    FUNDING_ROWS.inc(posted)
    for status, number in Tally(ended).items():
        FUNDING_RUNS.labels(status).inc(number)


def count_delivery(status: int | None, took_s: float, *, is_done: bool) -> None:
    """Count an attempt to deliver an event: delivered, refused by its receiver, or without an answer."""
    DELIVERIES.labels("delivered" if is_done else "unanswered" if status is None else "refused").inc()
    DELIVERY_SECONDS.observe(took_s)


def registry() -> CollectorRegistry:
    """Return the metrics of all processes of this host, or of this process alone without a folder."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        return OWN
    found = CollectorRegistry()
    found.register(_Shared(folder))
    return found


class _Shared:
    """Collects what the processes that share a folder have counted."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def describe(self) -> list[Metric]:
        """Say nothing beforehand, so that registering reads no file."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Read the files of all processes, while nobody puts those of the dead together."""
        with Path(self._folder, "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            fold_dead(self._folder)
            return list(MultiProcessCollector(None, self._folder).collect())


def text() -> bytes:
    """Write the metrics of this host as Prometheus reads them."""
    return generate_latest(registry())


def serve(port: int, secret_key: str | None) -> WSGIServer | None:
    """Serve the metrics of this host on a port, from a thread. A port that is taken is no reason not to work.

    A scrape needs the key. Without one the port is there for this machine alone.
    """
    try:
        listener = make_server("" if secret_key else "127.0.0.1", port, _behind_key(secret_key), _Threads, _Quiet)
    except OSError as error:
        logger.error("metrics cannot be served", port=port, error=str(error))
        return None
    threading.Thread(target=listener.serve_forever, name="metrics", daemon=True).start()
    logger.info("metrics", port=listener.server_port)
    return listener


def _behind_key(secret_key: str | None) -> Callable[..., Any]:
    metrics: Any = make_wsgi_app(_Fresh())
    right = secret_key and sha256(secret_key.encode()).digest()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        given = environ.get("HTTP_X_BLNK_KEY") or environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        if right and not compare_digest(sha256(given.encode()).digest(), right):
            start_response("401 Unauthorized", [("Content-Type", "text/plain")])
            return [b"The key is missing or wrong. Send it as a bearer token, or in X-Blnk-Key.\n"]
        return metrics(environ, start_response)

    return app


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = 10  # A client that sends nothing does not keep its thread.

    def log_message(self, format: str, *args: Any) -> None:
        """Write no line for a scrape."""


class _Fresh:
    """Collects anew for each scrape, because processes come and go."""

    def collect(self) -> Iterable[Metric]:
        return registry().collect()


def fold_dead(folder: str) -> None:
    """Put the counters of processes that have ended into one file, and remove their gauges.

    Counters stay, because a counter must not fall. One file for all keeps a process that dies again and again from filling
    the disk. The caller holds the lock of the folder.
    """
    for kind in ("counter", "histogram"):
        dead = [path for path in glob(os.path.join(folder, f"{kind}_*.db")) if _is_of_dead(path)]
        if not dead:
            continue
        kept, new = Path(folder, f"{kind}_dead.db"), Path(folder, f"{kind}.new")
        new.unlink(missing_ok=True)
        try:
            with new.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVED[kind])
        except OSError:  # The disk is full. They are put together when it has room.
            new.unlink(missing_ok=True)
            continue
        merged: Any = MultiProcessCollector.merge([*dead, *([str(kept)] if kept.exists() else [])], accumulate=False)
        values: Any = MmapedDict(str(new))
        for metric in merged:
            for sample in metric.samples:
                key = mmap_key(metric.name, sample.name, sample.labels, sample.labels.values(), metric.documentation)
                values.write_value(key, sample.value, 0.0)
        values.close()
        new.replace(kept)
        for path in dead:
            os.unlink(path)
    for path in glob(os.path.join(folder, "gauge_live*.db")):
        if _is_of_dead(path):
            os.unlink(path)


def _is_of_dead(path: str) -> bool:
    pid = path.rpartition("_")[2].removesuffix(".db")
    return pid.isdigit() and not _is_alive(int(pid))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
