"""The ``pacioli`` command: which commands there are, and how an expected failure is told."""

import importlib
import os
import sys
import traceback
from typing import Any

import click
from click.shell_completion import CompletionItem

COMMANDS = {
    "up": ("ops.server.up", "Run everything here: Postgres, Redis, web, worker, beat, deliverer and notary."),
    "demo": ("ops.cli.demo", "Play a small shop's day over HTTP, and check it."),
    "books": ("ops.cli.books", "Show all balances, which add up to zero."),
    "flows": ("ops.cli.flows", "Show where money moved, as a picture."),
    "balance": ("ops.cli.balances", "Show a balance and its last entries; create one."),
    "balances": ("ops.cli.balances", "List and search balances."),
    "statement": ("ops.cli.statement", "Show the statement of a balance over a period."),
    "ledger": ("ops.cli.ledgers", "Create and list ledgers, which are groups of balances."),
    "post": ("ops.cli.posting", "Post one transaction."),
    "hold": ("ops.cli.posting", "Hold money, to be committed or voided later."),
    "commit": ("ops.cli.posting", "Commit a hold, whole or in part."),
    "void": ("ops.cli.posting", "Void what is left of a hold."),
    "refund": ("ops.cli.posting", "Refund a transaction, whole or in part."),
    "batch": ("ops.cli.batch", "Post the transactions of a file together."),
    "transaction": ("ops.cli.lookup", "Show a transaction: status, timeline, reason, position."),
    "transactions": ("ops.cli.lookup", "Search transactions."),
    "fund": ("ops.cli.fund", "Fund many balances from one pool, now or on a schedule."),
    "funding": ("ops.cli.funding", "Show funding jobs; pause, resume, cancel, run or retry one."),
    "queues": ("ops.cli.queues", "Show the queues, or change their number."),
    "top": ("ops.cli.top", "Watch the service: queues, rates, workers, runs, ticks, health."),
    "currencies": ("ops.cli.currencies", "Show the precision of currencies, or set one."),
    "verify": ("ops.cli.verify", "Recompute the whole ledger from its history."),
    "notary": ("ops.cli.notary", "Run the notary, which signs what the log holds, and see to its key."),
    "receipt": ("ops.cli.receipt", "Prove what was accepted and decided."),
    "audit": ("ops.cli.audit", "Show who has changed what."),
    "events": ("ops.cli.events", "Show what happened, in one order."),
    "monitors": ("ops.cli.monitors", "Be told when a balance crosses a line."),
    "webhooks": ("ops.cli.webhooks", "Be told every event by HTTP."),
    "keys": ("ops.cli.keys", "Make, list, rotate and revoke keys."),
    "snapshot": ("ops.cli.upkeep", "Take snapshots of balances, for quick answers about the past."),
    "migrate": ("ops.cli.upkeep", "Bring the database up to date."),
    "identities": ("ops.cli.identities", "Rotate the keys of tokenized fields."),
    "identity": ("ops.cli.identity", "Show the ledger's identity, or give a copy another one."),
    "doctor": ("ops.cli.doctor", "Look for what weakens this installation."),
    "settings": ("ops.cli.settings", "Show every setting: its value here, its default, and what it means."),
    "docs": ("ops.cli.docs", "Serve the book on this machine."),
    "help": ("ops.cli.help", "Explain a command, or a topic such as dates."),
    "completion": ("ops.cli.completion", "Let the shell complete commands and options."),
    "bench": ("ops.proving.bench", "Measure the hot paths, and the time until a posting is applied."),
    "torture": ("ops.proving.torture", "Hit every part of a service with every fault, while clients post and read."),
}
"""Each command, its module, and the line about it in the list of all. The module is loaded when the command is asked for."""


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
        module = importlib.import_module(COMMANDS[cmd_name][0])
        if "structlog" in sys.modules:  # It takes half as long to load as all else that most commands need.
            from core.base import logs

            logs.tell_warnings()
        found: click.Command = getattr(module, f"{cmd_name}_", None) or getattr(module, cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [(name, summary) for name, (_, summary) in COMMANDS.items() if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name, help=summary) for name, summary in found] + options

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
