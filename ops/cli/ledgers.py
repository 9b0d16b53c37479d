"""``pacioli ledger``: create and list groups of balances."""

from itertools import islice
from typing import Any

import click

from ops.cli.metadata import METADATA
from ops.cli.service import Where, asks_service, service
from ops.cli.show import books
from ops.cli.show.text import console, more, print_json
from ops.numbers import Whole


@click.group()
def ledger() -> None:
    """Create and list ledgers, which are groups of balances. The balances of all @Names are in the general ledger.

    \b
    Examples:
      pacioli ledger create Customers
      pacioli ledger list
    """


@ledger.command("create")
@click.argument("name")
@click.option("--metadata", type=METADATA, multiple=True, metavar="KEY=VALUE", help="A member of its metadata.")
@asks_service
def create(name: str, metadata: tuple[tuple[str, Any], ...], where: Where, as_json: bool) -> None:
    """Create a ledger called NAME, and print its id.

    \b
    Examples:
      pacioli ledger create Customers
      pacioli ledger create Merchants --metadata country=DE
    """
    with service(where) as client:
        made = client.ledgers.create(name, dict(metadata) or None)
    if as_json:
        print_json(made)
    else:
        click.echo(made.ledger_id)


@ledger.command("list")
@click.argument("text", required=False)
@click.option("--limit", type=Whole(1, 10_000), default=50, show_default=True, help="Show so many.")
@asks_service
def list_ledgers(text: str | None, limit: int, where: Where, as_json: bool) -> None:
    """List ledgers, the newest first. TEXT is looked for in their names.

    \b
    Examples:
      pacioli ledger list
      pacioli ledger list cust --json
    """
    pattern = {} if text is None else {"name_ilike": f"%{text}%"}
    with service(where) as client:
        found = list(islice(client.ledgers.list(limit=min(limit + 1, 1000), **pattern), limit + 1))
    if as_json:
        print_json(found[:limit])
        return
    books.print_ledgers(console(), found[:limit])
    if len(found) > limit:
        console().print(more(limit, None, f"--limit {10 * limit} shows more"))
