"""The books: all balances by currency, which add up to zero."""

from itertools import groupby

from msgspec import Struct
from sqlalchemy import Connection

from core.ledger.store import books as book_store
from core.ledger.store import currencies as currency_store

MAX_NAMES = 500
"""So many ``@Names`` of a currency have a row of their own."""

MANY = 20_000
"""To add up more balances takes longer than a reader wants to wait each time."""


class BooksLine(Struct, frozen=True, kw_only=True):
    """The balances of one @Name, or all others of a ledger, in one currency. Amounts are minor units."""

    indicator: str
    """The @Name. It is empty for a line that adds up the other balances of the ledger."""
    ledger_id: str
    ledger: str
    """The name of the ledger."""
    balances: int
    """The number of balances that are added up."""
    credits: int
    debits: int
    balance: int
    held: int
    """The amount of it that holds reserve."""


class CurrencyBooks(Struct, frozen=True, kw_only=True):
    """All balances in one currency. balance is 0, for what one gains another gives, unless the key reaches only some of them."""

    currency: str
    precision: int | None
    lines: list[BooksLine]
    balances: int
    credits: int
    debits: int
    balance: int


def read(conn: Connection) -> list[CurrencyBooks]:
    """Add up all balances in reach, by currency.

    Raises:
        TooSlow: there are too many balances for one look.
    """
    precisions = currency_store.all_precisions(conn)
    rows = book_store.books(conn, most=MAX_NAMES)
    return [
        _of(currency, precisions.get(currency), list(lines))
        for currency, lines in groupby(rows, lambda row: row.currency)
    ]


def are_many(found: list[CurrencyBooks]) -> bool:
    """Tell whether the books of so many balances are costly to read."""
    return sum(each.balances for each in found) > MANY


def _of(currency: str, precision: int | None, rows: list[book_store.BooksRow]) -> CurrencyBooks:
    return CurrencyBooks(
        currency=currency,
        precision=precision,
        lines=[
            BooksLine(
                indicator=row.indicator or "",
                ledger_id=row.ledger_id,
                ledger=row.ledger,
                balances=row.balances,
                credits=row.credits,
                debits=row.debits,
                balance=row.balance,
                held=row.held,
            )
            for row in rows
        ],
        balances=sum(row.balances for row in rows),
        credits=sum(row.credits for row in rows),
        debits=sum(row.debits for row in rows),
        balance=sum(row.balance for row in rows),
    )
