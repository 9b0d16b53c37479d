"""Answers about ledgers."""

from datetime import datetime
from typing import Any

from msgspec import Struct


class Ledger(Struct, frozen=True, kw_only=True):
    """A group of balances."""

    ledger_id: str
    name: str
    created_at: datetime
    meta_data: dict[str, Any] | None
