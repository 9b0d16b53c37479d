"""What can go wrong, as exceptions. A rejection is not here: it is a value that is stored and polled.

LedgerError
├── InvalidRequest      the request cannot be accepted; names the fields
├── NotFound            no ledger, balance, transaction or job of that id
├── Conflict            it is at odds with what is already there
│   └── ReferenceConflict   the reference names another transaction
├── TooSlow             what was asked would read more than it may
├── TransientError      the database was busy, gone or restarting; the same call may work next time
└── InvariantBroken     a bug or damaged data; never retried
"""

from collections.abc import Sequence
from typing import Any


class LedgerError(Exception):
    """Base of all. ``code`` is the wire's code (see web/http/errors.py for its HTTP status)."""

    def __init__(self, code: str, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details
        self.problems: list[tuple[str, str]] = [("", message)]
        """Pairs of field and text; an empty field is the whole request."""


class InvalidRequest(LedgerError):
    """One or more fields are wrong."""

    def __init__(self, problems: Sequence[tuple[str, str]], code: str = "TXN_VALIDATION_ERROR", details: Any = None):
        ordered = sorted(problems)
        joined = "; ".join(f"{field}: {text}" if field else text for field, text in ordered)
        super().__init__(code, f"{joined}." if ordered[-1][0] else joined, details)
        self.problems = ordered


class NotFound(LedgerError):
    """``details`` is the empty object, as Blnk sends it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message, {})


class Conflict(LedgerError):
    """The request is well formed, but what is there does not allow it."""


class ReferenceConflict(Conflict):
    """The reference is taken by a transaction whose ``field`` differs."""

    def __init__(self, reference: str, field: str, transaction_id: str) -> None:
        super().__init__(
            "TXN_DUPLICATE_REFERENCE",
            f"transaction validation failed: reference {reference} has already been used "
            f"by a transaction whose {field} differs",
            {"reference": reference, "field": field, "transaction_id": transaction_id},
        )


class TooSlow(LedgerError):
    """A list would have to look at too much."""

    def __init__(self, seconds: float) -> None:
        super().__init__("GEN_BAD_REQUEST", f"the list would take longer than {seconds:g} seconds")


class TransientError(LedgerError):
    """Deadlock, lock timeout, lost connection, server restart. Whether a commit happened is not known."""

    def __init__(self, message: str) -> None:
        super().__init__("GEN_UNAVAILABLE", message)


class InvariantBroken(LedgerError):
    """Something that cannot be, is. The message is for the log, never for the client."""

    def __init__(self, message: str) -> None:
        super().__init__("GEN_INTERNAL", message)
