"""Balances: who they are, what they hold, and their statements."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from core.base.db import driver
from core.base.errors import Conflict, ErrorCode, NotFound
from core.base.ids import key_of
from core.ledger.rules.model import GENERAL_LEDGER, BalanceRef
from core.ledger.rules.routing import route_of
from core.ledger.store.queues import WAITING

BALANCE_PREFIX = "bln_"


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

    @property
    def available(self) -> int:
        """What may be spent without an overdraft."""
        return self.balance - self.inflight_debit_balance


class Entry(NamedTuple):
    """One side of a posting that moved money: a line of a statement."""

    version: int
    """Of the balance after the entry. Entries follow it without a break in the running balance."""
    transaction_id: str
    reference: str
    parent: str | None
    direction: str
    """``debit`` or ``credit``."""
    amount: int
    balance_after: int
    counterparty: str
    currency: str
    precision: int
    description: str
    at: datetime
    sequence: int
    effective_date: datetime
    """From when it counts: when it was accepted, unless its transaction says otherwise."""


_COLUMNS = (
    "balances.id, 'bln_' || balance_id, ledgers.ledger_id, indicator, currency, balance, credit_balance, "
    "debit_balance, inflight_credit_balance, inflight_debit_balance, version, balances.meta_data, balances.created_at"
)
_FROM = "FROM balances JOIN ledgers ON ledgers.id = balances.ledger"


def find_refs(conn: Connection, ids: Collection[str]) -> dict[str, BalanceRef]:
    """Balances by ``bln_`` id. What is unknown, or not an id at all, is left out."""
    keys = [key for id in ids if (key := key_of(id, BALANCE_PREFIX)) is not None]
    if not keys:
        return {}
    rows = driver(conn).execute(
        "SELECT id, 'bln_' || balance_id, currency, indicator FROM balances WHERE balance_id = ANY(%s)", (keys,)
    )
    return {row[1]: BalanceRef(row[0], row[1], row[2], row[3], route_of(row[1])) for row in rows.fetchall()}


def find_indicators(conn: Connection, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], BalanceRef]:
    """Internal balances by pairs of indicator and currency."""
    rows = driver(conn).execute(
        "SELECT id, 'bln_' || balance_id, currency, indicator FROM balances JOIN "
        "unnest(%s::text[], %s::text[]) AS wanted (indicator, currency) USING (indicator, currency)",
        ([name for name, _ in names], [currency for _, currency in names]),
    )
    return {(row[3], row[2]): BalanceRef(row[0], row[1], row[2], row[3], route_of(row[1])) for row in rows.fetchall()}


def create_indicators(conn: Connection, names: Collection[tuple[str, str, UUID]]) -> None:
    """Create internal balances, triples of indicator, currency and new key, that are not there yet.

    Rows go in sorted order, so that two callers who create the same names wait for each other and do not deadlock.
    """
    rows = sorted(names)
    conn.execute(
        text(
            "INSERT INTO balances (balance_id, ledger, indicator, currency) "
            "SELECT key, (SELECT id FROM ledgers WHERE ledger_id = :ledger), indicator, currency "
            "FROM unnest(CAST(:keys AS uuid[]), CAST(:indicators AS text[]), CAST(:currencies AS text[])) "
            "WITH ORDINALITY AS new (key, indicator, currency, place) ORDER BY place "
            "ON CONFLICT ON CONSTRAINT balances_indicator_currency_key DO NOTHING"
        ),
        {
            "ledger": GENERAL_LEDGER,
            "keys": [row[2] for row in rows],
            "indicators": [row[0] for row in rows],
            "currencies": [row[1] for row in rows],
        },
    )


def create(
    conn: Connection, *, key: UUID, ledger_id: str, indicator: str | None, currency: str, meta_data: str | None
) -> BalanceRow:
    """A new balance with zero sums. ``meta_data`` is the JSON text of an object.

    Raises:
        NotFound: no such ledger (LGR_NOT_FOUND).
        Conflict: the indicator already has a balance in this currency.
    """
    found = conn.execute(text("SELECT id FROM ledgers WHERE ledger_id = :id"), {"id": ledger_id}).scalar_one_or_none()
    if found is None:
        raise NotFound(ErrorCode.LGR_NOT_FOUND, f"Ledger with ID '{ledger_id}' not found")
    created = conn.execute(
        text(
            "INSERT INTO balances (balance_id, ledger, indicator, currency, meta_data) "
            "VALUES (:key, :ledger, :indicator, :currency, CAST(:meta_data AS jsonb)) "
            "ON CONFLICT ON CONSTRAINT balances_indicator_currency_key DO NOTHING RETURNING id"
        ),
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
    key = key_of(balance_id, BALANCE_PREFIX)
    if key is None:
        return None
    row = conn.execute(text(f"SELECT {_COLUMNS} {_FROM} WHERE balance_id = :key"), {"key": key}).one_or_none()
    return BalanceRow(*row) if row is not None else None


def find_indicator(conn: Connection, indicator: str, currency: str) -> BalanceRow | None:
    row = conn.execute(
        text(f"SELECT {_COLUMNS} {_FROM} WHERE indicator = :indicator AND currency = :currency"),
        {"indicator": indicator, "currency": currency},
    ).one_or_none()
    return BalanceRow(*row) if row is not None else None


def find_all_of_indicator(conn: Connection, indicator: str) -> list[BalanceRow]:
    """The balances of an ``@Name``, one for each currency."""
    sql = text(f"SELECT {_COLUMNS} {_FROM} WHERE indicator = :indicator ORDER BY currency")
    return [BalanceRow(*row) for row in conn.execute(sql, {"indicator": indicator})]


def find_keys(conn: Connection, keys: list[int]) -> dict[int, BalanceRow]:
    """By their keys."""
    sql = text(f"SELECT {_COLUMNS} {_FROM} WHERE balances.id = ANY(:keys)")
    return {row[0]: BalanceRow(*row) for row in conn.execute(sql, {"keys": keys})}


def public_ids(conn: Connection, keys: Collection[int]) -> dict[int, UUID]:
    """The public ids, without their prefix, of some balances."""
    rows = driver(conn).execute("SELECT id, balance_id FROM balances WHERE id = ANY(%s)", (list(keys),))
    return dict(rows.fetchall())


def queued_sums(conn: Connection, key: int) -> tuple[int, int]:
    """Debits and credits of a balance that are accepted and not decided, in minor units. Settlements are not counted."""
    row = conn.execute(
        text(
            "SELECT coalesce(sum(amount) FILTER (WHERE source = :key), 0), "
            "coalesce(sum(amount) FILTER (WHERE destination = :key), 0) FROM queues CROSS JOIN LATERAL ("
            f"SELECT source, destination, amount, kind FROM log WHERE {WAITING} ORDER BY queue, seq) AS line "
            "WHERE (source = :key OR destination = :key) AND kind IN (1, 2)"
        ),
        {"key": key},
    ).one()
    return int(row[0]), int(row[1])


def entries(
    conn: Connection,
    key: int,
    *,
    limit: int,
    after: int | None,
    since: datetime | None,
    until: datetime | None,
) -> list[Entry]:
    """Entries of a balance, oldest first, with a version above ``after``, decided in [since, until)."""
    sides = [
        f"SELECT outcomes.{side}_version AS version, log.id, log.reference, log.parent, '{direction}' AS direction, "
        f"outcomes.amount, outcomes.{side}_balance AS balance_after, outcomes.{other} AS counterparty, log.currency, "
        "log.precision, log.description, outcomes.decided_at, outcomes.seq, "
        "coalesce(log.effective_date, log.accepted_at) AS effective_date "
        f"FROM outcomes JOIN log ON log.seq = outcomes.seq WHERE outcomes.{side} = :key AND outcomes.status = 1 "
        f"AND outcomes.{side}_version > :after "
        "AND (CAST(:since AS timestamptz) IS NULL OR outcomes.decided_at >= :since) "
        "AND (CAST(:until AS timestamptz) IS NULL OR outcomes.decided_at < :until) "
        f"ORDER BY outcomes.{side}_version LIMIT :limit"
        for side, other, direction in (("source", "destination", "debit"), ("destination", "source", "credit"))
    ]
    rows = conn.execute(
        text(
            "SELECT e.version, 'txn_' || e.id, reference, parent, direction, amount, balance_after, "
            "coalesce(indicator, 'bln_' || balance_id), e.currency, precision, description, decided_at, seq, effective_date "
            f"FROM (({sides[0]}) UNION ALL ({sides[1]})) AS e JOIN balances ON balances.id = counterparty "
            "ORDER BY e.version LIMIT :limit"
        ),
        {"key": key, "after": after or 0, "since": since, "until": until, "limit": limit},
    )
    return [Entry(*row) for row in rows]
