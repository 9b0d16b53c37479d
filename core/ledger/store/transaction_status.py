"""Finds transactions by their status, with conditions that indexes answer but for APPLIED."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Numeric,
    SmallInteger,
    Table,
    Uuid,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal_column,
    select,
    type_coerce,
)

from core.base.db import driver
from core.base.tables.transactions import holds, log, outcomes
from core.ledger.rules.model import STATUS_NUMBERS, Status
from core.ledger.store import waiting as waiting_store
from core.ledger.store.transaction_relations import SCHEDULED_ROWS
from core.ledger.store.transactions import LEGS
from core.lists.fields import Condition, Filter, Relation, Sought
from core.lists.shape import Slot, bound

_is_split = log.c.kind == literal_column("5")
_leg = log.alias("leg")
_split_status = literal_column(f"(SELECT l.status FROM (SELECT) AS one {LEGS})", SmallInteger())


def _number(status: int) -> ColumnElement[Any]:
    """Write the number of a status as a literal, so that partial indexes are recognized."""
    return literal_column(str(status), SmallInteger())


def _rows_of(table: Table) -> Relation:
    """Go through another table to the rows of the log, in the order of that table's index.

    The sum keeps the planner from a merge of two walks by seq, in which it would read all rows of the log between two of these.
    """
    return Relation(
        log,
        table.join(log, log.c.seq == table.c.seq + literal_column("0")),
        table.c.seq,
        stands_for=log.c.seq,
    )


_BY_OUTCOME, _BY_HOLD = _rows_of(outcomes), _rows_of(holds)


def _of_outcome(status: int, *, test: Condition) -> Sought:
    return Sought(outcomes.c.status == _number(status), test=test, through=_BY_OUTCOME)


def _of_hold(condition: Condition, *, test: Condition) -> Sought:
    return Sought(condition, test=test, through=_BY_HOLD)


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
        _of_hold(holds.c.settled_at.is_(None), test=_status == _number(2)),
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
        _of_outcome(3, test=_status == _number(3)),
        _of_hold(type_coerce(holds.c.voided, Numeric()) == type_coerce(holds.c.amount, Numeric()), test=false()),
        Sought(_is_split, _split_status == _number(3), test=false()),
    ),
    Status.REJECTED: (
        _of_outcome(4, test=_status == _number(4)),
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


def status_conditions(asked: Filter, relation: Relation) -> Sequence[Condition | Sought]:
    """Compare the status, with conditions that indexes answer but for APPLIED."""
    wanted = {value for value in asked.values if isinstance(value, Status)}
    if relation is SCHEDULED_ROWS:
        cancelled_at = relation.table.c.cancelled_at
        tests = {Status.SCHEDULED: cancelled_at.is_(None), Status.VOID: cancelled_at.is_not(None)}
        return [Sought(test) for status, test in tests.items() if status in wanted]
    if wanted >= {*_OF_STATUS, Status.QUEUED}:
        return [Sought(None)]
    found = [way for status, ways in _OF_STATUS.items() if status in wanted for way in ways]
    if len(wanted & _OF_STATUS.keys()) > 1:  # One test for all, because each looks into other tables.
        test = _status.in_([_number(STATUS_NUMBERS[status]) for status in _OF_STATUS if status in wanted])
        found = [replace(way, test=false() if number else test) for number, way in enumerate(found)]
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


def statuses_and_lines(conn: Connection, asked: Filter) -> Sequence[Any]:
    """List the statuses that match.

    With QUEUED, a number and a cursor follow for each queue in which something waits, and the last split before all of it.
    """
    wanted = [status for status in Status if status in _statuses(asked)]
    lines = waiting_store.lines(conn) if Status.QUEUED in wanted else []
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
