"""``pacioli balance`` and ``pacioli balances``: show, list, create."""

from datetime import datetime
from decimal import Decimal, localcontext
from itertools import islice
from typing import Any

import click
from pacioli_client import Client, NewBalance
from pacioli_client.answers.balances import Balance, Entry
from pacioli_client.answers.funding import Job

from ops.cli.amounts import AMOUNT
from ops.cli.dates import WHEN
from ops.cli.grouped import DefaultGroup
from ops.cli.metadata import METADATA
from ops.cli.naming import balance_named, balances_named, no_balance
from ops.cli.service import Where, asks_service, service
from ops.cli.show import books
from ops.cli.show.chart import chart
from ops.cli.show.text import clock, console, fields_of, money, more, print_json
from ops.numbers import Whole

FORESEEN = 5
"""A balance is shown with the next run of up to so many funding jobs."""

PAGE = 10_000
"""One request fetches up to so many entries."""

GENERAL_LEDGER = "general_ledger_id"


@click.group(cls=DefaultGroup, default="show")
def balance() -> None:
    """Show one balance, what it held at a time, or create one. `pacioli balance NAME` is short for `balance show NAME`.

    \b
    Examples:
      pacioli balance @World
      pacioli balance history @World --currency USD --at 'yesterday 18:00'
      pacioli balance create --ledger ldg_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --currency USD
    """


@balance.command("show", short_help="Show a balance and its last entries.")
@click.argument("name")
@click.option("--currency", help="Show only the balance of an @Name in this currency.")
@click.option(
    "--entries",
    "count",
    type=Whole(0, 10_000),
    default=10,
    show_default=True,
    help="Show so many of the last entries.",
)
@click.option("--chart", "with_chart", is_flag=True, help="Draw how it moved over these entries.")
@asks_service
def show(name: str, currency: str | None, count: int, with_chart: bool, where: Where, as_json: bool) -> None:
    """Show the balance NAME: a balance id, or an @Name with all its currencies.

    Available is what may be spent without an overdraft: the balance less what holds reserve. Where funding jobs will draw
    on it, it says what it will be after their next runs, and how many runs it still carries.

    \b
    Examples:
      pacioli balance show @World
      pacioli balance @Revenue --currency USD --entries 50
      pacioli balance @FundingPool --chart --entries 1000
      pacioli balance bln_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --json
    """
    with service(where) as client:
        found = list(balances_named(client, name, currency))
        if not found:
            raise no_balance(client, name, currency)
        shown = [(row, _last_entries(client, row, max(count, 1)), _jobs_of(client, row)) for row in found]
        if as_json:
            print_json([_body(row, entries[-count:] if count else [], jobs) for row, entries, jobs in shown])
            return
        for row, entries, jobs in shown:
            precision = precision_of(client, row, entries)
            last = entries[-count:] if count else []
            if with_chart and last:
                moved = [entry.precise_balance_after for entry in last]
                books.print_balance(console(), row, precision, [], jobs, has_entries=True)
                labels = money(max(*moved, 0), precision), money(min(*moved, 0), precision)
                console().print(chart(moved, labels, width=min(console().width, 120)))
            else:
                books.print_balance(console(), row, precision, last, jobs, has_entries=bool(entries))


@balance.command("create")
@click.option("--ledger", "ledger_id", default=GENERAL_LEDGER, show_default=True, help="The ledger that it is in.")
@click.option("--currency", required=True, help="Its currency, such as USD.")
@click.option("--name", "indicator", help="The @Name of an internal balance, which is in the general ledger.")
@click.option("--metadata", type=METADATA, multiple=True, metavar="KEY=VALUE", help="A member of its metadata.")
@asks_service
def create(
    ledger_id: str,
    currency: str,
    indicator: str | None,
    metadata: tuple[tuple[str, Any], ...],
    where: Where,
    as_json: bool,
) -> None:
    """Create a balance, and print its id.

    An @Name is created by its first use too, so --name is for one that must be there before.

    \b
    Examples:
      pacioli balance create --ledger ldg_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --currency USD --metadata customer_id=7
      pacioli balance create --name @Fees --currency EUR
    """
    asked = NewBalance(ledger_id=ledger_id, currency=currency, indicator=indicator, meta_data=dict(metadata) or None)
    with service(where) as client:
        made = client.balances.create(asked)
    if as_json:
        print_json(made)
    else:
        click.echo(made.balance_id)


@balance.command("history")
@click.argument("name")
@click.option("--currency", help="The currency of an @Name that has several.")
@click.option("--at", type=WHEN, required=True, help="The time, such as 2026-05-01 or 'yesterday 18:00'.")
@click.option("--recompute", is_flag=True, help="Add up all entries, instead of those since the last snapshot.")
@asks_service
def history(name: str, currency: str | None, at: datetime, recompute: bool, where: Where, as_json: bool) -> None:
    """Show what the balance NAME held at a time. Entries count by their effective dates.

    \b
    Examples:
      pacioli balance history @World --currency USD --at 2026-05-01
      pacioli balance history bln_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --at '3 days ago' --recompute
    """
    with service(where) as client:
        row = balance_named(client, name, currency)
        then = client.balances.at(row.balance_id, at, from_source=recompute)
        if as_json:
            print_json(then)
        else:
            books.print_balance_at(console(), row, then, precision_of(client, row, []), clock(at))


_SORTS = {
    "newest": ("created_at", "desc"), "oldest": ("created_at", "asc"), "largest": ("balance", "desc"),
    "smallest": ("balance", "asc"),
}  # fmt: skip


@click.command()
@click.argument("text", required=False)
@click.option("--currency", help="Only those in this currency.")
@click.option("--ledger", "ledger_id", help="Only those of this ledger.")
@click.option("--internal", is_flag=True, help="Only those with an @Name.")
@click.option("--least", type=AMOUNT, help="Only those that hold at least this amount. It needs --currency.")
@click.option("--most", type=AMOUNT, help="Only those that hold at most this amount. It needs --currency.")
@click.option("--metadata", type=METADATA, multiple=True, metavar="KEY=VALUE", help="Only those with this metadata.")
@click.option(
    "--sort",
    type=click.Choice(list(_SORTS)),
    default="newest",
    show_default=True,
    help="Which come first.",
)
@click.option("--limit", type=Whole(1, 10_000), default=50, show_default=True, help="Show so many.")
@asks_service
def balances(limit: int, where: Where, as_json: bool, **asked: Any) -> None:
    """List balances, the newest first. TEXT is looked for in @Names.

    \b
    Examples:
      pacioli balances
      pacioli balance list --internal
      pacioli balances fee --currency USD
      pacioli balances --metadata customer_id=7
      pacioli balances --currency USD --most -0.01 --sort smallest
    """
    with service(where) as client:
        rows = client.balances.list(limit=min(limit + 1, 1000), **_filters(client, **asked))
        found = list(islice(rows, limit + 1))
        if as_json:
            print_json(found[:limit])
            return
        precisions = {row.currency: row for row in found}
        known = {currency: precision_of(client, row, []) for currency, row in precisions.items()}
        books.print_balances(console(), found[:limit], known)
        if len(found) > limit:
            console().print(more(limit, None, f"--limit {10 * limit} shows more, and --currency or --ledger fewer"))


def _filters(
    client: Client,
    *,
    text: str | None,
    currency: str | None,
    ledger_id: str | None,
    internal: bool,
    least: Decimal | None,
    most: Decimal | None,
    metadata: tuple[tuple[str, Any], ...],
    sort: str,
) -> dict[str, Any]:
    given: dict[str, Any] = {f"meta_data.{key}_eq": value for key, value in metadata}
    given |= {"currency_eq": currency, "ledger_id_eq": ledger_id}
    if text is not None:
        given["indicator_ilike"] = "%" + text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
    if internal:
        given["indicator_like"] = "@%"
    if least is not None or most is not None:
        if currency is None:
            raise click.UsageError("an amount is one of a currency: say which with --currency")
        row = next(client.balances.list(limit=1, currency_eq=currency), None)
        precision = (precision_of(client, row, []) if row else None) or 1
        given |= {"balance_gte": _minor(least, precision), "balance_lte": _minor(most, precision)}
    if sort != "newest":
        given["sort_by"], given["sort_order"] = _SORTS[sort]
    return {field: value for field, value in given.items() if value is not None}


def _minor(amount: Decimal | None, precision: int) -> Decimal | None:
    return None if amount is None else amount * precision


def _last_entries(client: Client, row: Balance, count: int) -> list[Entry]:
    """The newest entries of a balance, oldest first. Not every version has one: holds and voids move nothing."""
    window = count
    while True:
        after = max(0, row.version - window)
        found = list(client.balances.entries(row.balance_id, after=after, limit=min(window, PAGE)))
        if len(found) >= count or after == 0:
            return found[-count:]
        window *= 4


def precision_of(client: Client, row: Balance, entries: list[Entry]) -> int | None:
    """Minor units in a major unit of the balance's currency; None where it has no transactions to say it."""
    with localcontext() as context:
        context.prec = 2000
        for entry in reversed(entries):
            if entry.amount:
                return int((Decimal(entry.precise_amount) / entry.amount).to_integral_value())
    newest = next(client.transactions.list(limit=1, currency_eq=row.currency), None)
    return None if newest is None else newest.precision


def _jobs_of(client: Client, row: Balance) -> list[Job]:
    """The funding jobs that will draw on a balance next, each with its outlook."""
    if not row.funding:
        return []
    jobs = [job for job in client.funding.list(status="ACTIVE", source=row.balance_id) if job.next_run_at]
    jobs.sort(key=lambda job: (job.next_run_at, job.job_id))
    return [client.funding.read(job.job_id) for job in islice(jobs, FORESEEN)]


def _body(row: Balance, entries: list[Entry], jobs: list[Job]) -> dict[str, object]:
    return {**fields_of(row), "entries": entries, **({"funding_jobs": jobs} if jobs else {})}


balance.add_command(balances, "list")
