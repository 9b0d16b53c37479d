"""The feed of events: everything that changed, once and in one order."""

from collections.abc import Sequence

from pacioli_client.answers.events import EventPage
from pacioli_client.calls import Resource, W, call
from pacioli_client.wire import Plan, Request, ask, seconds


class Events(Resource[W]):
    """The requests of ``/events``."""

    @call
    def page(
        self, after: str | None = None, *, types: Sequence[str] = (), limit: int = 100, wait_s: float = 0.0
    ) -> Plan[EventPage]:
        """Return the events after a cursor. Ask again with the ``next`` of the page.

        Without a cursor the feed begins at the oldest event that is kept, and with ``end`` where it ends now. ``types`` may have
        wildcards, such as ``transaction.*``. With ``wait_s``, wait so long for an event when there is none.
        """
        params = {"after": after, "types": ",".join(types) or None, "limit": limit, "wait": seconds(wait_s)}
        return ask(EventPage, Request("GET", "/events", params=params, wait_s=wait_s))
