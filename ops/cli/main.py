"""The ``pacioli`` command: which commands there are, and how an expected failure is told."""

import importlib
import importlib.util
import sys
from typing import Any

import click
import psycopg
from sqlalchemy.exc import ArgumentError, DBAPIError

from core.base import logs
from core.base.errors import InvalidRequest, LedgerError, TransientError
from ops.server.instance import Unavailable

COMMANDS = {
    "up": "ops.server.up",
    "demo": "ops.cli.demo",
    "balance": "ops.cli.lookup",
    "transaction": "ops.cli.lookup",
    "fund": "ops.cli.fund",
    "funding": "ops.cli.funding",
    "queues": "ops.cli.queues",
    "currencies": "ops.cli.currencies",
    "verify": "ops.cli.verify",
    "snapshot": "ops.cli.upkeep",
    "migrate": "ops.cli.upkeep",
    "identity": "ops.cli.identity",
    "settings": "ops.cli.settings",
    "docs": "ops.cli.docs",
    "bench": "ops.proving.bench",
    "torture": "ops.proving.torture",
}
"""Each command and its module, which is loaded when it is asked for. The help lists them in this order."""


class Main(click.Group):
    """Finds the commands in their modules, and turns expected failures into one line that says what to do next."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, module in COMMANDS.items() if importlib.util.find_spec(module)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        found: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        logs.configure(stream=sys.stderr, level="warning")  # What the core has to say beside a command's own words.
        try:
            return super().invoke(ctx)
        except TransientError as error:
            raise Unavailable(_database_trouble(error.__cause__ or error)) from None
        except InvalidRequest as error:
            raise click.UsageError(error.message) from None
        except LedgerError as error:
            raise click.ClickException(error.message) from None
        except UnicodeEncodeError as error:
            text = f"{error.object!a} is not text in UTF-8, so it cannot be sent: see the locale of the terminal"
            raise click.UsageError(text) from None
        except ArgumentError:
            raise Unavailable("DATABASE_URL is not a URL such as postgresql://user:password@host/database") from None
        except (DBAPIError, psycopg.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if getattr(cause, "sqlstate", None) == "42P01":
                raise Unavailable("this database has no ledger yet: run `pacioli migrate`") from None
            if getattr(cause, "sqlstate", None) is None and isinstance(cause, psycopg.OperationalError):
                raise Unavailable(_database_trouble(cause)) from None
            raise


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Pacioli, a double-entry ledger service.

    \b
    Start here:
      pacioli up                     run everything on this machine, port 5001
      pacioli demo                   in another terminal: a small shop's day, told and checked
      pacioli balance @FundingPool   what a balance holds, and its last entries
      pacioli fund --help            fund many balances from a pool, now or on a schedule
      pacioli verify                 recompute the whole ledger from its history

    Commands ask the service of --url or PACIOLI_URL, with the key of --key or PACIOLI_KEY, or the instance that `pacioli up`
    runs in the data folder (--data). What keeps the ledger itself, such as `migrate`, `currencies` and `verify`, opens its
    database: that of DATABASE_URL, or of the same instance. With --json they print JSON with exact numbers. They exit with 1
    when the answer is bad news, such as a damaged ledger, and with 2 when they could not ask.
    """


def _database_trouble(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    reason = " ".join(str(cause).split()) or type(cause).__name__
    return f"the database does not answer ({reason}): see that it runs and that DATABASE_URL is right, then try again"


if __name__ == "__main__":
    main()
