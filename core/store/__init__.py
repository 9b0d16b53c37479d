"""Every SQL statement of the ledger, one function each, returning model values."""

from core.store import audit, balances, currencies, due, history, ledgers, log, outcomes, queues, transactions

__all__ = ["audit", "balances", "currencies", "due", "history", "ledgers", "log", "outcomes", "queues", "transactions"]
