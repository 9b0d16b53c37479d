"""The ``pacioli`` command."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import click
import msgspec
import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import ArgumentError, DBAPIError

from core import migrations
from core.base.answers import fields_of
from core.base.db import begin, reading
from core.base.errors import InvalidRequest, LedgerError, TransientError
from core.base.money import MAX_PRECISION
from core.funding import store as funding_store
from core.funding.answers import forecast_of
from core.funding.forecast import Forecast, forecast_within
from core.funding.store import JobRow
from core.ledger import history
from core.ledger.answers import transaction_of
from core.ledger.batches import is_batch
from core.ledger.queues import resize
from core.ledger.rules.model import Kind, Status
from core.ledger.rules.routing import MAX_QUEUES
from core.ledger.store import balances as balance_store
from core.ledger.store import currencies as currency_store
from core.ledger.store import queues as queue_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store.balances import BalanceRow, Entry
from core.verification import checkpoints
from core.verification.answers import verification_of
from core.verification.verify import verify_all, verify_since_checkpoint
from ops.cli import show
from ops.server.instance import FORECAST_WITHIN_S, Unavailable, chain_key_of, database, finds_database, reads_ledger

IMPORTED = {
    "up": "ops.server.up",
    "demo": "ops.cli.demo",
    "fund": "ops.cli.fund",
    "funding": "ops.cli.fund",
    "docs": "ops.cli.docs",
    "bench": "ops.proving.bench",
    "torture": "ops.proving.torture",
    "settings": "ops.cli.settings",
}
"""Commands in modules of their own, which are loaded when they are asked for."""

ORDER = (
    "up",
    "demo",
    "balance",
    "transaction",
    "fund",
    "funding",
    "queues",
    "currencies",
    "verify",
    "snapshot",
    "migrate",
    "settings",
    "docs",
    "bench",
    "torture",
)


FORESEEN = 5
"""Funding jobs whose next run is foreseen where a balance is shown."""


class Main(click.Group):
    """Finds the commands of other modules, and turns expected failures into one line that says what to do next."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in ORDER if name not in IMPORTED or importlib.util.find_spec(IMPORTED[name])]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in IMPORTED or cmd_name not in self.list_commands(ctx):
            return super().get_command(ctx, cmd_name)
        found: click.Command = getattr(importlib.import_module(IMPORTED[cmd_name]), cmd_name)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TransientError as error:
            raise Unavailable(_database_trouble(error.__cause__ or error)) from None
        except InvalidRequest as error:
            raise click.UsageError(error.message) from None
        except LedgerError as error:
            raise click.ClickException(error.message) from None
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

    Commands that read use the database of DATABASE_URL or, when that is not set, that of the instance which `pacioli up`
    runs in the data folder (--data). With --json they print JSON with exact integers. They exit with 1 when the answer
    is bad news, such as a damaged ledger, and with 2 when they could not ask.
    """


@main.command()
@finds_database
def migrate(data: Path) -> None:
    """Bring the database up to date.

    Safe to run many times, and many at once. `pacioli up` does it by itself.

    \b
    Example:
      DATABASE_URL=postgresql://user:password@host/ledger pacioli migrate
    """
    with database(data) as engine:
        migrations.upgrade(engine)
    click.echo("the database is up to date")


@main.command(short_help="Show a balance and its last entries.")
@click.argument("name")
@click.option("--currency", help="Of an @Name: only the balance in this currency.")
@click.option("--entries", "count", type=click.IntRange(0, 10_000), default=10, show_default=True, help="Last entries.")
@reads_ledger
def balance(name: str, currency: str | None, count: int, data: Path, as_json: bool) -> None:
    """Show the balance NAME: a balance id, or an @Name with all its currencies.

    Available is what may be spent without an overdraft: the balance less what holds reserve. Where funding jobs will draw
    on it, it says what it will be after their next runs, and how many runs it still carries.

    \b
    Examples:
      pacioli balance @World
      pacioli balance @Revenue --currency USD --entries 50
      pacioli balance bln_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --json
    """
    with database(data) as engine, reading(engine) as conn:
        if name.startswith("@"):
            rows = balance_store.find_all_of_indicator(conn, name)
            rows = [row for row in rows if currency is None or row.currency == currency]
        else:
            found = balance_store.find(conn, name)
            rows = [found] if found is not None else []
        if not rows:
            where = f" in {currency}" if currency and name.startswith("@") else ""
            raise click.ClickException(
                f"there is no balance {name}{where}: give a bln_ id, or an @Name that has been used"
            )
        precisions = currency_store.all_precisions(conn)
        entries = [_last_entries(conn, row, count) for row in rows]
        forecasts = [_forecasts(engine, funding_store.active_jobs_of(conn, row.key, FORESEEN)) for row in rows]
    shown = zip(rows, entries, forecasts, strict=True)
    if as_json:
        show.print_json([_balance_body(row, lines, jobs) for row, lines, jobs in shown])
        return
    for row, lines, jobs in shown:
        show.print_balance(show.console(), row, precisions.get(row.currency), lines, jobs)


@main.command(short_help="Show a transaction: status, timeline, why, place in line.")
@click.argument("name")
@reads_ledger
def transaction(name: str, data: Path, as_json: bool) -> None:
    """Show the transaction NAME: its id, or your reference. Or what became of a bulk, by its batch id.

    Says where a queued one stands in line and what it waits for, and of a rejected one the sum that did not work out.

    \b
    Examples:
      pacioli transaction ref_123abc
      pacioli transaction txn_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --json
      pacioli transaction bulk_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11
    """
    with database(data) as engine, reading(engine) as conn:
        if is_batch(name) and (batch := transaction_store.batch(conn, name)) is not None:
            if as_json:
                show.print_json({"batch_id": name, **batch._asdict()})
            else:
                show.print_batch(show.console(), name, batch)
            return
        row = transaction_store.find(conn, name) or transaction_store.find_reference(conn, name)
        if row is None:
            raise click.ClickException(
                f"there is no transaction {name}: give a txn_ id, or the reference it was sent with"
            )
        line = transaction_store.line_of(conn, row) if row.status is Status.QUEUED and row.queue is not None else None
        legs = transaction_store.legs_of(conn, row.transaction_id) if row.kind == Kind.SPLIT else []
        destination = balance_store.find(conn, f"bln_{row.destination}")
    if as_json:
        queue = {} if line is None else {"queue": line._asdict()}
        more = {"legs": [transaction_of(leg) for leg in legs]} if legs else {}
        show.print_json({**fields_of(transaction_of(row)), **queue, **more})
        return
    name_of_destination = (destination.indicator or destination.balance_id) if destination is not None else None
    show.print_transaction(show.console(), row, name_of_destination, line, legs)


@main.group(invoke_without_command=True, short_help="Show the queues, or change their number.")
@reads_ledger
@click.pass_context
def queues(ctx: click.Context, data: Path, as_json: bool) -> None:
    """Show the queues: what waits in each, how old it is, how fast it moves.

    \b
    Examples:
      pacioli queues
      pacioli queues --json
      pacioli queues resize 16
    """
    if ctx.invoked_subcommand is not None:
        return
    with database(data) as engine, reading(engine) as conn:
        states = queue_store.states(conn)
    if as_json:
        show.print_json([state._asdict() for state in states])
    else:
        show.print_queues(show.console(), states)


@queues.command("resize")
@click.argument("count", type=click.IntRange(1, MAX_QUEUES))
@finds_database
def resize_queues(count: int, data: Path) -> None:
    """Have COUNT queues, from 1 to 64.

    More queues let more workers decide at once. Everything that waits is decided first, and new transactions are held
    back for the moment of the change, so nothing is lost or out of order. Nothing needs to be stopped.

    \b
    Example:
      pacioli queues resize 16
    """
    with database(data) as engine:
        before = resize(engine, count)
    click.echo(f"{count} queues already" if before == count else f"{count} queues now, {before} before")


@main.group(invoke_without_command=True, short_help="Show the precision of currencies, or set one.")
@reads_ledger
@click.pass_context
def currencies(ctx: click.Context, data: Path, as_json: bool) -> None:
    """Show the currencies and their precision: minor units in one major unit.

    \b
    Examples:
      pacioli currencies
      pacioli currencies set JPY 1
    """
    if ctx.invoked_subcommand is not None:
        return
    with database(data) as engine, reading(engine) as conn:
        precisions = currency_store.all_precisions(conn)
    if as_json:
        show.print_json(precisions)
    else:
        show.print_currencies(show.console(), precisions)


@currencies.command("set")
@click.argument("currency")
@click.argument("precision", type=click.IntRange(1, MAX_PRECISION))
@finds_database
def set_currency(currency: str, precision: int, data: Path) -> None:
    """Fix the precision of CURRENCY before its first use: 100 for cents, 1 for none.

    Without this, the first transaction that states a precision fixes it.

    \b
    Examples:
      pacioli currencies set USD 100
      pacioli currencies set BTC 100000000
    """
    if not currency.strip() or len(currency) > 32 or not currency.isprintable():
        raise click.BadParameter("a currency has 1 to 32 printable characters", param_hint="CURRENCY")
    with database(data) as engine, begin(engine) as conn:
        used = currency_store.precision_of(conn, currency) or currency_store.used_precision(conn, currency)
        fixed = used or currency_store.fix_precision(conn, currency, precision)
        if fixed == precision:
            currency_store.fix_precision(conn, currency, precision)
    if fixed != precision:
        raise click.ClickException(
            f"{currency} has precision {fixed}, and it cannot change: the amounts in the ledger are in these minor units"
        )
    click.echo(f"{currency} has precision {precision}")


@main.command(short_help="Recompute the whole ledger from its history.")
@click.option("--since-checkpoint", is_flag=True, help="Go on from the last checkpoint. Quick; decides nothing anew.")
@reads_ledger
def verify(since_checkpoint: bool, data: Path, as_json: bool) -> None:
    """Recompute the whole ledger from its history, and report what does not follow from it. Repairs nothing.

    The log is decided once more, one transaction after the other, and every outcome, balance, hold and statement is
    compared with it, and so is the hash chain. It reads one snapshot, so nothing needs to be stopped. The exit status is
    1 if anything is wrong.

    If nothing is, a checkpoint is written, which says what the hashes were, and signed with PACIOLI_CHAIN_KEY or the key
    in the data folder. With --since-checkpoint only what came after the last one is read.

    \b
    Examples:
      pacioli verify
      pacioli verify --since-checkpoint
      pacioli verify --json | jq .problems[0]
    """
    key = chain_key_of(data)
    with database(data) as engine, show.progress() as progress:
        run = verify_since_checkpoint if since_checkpoint else verify_all
        report = run(engine, key=key, progress=progress)
        if report.ok:
            report.checkpoint = checkpoints.write(engine, report.reached, key) or report.checkpoint
    if as_json:
        show.print_json(verification_of(report))
    else:
        show.print_report(show.console(), report)
    if not report.ok:
        raise click.exceptions.Exit(1)


@main.command(short_help="Take snapshots of balances, for quick answers about the past.")
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
        show.print_json({"snapshots": taken})
    else:
        click.echo(f"{taken} snapshots taken" if taken != 1 else "1 snapshot taken")


def _database_trouble(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    reason = " ".join(str(cause).split()) or type(cause).__name__
    return f"the database does not answer ({reason}): see that it runs and that DATABASE_URL is right, then try again"


def _last_entries(conn: Any, row: BalanceRow, count: int) -> list[Entry]:
    """The newest entries of a balance, oldest first. Not every version has one: holds and voids move nothing."""
    window = count
    while count:
        after = max(0, row.version - window)
        found = balance_store.entries(conn, row.key, limit=window, after=after, since=None, until=None)
        if len(found) >= count or after == 0:
            return found[-count:]
        window *= 4
    return []


def _forecasts(engine: Engine, jobs: list[JobRow]) -> list[tuple[JobRow, Forecast | None]]:
    """What a balance will be after the next run of each of the jobs that will draw on it."""
    return [(job, forecast_within(engine, job, FORECAST_WITHIN_S)) for job in jobs]


def _balance_body(row: BalanceRow, entries: list[Entry], jobs: list[tuple[JobRow, Forecast | None]]) -> dict[str, Any]:
    body = row._asdict()
    del body["key"]
    body["meta_data"] = msgspec.Raw((row.meta_data or "null").encode())
    body |= {"available_balance": row.available, "entries": [entry._asdict() for entry in entries]}
    if jobs:
        body["funding"] = [
            {
                "job_id": job.job_id,
                "next_run_at": job.next_due,
                **(fields_of(forecast_of(forecast, job.precision)) if forecast else {}),
            }
            for job, forecast in jobs
        ]
    return body


if __name__ == "__main__":
    main()
