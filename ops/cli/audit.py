"""``pacioli audit``: who has changed what, from the service."""

import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import click

from ops.cli.service import Where, asks_service, service
from ops.cli.show.audit import print_audit
from ops.cli.show.text import console, print_json
from ops.numbers import Whole
from ops.server.instance import As, finds_database, settings

PAGE = 1_000
"""One request fetches up to so many rows."""

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Since(click.ParamType[datetime]):
    """A time, or how long ago: 2026-04-22, 2026-04-22T15:28:03Z, 90m, 24h, 7d."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if found := re.fullmatch(r"([0-9]{1,9})([smhd])", value):
            return datetime.now(UTC) - timedelta(seconds=int(found.group(1)) * _UNITS_S[found.group(2)])
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value} is neither a time such as 2026-04-22T15:28:03Z nor an age such as 24h or 7d", param, ctx
            )
        return at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC)


@click.group(invoke_without_command=True)
@click.option(
    "--since", type=Since(), help="Show what was done since a time, such as 2026-04-22, or an age, such as 24h."
)
@click.option("--actor", help="Show what was done with the key of this id.")
@click.option("--action", help="Show only this action, such as metadata.changed. A % stands for any text: key.%")
@click.option("--subject", help="Show what was done to this id.")
@click.option(
    "--limit",
    type=Whole(1, 100_000),
    default=50,
    show_default=True,
    help="Show so many of the newest rows.",
)
@asks_service
@click.pass_context
def audit(
    ctx: click.Context,
    since: datetime | None,
    actor: str | None,
    action: str | None,
    subject: str | None,
    limit: int,
    where: Where,
    as_json: bool,
) -> None:
    """Show the audit log: who has changed what outside the log of transactions, the newest first.

    It has every ledger, balance, name, metadata and funding job that was created or changed, the events of keys, the requests
    that were denied, and what operators did. A transaction says itself who posted it. `pacioli verify` checks that no row was
    altered or removed.

    \b
    Examples:
      pacioli audit
      pacioli audit --since 24h --action metadata.changed
      pacioli audit --subject bln_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --json
    """
    if ctx.invoked_subcommand is not None:
        return
    filters = {
        "created_at_gte": None if since is None else since.isoformat(),
        "actor_eq": actor,
        "action_like": action,
        "subject_eq": subject,
    }
    given = {name: value for name, value in filters.items() if value is not None}
    with service(where) as client:
        found = list(islice(client.audit.list(limit=min(limit, PAGE), **given), limit))
    if as_json:
        print_json(found)
    else:
        print_audit(console(), found)


@audit.command("cut")
@click.option(
    "--before", type=Since(), help="Remove what is older than a time, such as 2020-01-01, or an age, such as 3650d."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@finds_database
def cut_audit(before: datetime | None, yes: bool, data: Path) -> None:
    """Remove the oldest rows of the audit log.

    Nothing else removes any. It connects as the owner of the tables (PACIOLI_OWNER_URL). Without --before it removes what is
    older than PACIOLI_AUDIT_DAYS. A row in the audit log says where it begins since, so that `pacioli verify` still checks
    all that is left.

    \b
    Examples:
      pacioli audit cut --before 2020-01-01
      PACIOLI_AUDIT_DAYS=3650 pacioli audit cut --yes
    """
    days = settings().audit_days
    if before is None and days is None:
        raise click.UsageError("say what to remove: give --before, or set PACIOLI_AUDIT_DAYS")
    from core.base.clock import now_of  # Only this command opens a database, whose libraries take 0.3 s of CPU to load.
    from core.journal.cut import cut
    from ops.server.opened import database

    with database(data, As.OWNER) as engine:
        until = before or now_of(engine) - timedelta(days=days or 0)
        if not yes:
            click.confirm(f"Remove every row of the audit log from before {until:%Y-%m-%d %H:%M:%S} UTC?", abort=True)
        removed = cut(engine, until)
    click.echo(f"{removed} rows removed" if removed != 1 else "1 row removed")
