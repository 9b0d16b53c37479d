"""Reads and creates balances."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from core.base.actors import reach_of_request
from core.base.db import driver
from core.base.errors import Conflict, ErrorCode, InvalidRequest, NotFound
from core.base.ids import new_key, uuid_of
from core.ledger.rules.model import GENERAL_LEDGER, BalanceRef
from core.ledger.rules.routing import route_of
from core.ledger.store import reach as reach_store
from core.ledger.store.waiting import WAITING

BALANCE_PREFIX = "bln_"

QUEUED = 50_000
"""The largest number of waiting debits, or credits, that are added up for an answer."""


class BalanceRow(NamedTuple):
    """A balance as it is read. Amounts are minor units."""

    key: int
    balance_id: str
    ledger_id: str
    indicator: str | None
    currency: str
    balance: int
    credit_balance: int
    debit_balance: int
    inflight_credit_balance: int
    inflight_debit_balance: int
    version: int
    meta_data: str | None
    """JSON text of an object."""
    created_at: datetime
    identity_id: str | None = None

    @property
    def available(self) -> int:
        """The minor units that may be spent without an overdraft."""
        return self.balance - self.inflight_debit_balance


_FIND_REFS = """
    SELECT balances.id, 'bln_' || balance_id, currency, indicator, ledgers.ledger_id
    FROM balances
    JOIN ledgers ON ledgers.id = balances.ledger
    WHERE balance_id = ANY(%(keys)s)
"""

# The primary key serves it.
_FIND_NEXT_REFS = """
    SELECT balances.id, 'bln_' || balance_id, currency, indicator, ledgers.ledger_id
    FROM balances
    JOIN ledgers ON ledgers.id = balances.ledger
    WHERE balances.id > %(after)s
    ORDER BY balances.id
    LIMIT %(most)s
"""

_FIND_INDICATORS = """
    SELECT id, 'bln_' || balance_id, currency, indicator
    FROM balances
    JOIN unnest(%(indicators)s::text[], %(currencies)s::text[]) AS wanted (indicator, currency)
        USING (indicator, currency)
"""

# Rows go in sorted order, so that two callers who create the same names wait for each other and do not deadlock.
_CREATE_INDICATORS = text(
    """
    INSERT INTO balances (balance_id, ledger, indicator, currency)
    SELECT key, (SELECT id FROM ledgers WHERE ledger_id = :ledger), indicator, currency
    FROM unnest(CAST(:keys AS uuid[]), CAST(:indicators AS text[]), CAST(:currencies AS text[]))
        WITH ORDINALITY AS new (key, indicator, currency, position)
    ORDER BY position
    ON CONFLICT ON CONSTRAINT balances_indicator_currency_key DO NOTHING
    RETURNING id
    """
)

_FIND_LEDGER = text(
    """
    SELECT id
    FROM ledgers
    WHERE ledger_id = :id
    """
)

_CREATE = text(
    """
    INSERT INTO balances (balance_id, ledger, indicator, currency, meta_data)
    VALUES (:key, :ledger, :indicator, :currency, CAST(:meta_data AS jsonb))
    ON CONFLICT ON CONSTRAINT balances_indicator_currency_key DO NOTHING
    RETURNING id
    """
)

_SELECT = """
    SELECT
        balances.id,
        'bln_' || balance_id,
        ledgers.ledger_id,
        indicator,
        currency,
        balance,
        credit_balance,
        debit_balance,
        inflight_credit_balance,
        inflight_debit_balance,
        version,
        balances.meta_data,
        balances.created_at,
        'idt_' || identities.identity_id
    FROM balances
    JOIN ledgers ON ledgers.id = balances.ledger
    LEFT JOIN identities ON identities.id = balances.identity
"""

_FIND = text(
    f"""
    {_SELECT.strip()}
    WHERE balance_id = :key
    """
)

_FIND_INDICATOR = text(
    f"""
    {_SELECT.strip()}
    WHERE indicator = :indicator AND currency = :currency
    """
)

# No index serves a currency that has no balance.
_HAS_CURRENCY = text(
    """
    SELECT EXISTS (SELECT FROM balances WHERE currency = :currency)
    """
)

_FIND_KEYS = text(
    f"""
    {_SELECT.strip()}
    WHERE balances.id = ANY(:keys)
    """
)

_PUBLIC_IDS = """
    SELECT id, balance_id
    FROM balances
    WHERE id = ANY(%(keys)s)
"""

# What waits is not before the first that waits in any queue. log_source_seq_idx and its twin serve the two sides.
_QUEUED = f"""
    SELECT coalesce(sum(amount) FILTER (WHERE line.seq > cursor AND kind IN (1, 2)), 0), count(*)
    FROM (
        SELECT seq, queue, amount, kind
        FROM log
        WHERE {{side}} = %(key)s
          AND seq >= (
              SELECT min(first)
              FROM queues
              CROSS JOIN LATERAL (
                  SELECT seq AS first
                  FROM log
                  WHERE {WAITING}
                  ORDER BY queue, seq
                  LIMIT 1
              ) AS line
          )
        ORDER BY seq
        LIMIT %(limit)s
    ) AS line
    JOIN queues ON number = queue
"""

_QUEUED_SIDES = [_QUEUED.format(side=side) for side in ("source", "destination")]

# One walk over the balances, whatever the number of texts, for metadata has no index.
_FIND_BY_METADATA = """
SELECT found.text, b.id, 'bln_' || b.balance_id, b.currency, b.indicator, found.count
FROM (
    SELECT asked.text, min(balances.id) AS id, count(*) AS count
    FROM unnest(%(texts)s::text[]) AS asked (text)
    JOIN balances ON balances.meta_data #>> %(path)s::text[] = asked.text
    WHERE balances.currency = %(currency)s
      AND {reached}
    GROUP BY asked.text
) AS found
JOIN balances AS b ON b.id = found.id
"""


def find_by_metadata(
    conn: Connection, path: Sequence[str], texts: Collection[str], currency: str
) -> dict[str, tuple[BalanceRef, int]]:
    """Find the balances in reach in a currency whose metadata has one of these texts or numbers at a path.

    Returns the first balance and the number of them by text. A text that no balance has is left out.
    """
    if not texts:
        return {}
    reach, values = reach_of_request(), {"texts": list(texts), "path": list(path), "currency": currency}
    reached = "true"
    if reach.bounds_balances:
        reached = reach_store.sql(reach, "balances")
        values |= reach_store.values(conn, reach)
    rows = driver(conn).execute(_FIND_BY_METADATA.replace("{reached}", reached), values)
    return {row[0]: (BalanceRef(row[1], row[2], row[3], row[4], route_of(row[2])), row[5]) for row in rows}


def find_refs(conn: Connection, ids: Collection[str]) -> dict[str, BalanceRef]:
    """Find balances by their ``bln_`` IDs. Texts that are no ID, or an unknown one, are left out."""
    keys = [key for id in ids if (key := uuid_of(id, BALANCE_PREFIX)) is not None]
    if not keys:
        return {}
    rows = driver(conn).execute(_FIND_REFS, {"keys": keys})
    return {row[1]: BalanceRef(row[0], row[1], row[2], row[3], route_of(row[1]), row[4]) for row in rows.fetchall()}


def find_next_refs(conn: Connection, *, after: int, most: int) -> list[BalanceRef]:
    """Find the balances that were created after the one with this key, the oldest first."""
    rows = driver(conn).execute(_FIND_NEXT_REFS, {"after": after, "most": most})
    return [BalanceRef(row[0], row[1], row[2], row[3], route_of(row[1]), row[4]) for row in rows.fetchall()]


def last_key(conn: Connection) -> int:
    """Return the key of the newest balance, or 0."""
    (key,) = driver(conn).execute("SELECT coalesce(max(id), 0) FROM balances").fetchone() or (0,)
    return int(key)


def find_indicators(conn: Connection, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], BalanceRef]:
    """Find internal balances by pairs of indicator and currency. Unknown pairs are left out."""
    rows = driver(conn).execute(
        _FIND_INDICATORS,
        {"indicators": [name for name, _ in names], "currencies": [currency for _, currency in names]},
    )
    return {(row[3], row[2]): BalanceRef(row[0], row[1], row[2], row[3], route_of(row[1])) for row in rows.fetchall()}


def create_indicators(conn: Connection, names: Collection[tuple[str, str, UUID]]) -> list[int]:
    """Create the internal balances that do not exist yet, from triples of indicator, currency and new key.

    Returns the internal keys of those that this call has created.
    """
    rows = sorted(names)
    created = conn.execute(
        _CREATE_INDICATORS,
        {
            "ledger": GENERAL_LEDGER,
            "keys": [row[2] for row in rows],
            "indicators": [row[0] for row in rows],
            "currencies": [row[1] for row in rows],
        },
    )
    return [key for (key,) in created]


def create(
    conn: Connection, *, ledger_id: str, indicator: str | None, currency: str, meta_data: str | None
) -> BalanceRow:
    """Create a balance with zero sums. ``meta_data`` is the JSON text of an object.

    Raises:
        NotFound: there is no such ledger (LGR_NOT_FOUND).
        Conflict: the indicator already has a balance in this currency.
    """
    key = new_key()
    found = conn.execute(_FIND_LEDGER, {"id": ledger_id}).scalar_one_or_none()
    if found is None:
        raise NotFound(ErrorCode.LGR_NOT_FOUND, f"Ledger with ID '{ledger_id}' not found")
    created = conn.execute(
        _CREATE,
        {"key": key, "ledger": found, "indicator": indicator, "currency": currency, "meta_data": meta_data},
    ).scalar_one_or_none()
    if created is None:
        raise Conflict(
            ErrorCode.GEN_CONFLICT, f"a balance with indicator '{indicator}' and currency '{currency}' exists"
        )
    row = find(conn, f"{BALANCE_PREFIX}{key}")
    assert row is not None
    return row


def find(conn: Connection, balance_id: str) -> BalanceRow | None:
    """Find a balance by its ID. Returns None when there is none."""
    key = uuid_of(balance_id, BALANCE_PREFIX)
    if key is None:
        return None
    row = conn.execute(_FIND, {"key": key}).one_or_none()
    return BalanceRow(*row) if row is not None else None


def find_indicator(conn: Connection, indicator: str, currency: str) -> BalanceRow | None:
    """Find an internal balance by its ``@Name`` and currency. Returns None when there is none."""
    row = conn.execute(_FIND_INDICATOR, {"indicator": indicator, "currency": currency}).one_or_none()
    return BalanceRow(*row) if row is not None else None


def has_currency(conn: Connection, currency: str) -> bool:
    """Tell whether there is a balance in a currency."""
    return bool(conn.execute(_HAS_CURRENCY, {"currency": currency}).scalar_one())


def find_keys(conn: Connection, keys: list[int]) -> dict[int, BalanceRow]:
    """Find balances by their internal keys."""
    return {row[0]: BalanceRow(*row) for row in conn.execute(_FIND_KEYS, {"keys": keys})}


def public_ids(conn: Connection, keys: Collection[int]) -> dict[int, UUID]:
    """Read the public IDs of balances by their internal keys. The prefix ``bln_`` is left out."""
    return dict(driver(conn).execute(_PUBLIC_IDS, {"keys": list(keys)}).fetchall())


def queued_sums(conn: Connection, key: int) -> tuple[int, int]:
    """Sum the undecided debits and credits of a balance, in minor units. Settlements and refunds are left out.

    Raises:
        InvalidRequest: too many wait to be added up.
    """
    found = []
    for sql in _QUEUED_SIDES:
        row = driver(conn).execute(sql, {"key": key, "limit": QUEUED + 1}).fetchone()
        assert row is not None
        if row[1] > QUEUED:
            problem = f"is for at most {QUEUED:,} transactions, and more may wait; leave it out, and see GET /queues"
            raise InvalidRequest([("with_queued", problem)], ErrorCode.GEN_VALIDATION_ERROR)
        found.append(int(row[0]))
    return found[0], found[1]
