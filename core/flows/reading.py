"""Answers what flowed between nodes, what is inside a node, and how much was done, from the sums that ``rollups.py`` makes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct
from sqlalchemy import Connection

from core.base.actors import reach_of_request
from core.base.answers import major
from core.base.errors import ErrorCode, InvalidRequest, NotFound
from core.base.ids import uuid_of
from core.flows import flow_store, rollup_store
from core.flows.answers import (
    OTHERS,
    Activity,
    ActivityMinute,
    ActivityStep,
    Between,
    Flow,
    FlowNode,
    Flows,
    FlowsOfNode,
    Gathered,
    NodeKind,
    NodeSides,
)
from core.flows.flow_store import OTHERS_KEY, ActivityRow, Asked, FlowRow, NodeRow, SidesRow
from core.flows.periods import DAY_S, HOUR_S, MINUTE_S, Piece, pieces, rounded_down, rounded_up
from core.flows.rollup_store import Complete
from core.ledger.reach import reaches
from core.ledger.store import times
from core.ledger.store.balances import BALANCE_PREFIX
from core.ledger.store.times import Range

DEFAULT_LIMIT, MAX_LIMIT = 50, 500
"""The number of nodes of a currency that are shown by themselves."""

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)

LOOKED_AT = 2_000
"""The latest transactions of the time that are looked at for the balances of a ledger. Each balance costs a probe of an index."""

MAX_POINTS = 5_000
"""An answer about activity has at most so many steps."""

_WANTED_POINTS = 1_500
"""Without a step, the shortest is taken that gives no more points."""

_LENGTHS_S = {ActivityStep.MINUTE: MINUTE_S, ActivityStep.HOUR: HOUR_S, ActivityStep.DAY: DAY_S}

_YEARS = range(1970, 9_999)
"""Times are within these years, so that rounding them stays within what a time can be."""


class Wanted(Struct, frozen=True, kw_only=True):
    """The time, currency and size that a request asks for. A time that is not given has a default."""

    first: datetime | None = None
    end: datetime | None = None
    currency: str | None = None
    node: str | None = None
    limit: int = DEFAULT_LIMIT


def flows(conn: Connection, wanted: Wanted) -> Flows:
    """Read the flows of a time, which is the last day if none is given. ``conn`` must see one snapshot.

    Raises:
        InvalidRequest: the time ends before it begins.
        NotFound: the node that is wanted does not exist.
    """
    complete = rollup_store.complete(conn)
    between = _kept(_between(wanted, complete, DAY), complete)
    node = _found(conn, wanted.node).key if wanted.node is not None else None
    asked = Asked(_pieces(between, complete), wanted.currency, node)
    rows = flow_store.flows(conn, asked, limit=wanted.limit)
    found = _nodes(conn, [key for row in rows for key in (row.source, row.destination)])
    return Flows(
        from_=between.first,
        to=between.end,
        complete_to=complete.to,
        nodes=list(found.values()),
        flows=[_flow(row, found[row.source].id, found[row.destination].id) for row in rows],
        others=[
            Gathered(currency=currency, nodes=count)
            for currency, count in {row.currency: row.gathered for row in rows}.items()
            if count
        ],
    )


def flows_of_node(conn: Connection, node_id: str, wanted: Wanted) -> FlowsOfNode:
    """Read what is inside a node, and what it exchanged. ``conn`` must see one snapshot.

    Raises:
        InvalidRequest: the time ends before it begins.
        NotFound: there is no such node.
    """
    complete = rollup_store.complete(conn)
    between = _kept(_between(wanted, complete, DAY), complete)
    node = _found(conn, node_id)
    limit = wanted.limit
    asked = Asked(_pieces(between, complete), wanted.currency, node.key)
    exchanged = flow_store.counterparties(conn, asked, limit=limit + 1)
    inside: Sequence[SidesRow] = ()
    looked_from, is_whole = between.first, True
    if node.key < 0:
        range, is_whole = _looked_at(conn, between)
        if not is_whole:
            looked_from = flow_store.accepted_at(conn, range.first) or between.first
        inside = flow_store.inside(conn, -node.key, range, currency=wanted.currency, limit=limit + 1)
    found = _nodes(conn, [row.key for row in (*exchanged[:limit], *inside[:limit])])
    return FlowsOfNode(
        from_=between.first,
        to=between.end,
        complete_to=complete.to,
        node=_node(node),
        counterparties=[_part(row, found[row.key]) for row in exchanged[:limit]],
        balances=[_part(row, found[row.key]) for row in inside[:limit]],
        balances_from=looked_from,
        truncated=not is_whole or len(exchanged) > limit or len(inside) > limit,
    )


def activity(conn: Connection, wanted: Wanted, step: ActivityStep | None) -> Activity:
    """Read how much was done within a time, which is the last hour if none is given. ``conn`` must see one snapshot.

    Raises:
        InvalidRequest: the time ends before it begins, or has too many steps.
    """
    complete = rollup_store.complete(conn)
    between = _between(wanted, complete, HOUR)
    chosen = step or _step_for(between)
    piece = _stepped(between, chosen)
    points = (piece.end - piece.first) // timedelta(seconds=piece.length_s)
    if points > MAX_POINTS:
        text = f"this time has {points:,} steps of a {chosen}, and {MAX_POINTS:,} are allowed: take a longer step"
        raise InvalidRequest([("step", text if chosen is not ActivityStep.DAY else "the time is too long")], _CODE)
    rows = {row.at: row for row in flow_store.activity(conn, piece)}
    at = [piece.first + timedelta(seconds=piece.length_s * number) for number in range(points)]
    return Activity(
        from_=piece.first,
        to=piece.end,
        step=chosen,
        complete_to=complete.to,
        minutes=[_minute(rows.get(each, ActivityRow(each, 0, 0, 0, 0))) for each in at],
    )


_CODE = ErrorCode.GEN_VALIDATION_ERROR


def _between(wanted: Wanted, complete: Complete, default: timedelta) -> Between:
    """Round the time that is wanted to whole minutes, outwards, and put in what is left out."""
    for name, at in (("from", wanted.first), ("to", wanted.end)):
        if at is not None and at.year not in _YEARS:
            raise InvalidRequest([(name, "must be within the years 1970 to 9998")], _CODE)
    end = rounded_up(wanted.end or max(complete.now, wanted.first or complete.now), MINUTE_S)
    first = rounded_down(wanted.first or max(end - default, _FIRST), MINUTE_S)
    if wanted.first is not None and wanted.first >= (wanted.end or end):
        raise InvalidRequest([("from", "must be before to")], _CODE)
    return Between(first, max(end, first + timedelta(minutes=1)))


_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


def _kept(between: Between, complete: Complete) -> Between:
    """Round a time outwards to the periods that are kept: minutes lately, hours before that, and days for ever."""
    return Between(
        rounded_down(between.first, _kept_at(between.first, complete)),
        rounded_up(between.end, _kept_at(between.end, complete)),
    )


def _kept_at(at: datetime, complete: Complete) -> int:
    if at >= complete.minutes_from:
        return MINUTE_S
    return HOUR_S if at >= complete.hours_from else DAY_S


def _pieces(between: Between, complete: Complete) -> list[Piece]:
    return pieces(between.first, between.end, complete.latest)


def _step_for(between: Between) -> ActivityStep:
    for step in ActivityStep:
        if (between.end - between.first) / timedelta(seconds=_LENGTHS_S[step]) <= _WANTED_POINTS:
            return step
    return ActivityStep.DAY


def _stepped(between: Between, step: ActivityStep) -> Piece:
    length_s = _LENGTHS_S[step]
    return Piece(length_s, rounded_down(between.first, length_s), rounded_up(between.end, length_s))


def _looked_at(conn: Connection, between: Between) -> tuple[Range, bool]:
    """Find the latest transactions of a time, and tell whether those are all of it."""
    ranges = times.ranges(conn, [(between.first, between.end)])
    if not ranges:
        return Range(0, 0), True
    last = ranges[-1]
    first = max(last.first, last.end - LOOKED_AT)
    return Range(first, last.end), len(ranges) == 1 and first == last.first


def _found(conn: Connection, id: str) -> NodeRow:
    """Find a node that is within reach.

    Raises:
        NotFound: there is none.
    """
    key = uuid_of(id, BALANCE_PREFIX)
    row = flow_store.find_ledger(conn, id) if key is None else flow_store.find_balance(conn, key)
    if row is None or not reaches(reach_of_request(), row.ledger_id, row.name if row.key > 0 else None):
        raise NotFound(
            ErrorCode.GEN_NOT_FOUND,
            "there is no such node: a node is the id of an internal balance, which has an @Name, or of a ledger",
        )
    return row


def _nodes(conn: Connection, keys: Sequence[int]) -> dict[int, FlowNode]:
    """Read nodes by their keys, in the order in which they come."""
    rows = flow_store.nodes(conn, set(keys) - {OTHERS_KEY})
    others = FlowNode(id=OTHERS, kind=NodeKind.OTHERS, name=OTHERS, ledger_id="")
    return {key: others if key == OTHERS_KEY else _node(rows[key]) for key in dict.fromkeys(keys)}


def _node(row: NodeRow) -> FlowNode:
    kind = NodeKind.LEDGER if row.key < 0 else NodeKind.BALANCE
    return FlowNode(id=row.id, kind=kind, name=row.name, ledger_id=row.ledger_id)


def _flow(row: FlowRow, source: str, destination: str) -> Flow:
    return Flow(
        source=source,
        destination=destination,
        currency=row.currency,
        precision=row.precision,
        precise_amount=row.amount,
        amount=major(row.amount, row.precision),
        count=row.transactions,
    )


def _part(row: SidesRow, node: FlowNode) -> NodeSides:
    return NodeSides(
        id=node.id,
        kind=node.kind,
        name=node.name,
        ledger_id=node.ledger_id,
        currency=row.currency,
        precision=row.precision,
        precise_amount_in=row.amount_in,
        amount_in=major(row.amount_in, row.precision),
        count_in=row.count_in,
        precise_amount_out=row.amount_out,
        amount_out=major(row.amount_out, row.precision),
        count_out=row.count_out,
    )


def _minute(row: ActivityRow) -> ActivityMinute:
    return ActivityMinute(
        at=row.at, accepted=row.accepted, applied=row.applied, inflight=row.inflight, rejected=row.rejected
    )
