"""The ``pacioli`` command: which commands there are, and how an expected failure is told."""

import importlib
import os
import sys
import traceback
from typing import Any

import click
import structlog

from core.base import logs

COMMANDS = {
    "up": "ops.server.up",
    "demo": "ops.cli.demo",
    "books": "ops.cli.books",
    "flows": "ops.cli.flows",
    "balance": "ops.cli.balances",
    "balances": "ops.cli.balances",
    "statement": "ops.cli.statement",
    "ledger": "ops.cli.ledgers",
    "post": "ops.cli.posting",
    "hold": "ops.cli.posting",
    "commit": "ops.cli.posting",
    "void": "ops.cli.posting",
    "refund": "ops.cli.posting",
    "batch": "ops.cli.batch",
    "transaction": "ops.cli.lookup",
    "transactions": "ops.cli.lookup",
    "fund": "ops.cli.fund",
    "funding": "ops.cli.funding",
    "queues": "ops.cli.queues",
    "top": "ops.cli.top",
    "currencies": "ops.cli.currencies",
    "verify": "ops.cli.verify",
    "notary": "ops.cli.notary",
    "receipt": "ops.cli.receipt",
    "audit": "ops.cli.audit",
    "events": "ops.cli.events",
    "monitors": "ops.cli.monitors",
    "webhooks": "ops.cli.webhooks",
    "keys": "ops.cli.keys",
    "snapshot": "ops.cli.upkeep",
    "migrate": "ops.cli.upkeep",
    "identities": "ops.cli.identities",
    "identity": "ops.cli.identity",
    "doctor": "ops.cli.doctor",
    "settings": "ops.cli.settings",
    "docs": "ops.cli.docs",
    "help": "ops.cli.help",
    "completion": "ops.cli.completion",
    "bench": "ops.proving.bench",
    "torture": "ops.proving.torture",
}
"""Each command and its module, which is loaded when it is asked for. The help lists them in this order."""


ELSEWHERE = {
    "start": "`pacioli up` runs everything here",
    "serve": "`pacioli up` runs everything here",
    "stop": "Ctrl-C in the terminal of `pacioli up`, or a SIGTERM to it, stops everything and keeps the data",
    "down": "Ctrl-C in the terminal of `pacioli up`, or a SIGTERM to it, stops everything and keeps the data",
    "status": "`pacioli top --once` shows the service, and `pacioli doctor` looks for what weakens it",
    "health": "`pacioli top --once` shows the service, and `pacioli doctor` looks for what weakens it",
    "logs": "`pacioli up` writes them to its terminal",
    "backup": "back up the database with pg_dump: docs/how-to/backup.md says how",
    "restore": "restore the database with pg_restore, then `pacioli verify`: docs/how-to/backup.md says how",
    "test": "`ops/pacioli test` of a checkout runs the tests",
}
"""Words that people try as commands, and where each thing is done."""


class Main(click.Group):
    """Finds the commands in their modules, and turns expected failures into one line that says what to do next."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name])
        found: click.Command = getattr(module, f"{cmd_name}_", None) or getattr(module, cmd_name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            there = ELSEWHERE.get(error.command_name)
            text = f"No such command {error.command_name!r}: {there}." if there else None
            nearest = () if there else self.list_commands(ctx)
            raise click.exceptions.NoSuchCommand(error.command_name, text, nearest, ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        if not structlog.is_configured():
            logs.configure(stream=sys.stderr, level="warning")  # What the core has to say beside a command's own words.
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # A full disk or a closed pipe shows here, not when the interpreter ends.
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo("stopped by Ctrl-C", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except Exception as error:
            if os.environ.get("PACIOLI_LOG_LEVEL") == "debug":
                traceback.print_exc()
            # It knows the errors of the database, whose libraries take 0.4 s of CPU to load.
            from ops.cli.told import told

            raise told(error) from None
        return result


INTERRUPTED = 130
"""The exit status of a command that Ctrl-C ended, as shells have it."""


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pacioli", prog_name="pacioli", message="%(prog)s %(version)s")
def main() -> None:
    """Pacioli, a double-entry ledger service.

    \b
    Start here:
      pacioli up                     run everything on this machine, port 5001
      pacioli demo                   in another terminal: a small shop's day, told and checked
      pacioli books                  all balances, which add up to zero
      pacioli balance @FundingPool   what a balance holds, and its last entries
      pacioli post --help            post one transaction
      pacioli fund --help            fund many balances from a pool, now or on a schedule
      pacioli verify                 recompute the whole ledger from its history
      pacioli help                   all topics, such as dates and amounts

    Commands ask the service at --url or PACIOLI_URL, of a profile, or of the instance that `pacioli up` runs here or in a
    folder above, and find its key: `pacioli help service` says how. Only `migrate`, `settings`, `verify`, `doctor`, `identity`
    and `queues resize` open the database: that of DATABASE_URL, or of the same instance. With --json they print JSON with
    exact numbers. They exit with 1 when the answer is bad news, such as a damaged ledger, and with 2 when they could not ask.
    """


if __name__ == "__main__":
    main()
