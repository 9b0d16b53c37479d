"""``pacioli identity``: the ledger's name in Redis and Celery, in the database."""

from pathlib import Path

import click

from core.base.db import begin, reading
from core.doors.names import names_of
from core.journal.actions import Action, Event, text_of
from core.journal.record import record
from core.ledger.store import identity as identity_store
from core.ledger.store.identity import Identity
from ops.cli.show.text import print_json
from ops.server.instance import As, finds_database, reads_ledger
from ops.server.opened import database


@click.group(invoke_without_command=True)
@reads_ledger
@click.pass_context
def identity(ctx: click.Context, data: Path, as_json: bool) -> None:
    """Show the identity of the ledger, and the prefix of its names in Redis and Celery.

    The identity is made with the database, and lets several ledgers share a Redis, a RabbitMQ or a Postgres.

    \b
    Examples:
      pacioli identity
      pacioli identity --json
      pacioli identity renew
    """
    if ctx.invoked_subcommand is not None:
        return
    with database(data) as engine, reading(engine) as conn:
        found = identity_store.read(conn)
    prefix = _prefix(found)
    if as_json:
        print_json({"identity": str(found.id), "made_at": found.made_at.isoformat(), "prefix": prefix})
    else:
        click.echo(f"{found.id}, made at {found.made_at.isoformat()}; its names begin with {prefix}")


@identity.command("renew")
@click.option("--yes", is_flag=True, help="Do not ask.")
@finds_database
def renew_identity(yes: bool, data: Path) -> None:
    """Give the ledger another identity.

    Run it on a restored copy of a ledger that still runs, before anything else of the copy starts. The two would answer each
    other's doorbells where they share a Redis or a RabbitMQ. No money moves and no history changes. Running web processes
    and beat take the new names within seconds. Running workers end, and listen to the new queues when they are started
    again, as `pacioli up` does by itself.

    \b
    Example:
      DATABASE_URL=postgresql://user:password@host/copy pacioli identity renew --yes
    """
    with database(data, As.OWNER) as engine:
        with reading(engine) as conn:
            before = identity_store.read(conn)
        if not yes:
            click.confirm(f"{before.id} is the identity now, and its workers end. Make another one?", abort=True)
        with begin(engine) as conn:
            after = identity_store.renew(conn)
            old, new = text_of(id=str(before.id)), text_of(id=str(after.id))
            record(conn, Event(action=Action.IDENTITY_RENEWED, subject="identity", before=old, after=new))
    click.echo(f"{after.id} is the identity now; its names begin with {_prefix(after)}")
    click.echo("start workers again that were running and are not started again by themselves")


def _prefix(found: Identity) -> str:
    return names_of(found.id, on_redis=True).prefix
