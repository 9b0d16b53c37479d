"""SQL of the table of lists: each row has a destination and an amount. A list belongs to a job or to a run."""

from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Numeric,
    Select,
    Uuid,
    cast,
    column,
    func,
    insert,
    literal,
    literal_column,
    select,
    text,
    type_coerce,
)

from core.base.actors import EVERYTHING, Reach
from core.base.db import driver, plan_for_values
from core.base.rows import copy_text, escaped
from core.base.tables.balances import balances
from core.base.tables.funding import funding_rows
from core.ledger.store.balance_list import BALANCE_ROWS, matching
from core.ledger.store.reach import balances_in_reach
from core.lists.fields import Listing


class FundingRow(NamedTuple):
    """One row of a list: a recipient's balance and the amount to pay it, in minor units."""

    row: int
    destination: int
    amount: int
    description: str | None
    meta_data: str | None


class Rule(NamedTuple):
    """A rule that chooses the recipients of a run by their balances. Amounts are minor units."""

    listing: Listing
    currency: str
    but: int
    """Key of the pool, which cannot fund itself."""
    amount: int | None
    """The amount that each recipient gets."""
    top_up_to: int | None
    """The amount that each recipient should have after the run. Money held for it, and rows yet to be posted, count."""
    reach: Reach = EVERYTHING
    """The rule finds nobody beyond it."""


WRONG = "[]"
"""The metadata of a row that is wrong, which is stored until the rollback. The metadata of any other row is an object."""


class Repeated(NamedTuple):
    """The rows whose destination is in an earlier row too."""

    total: int
    fine: int
    """The number of those that have no other fault."""
    pairs: list[tuple[int, int]]
    """The first of them, each with the earlier row."""


_RENAME_DESTINATIONS = """
UPDATE funding_rows
SET destination = key
FROM unnest(%(stood)s::bigint[], %(keys)s::bigint[]) AS made (stood, key)
WHERE list = %(list)s
  AND destination = stood
"""

_REPEATED_DESTINATIONS = """
SELECT count(*) OVER (), count(*) FILTER (WHERE meta_data::text IS DISTINCT FROM '[]') OVER (), row, first
FROM (
    SELECT row, meta_data, min(row) OVER (PARTITION BY destination) AS first
    FROM funding_rows
    WHERE list = %(list)s
) AS each
WHERE row <> first
ORDER BY row
LIMIT %(limit)s
"""

# Served by the primary key.
_READ = """
SELECT row, destination, amount, description, meta_data::text
FROM funding_rows
WHERE list = %(list)s
  AND row > %(after)s
ORDER BY row
LIMIT %(limit)s
"""

_TOTALS = """
SELECT count(*), coalesce(sum(amount), 0)
FROM funding_rows
WHERE list = %(list)s
"""

# A sum does not depend on the order of the rows. A large list needs no sort.
_MIXED = """
SELECT coalesce(sum(hashtextextended(
    concat_ws(E'\t', destination, amount, coalesce(description, ''), coalesce(meta_data::text, '')), 0
)::numeric), 0)
FROM funding_rows
WHERE list = %(list)s
"""

_LAST_ROW_WITHIN = """
SELECT coalesce(max(row), 0)
FROM (
    SELECT row, sum(amount) OVER (ORDER BY row) AS total
    FROM funding_rows
    WHERE list = %(list)s
) AS each
WHERE total <= %(room)s
"""

_COMING = """
    SELECT f.destination, sum(f.amount) AS amount
    FROM funding_runs AS r
    JOIN funding_rows AS f ON f.list = r.list
        AND f.row > r.posted_row
        AND (r.last_row IS NULL OR f.row <= r.last_row)
    WHERE r.status = 'POSTING'
    GROUP BY f.destination
"""
"""The sum of the rows that runs have yet to post, by balance."""

_HELD = "(balances.balance + balances.inflight_credit_balance + coalesce(coming.amount, 0))"
"""The amount that a balance has, plus the money held for it and the rows that runs have yet to post to it."""

# The key of a row comes out of ``now`` as a whole, so that each row is looked up by it. With the list as a constant,
# and statistics that do not know the list, the planner reads all of the list at each row. What is coming is added up
# in a window instead of a join for the same reason.
_CUT_TO_MISSING = f"""
WITH now AS MATERIALIZED (
    SELECT list, row, %(top_up_to)s::numeric - {_HELD} AS missing
    FROM (
        SELECT list, row, destination, sum(amount) OVER (PARTITION BY destination) AS amount
        FROM (
            SELECT list, row, destination, 0 AS amount
            FROM funding_rows
            WHERE list = %(list)s
            UNION ALL
            SELECT NULL, NULL, destination, amount
            FROM ({_COMING}) AS others
        ) AS each
    ) AS coming
    JOIN balances ON balances.id = coming.destination
    WHERE row IS NOT NULL
),
gone AS (
    DELETE FROM funding_rows AS f
    USING now
    WHERE (f.list, f.row) = (now.list, now.row)
      AND missing <= 0
)
UPDATE funding_rows AS f
SET amount = missing
FROM now
WHERE (f.list, f.row) = (now.list, now.row)
  AND missing > 0
  AND missing < f.amount
"""


def copy_rows(conn: Connection, list: UUID, rows: Iterable[FundingRow]) -> None:
    """Append rows to a list."""
    name = str(list)
    copy_text(
        conn,
        "funding_rows",
        "list, row, destination, amount, description, meta_data",
        (
            f"{name}\t{row}\t{destination}\t{amount}\t{escaped(description)}\t{escaped(meta_data)}"
            for row, destination, amount, description, meta_data in rows
        ),
    )


def rename_destinations(conn: Connection, list: UUID, keys: dict[int, int]) -> None:
    """Replace the negative keys of new balances in a list. ``keys`` maps them to the real keys."""
    driver(conn).execute(_RENAME_DESTINATIONS, {"stood": [*keys], "keys": [*keys.values()], "list": list})


def repeated_destinations(conn: Connection, list: UUID, limit: int) -> Repeated:
    """Find the rows whose destination is in an earlier row too, and list at most ``limit`` of them."""
    rows = driver(conn).execute(_REPEATED_DESTINATIONS, {"list": list, "limit": limit}).fetchall()
    count, fine = rows[0][:2] if rows else (0, 0)
    return Repeated(count, fine, [(row, first) for _, _, row, first in rows])


def read_rows(conn: Connection, list: UUID, *, after: int, limit: int) -> list[FundingRow]:
    """Read the rows of a list in order, from the row after number ``after`` on."""
    return [*map(FundingRow._make, driver(conn).execute(_READ, {"list": list, "after": after, "limit": limit}))]


def totals(conn: Connection, list: UUID) -> tuple[int, int]:
    """Return the number of rows of a list and the sum of their amounts."""
    row = driver(conn).execute(_TOTALS, {"list": list}).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def mixed(conn: Connection, list: UUID) -> str:
    """Mix the rows of a list into one number, whatever their order. Returns its digits."""
    row = driver(conn).execute(_MIXED, {"list": list}).fetchone()
    assert row is not None
    return str(row[0])


def last_row_within(conn: Connection, list: UUID, room: int) -> int:
    """Return the last row up to which the sum of the amounts is at most ``room``; 0 when the first row is more."""
    row = driver(conn).execute(_LAST_ROW_WITHIN, {"list": list, "room": room}).fetchone()
    assert row is not None
    return int(row[0])


def amount_within(conn: Connection, of: UUID | Rule, room: int) -> int:
    """Return the sum of the rows, in order, that fit into ``room``. ``of`` is a list, or a rule that is looked up now."""
    rows = (_selected(conn, of) if isinstance(of, Rule) else _rows_of(of)).subquery("selected")
    totals = (
        select(func.sum(rows.c.amount).over(order_by=rows.c.key).label("total"))
        .where(rows.c.amount > 0)
        .subquery("each")
    )
    largest = select(func.coalesce(func.max(totals.c.total), 0)).where(totals.c.total <= literal(room, Numeric()))
    return int(conn.execute(largest).scalar_one())


def fill_by_rule(conn: Connection, list: UUID, rule: Rule) -> None:
    """Fill a list with the balances that a rule selects, in the order in which they were created."""
    found = _selected(conn, rule).subquery("selected")
    rows = select(
        literal(list, Uuid()), func.row_number().over(order_by=found.c.key), found.c.key, found.c.amount
    ).where(found.c.amount > 0)
    conn.execute(insert(funding_rows).from_select(["list", "row", "destination", "amount"], rows))


def totals_by_rule(conn: Connection, rule: Rule) -> tuple[int, int]:
    """Return the number of rows that ``fill_by_rule`` would make now, and the sum of their amounts."""
    found = _selected(conn, rule).subquery("selected")
    totals = select(func.count(), func.coalesce(func.sum(found.c.amount), 0)).where(found.c.amount > 0)
    count, amount = conn.execute(totals).one()
    return int(count), int(amount)


def cut_to_missing(conn: Connection, list: UUID, top_up_to: int) -> None:
    """Lower the amounts of a top-up's list to what is missing now. A row that misses nothing is deleted."""
    driver(conn).execute(_CUT_TO_MISSING, {"top_up_to": top_up_to, "list": list})


def _selected(conn: Connection, rule: Rule) -> Select[Any]:
    """Compose a query of the balances that a rule selects: ``key``, and the ``amount`` that each would get."""
    plan_for_values(conn)
    listing = balances_in_reach(conn, rule.listing, rule.reach)
    source, given = BALANCE_ROWS.source, rule.amount if rule.top_up_to is None else rule.top_up_to
    amount: ColumnElement[Any] = cast(literal(given, Numeric()), Numeric())
    if rule.top_up_to is not None:
        coming = (
            text(_COMING).columns(column("destination", BigInteger()), column("amount", Numeric())).subquery("coming")
        )
        source = source.outerjoin(coming, coming.c.destination == balances.c.id)
        amount = amount - literal_column(_HELD, Numeric())
    return (
        select(balances.c.id.label("key"), amount.label("amount"))
        .select_from(source)
        .where(
            balances.c.currency == rule.currency,
            balances.c.id != rule.but,
            matching(conn, listing),
        )
    )


def _rows_of(list: UUID) -> Select[Any]:
    amount = type_coerce(funding_rows.c.amount, Numeric())
    return select(funding_rows.c.row.label("key"), amount.label("amount")).where(funding_rows.c.list == list)
