"""``/metrics``: what Prometheus reads, from this host's processes and from the ledger; and what counts requests."""

import time
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Flask, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from core.doors import metrics
from web.http import wire
from web.http.operations import TEXT, operation
from web.probing.prober import Prober
from web.service import service

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@operation({200: str}, media=TEXT)
def read() -> Response:
    """Read the metrics.

    The answer is the text that Prometheus reads: the figures of the ledger, and what the processes of this host counted. The
    key may also come as ``Authorization: Bearer``, because that is how Prometheus sends one.
    """
    ledger = service()
    text = metrics.text() + generate_latest(ledger.ledger_metrics.registry()) + generate_latest(_Health(ledger.prober))
    return Response(text, content_type=CONTENT_TYPE_LATEST)


def install(app: Flask) -> None:
    """Count the requests of an application, by route and status."""
    requests: dict[tuple[str, str, int], Any] = {}
    seconds: dict[str, Any] = {}

    @app.before_request
    def begin() -> None:
        wire.environ()["pacioli.began"] = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        # Children are kept here, because finding one by its labels costs more than counting.
        asked = wire.current()
        rule = asked.url_rule.rule if asked.url_rule is not None else "none"
        key = (rule, asked.method, response.status_code)
        counter = requests.get(key)
        if counter is None:
            counter = requests[key] = metrics.HTTP_REQUESTS.labels(*map(str, key))
        counter.inc()
        environ = asked.environ
        environ[wire.ROUTE] = rule
        if (began := environ.get("pacioli.began")) is not None:
            histogram = seconds.get(rule)
            if histogram is None:
                histogram = seconds[rule] = metrics.HTTP_SECONDS.labels(rule)
            histogram.observe(time.perf_counter() - began)
        return response


PARTS = (
    "append", "broker", "clocks", "database", "disk", "queues", "threads", "ticks", "verification", "workers"
)  # fmt: skip


class _Health(CollectorRegistry):
    """The health of each part, as ``/health`` of this process tells it."""

    def __init__(self, prober: Prober) -> None:
        super().__init__()
        self._prober = prober

    def collect(self) -> Iterator[Metric]:
        worst = dict.fromkeys(PARTS, 0)
        for trouble in self._prober.troubles():
            worst[trouble.part] = max(worst.get(trouble.part, 0), trouble.severity)
        family = GaugeMetricFamily("pacioli_health_status", "0 is UP, 1 DEGRADED, 2 DOWN.", labels=("part",))
        for part, severity in worst.items():
            family.add_metric([part], severity)
        yield family
