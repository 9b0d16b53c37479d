"""Every SQL statement of the ledger, one function each, returning model values."""

from core.store import audit, balances, checkpoints, currencies, due, ledgers, log, outcomes, queues, transactions

__all__ = [
    "audit",
    "balances",
    "checkpoints",
    "currencies",
    "due",
    "ledgers",
    "log",
    "outcomes",
    "queues",
    "transactions",
]
