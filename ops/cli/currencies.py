"""``pacioli currencies``: their precision, in the database."""

from pathlib import Path

import click

from core.base.db import begin, reading
from core.base.money import MAX_PRECISION
from core.base.names import currency_problem
from core.journal.record import record_all
from core.ledger import changes
from core.ledger.store import currencies as currency_store
from ops.cli.show import books
from ops.cli.show.text import console, print_json
from ops.server.instance import database, finds_database, reads_ledger


@click.group(invoke_without_command=True, short_help="Show the precision of currencies, or set one.")
@reads_ledger
@click.pass_context
def currencies(ctx: click.Context, data: Path, as_json: bool) -> None:
    """Show the currencies and their precision: minor units in one major unit.

    \b
    Examples:
      pacioli currencies
      pacioli currencies set JPY 1
    """
    if ctx.invoked_subcommand is not None:
        return
    with database(data) as engine, reading(engine) as conn:
        precisions = currency_store.all_precisions(conn)
    if as_json:
        print_json(precisions)
    else:
        books.print_currencies(console(), precisions)


@currencies.command("set")
@click.argument("currency")
@click.argument("precision", type=click.IntRange(1, MAX_PRECISION))
@finds_database
def set_currency(currency: str, precision: int, data: Path) -> None:
    """Fix the precision of CURRENCY before its first use: 100 for cents, 1 for none.

    Without this, the first transaction that states a precision fixes it.

    \b
    Examples:
      pacioli currencies set USD 100
      pacioli currencies set BTC 100000000
    """
    if "\x00" in currency or not currency.strip():
        raise click.BadParameter(currency_problem(currency) or "", param_hint="CURRENCY")
    with database(data) as engine, begin(engine) as conn:
        used = currency_store.precision_of(conn, currency) or currency_store.used_precision(conn, currency)
        if used is None and (wrong := currency_problem(currency)) is not None:
            raise click.BadParameter(wrong, param_hint="CURRENCY")
        fixed, events = (used, []) if used else changes.fix_precision(conn, currency, precision)
        if fixed == used == precision:
            fixed, events = changes.fix_precision(conn, currency, precision)
        record_all(conn, events)
    if fixed != precision:
        raise click.ClickException(
            f"{currency} has precision {fixed}, and it cannot change: the amounts in the ledger are in these minor units"
        )
    click.echo(f"{currency} has precision {precision}")
