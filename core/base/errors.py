"""Defines the exceptions and the error codes. A rejection is no exception, because it is stored and polled.

LedgerError
├── InvalidRequest      the request cannot be accepted; it names the fields
├── NotFound            there is no ledger, balance, transaction or job of that ID
├── Conflict            the request is at odds with what is already there
│   └── ReferenceConflict   the reference names another transaction
├── Forbidden           the key may not do it
├── BeyondKey           the key may do such things, and not this one
├── TooSlow             the request would read more than it may
├── TransientError      the database was busy, gone or restarting; the same call may work next time
├── Backpressure        too much waits already; the same call may work later
└── InvariantBroken     a bug or damaged data; never retried
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any


class ErrorCode(StrEnum):
    """The error codes that clients get. ``web/http/errors.py`` has the HTTP status of each.

    A code begins with its subject, as Blnk's codes do.
    """

    GEN_MALFORMED_REQUEST = "GEN_MALFORMED_REQUEST"
    """The body is not JSON, or a field cannot be read."""
    GEN_VALIDATION_ERROR = "GEN_VALIDATION_ERROR"
    """A field or parameter is wrong."""
    GEN_BAD_REQUEST = "GEN_BAD_REQUEST"
    """The request makes no sense, or asks for too much."""
    GEN_NOT_FOUND = "GEN_NOT_FOUND"
    """There is no such path."""
    GEN_METHOD_NOT_ALLOWED = "GEN_METHOD_NOT_ALLOWED"
    """The path has other methods."""
    GEN_CONFLICT = "GEN_CONFLICT"
    """The present state does not allow the request."""
    GEN_IDEMPOTENCY_KEY_REUSED = "GEN_IDEMPOTENCY_KEY_REUSED"
    """The ``Idempotency-Key`` was sent with another request."""
    GEN_IDEMPOTENCY_IN_PROGRESS = "GEN_IDEMPOTENCY_IN_PROGRESS"
    """The first request with this ``Idempotency-Key`` is still under way. Try again in a moment."""
    GEN_PAYLOAD_TOO_LARGE = "GEN_PAYLOAD_TOO_LARGE"
    """The body is too large."""
    GEN_BODY_TOO_SLOW = "GEN_BODY_TOO_SLOW"
    """The body did not come in time. Nothing was accepted. Send the request again, over a new connection."""
    GEN_UNSUPPORTED_MEDIA_TYPE = "GEN_UNSUPPORTED_MEDIA_TYPE"
    """The body is not JSON."""
    GEN_INTERNAL = "GEN_INTERNAL"
    """The service found a bug or damaged data. Its log has more."""
    GEN_UNAVAILABLE = "GEN_UNAVAILABLE"
    """The database or the broker is away. Try again."""
    QUEUE_BACKPRESSURE = "QUEUE_BACKPRESSURE"
    """Too many transactions wait to be decided, or one has waited for too long. Nothing was accepted. Try again later."""
    GEN_FOREIGN_HOST = "GEN_FOREIGN_HOST"
    """The ``Host`` of the request is not one of the service. PACIOLI_ALLOWED_HOSTS names more."""
    GEN_FOREIGN_ORIGIN = "GEN_FOREIGN_ORIGIN"
    """A page of another site sent the request through a browser."""
    GEN_RATE_LIMITED = "GEN_RATE_LIMITED"
    """Too many requests came from this key, or too many wrong keys from this address. ``Retry-After`` says how long to wait."""
    AUTH_MISSING_API_KEY = "AUTH_MISSING_API_KEY"
    """The request has no key."""
    AUTH_INVALID_API_KEY = "AUTH_INVALID_API_KEY"
    """The key is not the right one."""
    AUTH_EXPIRED_API_KEY = "AUTH_EXPIRED_API_KEY"
    """The key is expired or revoked."""
    AUTH_MISSING_PRINCIPAL = "AUTH_MISSING_PRINCIPAL"
    """The service runs without a key, so nobody can be asked who makes keys."""
    AUTH_UNKNOWN_RESOURCE = "AUTH_UNKNOWN_RESOURCE"
    """No scope covers the path, because nothing is there."""
    AUTH_SCOPE_ESCALATION = "AUTH_SCOPE_ESCALATION"
    """A key cannot make one that may do more, reaches more, or lasts longer than itself."""
    AUTH_CROSS_OWNER_ACCESS = "AUTH_CROSS_OWNER_ACCESS"
    """A key cannot make or list the keys of another owner."""
    APIKEY_NOT_FOUND = "APIKEY_NOT_FOUND"
    """There is no key of that ID."""
    APIKEY_OWNER_REQUIRED = "APIKEY_OWNER_REQUIRED"
    """The master key lists the keys of an owner, or all."""
    AUTH_INSUFFICIENT_PERMISSIONS = "AUTH_INSUFFICIENT_PERMISSIONS"
    """The key's scopes do not cover the request."""
    LGR_NOT_FOUND = "LGR_NOT_FOUND"
    """There is no ledger of that ID."""
    IDT_NOT_FOUND = "IDT_NOT_FOUND"
    """There is no identity of that ID."""
    IDT_VALIDATION_ERROR = "IDT_VALIDATION_ERROR"
    """A field of an identity is wrong."""
    IDT_FIELD_NOT_TOKENIZABLE = "IDT_FIELD_NOT_TOKENIZABLE"
    """Fields of that name are never tokenized."""
    IDT_FIELD_ALREADY_TOKENIZED = "IDT_FIELD_ALREADY_TOKENIZED"
    """The field is tokenized already."""
    IDT_FIELD_NOT_TOKENIZED = "IDT_FIELD_NOT_TOKENIZED"
    """The field is not tokenized, so it has no value to show."""
    IDT_TOKENIZATION_DISABLED = "IDT_TOKENIZATION_DISABLED"
    """The service has no secret to tokenize with: ``PACIOLI_TOKENIZATION_SECRET``."""
    BAL_NOT_FOUND = "BAL_NOT_FOUND"
    """There is no balance of that ID or name."""
    BAL_MONITOR_NOT_FOUND = "BAL_MONITOR_NOT_FOUND"
    """There is no monitor of that ID."""
    BAL_FROZEN = "BAL_FROZEN"
    """One of the balances is frozen. ``GET /balances/<id>/limits`` says why."""
    BAL_INVALID_TIMESTAMP = "BAL_INVALID_TIMESTAMP"
    """The time in the request cannot be read."""
    TXN_NOT_FOUND = "TXN_NOT_FOUND"
    """There is no transaction of that ID or reference."""
    TXN_VALIDATION_ERROR = "TXN_VALIDATION_ERROR"
    """A field of a transaction is wrong."""
    TXN_INVALID_AMOUNT = "TXN_INVALID_AMOUNT"
    """An amount is negative, zero, inexact or too large."""
    TXN_CURRENCY_MISMATCH = "TXN_CURRENCY_MISMATCH"
    """A balance has another currency than the transaction."""
    TXN_PRECISION_MISMATCH = "TXN_PRECISION_MISMATCH"
    """The currency has another precision."""
    TXN_INSUFFICIENT_FUNDS = "TXN_INSUFFICIENT_FUNDS"
    """The source has too little, and must not be overdrawn."""
    TXN_INVALID_DISTRIBUTION = "TXN_INVALID_DISTRIBUTION"
    """The shares of a split do not add up."""
    TXN_NOT_INFLIGHT = "TXN_NOT_INFLIGHT"
    """The transaction holds nothing to commit or void."""
    TXN_INVALID_STATUS_ACTION = "TXN_INVALID_STATUS_ACTION"
    """The status asked for is neither commit nor void."""
    TXN_COMMIT_AMOUNT_EXCEEDED = "TXN_COMMIT_AMOUNT_EXCEEDED"
    """More is committed than is held."""
    TXN_BULK_EMPTY = "TXN_BULK_EMPTY"
    """The batch has no transactions."""
    TXN_BULK_LIMIT_EXCEEDED = "TXN_BULK_LIMIT_EXCEEDED"
    """The batch has too many transactions."""
    TXN_ALREADY_COMMITTED = "TXN_ALREADY_COMMITTED"
    """The hold is committed already."""
    TXN_ALREADY_VOIDED = "TXN_ALREADY_VOIDED"
    """The hold is voided already."""
    TXN_ALREADY_REFUNDED = "TXN_ALREADY_REFUNDED"
    """The transaction is refunded already."""
    TXN_DUPLICATE_REFERENCE = "TXN_DUPLICATE_REFERENCE"
    """The reference names another transaction."""
    TXN_VETOED = "TXN_VETOED"
    """A hook refuses the transaction. Nothing was accepted."""
    FND_NOT_FOUND = "FND_NOT_FOUND"
    """There is no funding job or run of that ID or reference."""
    FND_INVALID_RECIPIENTS = "FND_INVALID_RECIPIENTS"
    """The list of recipients is wrong."""
    FND_DUPLICATE_REFERENCE = "FND_DUPLICATE_REFERENCE"
    """The reference names another funding job."""
    FND_REPEATED = "FND_REPEATED"
    """A funding job with the same pool, rows and terms was created lately, or is not over. Or the last run of the
    job paid a part of the rows or was retried, or the job was run by hand since. ``again`` pays them once more."""
    WEBHOOK_NOT_FOUND = "WEBHOOK_NOT_FOUND"
    """There is no endpoint of that ID."""
    WEBHOOK_DISABLED = "WEBHOOK_DISABLED"
    """The service has no key under which it could keep what signs."""
    HOOK_NOT_FOUND = "HOOK_NOT_FOUND"
    """There is no hook of that ID."""
    HOOK_INVALID = "HOOK_INVALID"
    """A field of a hook is wrong."""
    AUTH_MASTER_KEY_REQUIRED = "AUTH_MASTER_KEY_REQUIRED"
    """Only the master key may."""
    META_INVALID_ENTITY_ID = "META_INVALID_ENTITY_ID"
    """The ID is of a kind that has no metadata."""
    META_ENTITY_NOT_FOUND = "META_ENTITY_NOT_FOUND"
    """There is nothing of that ID to add metadata to."""
    EVENTS_GONE = "EVENTS_GONE"
    """Events after the cursor are kept no longer. ``first`` of the details is the cursor to go on from."""


class LedgerError(Exception):
    """The base of all exceptions. ``code`` is the error code that clients get."""

    def __init__(self, code: ErrorCode, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details
        self.problems: list[tuple[str, str]] = [("", message)]
        """Pairs of field and text. An empty field stands for the whole request."""


class InvalidRequest(LedgerError):
    """One or more fields of the request are wrong. ``message`` is the whole text, where fields do not begin it."""

    def __init__(
        self,
        problems: Sequence[tuple[str, str]],
        code: ErrorCode,
        details: Any = None,
        *,
        message: str | None = None,
    ) -> None:
        ordered = sorted(problems)
        joined = "; ".join(f"{field}: {text}" if field else text for field, text in ordered)
        is_sentence = not ordered[-1][0] or joined.endswith("?")
        super().__init__(code, message or (joined if is_sentence else f"{joined}."), details)
        self.problems = ordered


class NotFound(LedgerError):
    """The request names something that does not exist. ``details`` is the empty object, as Blnk sends it."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(code, message, {})


class Conflict(LedgerError):
    """The request is well formed, but the present state does not allow it."""


class ReferenceConflict(Conflict):
    """A transaction whose ``field`` differs has the reference already."""

    def __init__(self, reference: str, field: str, transaction_id: str) -> None:
        super().__init__(
            ErrorCode.TXN_DUPLICATE_REFERENCE,
            f"transaction validation failed: reference {reference} has already been used "
            f"by a transaction whose {field} differs",
            {"reference": reference, "field": field, "transaction_id": transaction_id},
        )
        self.reference, self.transaction_id = reference, transaction_id

    def without_first(self) -> "Conflict":
        """Return the error that says nothing of the first transaction but that its reference is taken."""
        text = f"transaction validation failed: reference {self.reference} has already been used"
        return Conflict(self.code, text, {"reference": self.reference})


class Forbidden(LedgerError):
    """The scopes of the key do not cover a right that the request needs."""

    def __init__(self, right: str) -> None:
        text = f"Insufficient permissions for {right}"
        super().__init__(ErrorCode.AUTH_INSUFFICIENT_PERMISSIONS, text, {"required": right})


class BeyondKey(LedgerError):
    """The key may do such things, and not this one: it is another owner's, or more than the key itself."""


class Gone(LedgerError):
    """Events after a cursor are kept no longer."""

    def __init__(self, first: str) -> None:
        text = f"events before {first} are kept no longer; read what you missed from the resources, and go on after={first}"
        super().__init__(ErrorCode.EVENTS_GONE, text, {"first": first})


class Vetoed(LedgerError):
    """A hook refuses the transaction."""


class Disabled(LedgerError):
    """The service is not configured for what the request asks."""


class TooSlow(LedgerError):
    """The request would read more than it may."""

    def __init__(self, seconds: float) -> None:
        super().__init__(ErrorCode.GEN_BAD_REQUEST, f"the list would take longer than {seconds:g} seconds")


class TransientError(LedgerError):
    """The database was busy, gone or restarting. The same call may work next time. A commit may or may not have happened."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.GEN_UNAVAILABLE, message)


class TooMany(LedgerError):
    """The key has made as much as it may for now."""

    def __init__(self, message: str, details: Any = None) -> None:
        super().__init__(ErrorCode.GEN_RATE_LIMITED, message, details)


class Backpressure(LedgerError):
    """Too much waits already. Nothing was accepted, and the same call may work later."""

    def __init__(self, message: str, details: Any = None) -> None:
        super().__init__(ErrorCode.QUEUE_BACKPRESSURE, message, details)


class InvariantBroken(LedgerError):
    """A bug or damaged data broke an invariant. The message is for the log, never for the client."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.GEN_INTERNAL, message)
