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
)


def shown_to(actor: Actor) -> Sequence[Page]:
    """Return the pages that a key may see."""
    return [page for page in PAGES if not page.rights or any(actor.may(right) for right in page.rights)]
