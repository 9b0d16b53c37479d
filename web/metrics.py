"""``/metrics``: what Prometheus reads, from this host's processes and from the ledger; and what counts requests."""

import time
from typing import Any

from flask import Blueprint, Flask, Response, request
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

import pacioli_metrics as metrics
from web.http.operations import TEXT, operation
from web.service import service

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@operation({200: str}, media=TEXT)
def read() -> Response:
    """Read the metrics.

    The answer is the text that Prometheus reads: the figures of the ledger, and what the processes of this host counted. The
    key may also come as ``Authorization: Bearer``, because that is how Prometheus sends one.
    """
    text = metrics.text() + generate_latest(service().ledger_metrics.registry())
    return Response(text, content_type=CONTENT_TYPE_LATEST)


def install(app: Flask) -> None:
    """Count the requests of an application, by route and status."""
    requests: dict[tuple[str, str, int], Any] = {}
    seconds: dict[str, Any] = {}

    @app.before_request
    def begin() -> None:
        request.environ["pacioli.began"] = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        # Children are kept here, because finding one by its labels costs more than counting.
        rule = request.url_rule.rule if request.url_rule is not None else "none"
        key = (rule, request.method, response.status_code)
        counter = requests.get(key)
        if counter is None:
            counter = requests[key] = metrics.HTTP_REQUESTS.labels(*map(str, key))
        counter.inc()
        if (began := request.environ.get("pacioli.began")) is not None:
            histogram = seconds.get(rule)
            if histogram is None:
                histogram = seconds[rule] = metrics.HTTP_SECONDS.labels(rule)
            histogram.observe(time.perf_counter() - began)
        return response
