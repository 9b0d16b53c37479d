"""Asks for the rights that only the body of a request tells: to go below zero, and to create an internal balance.

A dry run asks too, so that it says what the request itself would say.
"""

from collections.abc import Iterable, Mapping

from core.base.actors import Right, current, reach_of_request
from core.base.errors import Forbidden
from core.ledger import reach
from core.ledger.draft import Priced
from core.ledger.resolve import NewBalances


def goes_below_zero(allow_overdraft: bool, overdraft_limit: int | None) -> bool:
    """Tell whether a transaction may take its source below zero. A limit counts without the flag too."""
    return overdraft_limit != 0 if allow_overdraft else bool(overdraft_limit)


def require_overdraft(*, index: int | None = None) -> None:
    """Refuse an overdraft to an actor without the right. ``index`` is that of the request in its batch.

    Raises:
        Forbidden: the actor has not the right.
    """
    _require(Right.TRANSACTIONS_POST_OVERDRAFT, {} if index is None else {"index": index})


def require_new(names: Iterable[str]) -> None:
    """Refuse new internal balances to an actor without the right.

    Raises:
        Forbidden: there are some, and the actor has not the right.
    """
    if found := sorted(set(names)):
        _require(Right.BALANCES_CREATE_INDICATOR, {"names": found[:_NAMED]})


def require_for(priced: Mapping[int, Priced], new: NewBalances, *, of_batch: bool) -> None:
    """Refuse what requests, by their index, ask for without the right.

    Raises:
        Forbidden: it names the right, and the first request of a batch that needs it.
        BeyondKey: an amount or an overdraft is out of reach of the key.
    """
    if not current().may(Right.TRANSACTIONS_POST_OVERDRAFT):
        for index, row in priced.items():
            if goes_below_zero(row.allow_overdraft, row.overdraft_limit):
                require_overdraft(index=index if of_batch else None)
    if new:
        require_new(name for name, _ in new)
    if reach_of_request().bounds_money:
        for row in priced.values():
            reach.require_amount(row.amount, row.currency, row.precision)
            if goes_below_zero(row.allow_overdraft, row.overdraft_limit):
                reach.require_overdraft(row.overdraft_limit, row.currency, row.precision)


_NAMED = 100
"""So many new names are named."""


def _require(right: Right, details: Mapping[str, object]) -> None:
    if not current().may(right):
        error = Forbidden(right)
        error.details |= details
        raise error
