"""The base class of all tasks. It ends a task when the database is away, and gives log lines their context."""

from typing import Any

import structlog
from celery import Task
from structlog.contextvars import bound_contextvars, clear_contextvars

from core.base import logs, tracing
from core.base.actors import TICK, acting_for
from core.base.errors import TransientError

logger = structlog.get_logger()


class LedgerTask(Task):  # type: ignore[misc]
    """A task that stops quietly when the database is busy or gone.

    What it committed stays, and nothing retries its message: the next tick goes on from there, and the sweep rings for
    queues that still have work.
    """

    cut_short = "a task was cut short"
    """The log line of a task that ends early."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        clear_contextvars()  # A task that was killed by its time limit leaves its own.
        parent = None if self.request.called_directly else self.request.get(tracing.TRACEPARENT)
        with bound_contextvars(**self._context()), acting_for(TICK), tracing.span(self.name, parent=parent):
            try:
                return super().__call__(*args, **kwargs)
            except TransientError as error:
                logger.warning(self.cut_short, error=repr(error.__cause__))
                return None

    def _context(self) -> dict[str, str]:
        """Return the name of the task, and of its message the queue, the id, and the request that sent it."""
        context = {"task": self.name}
        if not self.request.called_directly:
            queue = (self.request.delivery_info or {}).get("routing_key")
            context |= {"queue": str(queue), "message": str(self.request.id)}
            if (request_id := self.request.get(logs.REQUEST_ID)) is not None:
                context[logs.REQUEST_ID] = str(request_id)
        return context
