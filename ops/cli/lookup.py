"""``pacioli balance`` and ``pacioli transaction`` show what the service knows of one."""

from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal, localcontext
from itertools import islice
from typing import Any

import click
from pacioli_client import Client
from pacioli_client.answers.balances import Balance, Entry
from pacioli_client.answers.funding import Job
from pacioli_client.answers.transactions import Batch, Transaction
from pacioli_client.errors import NotFound

from ops.cli.service import Where, asks_service, service
from ops.cli.show import books
from ops.cli.show.text import console, fields_of, print_json

FORESEEN = 5
"""A balance is shown with the next run of up to so many funding jobs."""

PAGE = 10_000
"""One request fetches up to so many entries."""


@click.command(short_help="Show a balance and its last entries.")
@click.argument("name")
@click.option("--currency", help="Show only the balance of an @Name in this currency.")
@click.option(
    "--entries",
    "count",
    type=click.IntRange(0, 10_000),
    default=10,
    show_default=True,
    help="Show so many of the last entries.",
)
@asks_service
def balance(name: str, currency: str | None, count: int, where: Where, as_json: bool) -> None:
    """Show the balance NAME: a balance id, or an @Name with all its currencies.

    Available is what may be spent without an overdraft: the balance less what holds reserve. Where funding jobs will draw
    on it, it says what it will be after their next runs, and how many runs it still carries.

    \b
    Examples:
      pacioli balance @World
      pacioli balance @Revenue --currency USD --entries 50
      pacioli balance bln_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --json
    """
    with service(where) as client:
        found = list(_balances(client, name, currency))
        if not found:
            of_currency = f" in {currency}" if currency and name.startswith("@") else ""
            raise click.ClickException(
                f"there is no balance {name}{of_currency}: give a bln_ id, or an @Name that has been used"
            )
        shown = [(row, _last_entries(client, row, max(count, 1)), _jobs_of(client, row)) for row in found]
        if as_json:
            print_json([_body(row, entries[-count:] if count else [], jobs) for row, entries, jobs in shown])
            return
        for row, entries, jobs in shown:
            precision = _precision(client, row, entries)
            books.print_balance(console(), row, precision, entries[-count:] if count else [], jobs)


@click.command(short_help="Show a transaction: status, timeline, reason, position.")
@click.argument("name")
@asks_service
def transaction(name: str, where: Where, as_json: bool) -> None:
    """Show the transaction NAME: its id, or your reference. A batch id shows what became of a batch.

    A queued transaction is shown with its position and what it waits for, a rejected one with the sum that is short.

    \b
    Examples:
      pacioli transaction ref_123abc
      pacioli transaction txn_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --json
      pacioli transaction bulk_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11
    """
    with service(where) as client:
        found = _transaction(client, name)
        if found is None:
            raise click.ClickException(
                f"there is no transaction {name}: give a txn_ id, or the reference it was sent with"
            )
        if as_json:
            print_json(found)
        elif isinstance(found, Batch):
            books.print_batch(console(), found)
        else:
            books.print_transaction(console(), found, _names(client, found))


def _balances(client: Client, name: str, currency: str | None) -> Iterator[Balance]:
    if not name.startswith("@"):
        with suppress(NotFound):
            yield client.balances.read(name)
        return
    only: dict[str, Any] = {} if currency is None else {"currency_eq": currency}
    for row in sorted(client.balances.list(indicator_eq=name, **only), key=lambda row: row.currency):
        yield client.balances.read(row.balance_id)


def _last_entries(client: Client, row: Balance, count: int) -> list[Entry]:
    """The newest entries of a balance, oldest first. Not every version has one: holds and voids move nothing."""
    window = count
    while True:
        after = max(0, row.version - window)
        found = list(client.balances.entries(row.balance_id, after=after, limit=min(window, PAGE)))
        if len(found) >= count or after == 0:
            return found[-count:]
        window *= 4


def _precision(client: Client, row: Balance, entries: list[Entry]) -> int | None:
    """Minor units in a major unit of the balance's currency; None where it has no transactions to say it."""
    with localcontext() as context:
        context.prec = 2000
        for entry in reversed(entries):
            if entry.amount:
                return int((Decimal(entry.precise_amount) / entry.amount).to_integral_value())
    newest = next(client.transactions.list(limit=1, balance_id_eq=row.balance_id), None)
    return None if newest is None else newest.precision


def _jobs_of(client: Client, row: Balance) -> list[Job]:
    """The funding jobs that will draw on a balance next, each with its outlook."""
    if not row.funding:
        return []
    jobs = [job for job in client.funding.list(status="ACTIVE") if job.source == row.balance_id and job.next_run_at]
    jobs.sort(key=lambda job: (job.next_run_at, job.job_id))
    return [client.funding.read(job.job_id) for job in islice(jobs, FORESEEN)]


def _body(row: Balance, entries: list[Entry], jobs: list[Job]) -> dict[str, object]:
    return {**fields_of(row), "entries": entries, **({"funding_jobs": jobs} if jobs else {})}


def _transaction(client: Client, name: str) -> Transaction | Batch | None:
    if name.startswith("bulk_"):
        with suppress(NotFound):
            return client.transactions.read_batch(name)
    if name.startswith("txn_"):
        with suppress(NotFound):
            return client.transactions.read(name)
    with suppress(NotFound):
        return client.transactions.by_reference(name)
    return None


def _names(client: Client, row: Transaction) -> dict[str, str]:
    """The ``@Name`` of each balance of a transaction that has one."""
    sides = [row.source, row.destination]
    sides += [side or "" for leg in row.legs or () for side in (leg.source, leg.destination)]
    found = {}
    for balance_id in dict.fromkeys(side for side in sides if side):
        with suppress(NotFound):
            found[balance_id] = client.balances.read(balance_id).indicator or balance_id
    return found
