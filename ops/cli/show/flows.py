"""Prints where money moved: a picture and a table for each currency."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import groupby

from pacioli_client.answers.flows import Flow, Flows
from rich.console import Console
from rich.text import Text

from core.base.money import grouped
from ops.cli.show.sankey import Ribbon, sankey
from ops.cli.show.text import QUIET, clock, count, money, plain, table, time

LISTED = 30
"""So many flows of a currency are drawn and listed, the largest."""

LATE = timedelta(seconds=10)


def print_flows(out: Console, found: Flows) -> None:
    """Print the flows of each currency."""
    out.print(Text(f"from {clock(found.from_)} to {clock(found.to)}", style=QUIET))
    gathered = {each.currency: each.nodes for each in found.others}
    for currency, flows in groupby(found.flows, lambda flow: flow.currency):
        names = {node.id: plain(node.name) or node.id for node in found.nodes}
        if currency in gathered:
            names["others"] = f"others ({gathered[currency]:,})"
        _print_currency(out, currency, list(flows), names)
    if not found.flows:
        out.print("nothing moved within this time")
    if found.complete_to < found.to - timedelta(minutes=1) - LATE:
        text = (
            f"complete up to {time(found.complete_to)} UTC: what was accepted later is not decided, or not added up yet"
        )
        out.print(Text(f"{text} (see pacioli queues)", style="yellow"))


def _print_currency(out: Console, currency: str, flows: Sequence[Flow], names: Mapping[str, str]) -> None:
    precision, shown = flows[0].precision, flows[:LISTED]
    total = money(sum(flow.precise_amount for flow in flows), precision)
    moves = count(sum(flow.count for flow in flows), "transaction")
    out.print()
    out.print(Text(plain(currency), style="bold").append(f"  {total} in {moves}", style=QUIET))
    ribbons = [Ribbon(flow.source, flow.destination, flow.precise_amount) for flow in shown]
    picture = sankey(ribbons, names, lambda minor: grouped(minor, precision), width=out.width)
    if picture is not None:
        out.print(picture, soft_wrap=True)
    rows = table("from", "to", "amount", "transactions", right=("amount", "transactions"), drop=("transactions",))
    for flow in shown:
        rows.add_row(
            names[flow.source], names[flow.destination], money(flow.precise_amount, precision), f"{flow.count:,}"
        )
    out.print(rows)
    if len(flows) > len(shown):
        rest = money(sum(flow.precise_amount for flow in flows[LISTED:]), precision)
        out.print(
            f"and {count(len(flows) - LISTED, 'smaller flow')} of {rest} together: --json has them, --nodes gathers"
        )
