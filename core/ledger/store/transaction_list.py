"""Describes the list of transactions: its fields, where they are stored, and how an index finds a status or a side."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from msgspec.structs import replace
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Numeric,
    and_,
    case,
    cast,
    exists,
    func,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from core.base.db import driver
from core.base.tables.transactions import annotations, log, outcomes
from core.ledger.rules.model import Status
from core.ledger.store import times
from core.ledger.store import transactions as transaction_store
from core.ledger.store.reach import transactions_in_reach
from core.ledger.store.transaction_relations import LAST, LOG_ROWS, SCHEDULED_ROWS
from core.ledger.store.transaction_rows import TRANSACTION_PREFIX, TransactionRow
from core.ledger.store.transaction_sides import (
    destination_conditions,
    either_side_conditions,
    indicator_conditions,
    keys_of_ids,
    keys_of_indicators,
    source_conditions,
)
from core.ledger.store.transaction_status import status_conditions, statuses_and_lines
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
from core.lists.plans import MAX_BRANCHES
from core.lists.shape import ArraySlot, Slot, bound


def find_transactions(conn: Connection, listing: Listing) -> tuple[list[TransactionRow], Extent]:
    """Find a page of transactions in reach, and count all that match if the listing wants it.

    The list has the transactions of the log. Scheduled transactions come after them, but only when a filter on the status
    names SCHEDULED. A cancelled scheduled transaction needs a filter that names VOID as well.
    """
    asks = any(Status.SCHEDULED in each.values and each.operator in ("eq", "in") for each in listing.filters)
    relations = [LOG_ROWS, SCHEDULED_ROWS] if asks else [LOG_ROWS]
    found, extent = query.find(conn, transactions_in_reach(conn, listing), relations)
    rows = {row.seq: row for row in transaction_store.find_seqs(conn, [seq for seq, _ in found if seq != LAST])}
    names = [name for seq, name in found if seq == LAST]
    waiting = {row.id: row for row in transaction_store.find_scheduled(conn, names)} if names else {}
    return [waiting[name] if seq == LAST else rows[seq] for seq, name in found], extent


# Columns


def _amount(table: FromClause) -> ColumnElement[Any]:
    """Make the expression of the amount. The outcome has that of a settlement or refund of all that was left."""
    amount = type_coerce(table.c.amount, Numeric())
    decided = select(type_coerce(outcomes.c.amount, Numeric())).where(outcomes.c.seq == table.c.seq)
    # A list by a status may go through outcomes too.
    given = decided.correlate(table).scalar_subquery()
    return case((amount > literal_column("0"), amount), else_=func.coalesce(given, literal_column("0")))


def _meta_data(table: FromClause) -> ColumnElement[Any]:
    """Make the expression of the metadata with later additions. It lacks the reason of a rejection, which answers add."""
    given = cast(table.c.meta_data, JSONB())
    added = select(annotations.c.meta_data).where(annotations.c.id == table.c.id).scalar_subquery()
    return func.coalesce(given.op("||", return_type=JSONB())(added), given, added)


# Times


class _Dated(StrEnum):
    MANY = "many"
    """Stands among the values of a filter that so many dated rows meet that they are walked."""


MANY_DATED = 10_000
"""The smallest number of rows with the dates of a filter for which these are not all read."""

# The index of dates answers it alone.
_ARE_MANY = """
    SELECT count(*) >= %(many)s
    FROM (
        SELECT
        FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS span (first, stop)
        JOIN log ON effective_date >= span.first AND effective_date < span.stop
        LIMIT %(many)s
    ) AS dated
"""


def _dates_and_ranges(conn: Connection, asked: Filter) -> Sequence[Any]:
    """List what ``_spans_and_ranges`` does, and whether many rows have such dates."""
    found = _spans_and_ranges(conn, asked)
    if asked.operator not in ("eq", "in"):
        return found
    starts, ends = zip(*intervals(asked), strict=True)
    given = {"starts": list(starts), "ends": list(ends), "many": MANY_DATED}
    ((are_many,),) = driver(conn).execute(_ARE_MANY, given).fetchall()
    return [*found, _Dated.MANY] if are_many else found


def _spans_and_ranges(conn: Connection, asked: Filter) -> Sequence[Any]:
    """List the spans of a filter on a time, and then the positions in the log between which it holds."""
    if asked.operator in NULL:
        return ()
    found = times.ranges(conn, intervals(asked))
    if len(found) > MAX_BRANCHES // 2:
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
    # Most of the rows with a date may match, or they are many, so they are walked.
    if asked.operator not in ("eq", "in") or _Dated.MANY in asked.values:
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
    if relation is not LOG_ROWS or asked.operator not in ("eq", "in") or len(asked.values) > MAX_BRANCHES:
        return [compared(parent, asked.operator, texts(asked))]
    return [Sought(parent == each, in_blocks=True) for each in texts(asked)]


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
        resolve=keys_of_ids,
        find=source_conditions,
    ),
    Field(
        "destination",
        Type.LINK,
        "The balance id of the destination.",
        indexed=True,
        resolve=keys_of_ids,
        find=destination_conditions,
    ),
    Field(
        "balance_id",
        Type.LINK,
        "The balance id of either side.",
        indexed=True,
        resolve=keys_of_ids,
        find=either_side_conditions,
    ),
    Field(
        "indicator",
        Type.NAME,
        "The @Name of either side.",
        indexed=True,
        resolve=keys_of_indicators,
        find=indicator_conditions,
    ),
    Field("reference", Type.TEXT, "The client's reference.", indexed=True, ordered=True),
    Field(
        "status",
        Type.CHOICE,
        "The status that it has now.",
        indexed=True,
        choices=Status,
        resolve=statuses_and_lines,
        find=status_conditions,
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
        resolve=_dates_and_ranges,
        find=_effective_date_conditions,
    ),
    Field("meta_data", Type.OBJECT, "All of the metadata; meta_data.<key> is one member of it.", _meta_data),
    id="transaction_id",
    numbered=True,
)
