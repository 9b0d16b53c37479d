"""The money map: where money moved within a time, as a picture and as a table, and what is behind a node."""

from collections import defaultdict
from datetime import datetime
from typing import Any
from urllib.parse import quote

from flask import Blueprint, render_template

from web.dashboard import formats, query, ribbons, spans
from web.dashboard.asking import Refused, ask
from web.dashboard.now import now
from web.dashboard.precisions import precisions
from web.dashboard.ribbons import Named, Texts
from web.dashboard.sankey import Link
from web.dashboard.spans import Span

blueprint = Blueprint("map", __name__)

PERIODS = ("hour", "day", "week", "month")
SIZES = (12, 25, 50)
"""So many nodes can be shown by themselves. The others are gathered."""
RIBBONS = 400
"""So many flows are drawn and listed, the largest first."""
TOLD = 3
"""So many of them are told in the text of the picture."""
LATE_S = 10
"""The sums may be behind by so much before the page says so."""


@blueprint.get("/dashboard/map")
def page() -> Any:
    """Show where money moved within a time."""
    span, wanted, size = _chosen()
    problem, found = None, None
    try:
        found = ask("GET", "/flows", {**span.times(), "limit": size}).json
    except Refused as error:
        if error.status == 403:
            raise
        problem = error.message
    counts: dict[str, int] = defaultdict(int)
    for flow in found["flows"] if found else ():
        counts[flow["currency"]] += flow["count"]
    currency = wanted or max(sorted(counts), key=lambda name: counts[name], default="")
    flows = sorted(
        (flow for flow in (found["flows"] if found else ()) if flow["currency"] == currency),
        key=lambda flow: -flow["precise_amount"],
    )
    nodes = {node["id"]: node for node in found["nodes"]} if found else {}
    return render_template(
        "map.html",
        span=span,
        size=size,
        periods=PERIODS,
        sizes=SIZES,
        currency=currency,
        currencies=sorted({*counts, currency} - {""}),
        found=found,
        late=found and _late(found),
        flows=flows[:RIBBONS],
        left=flows[RIBBONS:],
        nodes=nodes,
        gathered=next((each["nodes"] for each in found["others"] if each["currency"] == currency), 0) if found else 0,
        picture=_picture(flows[:RIBBONS], nodes, span, currency),
        is_new=not precisions(),
        problem=problem,
    )


@blueprint.get("/dashboard/map/<path:node_id>")
def one(node_id: str) -> Any:
    """Show what went into and out of one node, and the balances that are behind it."""
    span, wanted, size = _chosen()
    found = ask("GET", f"/flows/{quote(node_id, safe='')}", {**span.times(), "limit": size}).json
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for side in found["counterparties"]:
        sums[side["currency"]][0] += side["precise_amount_in"]
        sums[side["currency"]][1] += side["precise_amount_out"]
        sums[side["currency"]][2] += side["count_in"] + side["count_out"]
    currency = wanted or max(sorted(sums), key=lambda name: sums[name][2], default="")
    sides = [side for side in found["counterparties"] if side["currency"] == currency]
    came, went, count = sums[currency]
    return render_template(
        "map_node.html",
        span=span,
        size=size,
        periods=PERIODS,
        sizes=SIZES,
        currency=currency,
        currencies=sorted({*sums, currency} - {""}),
        found=found,
        late=_late(found),
        node=found["node"],
        sides=sides,
        balances=[side for side in found["balances"] if side["currency"] == currency],
        precision=sides[0]["precision"] if sides else None,
        came=came,
        went=went,
        count=count,
        picture=_picture_of_node(found["node"], sides, span, currency),
    )


def _chosen() -> tuple[Span, str, int]:
    """Read what the query chooses: the time, the currency if it names one, and how many nodes are shown."""
    currency, size = query.text("currency"), int(query.choice("nodes", [*map(str, SIZES)], str(SIZES[1])))
    return spans.read(PERIODS, "day", currency=currency, nodes=size), currency, size


def _late(found: Any) -> str | None:
    """Return the time to which the sums are complete, if they are behind."""
    complete, end = (datetime.fromisoformat(found[name]) for name in ("complete_to", "to"))
    return found["complete_to"] if complete < end and (now() - complete).total_seconds() > LATE_S else None


def _picture(flows: list[Any], nodes: dict[str, Any], span: Span, currency: str) -> Any:
    if not flows:
        return None
    precision = flows[0]["precision"]
    largest = ", ".join(
        f"{_name(nodes[flow['source']])} to {_name(nodes[flow['destination']])} "
        f"{formats.money(flow['precise_amount'], precision)}"
        for flow in flows[:TOLD]
    )
    texts = Texts(
        "map",
        f"Where {currency} moved",
        f"{len(flows)} flows between {len({flow[side] for flow in flows for side in ('source', 'destination')})} nodes. "
        f"The largest: {largest}. The table below has all of them.",
        lambda value: formats.money(value, precision),
        currency,
    )
    named = {id: _named(node, span.query(currency=currency)) for id, node in nodes.items()}
    links = [Link(flow["source"], flow["destination"], flow["precise_amount"]) for flow in flows]
    return ribbons.draw(links, named, texts)


def _picture_of_node(node: Any, sides: list[Any], span: Span, currency: str) -> Any:
    """Draw what came in at the left of a node, and what went out at its right."""
    if not sides:
        return None
    precision = sides[0]["precision"]
    query = span.query(currency=currency)
    named, links = {"node": Named(_name(node), kind=node["kind"])}, []
    for side in sides:
        for end, way in (("in", "precise_amount_in"), ("out", "precise_amount_out")):
            named[f"{end} {side['id']}"] = _named(side, query)
            links.append((f"{end} {side['id']}", side[way]))
    texts = Texts(
        "node",
        f"What {currency} came to {_name(node)} and went from it",
        f"{len(sides)} counterparties. The table below has all of them.",
        lambda value: formats.money(value, precision),
        currency,
    )
    ends = [Link(end, "node", value) if end.startswith("in ") else Link("node", end, value) for end, value in links]
    return ribbons.draw(ends, named, texts)


def _name(node: Any) -> str:
    return "all others" if node["kind"] == "others" else str(node["name"])


def _named(node: Any, query: str) -> Named:
    href = "" if node["kind"] == "others" else f"/dashboard/map/{quote(node['id'], safe='')}?{query}"
    return Named(_name(node), href, node["kind"])
