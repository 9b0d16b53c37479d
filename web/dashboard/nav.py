"""The pages of the dashboard, in the order of its menu, with the right that each needs."""

from collections.abc import Sequence

from msgspec import Struct

from core.base.actors import Actor, Right


class Page(Struct, frozen=True):
    """An entry of the menu."""

    title: str
    path: str
    rights: tuple[Right, ...] = ()
    """The rights, one of which a key needs to see it."""


PAGES = (
    Page("Overview", "/dashboard"),
    Page("Balances", "/dashboard/balances", (Right.BALANCES_READ,)),
    Page("Transactions", "/dashboard/transactions", (Right.TRANSACTIONS_READ,)),
    Page("Funding", "/dashboard/funding", (Right.FUNDING_READ,)),
    Page("Queues", "/dashboard/queues", (Right.QUEUES_READ,)),
    Page("Events", "/dashboard/events", (Right.EVENTS_READ,)),
    Page("Webhooks", "/dashboard/webhooks", (Right.WEBHOOKS_READ,)),
    Page("Monitors", "/dashboard/monitors", (Right.BALANCE_MONITORS_READ,)),
    Page("Identities", "/dashboard/identities", (Right.IDENTITIES_READ,)),
    Page("Keys", "/dashboard/keys", (Right.API_KEYS_READ,)),
    Page("Audit", "/dashboard/audit", (Right.AUDIT_READ,)),
    Page("Ledger health", "/dashboard/health", (Right.METRICS_READ, Right.VERIFY_READ)),
    Page("Try it", "/dashboard/try"),
)


def shown_to(actor: Actor) -> Sequence[Page]:
    """Return the pages that a key may see."""
    return [page for page in PAGES if not page.rights or any(actor.may(right) for right in page.rights)]
