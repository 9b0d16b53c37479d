"""Reads and fixes the precision of currencies. The first use fixes it, or an operator."""

from sqlalchemy import Connection, text

_PRECISION = text(
    """
    SELECT precision
    FROM currencies
    WHERE currency = :currency
    """
)

_FIX_PRECISION = text(
    """
    INSERT INTO currencies
    VALUES (:currency, :precision)
    ON CONFLICT DO NOTHING
    RETURNING precision
    """
)

# log_destination_seq_idx finds one row for each balance, so that the whole log is not read.
_USED_PRECISION = text(
    """
    SELECT log.precision
    FROM balances
    JOIN log ON log.destination = balances.id
    WHERE balances.currency = :currency
    LIMIT 1
    """
)

_ALL_PRECISIONS = text(
    """
    SELECT currency, precision
    FROM currencies
    ORDER BY currency
    """
)


def precision_of(conn: Connection, currency: str) -> int | None:
    """Read a currency's precision. Returns None while nothing has fixed it."""
    precision: int | None = conn.execute(_PRECISION, {"currency": currency}).scalar_one_or_none()
    return precision


def fix_precision(conn: Connection, currency: str, precision: int) -> tuple[int, bool]:
    """Fix a currency's precision, unless it is fixed already. Returns the valid one, and whether this call has fixed it."""
    if conn.execute(_FIX_PRECISION, {"currency": currency, "precision": precision}).one_or_none() is not None:
        return precision, True
    fixed = precision_of(conn, currency)
    assert fixed is not None
    return fixed, False


def used_precision(conn: Connection, currency: str) -> int | None:
    """Read the precision of any transaction in a currency. Returns None when there is no transaction."""
    precision: int | None = conn.execute(_USED_PRECISION, {"currency": currency}).scalar_one_or_none()
    return precision


def all_precisions(conn: Connection) -> dict[str, int]:
    """Read the precision of every currency that has one."""
    return {row[0]: row[1] for row in conn.execute(_ALL_PRECISIONS)}
