"""Tells an expected failure of a command: one line that says what to do next."""

import click
import psycopg
from sqlalchemy.exc import ArgumentError, DBAPIError

from core.base.errors import InvalidRequest, LedgerError, TransientError
from core.base.secrets import hide
from core.base.variables import without_password
from ops.server.instance import Unavailable


def told(error: Exception) -> click.ClickException:
    """Make one sentence of what ended a command, with what to do next."""
    match error:
        case TransientError():
            return Unavailable(_database_trouble(error.__cause__ or error))
        case InvalidRequest():
            return click.UsageError(error.message)
        case LedgerError():
            return click.ClickException(error.message)
        case UnicodeEncodeError():
            text = f"{error.object!a} is not text in UTF-8, so it cannot be sent: see the locale of the terminal"
            return click.UsageError(text)
        case ArgumentError():
            return Unavailable("DATABASE_URL is not a URL such as postgresql://user:password@host/database")
        case DBAPIError() | psycopg.Error():
            return _told_of_database(error)
        case OSError():
            where = f" {error.filename}" if error.filename else ""
            return Unavailable(f"cannot read or write{where} ({error.strerror or error}): see its rights and its disk")
        case ModuleNotFoundError():
            return Unavailable(f"the Python package {error.name} is missing: install pacioli again")
    return _unexpected(error)


def _told_of_database(error: DBAPIError | psycopg.Error) -> click.ClickException:
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(cause, "sqlstate", None)
    if state in ("42P01", "3F000"):
        return Unavailable("this database has no ledger yet: run `pacioli migrate`")
    if state == "42703":
        return Unavailable("this database is of another release: run `pacioli migrate`")
    if state == "42501":
        return Unavailable(
            f"the database does not allow it ({_line(cause)}): use a role with the rights, see DATABASE_URL"
        )
    if state is None and isinstance(cause, psycopg.OperationalError):
        return Unavailable(_database_trouble(cause))
    return _unexpected(cause or error)


def _unexpected(error: BaseException) -> click.ClickException:
    return Unavailable(
        f"unexpected {type(error).__name__} ({_line(error)}): run it again with PACIOLI_LOG_LEVEL=debug, "
        "and report what that prints"
    )


def _line(error: object) -> str:
    """Write an error in one line, without passwords and without characters that steer a terminal."""
    text = " ".join(str(error).split())
    return "".join(character if character.isprintable() else "?" for character in hide(without_password(text)))[:300]


def _database_trouble(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    reason = _line(cause) or type(cause).__name__
    return f"the database does not answer ({reason}): see that it runs and that DATABASE_URL is right, then try again"
