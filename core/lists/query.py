"""Filters to rows.

Each filter becomes one or more conditions of which any suffices, each of a kind that an index answers. The conditions
of all filters are multiplied out, so that a page is the first rows of a few lists which are each in order already. To
look for @World among millions of rows, as source or as destination, takes two short walks along two indexes.
"""

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base.db import driver
from core.base.ids import key_of
from core.ledger.rules.model import Status
from core.ledger.store import balances, ledgers, transactions
from core.ledger.store.balances import BALANCE_PREFIX, BalanceRow
from core.ledger.store.ledgers import LedgerRow
from core.ledger.store.queues import WAITING
from core.ledger.store.transactions import LEGS, TRANSACTION_PREFIX, TransactionRow
from core.lists.filters import TRANSACTIONS, Filter, Listing, Member, Span, Type

MAX_BRANCHES = 24
"""Lists that a page is put together from."""

_LAST = 2**63 - 1
"""The sequence of what is scheduled, in the order of lists: it will be accepted after all that is in the log."""


class _Relation(NamedTuple):
    """Where rows are found, and what the fields are called there."""

    source: str
    place: str
    """Column that orders rows that are equal otherwise."""
    name: str
    """A second such column, where the place is not unique."""
    columns: dict[str, str]
    sort_keys: dict[str, str]
    """Of fields that sort by something else than their column. No sort key is ever null."""
    meta_data: str
    prefix: str = ""
    """Of the id, where that is a UUID in ``key``."""
    key: str = ""
    key_field: str = ""


class _Condition(NamedTuple):
    sql: str
    values: tuple[Any, ...] = ()


_LEDGERS = _Relation(
    "ledgers",
    "ledgers.id",
    "NULL::uuid",
    {"ledger_id": "ledgers.ledger_id", "name": "ledgers.name", "created_at": "ledgers.created_at"},
    {},
    "ledgers.meta_data",
)
_INFLIGHT = "(balances.inflight_credit_balance - balances.inflight_debit_balance)"
_SUMS = ("balance", "credit_balance", "debit_balance", "inflight_credit_balance", "inflight_debit_balance")
_BALANCES = _Relation(
    "balances JOIN ledgers ON ledgers.id = balances.ledger",
    "balances.id",
    "NULL::uuid",
    {
        "balance_id": f"'{BALANCE_PREFIX}' || balances.balance_id",
        "ledger_id": "ledgers.ledger_id",
        "identity_id": "NULL::text",
        "indicator": "balances.indicator",
        "currency": "balances.currency",
        "inflight_balance": _INFLIGHT,
        "created_at": "balances.created_at",
        **{name: f"balances.{name}" for name in _SUMS},
    },
    {"indicator": "coalesce(balances.indicator, '')", "identity_id": "''::text", "balance_id": "balances.balance_id"},
    "balances.meta_data",
    BALANCE_PREFIX,
    "balances.balance_id",
    "balance_id",
)
_AMOUNT = (
    # What a settlement of all that was left came to, its outcome says.
    "(CASE WHEN log.amount > 0 THEN log.amount ELSE "
    "coalesce((SELECT amount FROM outcomes WHERE outcomes.seq = log.seq), 0) END)"
)
_ADDED = "(SELECT annotations.meta_data FROM annotations WHERE annotations.id = log.id)"
_LOG = _Relation(
    "log",
    "log.seq",
    "log.id",
    {
        "transaction_id": f"'{TRANSACTION_PREFIX}' || log.id",
        "sequence": "log.seq",
        "parent_transaction": "log.parent",
        "precise_amount": _AMOUNT,
        "amount": _AMOUNT,
        "precision": "log.precision",
        "currency": "log.currency",
        "reference": "log.reference",
        "description": "log.description",
        "created_at": "log.accepted_at",
    },
    {
        "transaction_id": "log.id",
        "parent_transaction": "coalesce(log.parent, '')",
        "amount": f"({_AMOUNT}::numeric / log.precision)",
        "effective_date": "coalesce(log.effective_date, log.accepted_at)",
    },
    f"coalesce(log.meta_data::jsonb || {_ADDED}, log.meta_data::jsonb, {_ADDED})",
    TRANSACTION_PREFIX,
    "log.id",
    "transaction_id",
)
_SCHEDULED = _LOG._replace(
    source=(
        f"(SELECT id, {_LAST}::bigint AS seq, reference, source, destination, amount, currency, precision, description, "
        "parent, effective_date, meta_data, scheduled_at AS accepted_at, cancelled_at FROM scheduled) AS log"
    )
)


def find_ledgers(conn: Connection, listing: Listing) -> tuple[list[LedgerRow], int | None]:
    """A page of ledgers, and the number of all that were asked for, if that is wanted."""
    places, count = _find(conn, listing, [_LEDGERS], _position_of_ledger(conn, listing))
    rows = ledgers.find_keys(conn, [place for place, _ in places])
    return [rows[place] for place, _ in places], count


def find_balances(conn: Connection, listing: Listing) -> tuple[list[BalanceRow], int | None]:
    """A page of balances, and the number of all that were asked for, if that is wanted."""
    places, count = _find(conn, listing, [_BALANCES], _position_of_balance(conn, listing))
    rows = balances.find_keys(conn, [place for place, _ in places])
    return [rows[place] for place, _ in places], count


def where_balances(conn: Connection, listing: Listing) -> tuple[str, str, tuple[Any, ...]]:
    """All balances that were asked for, whatever the page: FROM, WHERE and its values, for a statement about them."""
    where, values = _any(_conditions(conn, listing, _BALANCES) or [_Condition("false")])
    return _BALANCES.source, where, values


def find_transactions(conn: Connection, listing: Listing) -> tuple[list[TransactionRow], int | None]:
    """A page of transactions, and the number of all that were asked for, if that is wanted.

    They are those of the log. What waits for its date is not in it, and is listed, after all of it, when and only when a
    filter on the status names SCHEDULED; what was cancelled before its date, when another value names VOID as well.
    """
    asks = any(Status.SCHEDULED in f.values and f.operator in ("eq", "in") for f in listing.filters)
    relations = [_LOG, _SCHEDULED] if asks else [_LOG]
    places, count = _find(conn, listing, relations, _position_of_transaction(conn, listing))
    rows = {row.seq: row for row in transactions.find_seqs(conn, [place for place, _ in places if place != _LAST])}
    waiting = {row.id: row for row in transactions.find_scheduled(conn, [n for p, n in places if p == _LAST])}
    return [waiting[name] if place == _LAST else rows[place] for place, name in places], count


# A page


class _Position(NamedTuple):
    """Where the page before ended."""

    key: str
    """The sort key as text."""
    place: int
    name: UUID | None


_Place = tuple[int, UUID]
_NOWHERE = _Position("", -1, None)


def _find(
    conn: Connection, listing: Listing, relations: Sequence[_Relation], position: _Position | None
) -> tuple[list[_Place], int | None]:
    branches = [(each, condition) for each in relations for condition in _conditions(conn, listing, each)]
    if not branches:
        return [], 0 if listing.include_count else None
    count = _count(conn, branches) if listing.include_count else None
    if position is _NOWHERE:
        return [], count
    direction = "DESC" if listing.descending else "ASC"
    parts: list[str] = []
    values: list[Any] = []
    for relation, condition in branches:
        part = _first_rows(listing, relation, condition, position)
        parts.append(f"({part.sql})")
        values += part.values
    order = f"key {direction}, place {direction}, name {direction}"
    sql = f"SELECT place, name FROM ({' UNION '.join(parts)}) AS found ORDER BY {order} LIMIT %s OFFSET %s"
    rows = _execute(conn, sql, [*values, listing.limit, listing.offset])
    return [(place, name) for place, name in rows], count


def _first_rows(listing: Listing, relation: _Relation, condition: _Condition, position: _Position | None) -> _Condition:
    """The rows of one branch among which those of the page must be."""
    key, kind = _sort_key(listing, relation)
    order = [key, relation.place, relation.name]
    types = [kind, "bigint", "uuid"]
    # A place that sorts by itself needs no second look, nor one that is unique.
    used = slice(key == relation.place, 3 if relation is _SCHEDULED else 2)
    where, values = condition
    sign, direction = ("<", "DESC") if listing.descending else (">", "ASC")
    if position is not None:
        bounds = ", ".join(f"%s::{each}" for each in types[used])
        where = f"({where}) AND ({', '.join(order[used])}) {sign} ({bounds})"
        values = (*values, *tuple(position)[used])
    return _Condition(
        f"SELECT {key} AS key, {relation.place} AS place, {relation.name} AS name FROM {relation.source} WHERE {where} "
        f"ORDER BY {', '.join(f'{column} {direction}' for column in order[used])} LIMIT %s",
        (*values, listing.limit + listing.offset),
    )


def _count(conn: Connection, branches: Sequence[tuple[_Relation, _Condition]]) -> int:
    parts = [
        f"SELECT {each.place}, {each.name} FROM {each.source} WHERE {condition.sql}" for each, condition in branches
    ]
    values = [value for _, condition in branches for value in condition.values]
    ((count,),) = _execute(conn, f"SELECT count(*) FROM ({' UNION '.join(parts)}) AS found", values)
    assert isinstance(count, int)
    return count


def _sort_key(listing: Listing, relation: _Relation) -> tuple[str, str]:
    """What a page is ordered by, and its type in Postgres."""
    name = listing.sort_by
    if listing.entity is TRANSACTIONS and name in ("sequence", "created_at"):
        # The order of acceptance is that of both. Where a time is asked for as well, the index that knows it gives it.
        by_time = any(f.type is Type.TIME for f in listing.filters) and name == "created_at"
        return ("log.accepted_at", "timestamptz") if by_time else ("log.seq", "bigint")
    key = relation.sort_keys.get(name, relation.columns.get(name, ""))
    if name == relation.key_field:
        return key, "uuid"
    return key, {Type.TEXT: "text", Type.NUMBER: "numeric", Type.TIME: "timestamptz"}[listing.entity.fields[name]]


def _position_of_ledger(conn: Connection, listing: Listing) -> _Position | None:
    if listing.after is None:
        return None
    return _position(conn, listing, _LEDGERS, "ledgers.ledger_id", listing.after)


def _position_of_balance(conn: Connection, listing: Listing) -> _Position | None:
    if listing.after is None:
        return None
    return _position(conn, listing, _BALANCES, "balances.balance_id", key_of(listing.after, BALANCE_PREFIX))


def _position_of_transaction(conn: Connection, listing: Listing) -> _Position | None:
    """After a sequence, or a transaction id. In the order of the log a sequence needs no row to be a place."""
    after = listing.after
    if after is None:
        return None
    if after.isascii() and after.isdigit():
        key, _ = _sort_key(listing, _LOG)
        if key == _LOG.place:
            return _Position(after, int(after), None)
        return _position(conn, listing, _LOG, "log.seq", int(after))
    found = _position(conn, listing, _LOG, "log.id", key_of(after, TRANSACTION_PREFIX))
    if found is not _NOWHERE:
        return found
    return _position(conn, listing, _SCHEDULED, "log.id", key_of(after, TRANSACTION_PREFIX))


def _position(conn: Connection, listing: Listing, relation: _Relation, column: str, value: object) -> _Position:
    """Of the row where the page before ended. An unknown one ends the list."""
    key, _ = _sort_key(listing, relation)
    sql = f"SELECT ({key})::text, {relation.place}, {relation.name} FROM {relation.source} WHERE {column} = %s"
    rows = _execute(conn, sql, [value])
    return _Position(*rows[0]) if rows else _NOWHERE


def _execute(conn: Connection, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    # Planned anew for its values: what is right for a busy balance is wrong for a quiet one.
    return driver(conn).execute(sql, values, prepare=False).fetchall()


# Conditions


def _conditions(conn: Connection, listing: Listing, relation: _Relation) -> list[_Condition]:
    """Conditions of which any suffices, for all filters together."""
    each = [_alternatives(conn, one, relation) for one in listing.filters]
    if not each:
        return [_Condition("true")]
    if listing.any_of:
        found = [condition for alternatives in each for condition in alternatives]
        return found if len(found) <= MAX_BRANCHES else [_any(found)]
    while prod(map(len, each)) > MAX_BRANCHES:
        widest = max(each, key=len)
        each[each.index(widest)] = [_any(widest)]
    product = [_Condition("true")]
    for alternatives in each:
        product = [_all([*([] if one.sql == "true" else [one]), other]) for one in product for other in alternatives]
    return product


def _any(conditions: Sequence[_Condition]) -> _Condition:
    return _joined(" OR ", conditions)


def _all(conditions: Sequence[_Condition]) -> _Condition:
    return _joined(" AND ", conditions)


def _joined(word: str, conditions: Sequence[_Condition]) -> _Condition:
    if len(conditions) == 1:
        return conditions[0]
    return _Condition(
        word.join(f"({each.sql})" for each in conditions), tuple(v for each in conditions for v in each.values)
    )


def _alternatives(conn: Connection, asked: Filter, relation: _Relation) -> list[_Condition]:
    """Conditions of which any suffices, for one filter."""
    if asked.type is Type.STATUS:
        return _of_statuses(conn, _statuses(asked), relation)
    if asked.type in (Type.BALANCE, Type.NAME):
        return _of_sides(conn, asked)
    if asked.type is Type.OBJECT:
        return [_of_object(asked, relation.meta_data)]
    if asked.type is Type.MEMBER:
        return [_of_member(asked, f"({relation.meta_data})")]
    if asked.field == "effective_date":
        return _of_effective_date(asked)
    if asked.type is Type.TIME:
        return [_of_time(asked, relation.columns[asked.field])]
    if asked.field == relation.key_field and asked.operator in ("eq", "ne", "in"):
        return [_of_key(asked, relation)]
    # In major units it is the other side that is multiplied, which is exact.
    bound = "(%s::numeric * log.precision)" if asked.field == "amount" else "%s"
    return [_compared(relation.columns[asked.field], asked.operator, asked.values, bound)]


_SIGNS = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "LIKE", "ilike": "ILIKE"}


def _compared(expression: str, operator: str, values: Sequence[Any], bound: str = "%s") -> _Condition:
    match operator:
        case "isnull":
            return _Condition(f"{expression} IS NULL")
        case "isnotnull":
            return _Condition(f"{expression} IS NOT NULL")
        case "in":
            return _Condition(f"{expression} IN ({', '.join([bound] * len(values))})", tuple(values))
        case "between":
            return _Condition(f"{expression} BETWEEN {bound} AND {bound}", tuple(values))
    return _Condition(f"{expression} {_SIGNS[operator]} {bound}", tuple(values))


def _of_key(asked: Filter, relation: _Relation) -> _Condition:
    """By the UUID in an id. What is no id equals none."""
    keys = [key for value in asked.values if (key := key_of(value, relation.prefix)) is not None]
    word = "<> ALL" if asked.operator == "ne" else "= ANY"
    return _Condition(f"{relation.key} {word}(%s::uuid[])", (keys,))


def _of_time(asked: Filter, column: str) -> _Condition:
    """Equal is all of the unit that was given; for the others its start counts."""
    spans: tuple[Span, ...] = asked.values
    if asked.operator in ("eq", "in"):
        return _any([_Condition(f"{column} >= %s AND {column} < %s", tuple(span)) for span in spans])
    if asked.operator == "ne":
        return _Condition(f"{column} < %s OR {column} >= %s", tuple(spans[0]))
    return _compared(column, asked.operator, [span.start for span in spans])


def _of_effective_date(asked: Filter) -> list[_Condition]:
    """Where none was given, it is the time of acceptance."""
    if asked.operator in ("isnull", "isnotnull"):
        return [_Condition("true")] if asked.operator == "isnotnull" else []
    given, accepted = (_of_time(asked, f"log.{column}") for column in ("effective_date", "accepted_at"))
    return [given, _all([_Condition("log.effective_date IS NULL"), accepted])]


def _of_sides(conn: Connection, asked: Filter) -> list[_Condition]:
    """By the balance of a side, or of either. Of either, ``ne`` and ``isnull`` are the contrary of the others."""
    sides = (asked.field,) if asked.field in ("source", "destination") else ("source", "destination")
    if asked.operator in ("eq", "ne", "in"):
        tests = _among(_balances_of(conn, asked), sides, negative=asked.operator == "ne")
    elif asked.type is Type.BALANCE:
        tests = [_compared(f"log.{side}", asked.operator, ()) for side in sides]
    elif asked.operator == "isnull":
        named = "SELECT FROM balances WHERE balances.id = log.{} AND indicator IS NOT NULL"
        tests = [_Condition(f"NOT EXISTS ({named.format(side)})") for side in sides]
    else:
        inner = _compared("indicator", asked.operator, asked.values)
        named = f"SELECT balances.id FROM balances WHERE {inner.sql}"
        tests = [_Condition(f"log.{side} IN ({named})", inner.values) for side in sides]
    return [_all(tests)] if asked.operator in ("ne", "isnull") else tests


def _among(keys: list[int], sides: Sequence[str], *, negative: bool) -> list[_Condition]:
    if negative:
        one_sided = " AND log.{0} IS NOT NULL" if len(sides) == 1 else ""
        return [
            _Condition(f"(log.{side} = ANY(%s::bigint[])) IS NOT TRUE{one_sided.format(side)}", (keys,))
            for side in sides
        ]
    if len(keys) > MAX_BRANCHES // 2:
        return [_Condition(f"log.{side} = ANY(%s::bigint[])", (keys,)) for side in sides]
    return [_Condition(f"log.{side} = %s", (key,)) for side in sides for key in keys]


def _balances_of(conn: Connection, asked: Filter) -> list[int]:
    """Keys of the balances that are named. What is unknown has none."""
    if asked.type is Type.NAME:
        sql, values = "SELECT id FROM balances WHERE indicator = ANY(%s) ORDER BY id", list(asked.values)
    else:
        sql = "SELECT id FROM balances WHERE balance_id = ANY(%s::uuid[]) ORDER BY id"
        values = [key for value in asked.values if (key := key_of(value, BALANCE_PREFIX)) is not None]
    return [id for (id,) in _execute(conn, sql, [values])]


# Metadata


# That of a transaction with what was added to it, but without the reason of a rejection, which answers make.


def _of_object(asked: Filter, meta_data: str) -> _Condition:
    if asked.operator == "eq":
        return _Condition(f"{meta_data} @> %s::jsonb", asked.values)
    if asked.operator == "ne":
        return _Condition(f"NOT {meta_data} @> %s::jsonb", asked.values)
    return _compared(f"({meta_data})", asked.operator, ())


def _of_member(asked: Filter, meta_data: str) -> _Condition:
    """Equality is that of JSON, so 1 is not "1". What is in order with a number is a number, or text that reads as one."""
    text = f"({meta_data} ->> %s)"
    key = asked.key
    members: tuple[Member, ...] = asked.values
    if asked.operator in ("eq", "ne", "in"):
        contained = _any(
            [
                _Condition(f"{meta_data} @> jsonb_build_object(%s::text, %s::jsonb)", (key, each))
                for member in members
                for each in member.json
            ]
        )
        if asked.operator != "ne":
            return contained
        return _Condition(f"{text} IS NOT NULL AND NOT ({contained.sql})", (key, *contained.values))
    if asked.operator in ("isnull", "isnotnull"):
        return _Condition(_compared(text, asked.operator, ()).sql, (key,))
    if asked.operator not in ("like", "ilike") and all(member.number is not None for member in members):
        number = f"(CASE WHEN length({text}) <= 1000 AND {text} ~ '^-?[0-9]+([.][0-9]+)?$' THEN {text}::numeric END)"
        condition = _compared(number, asked.operator, [member.number for member in members])
        return _Condition(condition.sql, (key, key, key, *condition.values))
    condition = _compared(text, asked.operator, [member.text for member in members])
    return _Condition(condition.sql, (key, *condition.values))


# Status


def _statuses(asked: Filter) -> set[Status]:
    match asked.operator:
        case "ne":
            return set(Status) - set(asked.values)
        case "isnull":
            return set()
        case "isnotnull":
            return set(Status)
    return set(asked.values)


_SPLIT_STATUS = f"(SELECT l.status FROM (SELECT) AS one {LEGS})"
_HAS_OUTCOME = "EXISTS (SELECT FROM outcomes AS o WHERE o.seq = log.seq AND o.status = {})"
_HAS_HOLD = "EXISTS (SELECT FROM holds AS h WHERE h.seq = log.seq AND {})"
_OF_STATUS = {
    Status.APPLIED: (
        _HAS_OUTCOME.format(1),
        _HAS_HOLD.format("h.settled_at IS NOT NULL AND h.committed > 0"),
        f"log.kind = 5 AND {_SPLIT_STATUS} = 1",
    ),
    Status.INFLIGHT: (
        _HAS_HOLD.format("h.settled_at IS NULL"),
        "log.kind = 5 AND log.id IN (SELECT CASE WHEN leg.parent LIKE 'txn%%' THEN substr(leg.parent, 5)::uuid END "
        f"FROM holds AS h JOIN log AS leg ON leg.seq = h.seq WHERE h.settled_at IS NULL) AND {_SPLIT_STATUS} = 2",
    ),
    Status.VOID: (
        _HAS_OUTCOME.format(3),
        _HAS_HOLD.format("h.voided = h.amount"),
        f"log.kind = 5 AND {_SPLIT_STATUS} = 3",
    ),
    Status.REJECTED: (
        _HAS_OUTCOME.format(4),
        # The first leg of a split is the row after it, and all of them were rejected.
        "log.kind = 5 AND EXISTS (SELECT FROM outcomes AS o WHERE o.seq = log.seq + 1 AND o.status = 4) "
        f"AND {_SPLIT_STATUS} = 4",
    ),
}
"""Conditions on the log that are together what ``transactions.STATUS`` says, each such that an index answers it.

A hold reads INFLIGHT, APPLIED or VOID as its row in ``holds`` says; a rejected one has none there.
"""


def _of_statuses(conn: Connection, wanted: Iterable[Status], relation: _Relation) -> list[_Condition]:
    wanted = set(wanted)
    if relation is _SCHEDULED:
        tests = {Status.SCHEDULED: "log.cancelled_at IS NULL", Status.VOID: "log.cancelled_at IS NOT NULL"}
        return [_Condition(sql) for status, sql in tests.items() if status in wanted]
    if wanted >= {*_OF_STATUS, Status.QUEUED}:
        return [_Condition("true")]
    found = [_Condition(sql) for status, conditions in _OF_STATUS.items() if status in wanted for sql in conditions]
    return found + (_undecided(conn) if Status.QUEUED in wanted else [])


def _undecided(conn: Connection) -> list[_Condition]:
    """What is after the cursors of its queues, and the splits of that, which begin before the first of it."""
    waiting = _execute(
        conn,
        "SELECT number, cursor, first FROM queues CROSS JOIN LATERAL "
        f"(SELECT seq AS first FROM log WHERE {WAITING} ORDER BY queue, seq LIMIT 1) AS line",
        (),
    )
    if not waiting:
        return []
    first = min(row[2] for row in waiting)
    ((split,),) = _execute(conn, "SELECT coalesce((SELECT max(seq) FROM log WHERE kind = 5 AND seq < %s), 0)", [first])
    queues = [_Condition("log.queue = %s AND log.seq > %s", (number, cursor)) for number, cursor, _ in waiting]
    return [*queues, _Condition(f"log.kind = 5 AND log.seq >= %s AND {_SPLIT_STATUS} IS NULL", (split,))]
