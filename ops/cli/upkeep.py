"""``pacioli migrate`` brings the database up to date, and ``pacioli snapshot`` asks the service for snapshots."""

from pathlib import Path

import click

from core import migrations
from core.base.db import reading
from core.ledger import history
from core.migrations import roles
from ops.cli.service import Where, asks_service, service
from ops.cli.show.text import print_json
from ops.numbers import Whole
from ops.server.instance import As, finds_database, url_of
from ops.server.opened import database


@click.command()
@click.option("--print-roles", is_flag=True, help="Print what an administrator runs before, and change nothing.")
@finds_database
def migrate(print_roles: bool, data: Path) -> None:
    """Bring the database up to date.

    Safe to run many times, and many at once. `pacioli up` does it by itself.

    With PACIOLI_OWNER_URL it connects as the owner of the tables, makes the roles of DATABASE_URL and PACIOLI_NOTARY_URL when
    they are missing, and gives them only the rights that they need. Statements that the owner may not run are printed
    on standard error, for the administrator of the database. --print-roles prints all of them beforehand.

    \b
    Examples:
      DATABASE_URL=postgresql://user:password@host/ledger pacioli migrate
      PACIOLI_OWNER_URL=postgresql://owner:password@host/ledger pacioli migrate --print-roles
    """
    wanted = roles.wanted(owner=url_of(As.OWNER, data), app=url_of(As.APP, data), notary=url_of(As.NOTARY, data))
    with database(data, As.OWNER, to_migrate=True) as engine:
        if print_roles:
            with reading(engine) as conn:
                click.echo("\n".join(roles.statements(conn, wanted)))
            return
        left = migrations.upgrade(engine, roles=wanted)
    click.echo("the database is up to date")
    if left:
        click.echo(
            "\n".join(["an administrator of the database must run, and then this command again:", *left]), err=True
        )


@click.command()
@click.option(
    "--batch-size",
    type=Whole(1, history.MAX_BATCH),
    default=history.BATCH,
    show_default=True,
    help="Balances that are taken in one commit.",
)
@asks_service
def snapshot(batch_size: int, where: Where, as_json: bool) -> None:
    """Have a worker take snapshots of all balances that changed since their last one.

    What a balance held at a time is then found without walking all its entries. Beat has it done every day; nothing needs to
    be stopped, and no answer depends on it.

    \b
    Examples:
      pacioli snapshot
      pacioli snapshot --json
    """
    with service(where) as client:
        message = client.take_snapshots(batch_size)
    if as_json:
        print_json({"message": message})
    else:
        click.echo("a worker takes the snapshots now")
