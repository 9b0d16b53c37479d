"""``pacioli webhooks``: endpoints that are told every event."""

import os
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec
from pacioli_client.answers.webhooks import Webhook

from ops.cli.service import Where, asks_service, service
from ops.cli.show.text import console, more, plain, print_json, table, time
from ops.numbers import Whole
from ops.server.instance import Unavailable


@click.group()
def webhooks() -> None:
    """Look after endpoints, which are told every event of their types at least once.

    \b
    Examples:
      pacioli webhooks create https://example.com/hooks --event 'transaction.*' --save hooks.secret
      pacioli webhooks list
      pacioli webhooks test whk_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11
    """


def _saves_secret(command: Any) -> Any:
    """Add the option that writes a new secret to a file of its own."""
    return click.option(
        "--save", type=click.Path(path_type=Path, dir_okay=False), help="Write the secret to this new file of yours."
    )(command)


@webhooks.command("create")
@click.argument("address", metavar="ADDRESS")
@click.option("--event", "events", multiple=True, help="A type of events, with * as a wildcard. The default is all.")
@click.option("--ordered", is_flag=True, help="Send one at a time, in the order of the feed.")
@click.option("--description", help="What it is for.")
@click.option("--after", help="The cursor of the feed at which it begins: 0.0 is the start. The default is its end.")
@_saves_secret
@asks_service
def create_webhook(
    address: str, events: tuple[str, ...], save: Path | None, where: Where, as_json: bool, **options: Any
) -> None:
    """Make an endpoint: events are posted to the URL ADDRESS, which must lead to a public address.

    \b
    Examples:
      pacioli webhooks create https://example.com/hooks --save hooks.secret
      pacioli webhooks create https://example.com/paid --event transaction.applied --event 'funding_run.*' --ordered
    """
    with service(where) as client:
        made = client.webhooks.create(address, events=list(events) or None, **options)
    _hand_over(made, save, as_json=as_json)


@webhooks.command("list")
@asks_service
def list_webhooks(where: Where, as_json: bool) -> None:
    """List endpoints, the newest first.

    \b
    Example:
      pacioli webhooks list --json
    """
    with service(where) as client:
        found = client.webhooks.list()
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("there are no webhooks: make one with `pacioli webhooks create`")
        return
    shown = table("id", "url", "events", "state", "cursor", "last success", wrap=["url", "events"])
    for each in found:
        last = time(each.last_success_at) if each.last_success_at else "never"
        shown.add_row(each.webhook_id, plain(each.url), " ".join(each.events), each.status, each.cursor, last)
    console().print(shown)


@webhooks.command("show")
@click.argument("webhook_id")
@asks_service
def show_webhook(webhook_id: str, where: Where, as_json: bool) -> None:
    """Show the endpoint WEBHOOK_ID, and why it fails if it does.

    \b
    Example:
      pacioli webhooks show whk_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11
    """
    with service(where) as client:
        found = client.webhooks.read(webhook_id)
    if as_json:
        print_json(found)
        return
    click.echo(f"{found.webhook_id} is {found.status}, and gets {' '.join(found.events)} at {plain(found.url)}")
    if found.description:
        click.echo(plain(found.description))
    if found.disabled_why:
        click.echo(f"inactive: {plain(found.disabled_why)}")
    if found.failing_since:
        click.echo(f"failing since {time(found.failing_since)} UTC: {plain(found.last_error or '')}")
    order = "in order, one at a time" if found.ordered else "in any order"
    click.echo(f"sent {order}, up to the position {found.cursor}" + (", and replaying" if found.replaying else ""))


@webhooks.command("deliveries")
@click.argument("webhook_id")
@click.option("--status", type=click.Choice(["pending", "delivered", "failed"]), help="Only those of this status.")
@click.option("--limit", type=Whole(1, 10_000), default=20, show_default=True, help="List so many.")
@asks_service
def list_deliveries(webhook_id: str, status: str | None, limit: int, where: Where, as_json: bool) -> None:
    """List the deliveries of the endpoint WEBHOOK_ID, the latest first.

    \b
    Example:
      pacioli webhooks deliveries whk_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --status failed
    """
    with service(where) as client:
        found = list(islice(client.webhooks.deliveries(webhook_id, status=status, limit=min(limit, 100)), limit))
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("there are no such deliveries")
        return
    shown = table("position", "event", "status", "attempts", "answer", "next attempt", wrap=["answer"])
    for each in found:
        following = time(each.next_attempt_at) if each.next_attempt_at else ""
        answer = plain(each.error or str(each.response_status or ""))
        shown.add_row(each.position, each.event, each.status, str(each.attempts), answer, following)
    console().print(shown)
    if text := more(len(found), None, "--limit") if len(found) == limit else "":
        click.echo(text)


@webhooks.command("test")
@click.argument("webhook_id")
@asks_service
def test_webhook(webhook_id: str, where: Where, as_json: bool) -> None:
    """Send a test event to the endpoint WEBHOOK_ID now. If it is taken, what waits there is sent at once.

    \b
    Example:
      pacioli webhooks test whk_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11
    """
    with service(where) as client:
        tested = client.webhooks.test(webhook_id)
    if as_json:
        print_json(tested)
    elif tested.delivered:
        click.echo(f"the receiver answered {tested.response_status} after {tested.took_ms} ms")
    else:
        click.echo(f"not delivered: {plain(tested.error or '')}")
    if not tested.delivered:
        raise SystemExit(1)


@webhooks.command("replay")
@click.argument("webhook_id")
@click.argument("after")
@click.argument("until", required=False)
@asks_service
def replay_webhook(webhook_id: str, after: str, until: str | None, where: Where, as_json: bool) -> None:
    """Send the events after the position AFTER, up to UNTIL, to the endpoint WEBHOOK_ID once more, with the same IDs.

    \b
    Example:
      pacioli webhooks replay whk_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 1284.1 1290.1
    """
    with service(where) as client:
        begun = client.webhooks.replay(webhook_id, after, until)
    if as_json:
        print_json(begun)
        return
    end = f"up to {begun.until}" if begun.until else "up to its cursor"
    click.echo(f"the events after {begun.after} {end} are sent to {begun.webhook_id} once more")


@webhooks.command("rotate")
@click.argument("webhook_id")
@click.option(
    "--overlap",
    "overlap_s",
    type=Whole(0),
    help="The seconds for which the old secret signs too. Default: a day.",
)
@_saves_secret
@asks_service
def rotate_webhook(webhook_id: str, overlap_s: int | None, save: Path | None, where: Where, as_json: bool) -> None:
    """Give the endpoint WEBHOOK_ID a new secret. Both sign for the overlap, so that receivers can change over one by one.

    \b
    Example:
      pacioli webhooks rotate whk_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --overlap 86400 --save hooks.secret
    """
    with service(where) as client:
        made = client.webhooks.rotate(webhook_id, overlap_s=overlap_s)
    _hand_over(made, save, as_json=as_json)


@webhooks.command("delete")
@click.argument("webhook_id")
@asks_service
def delete_webhook(webhook_id: str, where: Where, as_json: bool) -> None:
    """Delete the endpoint WEBHOOK_ID. What waits there is not sent any more.

    \b
    Example:
      pacioli webhooks delete whk_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11
    """
    with service(where) as client:
        client.webhooks.delete(webhook_id)
    if as_json:
        print_json({"webhook_id": webhook_id, "deleted": True})
    else:
        click.echo(f"{plain(webhook_id)} is deleted")


def _hand_over(made: Webhook, save: Path | None, *, as_json: bool) -> None:
    """Print a new secret: alone on standard output, so that a script can take it from there."""
    if save is not None:
        try:
            with os.fdopen(os.open(save, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(made.secret + "\n")
        except OSError as error:
            click.echo(made.secret)  # It cannot be shown again.
            raise Unavailable(
                f"{save} cannot be written ({error.strerror}), so the secret is printed instead"
            ) from None
    if as_json:
        print_json(made if save is None else msgspec.structs.replace(made, secret=""))
        return
    until = f" The secret of before signs too until {time(made.overlap_until)} UTC." if made.overlap_until else ""
    click.echo(f"{made.webhook_id} gets {' '.join(made.events)} at {plain(made.url)}.{until}", err=True)
    click.echo("The secret is in " + (f"{save}." if save else "the next line. It is not shown again."), err=True)
    if save is None:
        click.echo(made.secret)
