"""``pacioli migrate`` and ``pacioli snapshot``: upkeep of the database."""

from pathlib import Path

import click

from core import migrations
from core.ledger import history
from ops.cli.show.text import print_json
from ops.server.instance import database, finds_database, reads_ledger


@click.command()
@finds_database
def migrate(data: Path) -> None:
    """Bring the database up to date.

    Safe to run many times, and many at once. `pacioli up` does it by itself.

    \b
    Example:
      DATABASE_URL=postgresql://user:password@host/ledger pacioli migrate
    """
    with database(data, to_migrate=True) as engine:
        migrations.upgrade(engine)
    click.echo("the database is up to date")


@click.command(short_help="Take snapshots of balances, for quick answers about the past.")
@click.option(
    "--batch-size",
    type=click.IntRange(1, history.MAX_BATCH),
    default=history.BATCH,
    show_default=True,
    help="Balances that are taken in one commit.",
)
@reads_ledger
def snapshot(batch_size: int, data: Path, as_json: bool) -> None:
    """Take snapshots of all balances that changed since their last one, and say how many.

    What a balance held at a time (GET /balances/<id>/at) is then found without walking all its entries. Beat has it done
    every day; nothing needs to be stopped, and no answer depends on it.

    \b
    Examples:
      pacioli snapshot
      pacioli snapshot --json
    """
    with database(data) as engine:
        taken = history.take_all(engine, size=batch_size)
    if as_json:
        print_json({"snapshots": taken})
    else:
        click.echo(f"{taken} snapshots taken" if taken != 1 else "1 snapshot taken")
