"""Hands denied requests to the audit log, from a thread of its own, so that no request waits for that."""

import threading
from typing import Any

import structlog
from sqlalchemy import Engine

from core.base.actors import current
from core.base.db import begin
from core.base.errors import TransientError
from core.base.threads import Loop
from core.journal.denials import EVERY_S, Denials, Denied
from web.http import access, proxies

logger = structlog.get_logger()

LONGEST = 100
"""The largest number of characters of an address or route in the audit log."""


class DeniedRequests:
    """The denied requests of a web process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stopped = threading.Event()
        self._starting = threading.Lock()
        self._forked()
        self.loop: Loop | None = None
        """The thread. It starts with the first denied request."""

    def add(self, environ: dict[str, Any], status: int) -> None:
        """Count a request that was answered with 401 or 403."""
        route = f"{environ['REQUEST_METHOD']} {access.route_of(environ) or ''}".strip()
        address = proxies.client_address(environ)
        self._denials.add(Denied(status, current().key_id, route[:LONGEST], address[:LONGEST]))
        with self._starting:
            if self.loop is None:
                self.loop = Loop("denied requests", self.step, after_fork=self._forked, wake=self._wake)
        self.loop.ensure()

    def step(self) -> None:
        """Wait for a denied request, record it and what came with it, and leave the audit log alone for a while."""
        self._denials.waiting.wait()
        if self._stopped.is_set():
            return
        try:
            with begin(self._engine) as conn:
                self._denials.record(conn)
        except TransientError as error:
            self._denials.restore()
            logger.warning("denied requests could not be recorded", error=repr(error.__cause__))
        self._stopped.wait(EVERY_S)

    def _wake(self) -> None:
        self._stopped.set()
        self._denials.waiting.set()

    def _forked(self) -> None:
        self._denials = Denials()
