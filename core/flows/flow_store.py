"""Reads the sums of flows and activity, and what is inside a ledger."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.base.actors import Reach, reach_of_request
from core.base.db import driver, plan_for_values
from core.base.rows import array
from core.flows.periods import Piece
from core.ledger.store import reach as reach_store
from core.ledger.store.times import Range

OTHERS_KEY = 0
"""The key of the node that stands for all that are not shown. Balances have keys above it, ledgers below."""


class FlowRow(NamedTuple):
    """The sum that moved from one node to another in one currency, in minor units."""

    currency: str
    precision: int
    source: int
    destination: int
    amount: int
    transactions: int
    gathered: int
    """The number of nodes of this currency that are in the node of all others."""


class SidesRow(NamedTuple):
    """The sums that came in and went out, in minor units, of the thing that a key names."""

    key: int
    currency: str
    precision: int
    amount_in: int
    count_in: int
    amount_out: int
    count_out: int


class NodeRow(NamedTuple):
    """A node, or a balance without a name."""

    key: int
    id: str
    name: str
    ledger_id: str


class ActivityRow(NamedTuple):
    """The counts of one period."""

    at: datetime
    accepted: int
    applied: int
    inflight: int
    rejected: int


class Asked(NamedTuple):
    """The flows that are asked for: of these pieces of time, and of one currency or node where one is given."""

    pieces: Sequence[Piece]
    currency: str | None = None
    node: int | None = None


# Each piece is a range of flows_pkey, and there are as few as possible. OFFSET keeps the planner from reading all pieces at once,
# which would be all of the table.
_MOVED = """
    SELECT
        currency,
        source,
        destination,
        sum(amount) AS amount,
        max(precision) AS precision,
        sum(count) AS count
    FROM unnest(%(lengths)s::int[], %(firsts)s::timestamptz[], %(ends)s::timestamptz[]) AS piece (length_s, first, stop)
    CROSS JOIN LATERAL (
        SELECT currency, source, destination, amount, precision, count
        FROM flows
        WHERE flows.length_s = piece.length_s AND at >= first AND at < stop
        OFFSET 0
    ) AS each
    WHERE (%(currency)s::text IS NULL OR currency = %(currency)s)
      AND (%(node)s::bigint IS NULL OR source = %(node)s OR destination = %(node)s)
      AND {reached}
    GROUP BY currency, source, destination
""".strip()

# The node that was asked for comes first, and then the largest. IN looks nodes up in a hash, however few the planner expects.
_FLOWS = f"""
    WITH moved AS MATERIALIZED (
        {_MOVED}
    ),
    sizes AS MATERIALIZED (
        SELECT
            currency,
            node,
            row_number() OVER (PARTITION BY currency ORDER BY node = %(node)s DESC NULLS LAST, sum(amount) DESC, node)
                AS place
        FROM (
            SELECT currency, source AS node, amount
            FROM moved
            UNION ALL
            SELECT currency, destination, amount
            FROM moved
            WHERE destination <> source
        ) AS sides
        GROUP BY currency, node
    )
    SELECT
        gathered.currency,
        coalesce(currencies.precision, gathered.precision),
        source,
        destination,
        amount,
        count,
        greatest((SELECT count(*) FROM sizes WHERE sizes.currency = gathered.currency) - %(limit)s, 0)
    FROM (
        SELECT currency, source, destination, max(precision) AS precision, sum(amount) AS amount, sum(count) AS count
        FROM (
            SELECT
                currency, precision, amount, count,
                CASE
                    WHEN (currency, source) IN (SELECT currency, node FROM sizes WHERE place <= %(limit)s) THEN source
                    ELSE {OTHERS_KEY}
                END AS source,
                CASE
                    WHEN (currency, destination) IN (SELECT currency, node FROM sizes WHERE place <= %(limit)s)
                    THEN destination
                    ELSE {OTHERS_KEY}
                END AS destination
            FROM moved
        ) AS ends
        GROUP BY currency, source, destination
    ) AS gathered
    LEFT JOIN currencies ON currencies.currency = gathered.currency
    ORDER BY gathered.currency, amount DESC, source, destination
"""

_COUNTERPARTIES = f"""
    WITH moved AS MATERIALIZED (
        {_MOVED}
    )
    SELECT
        node,
        sides.currency,
        coalesce(min(currencies.precision), max(sides.precision)),
        sum(amount_in),
        sum(count_in),
        sum(amount_out),
        sum(count_out)
    FROM (
        SELECT source AS node, currency, precision, amount AS amount_in, count AS count_in, 0 AS amount_out, 0 AS count_out
        FROM moved
        WHERE destination = %(node)s
        UNION ALL
        SELECT destination, currency, precision, 0, 0, amount, count
        FROM moved
        WHERE source = %(node)s
    ) AS sides
    LEFT JOIN currencies ON currencies.currency = sides.currency
    GROUP BY node, sides.currency
    ORDER BY row_number() OVER (PARTITION BY sides.currency ORDER BY sum(amount_in) + sum(amount_out) DESC, node),
        sides.currency
    LIMIT %(limit)s
"""

# log_pkey and outcomes_pkey are walked side by side, and each balance is looked up by its key.
_INSIDE = """
    SELECT
        b.id,
        b.currency,
        coalesce(min(currencies.precision), max(sides.precision)),
        sum(amount_in),
        count(*) FILTER (WHERE is_in),
        sum(amount_out),
        count(*) FILTER (WHERE NOT is_in)
    FROM (
        SELECT
            side.key,
            side.is_in,
            log.precision,
            CASE WHEN is_in THEN outcomes.amount ELSE 0 END AS amount_in,
            CASE WHEN is_in THEN 0 ELSE outcomes.amount END AS amount_out
        FROM log
        JOIN outcomes ON outcomes.seq = log.seq
        CROSS JOIN LATERAL (VALUES (outcomes.destination, true), (outcomes.source, false)) AS side (key, is_in)
        WHERE log.seq >= %(first)s AND log.seq < %(end)s
          AND outcomes.seq >= %(first)s AND outcomes.seq < %(end)s
          AND status = 1
    ) AS sides
    JOIN balances AS b ON b.id = key
    LEFT JOIN currencies ON currencies.currency = b.currency
    WHERE b.ledger = %(ledger)s
      AND b.indicator IS NULL
      AND (%(currency)s::text IS NULL OR b.currency = %(currency)s)
    GROUP BY b.id, b.currency
    ORDER BY row_number() OVER (PARTITION BY b.currency ORDER BY sum(amount_in) + sum(amount_out) DESC, b.id), b.currency
    LIMIT %(limit)s
"""

# balances_pkey and ledgers_pkey serve it.
_NODES = """
    SELECT b.id, 'bln_' || b.balance_id, coalesce(b.indicator, ''), ledgers.ledger_id
    FROM balances AS b
    JOIN ledgers ON ledgers.id = b.ledger
    WHERE b.id = ANY(%(balances)s::bigint[])
    UNION ALL
    SELECT -id, ledger_id, name, ledger_id
    FROM ledgers
    WHERE id = ANY(%(ledgers)s::bigint[])
"""

_FIND_LEDGER = """
    SELECT -id, ledger_id, name, ledger_id
    FROM ledgers
    WHERE ledger_id = %(id)s
"""

_FIND_BALANCE = """
    SELECT b.id, 'bln_' || b.balance_id, b.indicator, ledgers.ledger_id
    FROM balances AS b
    JOIN ledgers ON ledgers.id = b.ledger
    WHERE b.balance_id = %(id)s AND b.indicator IS NOT NULL
"""

_ACTIVITY = """
    SELECT at, accepted, applied, inflight, rejected
    FROM activity
    WHERE length_s = %(length)s AND at >= %(first)s AND at < %(end)s
    ORDER BY at
"""

_ACCEPTED_AT = """
    SELECT accepted_at
    FROM log
    WHERE seq >= %(seq)s
    ORDER BY seq
    LIMIT 1
"""


def flows(conn: Connection, asked: Asked, *, limit: int) -> list[FlowRow]:
    """Add up flows between the ``limit`` largest nodes of each currency. All other nodes are one, whose key is 0."""
    rows = _execute(conn, _FLOWS, asked, limit)
    return [
        FlowRow(currency, precision, source, destination, int(amount), int(count), int(gathered))
        for currency, precision, source, destination, amount, count, gathered in rows
    ]


def counterparties(conn: Connection, asked: Asked, *, limit: int) -> list[SidesRow]:
    """Add up what the node that is asked for exchanged with each other one, the largest of each currency first."""
    return [_sides(row) for row in _execute(conn, _COUNTERPARTIES, asked, limit)]


def inside(conn: Connection, ledger: int, range: Range, *, currency: str | None, limit: int) -> list[SidesRow]:
    """Add up what the balances of a ledger moved in a range of the log, the largest of each currency first."""
    plan_for_values(conn)
    given = {**range._asdict(), "ledger": ledger, "currency": currency, "limit": limit}
    return [_sides(row) for row in driver(conn).execute(_INSIDE, given)]


def nodes(conn: Connection, keys: Collection[int]) -> dict[int, NodeRow]:
    """Read nodes, and balances without a name, by their keys."""
    given = {"balances": array(key for key in keys if key > 0), "ledgers": array(-key for key in keys if key < 0)}
    return {row[0]: NodeRow(*row) for row in driver(conn).execute(_NODES, given)}


def find_ledger(conn: Connection, ledger_id: str) -> NodeRow | None:
    """Find the node of a ledger."""
    return _node(driver(conn).execute(_FIND_LEDGER, {"id": ledger_id}).fetchone())


def find_balance(conn: Connection, key: object) -> NodeRow | None:
    """Find the node of an internal balance by its UUID. A balance without a name is no node."""
    return _node(driver(conn).execute(_FIND_BALANCE, {"id": key}).fetchone())


def activity(conn: Connection, piece: Piece) -> list[ActivityRow]:
    """Read what was done in each period of a piece in which there was something."""
    given = {"length": piece.length_s, "first": piece.first, "end": piece.end}
    return [ActivityRow(*row) for row in driver(conn).execute(_ACTIVITY, given)]


def accepted_at(conn: Connection, seq: int) -> datetime | None:
    """Read when the first row from a position on was accepted."""
    row = driver(conn).execute(_ACCEPTED_AT, {"seq": seq}).fetchone()
    return None if row is None else row[0]


def _execute(conn: Connection, statement: str, asked: Asked, limit: int) -> Any:
    reach = reach_of_request()
    condition, given = ("true", {}) if not reach.bounds_balances else _reached(conn, reach)
    lengths, firsts, ends = zip(*asked.pieces, strict=True)
    plan_for_values(conn)
    return driver(conn).execute(
        statement.replace("{reached}", condition),
        {
            **given,
            "lengths": list(lengths),
            "firsts": list(firsts),
            "ends": list(ends),
            "currency": asked.currency,
            "node": asked.node,
            "limit": limit,
        },
    )


def _reached(conn: Connection, reach: Reach) -> tuple[str, dict[str, Any]]:
    """Make the condition that both nodes of a flow are within reach: a balance by itself, and a ledger by its ID."""
    ledgers = "true" if reach.ledgers is None else "-{side} = ANY(%(reach_ledgers)s)"
    each = f"""
        CASE
            WHEN {{side}} < 0 THEN {ledgers}
            ELSE EXISTS (SELECT FROM balances AS b WHERE b.id = {{side}} AND {reach_store.sql(reach, "b")})
        END
    """
    condition = " AND ".join(each.replace("{side}", side) for side in ("source", "destination"))
    return condition, reach_store.values(conn, reach)


def _sides(row: Any) -> SidesRow:
    key, currency, precision, *sums = row
    return SidesRow(key, currency, precision, *map(int, sums))


def _node(row: Any) -> NodeRow | None:
    return None if row is None else NodeRow(*row)
