"""Traces go to a collector when there is an endpoint for them, and cost nothing otherwise."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from flask import Flask
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from structlog.testing import capture_logs

from core.base import tracing
from tests.harness.api import Api, ok
from worker import tasks


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The spans that a collector got."""
    spans: list[Any] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            spans.extend(s for r in asked.resource_spans for scope in r.scope_spans for s in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(tracing, "_tracer", None)
    monkeypatch.setattr(tracing, "_provider", None)
    tracing.configure(f"http://127.0.0.1:{server.server_port}/", "test")
    yield spans
    tracing._provider.shutdown()
    server.shutdown()
    thread.join()
    server.server_close()


def test_one_trace_goes_from_the_request_to_the_drain(
    app: Flask, api: Api, collector: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str | None] = []
    told = threading.Event()

    def ring(queues: object) -> None:
        rung.append(tracing.traceparent())
        told.set()

    monkeypatch.setattr(app.extensions["pacioli"].committer, "_ring", ring)
    trace = "0af7651916cd43dd8448eb211c80319c"
    api.client.environ_base["HTTP_TRACEPARENT"] = f"00-{trace}-b7ad6b7169203331-01"
    ok(api.post(), 201)
    assert told.wait(10)
    monkeypatch.setattr(tasks, "answer", lambda: None)
    monkeypatch.setattr(tasks, "engine", lambda: None)
    monkeypatch.setattr(tasks.core_drain, "drain", lambda *_, **__: [])
    tasks.drain.push_request(id="an id", traceparent=rung[0], called_directly=False, args=(3,))
    try:
        tasks.drain(3)
    finally:
        tasks.drain.pop_request()
    tracing.flush()
    names = {span.name: span for span in collector if span.trace_id.hex() == trace}
    assert set(names) == {"HTTP POST", "append", "pacioli.drain"}
    assert names["HTTP POST"].parent_span_id.hex() == "b7ad6b7169203331"
    assert names["append"].parent_span_id == names["HTTP POST"].span_id
    assert names["pacioli.drain"].parent_span_id == names["append"].span_id


def test_a_missing_package_is_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_tracer", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with capture_logs() as lines:
        tracing.configure("http://127.0.0.1:1", "test")
    (line,) = lines
    assert "pacioli[otel]" in line["event"]
    with tracing.span("a span"):
        assert tracing.traceparent() is None


def test_without_an_endpoint_nothing_is_imported() -> None:
    code = "import sys, web.app, worker.app; from core.base import tracing; tracing.configure(None, 'web')\n"
    code += "with tracing.span('a span'): tracing.traceparent()\n"
    code += "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk.trace', 'opentelemetry.exporter'))])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
    )
    assert done.stdout.splitlines()[-1] == "[]"
