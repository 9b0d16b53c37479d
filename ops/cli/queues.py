"""``pacioli queues``: how long they are, from the service; and how many there are, in the database."""

from pathlib import Path

import click

from core.ledger.rules.routing import MAX_QUEUES
from ops.cli.service import Where, asks_service, service
from ops.cli.show import books
from ops.cli.show.text import console, print_json
from ops.numbers import Whole
from ops.server.instance import As, finds_database


@click.group(invoke_without_command=True)
@asks_service
@click.pass_context
def queues(ctx: click.Context, where: Where, as_json: bool) -> None:
    """Show the queues: what waits in each, how old it is, how fast it moves.

    \b
    Examples:
      pacioli queues
      pacioli queues --json
      pacioli queues resize 16
    """
    if ctx.invoked_subcommand is not None:
        return
    with service(where) as client:
        found = client.queues()
    if as_json:
        print_json(found)
    else:
        books.print_queues(console(), found)


@queues.command("resize")
@click.argument("count", type=Whole(1, MAX_QUEUES))
@finds_database
def resize_queues(count: int, data: Path) -> None:
    """Have COUNT queues, from 1 to 64.

    More queues let more workers decide at once. Everything that waits is decided first, and new transactions are held
    back for the moment of the change, so nothing is lost or out of order. Nothing needs to be stopped.

    \b
    Example:
      pacioli queues resize 16
    """
    from core.ledger.queues import (
        resize,  # Only this command opens a database, whose libraries take 0.3 s of CPU to load.
    )
    from ops.server.opened import database

    with database(data, As.OWNER) as engine:
        before = resize(engine, count)
    click.echo(f"{count} queues already" if before == count else f"{count} queues now, {before} before")
