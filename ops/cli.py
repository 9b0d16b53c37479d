"""The ``pacioli`` command."""

import os

import click

from core.store import migrations
from core.store.db import connect


@click.group()
def main() -> None:
    """Pacioli: a double-entry ledger service."""


@main.command()
def migrate() -> None:
    """Bring the database of DATABASE_URL up to date. Safe to run many times, and many at once."""
    migrations.upgrade(connect(os.environ["DATABASE_URL"]))
    click.echo("the database is up to date")


from ops.bench import bench  # noqa: E402
from ops.up import up  # noqa: E402

main.add_command(up)
main.add_command(bench)


if __name__ == "__main__":
    main()
