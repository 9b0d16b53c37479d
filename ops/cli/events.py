"""``pacioli events``: the feed of everything that changed, from the service."""

import sys

import click
from pacioli_client import Client
from pacioli_client.answers.events import Event, EventPage
from pacioli_client.errors import Unavailable as Busy
from pacioli_client.errors import Unreachable

from ops.cli.service import Where, asks_service, service
from ops.cli.show.events import line, print_events, print_held
from ops.cli.show.text import console, print_json_line
from ops.numbers import Whole

PAGE = 1_000
"""One request fetches up to so many events."""

WAIT_S = 20.0
"""One request of --follow waits so long for an event."""


@click.command()
@click.option(
    "--after",
    help="Show what comes after a cursor: the position of an event, or end, which is where the feed ends now. Otherwise the "
    "feed begins at the oldest event that is kept.",
)
@click.option(
    "--types",
    help="Show only these types, with commas between them. A * stands for any text: transaction.*,ledger.created",
)
@click.option(
    "--limit",
    type=Whole(1, 1_000_000),
    help="Show so many events, and end. The default is all that are there.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes. It ends with Ctrl-C.")
@asks_service
def events(after: str | None, types: str | None, limit: int | None, follow: bool, where: Where, as_json: bool) -> None:
    """Show the feed of events: everything that changed the ledger, once and in one order.

    Transactions are told as they were decided, in the order of acceptance, and so the feed ends before the oldest one that is
    not decided. transaction.queued must be named, because it comes in the order of acceptance and waits for no decision.
    --json prints an event a line.

    \b
    Examples:
      pacioli events --types ledger.*,balance.created
      pacioli events --follow --after end
      pacioli events --follow --after 1284.1 --types transaction.* --json
    """
    wanted = [each for each in (types or "").split(",") if each]
    left, shown = limit, list[Event]()
    with service(where) as client:
        while True:
            page = _page(client, after, wanted, left, wait=follow and after is not None)
            after, left = page.next, None if left is None else left - len(page.events)
            if as_json:
                for event in page.events:
                    print_json_line(event)
            elif follow:
                for event in page.events:
                    click.echo(line(event))
            else:
                shown += page.events
            sys.stdout.flush()
            if left == 0 or not (page.more or follow):
                break
    if not as_json and not follow:
        print_events(console(), shown)
        if page.held is not None:
            print_held(console(), page.held)


def _page(client: Client, after: str | None, types: list[str], left: int | None, *, wait: bool) -> EventPage:
    """Ask for a page. Whoever follows the feed asks again when the service is away."""
    limit = PAGE if left is None else min(left, PAGE)
    while True:
        try:
            return client.events.page(after, types=types, limit=limit, wait_s=WAIT_S if wait else 0.0)
        except (Busy, Unreachable) as error:
            if not wait:
                raise
            click.echo(f"{error}; trying again", err=True)
