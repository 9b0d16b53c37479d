"""``pacioli statement``: what a balance held, each entry, and what it holds at the end."""

import csv
import sys
from datetime import datetime

import click
from pacioli_client.answers.balances import Statement

from ops.cli.dates import WHEN
from ops.cli.naming import balance_named
from ops.cli.service import Where, asks_service, service
from ops.cli.show import statements
from ops.cli.show.text import console, more, print_json
from ops.cli.show.text import time as time_text

SHOWN = 200


@click.command()
@click.argument("name")
@click.option("--currency", help="The currency of an @Name that has several.")
@click.option("--from", "since", type=WHEN, help="The start, such as 2026-05-01. The default is the first entry.")
@click.option("--to", "until", type=WHEN, help="The time before which the entries are. The default is now.")
@click.option(
    "--basis",
    type=click.Choice(["booked", "effective"]),
    default="booked",
    show_default=True,
    help="Whether an entry counts when it is decided, or from its effective date.",
)
@click.option("--all", "whole", is_flag=True, help=f"Show all entries, and not only the first {SHOWN}.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with all entries, for a spreadsheet.")
@asks_service
def statement(
    name: str,
    currency: str | None,
    since: datetime | None,
    until: datetime | None,
    basis: str,
    whole: bool,
    as_csv: bool,
    where: Where,
    as_json: bool,
) -> None:
    """Show the statement of the balance NAME: what it held at the start, each entry with the balance after it, and the end.

    \b
    Examples:
      pacioli statement @Revenue --currency USD --from 2026-05-01 --to 2026-06-01
      pacioli statement @Revenue --currency USD --from 'yesterday' --basis effective
      pacioli statement bln_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --csv > statement.csv
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    with service(where) as client:
        row = balance_named(client, name, currency)
        if whole or as_csv or as_json:
            found = client.balances.whole_statement(row.balance_id, since=since, until=until, basis=basis)
        else:
            found = client.balances.statement(row.balance_id, since=since, until=until, basis=basis, limit=SHOWN)
    if as_json:
        print_json(found)
    elif as_csv:
        _write_csv(found)
    else:
        statements.print_statement(console(), found)
        if left := more(len(found.entries), found.entry_count, "--all shows them, --csv writes them"):
            console().print(left)


def _write_csv(found: Statement) -> None:
    """Write the opening balance, a row for each entry, and the closing balance."""
    rows = csv.writer(sys.stdout)
    rows.writerow(("time", "description", "reference", "with", "debit", "credit", "balance", "transaction"))
    amount = statements.exact(found.precision)
    rows.writerow((_when(found.since), "opening balance", "", "", "", "", amount(found.opening_balance), ""))
    for entry in found.entries:
        size = amount(entry.precise_amount)
        rows.writerow(
            (
                _when(entry.effective_date if found.basis == "effective" else entry.at),
                statements.inert(entry.description),
                statements.inert(entry.reference),
                entry.counterparty,
                size if entry.direction == "debit" else "",
                size if entry.direction == "credit" else "",
                amount(entry.precise_balance_after),
                entry.transaction_id,
            )
        )
    rows.writerow((_when(found.until), "closing balance", "", "", "", "", amount(found.closing_balance), ""))


def _when(at: datetime | None) -> str:
    return "" if at is None else f"{time_text(at)}Z".replace(" ", "T")
