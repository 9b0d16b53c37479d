"""``pacioli monitors``: conditions on balances, and when they were met."""

from decimal import Decimal
from itertools import islice

import click
from pacioli_client import Client
from pacioli_client.answers.monitors import Firing, Monitor

from ops.cli.amounts import AMOUNT
from ops.cli.naming import balance_named
from ops.cli.service import Where, asks_service, service
from ops.cli.show.text import console, moment, money, more, plain, print_json, table
from ops.numbers import NUMBER, Whole

FIELDS = (
    "balance",
    "available_balance",
    "credit_balance",
    "debit_balance",
    "inflight_balance",
    "inflight_credit_balance",
    "inflight_debit_balance",
)
OPERATORS = ("<", "<=", ">", ">=", "=", "!=")


@click.group()
def monitors() -> None:
    """Look after monitors, which fire when a posting makes a condition on a balance true.

    A firing is the event balance.monitor in the feed of events.

    \b
    Examples:
      pacioli monitors create @FundingPool available_balance '<' 1000 --currency USD
      pacioli monitors list
      pacioli monitors events mon_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11
    """


@monitors.command("list")
@click.option("--balance", "name", help="Only those of this balance: an id, or an @Name.")
@click.option("--currency", help="The currency of the @Name.")
@click.option("--limit", type=Whole(1, 10_000), default=20, show_default=True, help="List so many.")
@asks_service
def list_monitors(name: str | None, currency: str | None, limit: int, where: Where, as_json: bool) -> None:
    """List monitors, the newest first.

    \b
    Examples:
      pacioli monitors list
      pacioli monitors list --balance @FundingPool --json
    """
    with service(where) as client:
        filters = {} if name is None else {"balance_id": balance_named(client, name, currency).balance_id}
        found = list(islice(client.monitors.list(limit=min(limit, 100), **filters), limit))
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("there are no monitors: make one with `pacioli monitors create`")
        return
    shown = table("id", "balance", "condition", "state", "fired", wrap=["condition"])
    for each in found:
        shown.add_row(each.monitor_id, each.balance_id, _condition(each), _state(each), str(each.state.fired))
    console().print(shown)
    if text := more(len(found), None, "--limit") if len(found) == limit else "":
        click.echo(text)


@monitors.command("create")
@click.argument("name")
@click.argument("field", type=click.Choice(FIELDS), metavar="FIELD")
@click.argument("operator", type=click.Choice(OPERATORS), metavar="OPERATOR")
@click.argument("value", type=AMOUNT)
@click.option("--currency", help="The currency of the @Name.")
@click.option("--description", help="What it is for.")
@click.option("--call-back", "call_back_url", metavar="URL", help="Send its firings to this URL too.")
@click.option("--level", is_flag=True, help="Fire after each posting while the condition is true.")
@click.option("--hysteresis", type=AMOUNT, help="The value must come back by more than this before it fires again.")
@click.option("--min-interval", type=NUMBER, help="It does not fire again within so many seconds.")
@click.option("--once", is_flag=True, help="Set it to rest when it has fired.")
@click.option("--not-now", is_flag=True, help="Do not fire if the condition is true already.")
@asks_service
def create_monitor(
    name: str, field: str, operator: str, value: Decimal, where: Where, as_json: bool, **options: object
) -> None:
    """Make a monitor of the balance NAME: a balance id, or an @Name. It fires when FIELD OPERATOR VALUE becomes true.

    FIELD is a field of the balance, such as balance or available_balance. OPERATOR is one of < <= > >= = and !=. VALUE is in
    major units.

    \b
    Examples:
      pacioli monitors create @FundingPool available_balance '<' 1000 --currency USD
      pacioli monitors create bln_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 balance '<' 0 --once
    """
    currency = options.pop("currency")
    level, not_now = options.pop("level"), options.pop("not_now")
    with service(where) as client:
        balance = balance_named(client, name, None if currency is None else str(currency))
        made = client.monitors.create(
            balance.balance_id,
            field,
            operator,
            value,
            mode="level" if level else None,
            fire_now=False if not_now else None,
            **{name: given for name, given in options.items() if given},
        )
    if as_json:
        print_json(made)
        return
    click.echo(f"{made.monitor_id} watches {plain(name)}: {_condition(made)}. It is {_state(made)} now.")


@monitors.command("show")
@click.argument("monitor_id")
@asks_service
def show_monitor(monitor_id: str, where: Where, as_json: bool) -> None:
    """Show the monitor MONITOR_ID and its last firings.

    \b
    Example:
      pacioli monitors show mon_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11
    """
    with service(where) as client:
        found = client.monitors.read(monitor_id)
        last = list(islice(client.monitors.events(monitor_id, limit=5), 5))
    if as_json:
        print_json(found)
        return
    click.echo(f"{found.monitor_id} watches {found.balance_id}: {_condition(found)}")
    if found.description:
        click.echo(plain(str(found.description)))
    click.echo(f"{_state(found)} since {moment(found.state.since)}, fired {found.state.fired} times")
    if last:
        _print_firings(last, found.condition.precision)


@monitors.command("events")
@click.argument("monitor_id")
@click.option("--limit", type=Whole(1, 10_000), default=20, show_default=True, help="List so many.")
@asks_service
def list_events(monitor_id: str, limit: int, where: Where, as_json: bool) -> None:
    """List the firings of the monitor MONITOR_ID, the latest first.

    \b
    Example:
      pacioli monitors events mon_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --limit 100
    """
    with service(where) as client:
        precision = _precision(client, monitor_id)
        found = list(islice(client.monitors.events(monitor_id, limit=min(limit, 100)), limit))
    if as_json:
        print_json(found)
    elif not found:
        click.echo("it has not fired")
    else:
        _print_firings(found, precision)


@monitors.command("delete")
@click.argument("monitor_id")
@asks_service
def delete_monitor(monitor_id: str, where: Where, as_json: bool) -> None:
    """Delete the monitor MONITOR_ID and its list of firings. They stay in the feed of events.

    \b
    Example:
      pacioli monitors delete mon_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11
    """
    with service(where) as client:
        said = client.monitors.delete(monitor_id)
    if as_json:
        print_json({"monitor_id": monitor_id, "message": said})
    else:
        click.echo(f"{plain(monitor_id)} is deleted")


def _precision(client: Client, monitor_id: str) -> int:
    return client.monitors.read(monitor_id).condition.precision


def _condition(monitor: Monitor) -> str:
    asked = monitor.condition
    return f"{asked.field} {asked.operator} {money(asked.precise_value, asked.precision)} ({monitor.mode})"


def _state(monitor: Monitor) -> str:
    if not monitor.active:
        return "at rest"
    return "triggered" if monitor.state.triggered else "armed"


def _print_firings(found: list[Firing], precision: int) -> None:
    shown = table("at", "from", "to", "transaction")
    for each in found:
        crossed = each.crossed
        before = "" if crossed.from_ is None else money(crossed.from_, precision)
        cause = crossed.transaction_id or crossed.reason
        shown.add_row(moment(crossed.at), before, money(crossed.to, precision), cause)
    console().print(shown)
