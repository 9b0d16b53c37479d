"""Hands the watches of features to the ledger. Every process that may decide transactions calls ``hand_in``."""

from core.ledger.watch import watches
from core.monitors import watching


def hand_in() -> None:
    """Let the decisions of this process be told to all watches. Twice is once."""
    if watching.follow not in watches:
        watches.append(watching.follow)
