"""Books that a reader keeps by the feed of events alone."""

from typing import Any


class Books:
    """Keeps balances by what the feed tells, and by nothing else."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.sums: dict[str, list[int]] = {}
        """Credit, debit, inflight credit and inflight debit by balance."""
        self._holds: dict[str, str] = {}
        """The source of each hold."""

    def book(self, id: str, type: str, data: dict[str, Any]) -> None:
        """Book an event, which was not there before."""
        assert id not in self.seen
        self.seen.add(id)
        if not type.startswith("transaction."):
            return
        amount, of = data["precise_amount"], data["parent_transaction"]
        source, destination = (self.sums.setdefault(data[side], [0] * 4) for side in ("source", "destination"))
        settles = of in self._holds and self._holds[of] == data["source"]  # A refund has its sides the other way round.
        match type:
            case "transaction.inflight":
                self._holds[data["transaction_id"]] = data["source"]
                source[3] += amount
                destination[2] += amount
            case "transaction.void":
                source[3] -= amount
                destination[2] -= amount
            case "transaction.applied":
                source[1] += amount
                destination[0] += amount
                if settles:
                    source[3] -= amount
                    destination[2] -= amount
