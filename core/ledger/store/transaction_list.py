"""Describes the list of transactions: its fields, where they are stored, and how an index finds a status or a side."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Numeric,
    SmallInteger,
    Text,
    Uuid,
    and_,
    any_,
    case,
    cast,
    exists,
    func,
    literal,
    literal_column,
    not_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from core.base.ids import uuid_of
from core.base.tables import annotations, balances, holds, log, outcomes, scheduled
from core.ledger.rules.model import Status
from core.ledger.store import queues as queue_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store.balances import BALANCE_PREFIX
from core.ledger.store.transactions import LEGS, TRANSACTION_PREFIX, TransactionRow
from core.lists import query
from core.lists.conditions import compared, texts, time_condition
from core.lists.fields import Condition, Field, Filter, Listing, Relation, Type, resource

_LAST = 2**63 - 1
"""The sequence of scheduled transactions in lists. They come after all of the log, as they will be accepted later."""

LOG_ROWS = Relation(log, log, log.c.seq, log.c.id)
_WAITING = select(
    scheduled.c.id,
    literal_column(str(_LAST), BigInteger()).label("seq"),
    *(scheduled.c[name] for name in ("reference", "source", "destination", "amount", "currency", "precision")),
    *(scheduled.c[name] for name in ("description", "parent", "effective_date", "meta_data", "cancelled_at")),
    scheduled.c.scheduled_at.label("accepted_at"),
).subquery("log")
SCHEDULED_ROWS = Relation(_WAITING, _WAITING, _WAITING.c.seq, _WAITING.c.id, position_is_unique=False)


def find_transactions(conn: Connection, listing: Listing) -> tuple[list[TransactionRow], int | None]:
    """Find a page of transactions, and count all that match if the listing wants it.

    The list has the transactions of the log. Scheduled transactions come after them, but only when a filter on the status
    names SCHEDULED. A cancelled scheduled transaction needs a filter that names VOID as well.
    """
    asks = any(Status.SCHEDULED in each.values and each.operator in ("eq", "in") for each in listing.filters)
    found, count = query.find(conn, listing, [LOG_ROWS, SCHEDULED_ROWS] if asks else [LOG_ROWS])
    rows = {row.seq: row for row in transaction_store.find_seqs(conn, [seq for seq, _ in found if seq != _LAST])}
    names = [name for seq, name in found if seq == _LAST]
    waiting = {row.id: row for row in transaction_store.find_scheduled(conn, names)} if names else {}
    return [waiting[name] if seq == _LAST else rows[seq] for seq, name in found], count


# Columns


def _amount(table: FromClause) -> ColumnElement[Any]:
    """Make the expression of the amount. The outcome has that of a settlement or refund of all that was left."""
    amount = type_coerce(table.c.amount, Numeric())
    decided = select(type_coerce(outcomes.c.amount, Numeric())).where(outcomes.c.seq == table.c.seq).scalar_subquery()
    return case((amount > literal_column("0"), amount), else_=func.coalesce(decided, literal_column("0")))


def _meta_data(table: FromClause) -> ColumnElement[Any]:
    """Make the expression of the metadata with later additions. It lacks the reason of a rejection, which answers add."""
    given = cast(table.c.meta_data, JSONB())
    added = select(annotations.c.meta_data).where(annotations.c.id == table.c.id).scalar_subquery()
    return func.coalesce(given.op("||", return_type=JSONB())(added), given, added)


def _order_of_acceptance(table: FromClause, listing: Listing) -> ColumnElement[Any]:
    """Make the sort key, which is the sequence. With a filter on a time, the index on times gives the same order."""
    by_time = any(each.type is Type.TIME for each in listing.filters)
    return table.c.accepted_at if by_time else table.c.seq


def _effective_date_conditions(_: Connection, asked: Filter, relation: Relation) -> Sequence[Condition]:
    """Compare the effective date, which is the time of acceptance for a transaction without one."""
    if asked.operator in ("isnull", "isnotnull"):
        return [true()] if asked.operator == "isnotnull" else []
    table = relation.table
    accepted = and_(table.c.effective_date.is_(None), time_condition(asked, table.c.accepted_at))
    return [time_condition(asked, table.c.effective_date), accepted]


# Sides


def _source_conditions(conn: Connection, asked: Filter, relation: Relation) -> Sequence[Condition]:
    return _balance_conditions(conn, asked, [relation.table.c.source])


def _destination_conditions(conn: Connection, asked: Filter, relation: Relation) -> Sequence[Condition]:
    return _balance_conditions(conn, asked, [relation.table.c.destination])


def _either_side_conditions(conn: Connection, asked: Filter, relation: Relation) -> Sequence[Condition]:
    return _balance_conditions(conn, asked, [relation.table.c.source, relation.table.c.destination])


def _balance_conditions(conn: Connection, asked: Filter, sides: Sequence[ColumnElement[Any]]) -> Sequence[Condition]:
    """Compare the balances of one side, or of either. For either, ``ne`` and ``isnull`` negate the other operators."""
    if asked.operator in ("isnull", "isnotnull"):
        tests = [compared(side, asked.operator, []) for side in sides]
        return [and_(*tests)] if asked.operator == "isnull" else tests
    ids = [key for value in asked.values if (key := uuid_of(value, BALANCE_PREFIX)) is not None]
    named = balances.c.balance_id == any_(literal(ids, ARRAY(Uuid())))
    return _among(_keys_where(conn, named), sides, negative=asked.operator == "ne")


def _indicator_conditions(conn: Connection, asked: Filter, relation: Relation) -> Sequence[Condition]:
    """Compare the ``@Names`` of the balances of both sides. One of them must match."""
    sides = [relation.table.c.source, relation.table.c.destination]
    if asked.operator in ("eq", "ne", "in"):
        named = balances.c.indicator == any_(literal(list(asked.values), ARRAY(Text())))
        return _among(_keys_where(conn, named), sides, negative=asked.operator == "ne")
    if asked.operator == "isnull":
        has_name = balances.c.indicator.is_not(None)
        return [and_(*(not_(exists().where(balances.c.id == side, has_name)) for side in sides))]
    named = compared(balances.c.indicator, asked.operator, texts(asked))
    return [side.in_(select(balances.c.id).where(named)) for side in sides]


def _among(keys: list[int], sides: Sequence[ColumnElement[Any]], *, negative: bool) -> Sequence[Condition]:
    if negative:
        others = [(side == any_(literal(keys, ARRAY(BigInteger())))).is_not(true()) for side in sides]
        return [and_(*others, *(side.is_not(None) for side in sides if len(sides) == 1))]
    if len(keys) > query.MAX_BRANCHES // 2:
        return [side == any_(literal(keys, ARRAY(BigInteger()))) for side in sides]
    return [side == literal(key, BigInteger()) for side in sides for key in keys]


def _keys_where(conn: Connection, named: Condition) -> list[int]:
    """Find the keys of the balances that meet a condition."""
    return [key for (key,) in conn.execute(select(balances.c.id).where(named).order_by(balances.c.id))]


# Status


_is_split = log.c.kind == literal_column("5")
_leg = log.alias("leg")
_split_status = literal_column(f"(SELECT l.status FROM (SELECT) AS one {LEGS})", SmallInteger())


def _number(status: int) -> ColumnElement[Any]:
    """Write the number of a status as a literal, so that partial indexes are recognized."""
    return literal_column(str(status), SmallInteger())


def _has_outcome(status: int) -> Condition:
    return exists().where(outcomes.c.seq == log.c.seq, outcomes.c.status == _number(status))


def _has_hold(condition: Condition) -> Condition:
    return exists().where(holds.c.seq == log.c.seq, condition)


_OF_STATUS: dict[Status, tuple[Condition, ...]] = {
    Status.APPLIED: (
        _has_outcome(1),
        _has_hold(
            and_(holds.c.settled_at.is_not(None), type_coerce(holds.c.committed, Numeric()) > literal_column("0"))
        ),
        and_(_is_split, _split_status == _number(1)),
    ),
    Status.INFLIGHT: (
        _has_hold(holds.c.settled_at.is_(None)),
        and_(
            _is_split,
            log.c.id.in_(
                select(
                    case(
                        (
                            _leg.c.parent.like(literal_column("'txn%'")),
                            cast(func.substr(_leg.c.parent, literal_column("5")), Uuid()),
                        )
                    )
                )
                .select_from(holds.join(_leg, _leg.c.seq == holds.c.seq))
                .where(holds.c.settled_at.is_(None))
            ),
            _split_status == _number(2),
        ),
    ),
    Status.VOID: (
        _has_outcome(3),
        _has_hold(type_coerce(holds.c.voided, Numeric()) == type_coerce(holds.c.amount, Numeric())),
        and_(_is_split, _split_status == _number(3)),
    ),
    Status.REJECTED: (
        _has_outcome(4),
        and_(
            _is_split,
            # The first leg of a split is the row after it, and all legs were rejected.
            exists().where(outcomes.c.seq == log.c.seq + literal_column("1"), outcomes.c.status == _number(4)),
            _split_status == _number(4),
        ),
    ),
}
"""The conditions on the log for each status. Together they mean the same as ``transactions.STATUS``.

An index answers each. The row in ``holds`` decides whether a hold reads INFLIGHT, APPLIED or VOID, and a rejected hold has
no such row.
"""


def _status_conditions(conn: Connection, asked: Filter, relation: Relation) -> Sequence[Condition]:
    wanted = _statuses(asked)
    if relation is SCHEDULED_ROWS:
        cancelled_at = relation.table.c.cancelled_at
        tests = {Status.SCHEDULED: cancelled_at.is_(None), Status.VOID: cancelled_at.is_not(None)}
        return [test for status, test in tests.items() if status in wanted]
    if wanted >= {*_OF_STATUS, Status.QUEUED}:
        return [true()]
    found = [condition for status, each in _OF_STATUS.items() if status in wanted for condition in each]
    return found + (_undecided(conn) if Status.QUEUED in wanted else [])


def _statuses(asked: Filter) -> set[Any]:
    match asked.operator:
        case "ne":
            return set(Status) - set(asked.values)
        case "isnull":
            return set()
        case "isnotnull":
            return set(Status)
    return set(asked.values)


def _undecided(conn: Connection) -> list[Condition]:
    """List the conditions of undecided transactions: those after the cursors of their queues, and their splits.

    A split is before its legs in the log, so it may be before the first leg that waits.
    """
    lines = queue_store.lines(conn)
    if not lines:
        return []
    first = min(line.first for line in lines)
    (split,) = conn.execute(
        select(func.max(log.c.seq)).where(_is_split, log.c.seq < literal(first, BigInteger()))
    ).one()
    waiting: list[Condition] = [
        and_(log.c.queue == literal(line.number, SmallInteger()), log.c.seq > literal(line.cursor, BigInteger()))
        for line in lines
    ]
    return [*waiting, and_(_is_split, log.c.seq >= literal(split or 0, BigInteger()), _split_status.is_(None))]


# Fields


TRANSACTIONS = resource(
    "transactions",
    Field(
        "transaction_id",
        Type.TEXT,
        "The transaction's id.",
        lambda table: literal_column(f"'{TRANSACTION_PREFIX}'", Text()) + cast(table.c.id, Text()),
        sort_key=lambda table, _: table.c.id,
        indexed=True,
        prefix=TRANSACTION_PREFIX,
        key=lambda table: table.c.id,
    ),
    Field(
        "sequence",
        Type.NUMBER,
        "Its position in the order of acceptance.",
        lambda table: table.c.seq,
        indexed=True,
    ),
    Field(
        "parent_transaction",
        Type.TEXT,
        "The id of the hold or batch that it belongs to.",
        lambda table: table.c.parent,
        sort_key=lambda table, _: func.coalesce(table.c.parent, literal_column("''")),
        indexed=True,
    ),
    Field(
        "amount",
        Type.NUMBER,
        "The amount in major units.",
        _amount,
        sort_key=lambda table, _: _amount(table) / table.c.precision,
        factor=lambda table: table.c.precision,
    ),
    Field("precise_amount", Type.NUMBER, "The amount in minor units.", _amount),
    Field("precision", Type.NUMBER, "The number of minor units in a major unit."),
    Field("currency", Type.TEXT, "The transaction's currency."),
    Field("source", Type.LINK, "The balance id of the source.", indexed=True, find=_source_conditions),
    Field("destination", Type.LINK, "The balance id of the destination.", indexed=True, find=_destination_conditions),
    Field("balance_id", Type.LINK, "The balance id of either side.", indexed=True, find=_either_side_conditions),
    Field("indicator", Type.NAME, "The @Name of either side.", indexed=True, find=_indicator_conditions),
    Field("reference", Type.TEXT, "The client's reference.", indexed=True),
    Field("status", Type.CHOICE, "The status that it has now.", indexed=True, choices=Status, find=_status_conditions),
    Field("description", Type.TEXT, "The text that the client wrote."),
    Field(
        "created_at",
        Type.TIME,
        "When it was accepted.",
        lambda table: table.c.accepted_at,
        sort_key=_order_of_acceptance,
        indexed=True,
    ),
    Field(
        "effective_date",
        Type.TIME,
        "The time from which it counts: the acceptance, unless another was given.",
        sort_key=lambda table, _: func.coalesce(table.c.effective_date, table.c.accepted_at),
        indexed=True,
        find=_effective_date_conditions,
    ),
    Field("meta_data", Type.OBJECT, "All of the metadata; meta_data.<key> is one member of it.", _meta_data),
    id="transaction_id",
    numbered=True,
)
