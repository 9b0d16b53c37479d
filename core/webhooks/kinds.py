"""Names the kinds of endpoints, and the types of events that each gets."""

from core.events.types import Types, types_of
from core.journal.event_types import EventType
from core.webhooks.store import WebhookRow

WEBHOOK, DEFAULT, PRE, POST, VETO = "webhook", "default", "pre", "post", "veto"
CALLBACK = "callback"
"""The URL of monitors, which gets their firings alone."""

HOOKS = {PRE: "PRE_TRANSACTION", POST: "POST_TRANSACTION", VETO: "PRE_TRANSACTION"}
"""The kinds of hooks, by the types that Blnk gives them."""

EVENTS_OF_HOOKS: dict[str, list[str]] = {
    PRE: [EventType.TRANSACTION_QUEUED],
    POST: [EventType.TRANSACTION_APPLIED, EventType.TRANSACTION_INFLIGHT, EventType.TRANSACTION_VOID],
    VETO: [],
}
"""The types of events that hooks of each kind are told. A veto is asked by the web processes, and told nothing."""


def types_for(row: WebhookRow) -> Types:
    """Return the types of events that an endpoint gets. A type of another release counts as none."""
    return types_of(row.events)
