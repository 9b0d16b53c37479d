"""Adds up all balances by currency, ledger and ``@Name``, in one statement, so that the sums fit together while others post."""

from typing import NamedTuple

from sqlalchemy import Connection

from core.base.actors import reach_of_request
from core.base.db import driver
from core.ledger.store import reach as reach_store


class BooksRow(NamedTuple):
    """The sums of the balances of one ``@Name``, or of all others of a ledger, in one currency. Amounts are minor units."""

    currency: str
    ledger_id: str
    ledger: str
    indicator: str | None
    balances: int
    credits: int
    debits: int
    balance: int
    held: int


# All of balances is read. The @Names that hold most are kept apart; the rest of them is one row.
_BOOKS = """
    SELECT currency, ledger_id, name, shown, sum(balances), sum(credits), sum(debits), sum(balance), sum(held)
    FROM (
        SELECT
            *,
            CASE
                WHEN row_number() OVER (PARTITION BY currency ORDER BY indicator IS NULL, abs(balance) DESC, indicator)
                     <= %(most)s
                THEN indicator
            END AS shown
        FROM (
            SELECT
                b.currency,
                ledgers.ledger_id,
                ledgers.name,
                b.indicator,
                count(*) AS balances,
                sum(b.credit_balance) AS credits,
                sum(b.debit_balance) AS debits,
                sum(b.balance) AS balance,
                sum(b.inflight_debit_balance) AS held
            FROM balances AS b
            JOIN ledgers ON ledgers.id = b.ledger
            WHERE {reached}
            GROUP BY b.currency, ledgers.ledger_id, ledgers.name, b.indicator
        ) AS names
    ) AS ranked
    GROUP BY currency, ledger_id, name, shown
    ORDER BY currency, shown IS NULL, ledger_id, shown
"""


def books(conn: Connection, *, most: int) -> list[BooksRow]:
    """Add up all balances in reach. At most ``most`` ``@Names`` of a currency have a row of their own, those that hold most."""
    reach = reach_of_request()
    if reach.bounds_balances:
        sql, values = _BOOKS.replace("{reached}", reach_store.sql(reach, "b")), reach_store.values(conn, reach)
    else:
        sql, values = _BOOKS.replace("{reached}", "true"), {}
    rows = driver(conn).execute(sql, {"most": most, **values})
    return [BooksRow(*row[:4], *map(int, row[4:])) for row in rows]
