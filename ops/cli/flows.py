"""``pacioli flows``: where money moved, as a picture of text."""

from datetime import datetime

import click
from pacioli_client import Client

from ops.cli.dates import WHEN
from ops.cli.naming import balance_named
from ops.cli.service import Where, asks_service, service
from ops.cli.show.flows import print_flows
from ops.cli.show.text import console, print_json
from ops.numbers import Whole

NODES = 8


@click.command()
@click.option(
    "--from", "since", type=WHEN, help="The start, such as 'yesterday' or 2026-05-01. The default is a day ago."
)
@click.option("--to", "until", type=WHEN, help="The time before which it was accepted. The default is now.")
@click.option("--currency", help="Show only this currency.")
@click.option(
    "--node", metavar="NAME", help="Show only what came to or from this: an @Name, or the name or id of a ledger."
)
@click.option(
    "--nodes",
    "limit",
    type=Whole(1, 500),
    default=NODES,
    show_default=True,
    help="The number of nodes of each currency to show. The rest is one node, others.",
)
@asks_service
def flows(
    since: datetime | None,
    until: datetime | None,
    currency: str | None,
    node: str | None,
    limit: int,
    where: Where,
    as_json: bool,
) -> None:
    """Show where money moved within a time, between @Names and ledgers.

    Each currency has a picture: on the left where money came from, on the right where it went. A bundle of lines is as wide as
    its amount. A ledger stands for all of its balances that have no @Name, so what its customers pay each other goes from it to
    itself. A refund is a flow back. A hold is none until it is committed. Below each picture is a table of the same flows.

    \b
    Examples:
      pacioli flows
      pacioli flows --from 'monday' --currency USD
      pacioli flows --from 2026-05-01 --to 2026-06-01 --node @Revenue --currency USD
      pacioli flows --node Customers --nodes 20
      pacioli flows --from '1 hour ago' --json
    """
    with service(where) as client:
        id = None if node is None else _node_named(client, node, currency)
        found = client.flows.read(since=since, until=until, currency=currency, node=id, limit=limit)
    if as_json:
        print_json(found)
    else:
        print_flows(console(), found)


def _node_named(client: Client, name: str, currency: str | None) -> str:
    """Find the ID of a node that a person named.

    Raises:
        click.ClickException: there is none.
        click.UsageError: several ledgers have the name.
    """
    if name.startswith(("@", "bln_")):
        return balance_named(client, name, currency).balance_id
    found = [each.ledger_id for each in client.ledgers.list(name_eq=name)]
    if len(found) > 1:
        raise click.UsageError(f"several ledgers are called {name}: give an id, one of {', '.join(found)}")
    return found[0] if found else name
