"""``pacioli transaction`` shows one, and ``pacioli transactions`` searches them."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

import click
from pacioli_client import Client
from pacioli_client.answers.transactions import Batch, Transaction
from pacioli_client.errors import NotFound

from ops.cli.amounts import AMOUNT
from ops.cli.dates import WHEN
from ops.cli.naming import balance_named, names_in
from ops.cli.service import Where, asks_service, service
from ops.cli.show import books
from ops.cli.show.text import console, more, print_json
from ops.numbers import Whole

STATUSES = ("QUEUED", "SCHEDULED", "INFLIGHT", "APPLIED", "REJECTED", "VOID")

FOLLOWING = 20
"""A transaction is shown with up to so many that belong to it: the legs, commits, voids and refunds."""


@click.command()
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
        if as_json:
            print_json(found)
        elif isinstance(found, Batch):
            books.print_batch(console(), found)
        else:
            following = list(islice(client.transactions.list(parent_transaction_eq=found.transaction_id), FOLLOWING))
            books.print_transaction(console(), found, names_in(client, [found, *following]), following)


@click.command()
@click.argument("text", required=False)
@click.option("--balance", "name", help="Only those of this balance, an @Name or an id, on either side.")
@click.option("--currency", help="Only those in this currency.")
@click.option("--status", type=click.Choice(STATUSES, case_sensitive=False), help="Only those with this status.")
@click.option("--since", type=WHEN, help="Only those accepted since this time, such as yesterday 8:00.")
@click.option("--until", type=WHEN, help="Only those accepted before this time.")
@click.option("--least", type=AMOUNT, help="Only those of at least this amount.")
@click.option("--most", type=AMOUNT, help="Only those of at most this amount.")
@click.option("--limit", type=Whole(1, 10_000), default=20, show_default=True, help="Show so many.")
@asks_service
def transactions(limit: int, where: Where, as_json: bool, **asked: Any) -> None:
    """Search transactions, the newest first. TEXT is looked for in references and descriptions.

    \b
    Examples:
      pacioli transactions
      pacioli transactions rent --since 2026-05-01
      pacioli transactions --balance @Revenue --currency USD --status rejected --limit 100
    """
    with service(where) as client:
        found = list(islice(_search(client, limit, **asked), limit + 1))
        if as_json:
            print_json(found[:limit])
            return
        books.print_transactions(console(), found[:limit], names_in(client, found[:limit]))
        if len(found) > limit:
            console().print(more(limit, None, f"--limit {10 * limit} shows more, and --since and --status fewer"))


def _search(
    client: Client,
    limit: int,
    *,
    text: str | None,
    name: str | None,
    currency: str | None,
    status: str | None,
    since: datetime | None,
    until: datetime | None,
    least: Decimal | None,
    most: Decimal | None,
) -> Iterator[Transaction]:
    asked: dict[str, Any] = {"currency_eq": currency, "status_eq": status, "amount_gte": least, "amount_lte": most}
    asked |= {"created_at_gte": since, "created_at_lt": until}
    if name is not None:
        asked["balance_id_eq"] = balance_named(client, name, currency).balance_id
    given = {field: value for field, value in asked.items() if value is not None}
    if text is None:
        yield from client.transactions.list(limit=min(limit + 1, 1000), **given)
        return
    pattern = "%" + text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
    seen: set[str] = set()
    both = [
        client.transactions.list(limit=min(limit + 1, 1000), **given, **{field: pattern})
        for field in ("reference_ilike", "description_ilike")
    ]
    rows = [row for rows in both for row in islice(rows, limit + 1)]
    for row in sorted(rows, key=lambda row: row.created_at, reverse=True):
        if row.transaction_id not in seen:
            seen.add(row.transaction_id)
            yield row


def find_transaction(client: Client, name: str) -> Transaction:
    """Find a transaction by its id or reference.

    Raises:
        click.ClickException: there is none.
    """
    if (found := _found(client, name)) is None:
        raise click.ClickException(f"there is no transaction {name}: give a txn_ id, or the reference it was sent with")
    return found


def _transaction(client: Client, name: str) -> Transaction | Batch:
    if name.startswith("bulk_"):
        with suppress(NotFound):
            return client.transactions.read_batch(name)
    return find_transaction(client, name)


def _found(client: Client, name: str) -> Transaction | None:
    if name.startswith("txn_"):
        with suppress(NotFound):
            return client.transactions.read(name)
    with suppress(NotFound):
        return client.transactions.by_reference(name)
    return None
