"""``pacioli post``, ``hold``, ``commit``, ``void``, ``refund``: one transaction, with amounts as a person writes them."""

import functools
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

import click
from pacioli_client import Client, NewTransaction, Refund, Settlement, Share
from pacioli_client.answers.transactions import Transaction
from pacioli_client.errors import NotFound
from pacioli_client.wire import new_reference

from core.base.money import MAX_PRECISION
from ops.cli.amounts import POSITIVE_AMOUNT
from ops.cli.asking import at_terminal, confirmed
from ops.cli.dates import WHEN
from ops.cli.lookup import find_transaction
from ops.cli.metadata import METADATA
from ops.cli.naming import balances_named, meant, names_in, names_of
from ops.cli.service import Where, asks_service, service
from ops.cli.show import books
from ops.cli.show.text import clock, console, print_json
from ops.numbers import Whole

WAIT_S = 10.0
"""A command waits so long for the decision."""


def _describes_posting(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the arguments and options of a transaction."""
    options = (
        click.argument("amount", type=POSITIVE_AMOUNT),
        click.argument("currency"),
        click.option(
            "--from",
            "sources",
            multiple=True,
            required=True,
            metavar="NAME[=SHARE]",
            help="Who pays: an @Name or a balance id. Several of them each need a share.",
        ),
        click.option(
            "--to",
            "destinations",
            multiple=True,
            required=True,
            metavar="NAME[=SHARE]",
            help="Who is paid. A share is an amount, a percentage, or left: @Fees=1.28, @Tax=19%, @Shop=left.",
        ),
        click.option("--description", default="posted by hand", show_default=True, help="What it is for."),
        click.option(
            "--reference", help="Your name for it. The same command with the same reference does nothing twice."
        ),
        click.option(
            "--precision",
            type=Whole(1, MAX_PRECISION),
            help="Minor units in a major unit, 100 for cents. The first use of a currency needs it.",
        ),
        click.option("--allow-overdraft", is_flag=True, help="Who pays may go below zero."),
        click.option("--overdraft-limit", type=POSITIVE_AMOUNT, help="Who pays may go so far below zero."),
        click.option(
            "--effective", type=WHEN, help="The time from which it counts, such as 2026-05-01. The default is now."
        ),
        click.option("--metadata", type=METADATA, multiple=True, metavar="KEY=VALUE", help="A member of its metadata."),
        click.option("--yes", is_flag=True, help="Do not ask about an @Name that is new."),
        click.option("--no-wait", is_flag=True, help="Do not wait for the decision."),
    )
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


@click.command()
@_describes_posting
@click.option("--at", "scheduled_for", type=WHEN, help="Post it at this time, such as 'tomorrow 8:00', instead of now.")
@click.option("--dry-run", is_flag=True, help="Show what it would do, and keep nothing.")
@asks_service
def post(where: Where, as_json: bool, **asked: Any) -> None:
    """Post a transaction of AMOUNT in CURRENCY, and wait until it is decided.

    It exits with 1 when the transaction is rejected.

    \b
    Examples:
      pacioli post 120 USD --from @World --to @Ana --allow-overdraft
      pacioli post 42.50 USD --from @Ana --to @Fees=1.28 --to @Revenue=left --description 'Two novels'
      pacioli post 1,500.00 EUR --from @Salaries --to @Ben --at 'tomorrow 8:00' --reference may/ben
    """
    _post(where, as_json, **asked)


@click.command()
@_describes_posting
@click.option("--expires", "inflight_expiry_date", type=WHEN, help="Void what is left of the hold at this time.")
@click.option("--commit-at", "inflight_commit_date", type=WHEN, help="Commit what is left of the hold at this time.")
@click.option("--dry-run", is_flag=True, help="Show what it would do, and keep nothing.")
@asks_service
def hold(where: Where, as_json: bool, **asked: Any) -> None:
    """Hold AMOUNT in CURRENCY: the money is reserved, and moves when the hold is committed.

    \b
    Examples:
      pacioli hold 60 USD --from @Ben --to @Revenue --reference order/7
      pacioli hold 60 USD --from @Ben --to @Revenue --expires 'in 7 days'
    """
    _post(where, as_json, inflight=True, **asked)


def _settles(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the name of a transaction, a part of its amount, and a reference."""
    options = (
        click.argument("name", metavar="TRANSACTION"),
        click.argument("amount", type=POSITIVE_AMOUNT, required=False),
        click.option(
            "--reference", help="Your name for it. The same command with the same reference does nothing twice."
        ),
        click.option("--no-wait", is_flag=True, help="Do not wait for the decision."),
        asks_service,
    )
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


@click.command()
@_settles
def commit(
    name: str, amount: Decimal | None, reference: str | None, no_wait: bool, where: Where, as_json: bool
) -> None:
    """Commit AMOUNT of the hold TRANSACTION, or all that is left of it. TRANSACTION is its id or reference.

    \b
    Examples:
      pacioli commit order/7
      pacioli commit order/7 45.00
    """
    asked = Settlement(amount=amount, reference=reference or new_reference())
    with service(where) as client:
        of = find_transaction(client, name)
        made = client.transactions.commit_inflight(of.transaction_id, asked, wait_s=0 if no_wait else WAIT_S)
        _show(client, made, as_json)


@click.command()
@_settles
def void(name: str, amount: Decimal | None, reference: str | None, no_wait: bool, where: Where, as_json: bool) -> None:
    """Void AMOUNT of the hold TRANSACTION, or all that is left of it. TRANSACTION is its id or reference.

    \b
    Examples:
      pacioli void order/7
      pacioli void order/7 15.00
    """
    asked = Settlement(amount=amount, reference=reference or new_reference())
    with service(where) as client:
        of = find_transaction(client, name)
        made = client.transactions.void_inflight(of.transaction_id, asked, wait_s=0 if no_wait else WAIT_S)
        _show(client, made, as_json)


@click.command()
@_settles
@click.option("--description", help="Why it is refunded.")
def refund(
    name: str,
    amount: Decimal | None,
    reference: str | None,
    description: str | None,
    no_wait: bool,
    where: Where,
    as_json: bool,
) -> None:
    """Refund AMOUNT of TRANSACTION, or all that is left of it. TRANSACTION is its id or reference.

    \b
    Examples:
      pacioli refund ref_123abc
      pacioli refund ref_123abc 12.50 --description 'One novel was damaged'
    """
    asked = Refund(amount=amount, reference=reference or new_reference(), description=description)
    with service(where) as client:
        of = find_transaction(client, name)
        made = client.transactions.refund(of.transaction_id, asked, wait_s=0 if no_wait else WAIT_S)
        _show(client, made, as_json)


def _post(
    where: Where,
    as_json: bool,
    *,
    sources: tuple[str, ...],
    destinations: tuple[str, ...],
    metadata: tuple[tuple[str, Any], ...],
    yes: bool,
    no_wait: bool,
    dry_run: bool,
    **terms: Any,
) -> None:
    given = {field: value for field, value in terms.items() if value is not None and value is not False}
    given["reference"] = given.get("reference") or new_reference()
    given |= _side("source", "--from", sources) | _side("destination", "--to", destinations)
    asked = NewTransaction(meta_data=dict(metadata) or None, **_renamed(given))
    with service(where) as client:
        if dry_run:
            _show_dry_run(client, asked, as_json)
            return
        _look_at_names(client, asked, yes)
        made = client.transactions.create(asked, wait_s=0 if no_wait or asked.scheduled_for else WAIT_S)
        if made.status == "SCHEDULED" and not as_json and asked.scheduled_for:
            click.echo(f"it is posted on {clock(asked.scheduled_for)}", err=True)
        _show(client, made, as_json)


def _renamed(given: dict[str, Any]) -> dict[str, Any]:
    if "effective" in given:
        given["effective_date"] = given.pop("effective")
    return given


def _side(name: str, option: str, texts: Sequence[str]) -> dict[str, Any]:
    """Return a side of a transaction: one balance, or several with their shares."""
    if len(texts) == 1 and "=" not in texts[0]:
        return {name: texts[0]}
    shares = []
    for text in texts:
        identifier, equals, share = text.rpartition("=")
        if not equals or not share:
            raise click.UsageError(f"{option} {text}: several need a share each, such as {text}=10%, =12.50 or =left")
        percent = share.endswith("%")
        if share != "left":
            number = POSITIVE_AMOUNT.convert(share.removesuffix("%"), None, None)
            share = f"{number}%" if percent else str(number)
        shares.append(Share(identifier=identifier, distribution=share))
    return {f"{name}s": shares}


def _look_at_names(client: Client, asked: NewTransaction, yes: bool) -> None:
    """Ask about each @Name that is not there yet, for it may be mistyped. Where nobody can be asked it is created."""
    if yes or not at_terminal():
        return
    many = [*(asked.sources or ()), *(asked.destinations or ())]
    names = [name for name in (asked.source, asked.destination, *(share.identifier for share in many)) if name]
    for name in dict.fromkeys(names):
        if not name.startswith("@"):
            continue
        try:
            client.balances.by_indicator(name, asked.currency or "")
        except NotFound:
            others = [row.currency for row in balances_named(client, name, None)]
            known = f" It has {', '.join(others)}." if others else ""
            if hint := meant(asked.currency or "", others):
                raise click.UsageError(f"there is no {name} in {asked.currency}: {hint}") from None
            if not confirmed(f"There is no {name} in {asked.currency} yet.{known} Create it?"):
                raise click.ClickException("nothing was posted") from None


def _show(client: Client, made: Transaction, as_json: bool) -> None:
    """Print a transaction, and exit with 1 when it is rejected."""
    if as_json:
        print_json(made)
    else:
        following = list(islice(client.transactions.list(parent_transaction_eq=made.transaction_id), 20))
        books.print_transaction(console(), made, names_in(client, [made, *following]), following)
    if made.status == "REJECTED":
        raise click.exceptions.Exit(1)


def _show_dry_run(client: Client, asked: NewTransaction, as_json: bool) -> None:
    found = client.transactions.dry_run(asked)
    if as_json:
        print_json(found)
    else:
        ids = [row["balance_id"] for row in found["balances"] if not row.get("virtual")]
        books.print_trial(console(), found, names_of(client, ids))
    if not found["would_apply"]:
        raise click.exceptions.Exit(1)
