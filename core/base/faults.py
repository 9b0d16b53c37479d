"""Sorts the failures of a batch by what helps: wait, make it smaller, or refuse it."""

from enum import Enum, auto

import psycopg
from sqlalchemy.exc import DBAPIError

from core.base.errors import TransientError


class Fault(Enum):
    """The remedies after a batch failed."""

    NOT_NOW = auto()
    """The database was busy, gone or restarting. A smaller batch would fail as well."""
    TOO_MUCH = auto()
    """The batch took too long, or more memory than there is. A smaller one may do."""
    TOO_LARGE = auto()
    """The batch, or a value in it, is beyond a limit of the database. A smaller batch may do, but one value never will."""
    OTHER = auto()
    """A bug, or data that the database refuses. Only the one that is wrong must fail."""


def driver_error_of(error: BaseException | None) -> psycopg.Error | None:
    """Return the driver's error that is, or caused, this one. Returns None when there is none."""
    while error is not None:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, psycopg.Error):
            return cause
        error = error.__cause__
    return None


def fault_of(error: BaseException) -> Fault:
    """Tell what helps after this error."""
    if isinstance(error, MemoryError):
        return Fault.TOO_MUCH
    if isinstance(error, OverflowError):
        return Fault.TOO_LARGE
    cause = driver_error_of(error)
    if cause is not None and cause.sqlstate is None:
        # The client library has no codes. It could not build the message, or not hold the answer.
        if "out of memory" in str(cause):
            return Fault.TOO_MUCH
        if "too large" in str(cause) or "too long" in str(cause):
            return Fault.TOO_LARGE
    elif cause is not None:
        # 53200: the server is out of memory. 57014: the time of the statement was up.
        if cause.sqlstate in ("53200", "57014"):
            return Fault.TOO_MUCH
        # 54: a limit of the program, such as the size of an index row. 53400: a limit of the configuration.
        if cause.sqlstate == "53400" or str(cause.sqlstate).startswith("54"):
            return Fault.TOO_LARGE
    return Fault.NOT_NOW if isinstance(error, TransientError) else Fault.OTHER


def is_lock_timeout(error: BaseException) -> bool:
    """Tell whether the error means that a lock was not had in time."""
    return isinstance(driver_error_of(error), psycopg.errors.LockNotAvailable)


def was_ended(error: BaseException) -> bool:
    """Tell whether the error means that the server ended the session, as it does for one that stood still with locks."""
    return isinstance(
        driver_error_of(error), psycopg.errors.AdminShutdown | psycopg.errors.IdleInTransactionSessionTimeout
    )


def is_loss(error: BaseException) -> bool:
    """Tell whether the error means that the connection is gone."""
    cause = driver_error_of(error)
    return cause is not None and (cause.sqlstate is None or cause.sqlstate[:2] == "08")
