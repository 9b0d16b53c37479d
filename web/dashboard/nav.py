"""The pages of the dashboard, in the order of its menu, with the right that each needs."""

from collections.abc import Sequence
from itertools import groupby

from msgspec import Struct

from core.base.actors import Actor, Right


class Page(Struct, frozen=True):
    """An entry of the menu."""

    title: str
    path: str
    group: str
    """The heading that it stands under, or nothing."""
    rights: tuple[Right, ...] = ()
    """The rights, one of which a key needs to see it."""


PAGES = (
    Page("Overview", "/dashboard", ""),
    Page("Money map", "/dashboard/map", "Money", (Right.BALANCES_READ,)),
    Page("Activity", "/dashboard/activity", "Money", (Right.TRANSACTIONS_READ,)),
    Page("Balances", "/dashboard/balances", "Money", (Right.BALANCES_READ,)),
    Page("Transactions", "/dashboard/transactions", "Money", (Right.TRANSACTIONS_READ,)),
    Page("Funding", "/dashboard/funding", "Money", (Right.FUNDING_READ,)),
    Page("Approvals", "/dashboard/approvals", "Money", (Right.FUNDING_READ,)),
    Page("Identities", "/dashboard/identities", "Money", (Right.IDENTITIES_READ,)),
    Page("Queues", "/dashboard/queues", "Service", (Right.QUEUES_READ,)),
    Page("Ledger health", "/dashboard/health", "Service", (Right.METRICS_READ, Right.VERIFY_READ)),
    Page("Events", "/dashboard/events", "Service", (Right.EVENTS_READ,)),
    Page("Webhooks", "/dashboard/webhooks", "Service", (Right.WEBHOOKS_READ,)),
    Page("Monitors", "/dashboard/monitors", "Service", (Right.BALANCE_MONITORS_READ,)),
    Page("Keys", "/dashboard/keys", "Access", (Right.API_KEYS_READ,)),
    Page("Audit", "/dashboard/audit", "Access", (Right.AUDIT_READ,)),
    Page("Try it", "/dashboard/try", "Access"),
)


def shown_to(actor: Actor) -> Sequence[tuple[str, list[Page]]]:
    """Return the pages that a key may see, by group."""
    seen = (page for page in PAGES if not page.rights or any(actor.may(right) for right in page.rights))
    return [(group, list(pages)) for group, pages in groupby(seen, key=lambda page: page.group)]
