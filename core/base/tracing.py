"""Sends traces over OTLP when there is an endpoint for them. Otherwise nothing is imported, and a span costs nothing.

A trace begins with a request, or goes on from its ``traceparent`` header, and has a span for the commit that appended the
transaction, and for the task that drained its queue. The doorbell's message carries it to the worker.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import structlog

TRACEPARENT = "traceparent"
"""The name of the W3C header that says to which trace a request or a message belongs."""

LINKS_MAX = 100
TIMEOUT_S = 2

logger = structlog.get_logger()

_tracer: Any = None
_provider: Any = None


def configure(endpoint: str | None, part: str) -> None:
    """Send the spans of this process to an endpoint such as http://collector:4318. A thread of its own sends them.

    A missing package or a collector that is away costs the traces, and nothing else.
    """
    global _tracer, _provider
    if endpoint is None or _tracer is not None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=TIMEOUT_S)
        provider = TracerProvider(resource=Resource.create({"service.name": f"pacioli-{part}"}))
        provider.add_span_processor(BatchSpanProcessor(exporter))
    except ImportError:
        logger.warning("no traces are sent: OTEL_EXPORTER_OTLP_ENDPOINT needs `pip install 'pacioli[otel]'`")
        return
    except Exception as error:  # An odd variable of OpenTelemetry's own.
        logger.warning("no traces are sent", error=repr(error))
        return
    _tracer, _provider = provider.get_tracer("pacioli"), provider


def is_on() -> bool:
    """Tell whether spans are sent."""
    return _tracer is not None


def flush() -> None:
    """Send what waits. A process that ends without Python's own exit calls it."""
    if _provider is not None:
        _provider.force_flush(TIMEOUT_S * 1000)


def span(
    name: str, parent: str | None = None, links: Sequence[str | None] = (), **attributes: Any
) -> AbstractContextManager[None]:
    """Make a span of the block. ``parent`` and ``links`` are traceparents; without a parent it belongs to the span around it."""
    if _tracer is None:
        return _NONE
    return _span(name, parent, links, attributes)


_NONE: AbstractContextManager[None] = nullcontext()


@contextmanager
def _span(name: str, parent: str | None, links: Sequence[str | None], attributes: dict[str, Any]) -> Iterator[None]:
    from opentelemetry.trace import Link, get_current_span

    linked = [get_current_span(_context(each)).get_span_context() for each in dict.fromkeys(links) if each][:LINKS_MAX]
    with _tracer.start_as_current_span(
        name,
        context=None if parent is None else _context(parent),
        links=[Link(each) for each in linked],
        attributes={key: value for key, value in attributes.items() if value is not None},
    ):
        yield


def traceparent() -> str | None:
    """Return the header that continues the present trace elsewhere, if there is one."""
    if _tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(TRACEPARENT)


def _context(parent: str) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({TRACEPARENT: parent})
