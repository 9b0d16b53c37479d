"""Writes a line of JSON for each request: who asked for what, and what came of it. PACIOLI_ACCESS_LOG turns it on."""

from typing import Any

import msgspec
from msgspec import Struct

from core.base import logs
from core.base.actors import current
from web.http import wire


class Line(Struct, frozen=True):
    """A line of the access log. It has no path and no parameters, because they may be anything."""

    timestamp: str
    event: str
    actor: str
    """The ID of the key; empty where there was none that is known."""
    method: str
    route: str | None
    """The route as the OpenAPI document names it; null where no route has the path."""
    status: int
    took_ms: float
    bytes: int | None
    """The size of the answer's body; null where it is not known before it is sent."""
    request_id: str


_encode = msgspec.json.Encoder().encode


def log(environ: dict[str, Any], *, status: str, length: str | None, took_s: float) -> None:
    """Write the line of a request. The call returns at once, and never fails."""
    line = Line(
        logs.now(),
        "access",
        current().key_id,
        environ["REQUEST_METHOD"],
        route_of(environ),
        int(status[:3] or 0),
        round(took_s * 1000, 2),
        None if length is None else int(length),
        environ[wire.REQUEST_ID],
    )
    logs.write(_encode(line).decode())


def route_of(environ: dict[str, Any]) -> str | None:
    """Return the route that took a request, such as /transactions/<transaction_id>. Returns None if none did."""
    route: str | None = environ.get(wire.ROUTE)
    return None if route == "none" else route
