"""Gathers the tables of all topics, for whoever needs the whole schema: migrations, grants and tests."""

from core.base.tables import access, balances, events, funding, proofs, service, sums, transactions
from core.base.tables.types import metadata

TOPICS = (access, balances, events, funding, proofs, service, sums, transactions)
"""Each of these modules enters its tables into ``metadata`` when it is imported."""

__all__ = ["TOPICS", "metadata"]
