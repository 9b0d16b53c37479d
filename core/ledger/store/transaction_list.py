"""Describes the list of transactions: its fields, where they are stored, and how an index finds a status or a side."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Numeric,
    SmallInteger,
    Uuid,
    and_,
    any_,
    case,
    cast,
    exists,
    false,
    func,
    literal_column,
    not_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from core.base.db import driver
from core.base.ids import uuid_of
from core.base.tables import annotations, balances, holds, log, outcomes, scheduled
from core.ledger.rules.model import Status
from core.ledger.store import queues as queue_store
from core.ledger.store import times
from core.ledger.store import transactions as transaction_store
from core.ledger.store.balances import BALANCE_PREFIX
from core.ledger.store.reach import transactions_in_reach
from core.ledger.store.transactions import LEGS, TRANSACTION_PREFIX, TransactionRow
from core.lists import query
from core.lists.conditions import compared, intervals, texts, time_condition
from core.lists.fields import (
    NULL,
    Condition,
    Extent,
    Field,
    Filter,
    Listing,
    Relation,
    Sought,
    Span,
    Type,
    id_field,
    resource,
)
from core.lists.shape import ArraySlot, Slot, bound

_LAST = 2**63 - 1
"""The sequence of scheduled transactions in lists. They come after all of the log, as they will be accepted later."""

LOG_ROWS = Relation(log, log, log.c.seq, log.c.id)
_WAITING = select(
    scheduled.c.id,
    literal_column(str(_LAST), BigInteger()).label("seq"),
    *(scheduled.c[name] for name in ("reference", "source", "destination", "amount", "currency", "precision")),
    *(scheduled.c[name] for name in ("description", "parent", "effective_date", "meta_data", "actor", "cancelled_at")),
    *(scheduled.c[name] for name in ("kind", "legs")),
    scheduled.c.scheduled_at.label("accepted_at"),
).subquery("log")
SCHEDULED_ROWS = Relation(_WAITING, _WAITING, _WAITING.c.seq, _WAITING.c.id, position_is_unique=False)


def find_transactions(conn: Connection, listing: Listing) -> tuple[list[TransactionRow], Extent]:
    """Find a page of transactions in reach, and count all that match if the listing wants it.

    The list has the transactions of the log. Scheduled transactions come after them, but only when a filter on the status
    names SCHEDULED. A cancelled scheduled transaction needs a filter that names VOID as well.
    """
    asks = any(Status.SCHEDULED in each.values and each.operator in ("eq", "in") for each in listing.filters)
    relations = [LOG_ROWS, SCHEDULED_ROWS] if asks else [LOG_ROWS]
    found, extent = query.find(conn, transactions_in_reach(conn, listing), relations)
    rows = {row.seq: row for row in transaction_store.find_seqs(conn, [seq for seq, _ in found if seq != _LAST])}
    names = [name for seq, name in found if seq == _LAST]
    waiting = {row.id: row for row in transaction_store.find_scheduled(conn, names)} if names else {}
    return [waiting[name] if seq == _LAST else rows[seq] for seq, name in found], extent


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


# Times


def _spans_and_ranges(conn: Connection, asked: Filter) -> Sequence[Any]:
    """List the spans of a filter on a time, and then the positions in the log between which it holds."""
    if asked.operator in NULL:
        return ()
    found = times.ranges(conn, intervals(asked))
    if len(found) > query.MAX_BRANCHES // 2:
        return [*asked.values, [each.first for each in found], [each.end for each in found]]
    return [*asked.values, *(position for each in found for position in each)]


def _acceptance_conditions(asked: Filter, relation: Relation) -> Sequence[Sought]:
    """Compare the time of acceptance, which is a range of positions in the log."""
    accepted_at = relation.table.c.accepted_at
    if asked.operator in NULL:
        return [Sought(None, compared(accepted_at, asked.operator, []))]
    if relation is not LOG_ROWS:
        return [Sought(None, time_condition(_with_spans_alone(asked), accepted_at))]
    slots = [slot for slot in asked.values if isinstance(slot, Slot)]
    if any(isinstance(slot, ArraySlot) for slot in slots):
        firsts, ends = (bound(slot, ARRAY(BigInteger())) for slot in slots)
        each = func.unnest(firsts, ends).table_valued("first", "stop", name="each")
        return [Sought(None, exists().where(log.c.seq >= each.c.first, log.c.seq < each.c.stop))]
    bounds = [bound(slot, BigInteger()) for slot in slots]
    pairs = zip(bounds[::2], bounds[1::2], strict=True)
    return [Sought(and_(log.c.seq >= first, log.c.seq < end)) for first, end in pairs]


def _effective_date_conditions(asked: Filter, relation: Relation) -> Sequence[Sought]:
    """Compare the effective date, which is the time of acceptance for a transaction without one."""
    if asked.operator in NULL:
        return [Sought(None)] if asked.operator == "isnotnull" else []
    effective_date = relation.table.c.effective_date
    without = effective_date.is_(None)
    accepted = [
        Sought(each.by, without if each.rest is None else and_(without, each.rest))
        for each in _acceptance_conditions(asked, relation)
    ]
    dated = time_condition(_with_spans_alone(asked), effective_date)
    if asked.operator not in ("eq", "in"):  # Most of the rows with such a date may match, so they are walked.
        return [Sought(effective_date.is_not(None), dated), *accepted]
    # OFFSET makes the index on dates find the rows, and not a walk in the order of the page.
    found = select(relation.position).select_from(relation.source).where(dated).offset(literal_column("0"))
    return [Sought(relation.position.in_(found.correlate(None)), test=dated), *accepted]


def _with_spans_alone(asked: Filter) -> Filter:
    """Leave the positions out of the values of a filter on a time."""
    return replace(asked, values=tuple(value for value in asked.values if isinstance(value, Span)))


# Parents


def _parent_conditions(asked: Filter, relation: Relation) -> Sequence[Condition | Sought]:
    """Compare the parent. The index has the members of each parent in blocks, because many of them are neighbours."""
    parent = relation.table.c.parent
    if relation is not LOG_ROWS or asked.operator not in ("eq", "in") or len(asked.values) > query.MAX_BRANCHES:
        return [compared(parent, asked.operator, texts(asked))]
    return [Sought(parent == each, in_blocks=True) for each in texts(asked)]


# Sides


def _source_conditions(asked: Filter, relation: Relation) -> Sequence[Condition | Sought]:
    return _balance_conditions(asked, [relation.table.c.source])


def _destination_conditions(asked: Filter, relation: Relation) -> Sequence[Condition | Sought]:
    return _balance_conditions(asked, [relation.table.c.destination])


def _either_side_conditions(asked: Filter, relation: Relation) -> Sequence[Condition | Sought]:
    return _balance_conditions(asked, [relation.table.c.source, relation.table.c.destination])


def _balance_conditions(asked: Filter, sides: Sequence[ColumnElement[Any]]) -> Sequence[Condition | Sought]:
    """Compare the balances of one side, or of either. For either, ``ne`` and ``isnull`` negate the other operators."""
    if asked.operator in NULL:
        tests = [compared(side, asked.operator, []) for side in sides]
        return [and_(*tests)] if asked.operator == "isnull" else tests
    return _among(asked, sides)


def _indicator_conditions(asked: Filter, relation: Relation) -> Sequence[Condition | Sought]:
    """Compare the ``@Names`` of the balances of both sides. One of them must match."""
    sides = [relation.table.c.source, relation.table.c.destination]
    if asked.operator in _NAMING:
        return _among(asked, sides)
    if asked.operator == "isnull":
        has_name = balances.c.indicator.is_not(None)
        return [and_(*(not_(exists().where(balances.c.id == side, has_name)) for side in sides))]
    named = compared(balances.c.indicator, asked.operator, texts(asked))
    return [side.in_(select(balances.c.id).where(named)) for side in sides]


def _among(asked: Filter, sides: Sequence[ColumnElement[Any]]) -> Sequence[Condition | Sought]:
    """Compare sides with keys of balances, which are one array, or a slot each where they are few.

    An index finds the rows of one balance in order, but not those of many.
    """
    if asked.operator == "ne":
        (keys,) = asked.values
        others = [(side == any_(bound(keys, ARRAY(BigInteger())))).is_not(true()) for side in sides]
        return [and_(*others, *(side.is_not(None) for side in sides if len(sides) == 1))]
    if any(isinstance(slot, ArraySlot) for slot in asked.values):
        (keys,) = asked.values
        return [Sought(None, side == any_(bound(keys, ARRAY(BigInteger())))) for side in sides]
    return [side == bound(slot, BigInteger()) for side in sides for slot in asked.values]


_NAMING = ("eq", "ne", "in")

_KEYS_OF_IDS = """
    SELECT id
    FROM balances
    WHERE balance_id = ANY(%s)
    ORDER BY id
"""

_KEYS_OF_INDICATORS = """
    SELECT id
    FROM balances
    WHERE indicator = ANY(%s)
    ORDER BY id
"""


def _keys_of_ids(conn: Connection, asked: Filter) -> Sequence[Any]:
    if asked.operator in NULL:
        return ()
    ids = [key for value in asked.values if (key := uuid_of(value, BALANCE_PREFIX)) is not None]
    return _keys(conn, _KEYS_OF_IDS, ids, asked.operator)


def _keys_indicator_conditionss(conn: Connection, asked: Filter) -> Sequence[Any]:
    if asked.operator not in _NAMING:
        return asked.values
    return _keys(conn, _KEYS_OF_INDICATORS, list(asked.values), asked.operator)


def _keys(conn: Connection, sql: str, named: list[Any], operator: str) -> Sequence[Any]:
    """Look up the keys of the named balances, as ``_among`` takes them. An unknown balance has none."""
    found = [key for (key,) in driver(conn).execute(sql, (named,))] if named else []
    return [found] if operator == "ne" or len(found) > query.MAX_BRANCHES // 2 else found


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


_held = case(
    (holds.c.settled_at.is_(None), _number(2)),
    (type_coerce(holds.c.committed, Numeric()) > literal_column("0"), _number(1)),
    else_=_number(3),
)
_status = case(
    (_is_split, _split_status),
    else_=func.coalesce(
        select(_held).where(holds.c.seq == log.c.seq).correlate(log).scalar_subquery(),
        select(outcomes.c.status).where(outcomes.c.seq == log.c.seq).correlate(log).scalar_subquery(),
    ),
)
"""The number of the status of one row. It is null while the row is undecided."""

_OF_STATUS: dict[Status, tuple[Sought, ...]] = {
    Status.APPLIED: (
        # Nearly every row is APPLIED, so the rows are walked.
        Sought(None, _status == _number(1)),
    ),
    Status.INFLIGHT: (
        Sought(_has_hold(holds.c.settled_at.is_(None)), test=_status == _number(2)),
        Sought(
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
            ),
            _split_status == _number(2),
            test=false(),
        ),
    ),
    Status.VOID: (
        Sought(_has_outcome(3), test=_status == _number(3)),
        Sought(
            _has_hold(type_coerce(holds.c.voided, Numeric()) == type_coerce(holds.c.amount, Numeric())), test=false()
        ),
        Sought(_is_split, _split_status == _number(3), test=false()),
    ),
    Status.REJECTED: (
        Sought(_has_outcome(4), test=_status == _number(4)),
        Sought(
            _is_split,
            # The first leg of a split is the row after it, and all legs were rejected.
            and_(
                exists().where(outcomes.c.seq == log.c.seq + literal_column("1"), outcomes.c.status == _number(4)),
                _split_status == _number(4),
            ),
            test=false(),
        ),
    ),
}
"""The ways to find each status in the log. Together they mean the same as ``transactions.STATUS``.

The row in ``holds`` decides whether a hold reads INFLIGHT, APPLIED or VOID, and a rejected hold has no such row. At one row,
the first way tests for all ways.
"""


def _status_conditions(asked: Filter, relation: Relation) -> Sequence[Condition | Sought]:
    """Compare the status, with conditions that indexes answer but for APPLIED."""
    wanted = {value for value in asked.values if isinstance(value, Status)}
    if relation is SCHEDULED_ROWS:
        cancelled_at = relation.table.c.cancelled_at
        tests = {Status.SCHEDULED: cancelled_at.is_(None), Status.VOID: cancelled_at.is_not(None)}
        return [Sought(test) for status, test in tests.items() if status in wanted]
    if wanted >= {*_OF_STATUS, Status.QUEUED}:
        return [Sought(None)]
    found = [condition for status, each in _OF_STATUS.items() if status in wanted for condition in each]
    return found + _undecided([value for value in asked.values if isinstance(value, Slot)])


def _undecided(slots: Sequence[Slot]) -> list[Sought]:
    """List the conditions of undecided transactions: those after the cursors of their queues, and their splits.

    A split is before its legs in the log, so it may be before the first leg that waits.
    """
    if not slots:
        return []
    *lines, split = slots
    waiting = [
        Sought(and_(log.c.queue == bound(number, SmallInteger()), log.c.seq > bound(cursor, BigInteger())))
        for number, cursor in zip(lines[::2], lines[1::2], strict=True)
    ]
    return [*waiting, Sought(and_(_is_split, log.c.seq >= bound(split, BigInteger())), _split_status.is_(None))]


_LAST_SPLIT_BEFORE = """
    SELECT coalesce(max(seq), 0)
    FROM log
    WHERE kind = 5 AND seq < %s
"""


def _statuses_and_lines(conn: Connection, asked: Filter) -> Sequence[Any]:
    """List the statuses that match.

    With QUEUED, a number and a cursor follow for each queue in which something waits, and the last split before all of it.
    """
    wanted = [status for status in Status if status in _statuses(asked)]
    lines = queue_store.lines(conn) if Status.QUEUED in wanted else []
    if not lines:
        return wanted
    ((split,),) = driver(conn).execute(_LAST_SPLIT_BEFORE, (min(line.first for line in lines),))
    return [*wanted, *(value for line in lines for value in (line.number, line.cursor)), split]


def _statuses(asked: Filter) -> set[Any]:
    match asked.operator:
        case "ne":
            return set(Status) - set(asked.values)
        case "isnull":
            return set()
        case "isnotnull":
            return set(Status)
    return set(asked.values)


# Fields


TRANSACTIONS = resource(
    "transactions",
    id_field("transaction_id", "The transaction's id.", prefix=TRANSACTION_PREFIX, column="id"),
    Field(
        "sequence",
        Type.NUMBER,
        "Its position in the order of acceptance.",
        lambda table: table.c.seq,
        indexed=True,
        ranges=True,
        ordered=True,
    ),
    Field(
        "parent_transaction",
        Type.TEXT,
        "The id of the hold or batch that it belongs to.",
        lambda table: table.c.parent,
        sort_key=lambda table, _: func.coalesce(table.c.parent, literal_column("''")),
        indexed=True,
        find=_parent_conditions,
    ),
    Field(
        "amount",
        Type.NUMBER,
        "The amount in major units. One that is pending counts as 0.",
        _amount,
        sort_key=lambda table, _: _amount(table) / table.c.precision,
        factor=lambda table: table.c.precision,
    ),
    Field("precise_amount", Type.NUMBER, "The amount in minor units. One that is pending counts as 0.", _amount),
    Field("precision", Type.NUMBER, "The number of minor units in a major unit."),
    Field("currency", Type.TEXT, "The transaction's currency."),
    Field(
        "source",
        Type.LINK,
        "The balance id of the source.",
        indexed=True,
        resolve=_keys_of_ids,
        find=_source_conditions,
    ),
    Field(
        "destination",
        Type.LINK,
        "The balance id of the destination.",
        indexed=True,
        resolve=_keys_of_ids,
        find=_destination_conditions,
    ),
    Field(
        "balance_id",
        Type.LINK,
        "The balance id of either side.",
        indexed=True,
        resolve=_keys_of_ids,
        find=_either_side_conditions,
    ),
    Field(
        "indicator",
        Type.NAME,
        "The @Name of either side.",
        indexed=True,
        resolve=_keys_indicator_conditionss,
        find=_indicator_conditions,
    ),
    Field("reference", Type.TEXT, "The client's reference.", indexed=True, ordered=True),
    Field(
        "status",
        Type.CHOICE,
        "The status that it has now.",
        indexed=True,
        choices=Status,
        resolve=_statuses_and_lines,
        find=_status_conditions,
    ),
    Field("description", Type.TEXT, "The text that the client wrote."),
    Field(
        "created_by",
        Type.TEXT,
        "The id of the key that asked for it.",
        lambda table: table.c.actor,
        sort_key=lambda table, _: func.coalesce(table.c.actor, literal_column("''")),
    ),
    Field(
        "created_at",
        Type.TIME,
        "When it was accepted.",
        lambda table: table.c.accepted_at,
        sort_key=lambda table, _: table.c.seq,
        indexed=True,
        ranges=True,
        ordered=True,
        resolve=_spans_and_ranges,
        find=_acceptance_conditions,
    ),
    Field(
        "effective_date",
        Type.TIME,
        "The time from which it counts: the acceptance, unless another was given.",
        sort_key=lambda table, _: func.coalesce(table.c.effective_date, table.c.accepted_at),
        indexed=True,
        resolve=_spans_and_ranges,
        find=_effective_date_conditions,
    ),
    Field("meta_data", Type.OBJECT, "All of the metadata; meta_data.<key> is one member of it.", _meta_data),
    id="transaction_id",
    numbered=True,
)
