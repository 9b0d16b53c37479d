"""Every SQL statement of the ledger, one function each, returning model values."""

from core.store import (
    annotations,
    audit,
    balances,
    checkpoints,
    currencies,
    due,
    filters,
    funding,
    history,
    ledgers,
    log,
    outcomes,
    queues,
    transactions,
)

__all__ = [
    "annotations",
    "audit",
    "balances",
    "checkpoints",
    "currencies",
    "due",
    "filters",
    "funding",
    "history",
    "ledgers",
    "log",
    "outcomes",
    "queues",
    "transactions",
]
