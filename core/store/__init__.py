"""Every SQL statement of the ledger, one function each, returning model values."""

from core.store import balances, currencies, ledgers, log, outcomes, queues, transactions

__all__ = ["balances", "currencies", "ledgers", "log", "outcomes", "queues", "transactions"]
