"""``/flows`` and ``/activity``: where money moved, and how much was done, as pictures show it."""

from flask import Blueprint, Response, request

from core.base.db import snapshot
from core.base.errors import ErrorCode, InvalidRequest
from core.flows import reading
from core.flows.answers import Activity, ActivityStep, Flows, FlowsOfNode
from core.flows.reading import DEFAULT_LIMIT, MAX_LIMIT, Wanted
from web.http import parameters, wire
from web.http.operations import operation
from web.http.parameters import Parameter
from web.service import service

blueprint = Blueprint("flows", __name__)

_FROM = parameters.time("from", "The start of the time, rounded down to a minute. The default is a day before to.")
_TO = parameters.time("to", "The end of the time, rounded up to a minute. The default is now.")
_CURRENCY = Parameter("currency", {"type": "string"}, "The only currency that is wanted.", "USD")
_NODE = Parameter(
    "node",
    {"type": "string"},
    "The ID of a node: an internal balance, or a ledger. Only flows to or from it are answered.",
    "general_ledger_id",
)


def _limit(what: str) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}
    return Parameter(
        "limit", schema, f"{what} The default is {DEFAULT_LIMIT}, and at most {MAX_LIMIT} are allowed.", "5"
    )


@blueprint.get("/flows")
@parameters.takes(_FROM, _TO, _CURRENCY, _NODE, _limit("The number of nodes of each currency that are shown."))
@operation({200: Flows}, 404)
def read() -> Response:
    """Read where money moved.

    The nodes are internal balances, and ledgers, which stand for all of their other balances. The largest nodes of each
    currency are shown, by what came in and went out, and the rest is one node of the kind others, so that the sums stay
    whole. A transaction counts in the minute in which it was accepted, once it and all before it are decided.
    """
    wanted = _wanted()
    with snapshot(service().engine) as conn:
        found = reading.flows(conn, wanted)
    return wire.answer(found)


@blueprint.get("/flows/<node_id>")
@parameters.takes(_FROM, _TO, _CURRENCY, _limit("The number of counterparties, and of balances."))
@operation({200: FlowsOfNode}, 404)
def read_node(node_id: str) -> Response:
    """Read what flowed through a node.

    The answer has what it exchanged with each other node. For a ledger, it also has the balances that moved most, by the
    latest 2,000 transactions of the time.
    """
    wanted = _wanted()
    with snapshot(service().engine) as conn:
        found = reading.flows_of_node(conn, node_id, wanted)
    return wire.answer(found)


@blueprint.get("/activity")
@parameters.takes(
    parameters.time("from", "The start of the time, rounded down to a step. The default is an hour before to."),
    parameters.time("to", "The end of the time, rounded up to a step. The default is now."),
    parameters.one_of(
        "step",
        list(ActivityStep),
        "The length of a step. The default is the shortest with which there are at most 1,500.",
    ),
)
@operation({200: Activity})
def read_activity() -> Response:
    """Read how much was done.

    Each step has the transactions that were accepted within it, by what was decided about them. A step in which nothing
    happened is there with zeros.
    """
    wanted = _wanted()
    with snapshot(service().engine) as conn:
        found = reading.activity(conn, wanted, _step())
    return wire.answer(found)


def _wanted() -> Wanted:
    limit, _ = parameters.limit_offset(default=DEFAULT_LIMIT, largest=MAX_LIMIT, what="invalid")
    return Wanted(
        first=parameters.time_arg("from"),
        end=parameters.time_arg("to"),
        currency=request.args.get("currency"),
        node=request.args.get("node"),
        limit=limit,
    )


def _step() -> ActivityStep | None:
    text = request.args.get("step")
    if text is not None and text not in tuple(ActivityStep):
        raise InvalidRequest([("step", "must be minute, hour or day")], ErrorCode.GEN_VALIDATION_ERROR)
    return None if text is None else ActivityStep(text)
