"""``pacioli books``: all balances, which add up to zero."""

import click

from ops.cli.naming import meant
from ops.cli.service import Where, asks_service, service
from ops.cli.show import statements
from ops.cli.show.text import console, print_json


@click.command()
@click.option("--currency", help="Show only this currency.")
@asks_service
def books(currency: str | None, where: Where, as_json: bool) -> None:
    """Show what every @Name and every ledger holds, by currency, and that it adds up to zero.

    It is one look at the whole ledger, so it adds up while others post. It exits with 1 when it does not.

    \b
    Examples:
      pacioli books
      pacioli books --currency USD --json
    """
    with service(where) as client:
        found = client.books()
    shown = [each for each in found if currency is None or each.currency == currency]
    if currency is not None and not shown:
        hint = meant(currency, [each.currency for each in found])
        raise click.ClickException(f"nothing is in {currency}{f': {hint}' if hint else ' yet'}")
    if as_json:
        print_json(shown)
    else:
        statements.print_books(console(), shown)
    if any(each.balance for each in found):
        raise click.exceptions.Exit(1)
