"""``pacioli currencies``: their precision."""

import click

from core.base.money import MAX_PRECISION
from core.base.names import currency_problem
from ops.cli.service import Where, asks_service, service
from ops.cli.show import books
from ops.cli.show.text import console, print_json
from ops.numbers import Whole


@click.group(invoke_without_command=True)
@asks_service
@click.pass_context
def currencies(ctx: click.Context, where: Where, as_json: bool) -> None:
    """Show the currencies and their precision: minor units in one major unit.

    \b
    Examples:
      pacioli currencies
      pacioli currencies set JPY 1
    """
    if ctx.invoked_subcommand is not None:
        return
    with service(where) as client:
        found = client.currencies()
    if as_json:
        print_json(found)
    else:
        books.print_currencies(console(), {each.currency: each.precision for each in found})


@currencies.command("set")
@click.argument("currency")
@click.argument("precision", type=Whole(1, MAX_PRECISION))
@asks_service
def set_currency(currency: str, precision: int, where: Where, as_json: bool) -> None:
    """Fix the precision of CURRENCY before its first use: 100 for cents, 1 for none.

    Without this, the first transaction that states a precision fixes it.

    \b
    Examples:
      pacioli currencies set USD 100
      pacioli currencies set BTC 100000000
    """
    if "\x00" in currency or not currency.strip():  # No path can have these.
        raise click.BadParameter(currency_problem(currency) or "", param_hint="CURRENCY")
    with service(where) as client:
        fixed = client.fix_currency(currency, precision)
    if as_json:
        print_json(fixed)
    else:
        click.echo(f"{fixed.currency} has precision {fixed.precision}")
