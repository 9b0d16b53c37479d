"""Currencies: the precision each has, fixed by its first use or by an operator."""

from sqlalchemy import Connection, text

# The index on destination and seq finds one row for each balance, so the log is not walked through.
_USED_PRECISION = """
    SELECT log.precision
    FROM balances
    JOIN log ON log.destination = balances.id
    WHERE balances.currency = :currency
    LIMIT 1
"""


def precision_of(conn: Connection, currency: str) -> int | None:
    """The currency's precision; None while nothing has fixed it."""
    sql = text("SELECT precision FROM currencies WHERE currency = :currency")
    precision: int | None = conn.execute(sql, {"currency": currency}).scalar_one_or_none()
    return precision


def fix_precision(conn: Connection, currency: str, precision: int) -> int:
    """Fix the currency's precision, unless it is already. Returns the one that holds."""
    conn.execute(
        text("INSERT INTO currencies VALUES (:currency, :precision) ON CONFLICT DO NOTHING"),
        {"currency": currency, "precision": precision},
    )
    fixed = precision_of(conn, currency)
    assert fixed is not None
    return fixed


def used_precision(conn: Connection, currency: str) -> int | None:
    """The precision of a transaction in this currency; None when there is none. Looks at its balances, not the whole log."""
    precision: int | None = conn.execute(text(_USED_PRECISION), {"currency": currency}).scalar_one_or_none()
    return precision


def all_precisions(conn: Connection) -> dict[str, int]:
    rows = conn.execute(text("SELECT currency, precision FROM currencies ORDER BY currency"))
    return {row[0]: row[1] for row in rows}
