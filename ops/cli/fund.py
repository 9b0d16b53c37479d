"""``pacioli fund`` creates a funding job from a file or a rule, or does a dry run, and watches the first run."""

import shutil
import tempfile
from collections.abc import Callable
from decimal import Decimal
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import click
from msgspec.structs import replace
from pacioli_client import Client, NewJob, Rule
from pacioli_client.answers.balances import Balance
from pacioli_client.answers.funding import DryRun
from pacioli_client.errors import Conflict, Invalid, NotFound, Unreachable
from pacioli_client.errors import Unavailable as Busy
from pacioli_client.funding import CreatedJob, Sent
from rich.console import Console

from core.base.ids import new_key
from core.base.money import MAX_PRECISION
from core.funding.missed import Missed
from core.funding.requests import MAX_ATOMIC
from ops.cli import fund_file, watch
from ops.cli.asking import at_terminal, confirmed
from ops.cli.service import Where, asks_service, service
from ops.cli.show import bars
from ops.cli.show.funding import (
    SHOWN_NAMES,
    job_line,
    print_dry_run,
    print_look,
    print_new_names,
    print_problems,
    repetition_text,
)
from ops.cli.show.text import console, count, plain, print_json
from ops.cli.watch import LEFT_GOING
from ops.numbers import NUMBER, Whole
from ops.server.instance import Unavailable

T = TypeVar("T")

GENERAL = "general_ledger_id"
"""The ledger of all internal balances."""

NAMES_READ, NAMES_COMPARED = 1_000, 20
"""So many existing names are compared with so many new ones, to see whether one is mistyped."""


@click.command()
@click.argument("file", type=click.File("rb", lazy=True), required=False)
@click.option("--source", help="The pool that pays, an @Name or a balance id.")
@click.option("--currency", help="The currency of the pool. An @Name needs it, because it may have several.")
@click.option(
    "--precision",
    type=Whole(1, MAX_PRECISION),
    help="Minor units in a major unit, 100 for cents. The first use of a currency needs it.",
)
@click.option(
    "--ledger", "ledger_id", help="Fund all balances that this ledger has when a run starts, in place of FILE."
)
@click.option("--amount", type=NUMBER, help="With --ledger, each balance gets this amount.")
@click.option("--top-up-to", type=NUMBER, help="With --ledger, each balance is filled up to this amount.")
@click.option("--name", help="The name of the job. [default: the name of the file]")
@click.option(
    "--description", help="The description of a transaction whose row has none. [default: the name of the job]"
)
@click.option(
    "--reference", help="A repeated command with the same reference does nothing twice. [default: a new one each time]"
)
@click.option(
    "--again", is_flag=True, help="Pay even if the same was sent before. Otherwise that is asked, or refused."
)
@click.option("--allow-overdraft", is_flag=True, help="The pool may go below zero.")
@click.option(
    "--overdraft-limit", type=NUMBER, help="The pool may go so far below zero. A run that would go further is refused."
)
@click.option(
    "--until-limit", is_flag=True, help="Fund the rows in order until the limit, instead of refusing the run."
)
@click.option("--allow-duplicates", is_flag=True, help="A destination may be in the file several times.")
@click.option("--atomic", is_flag=True, help=f"Apply all rows or none. The file has at most {MAX_ATOMIC:,} rows.")
@click.option("--inflight", is_flag=True, help="Hold the money, to be committed or voided later.")
@click.option(
    "--commit-after-s",
    "inflight_commit_after_s",
    type=Whole(0),
    help="Commit the holds so many seconds after the run is due.",
)
@click.option("--at", help="Run once, at this time, such as 2026-12-24T08:00:00+01:00.")
@click.option("--cron", help="Run again and again: minute hour day month weekday.")
@click.option("--timezone", help="The time zone of --cron, such as Europe/Berlin. [default: UTC]")
@click.option("--ends-at", help="With --cron, no run starts after this time.")
@click.option("--count", type=Whole(1), help="With --cron, the job has so many runs in all.")
@click.option(
    "--missed",
    type=click.Choice([each.value for each in Missed]),
    help="Runs to make up for those that were missed while nothing ran. [default: once]",
)
@fund_file.reads_file
@click.option(
    "--match",
    help="The rows name this metadata of balances, such as meta_data.customer_id. Each must name one balance.",
)
@click.option("--expect-rows", type=Whole(0), help="Refuse a list that has another number of rows.")
@click.option(
    "--expect-total", "expect_amount", type=NUMBER, help="Refuse a list whose amounts add up to something else."
)
@click.option("--new-names", is_flag=True, help="Create balances for @Names that do not exist, also for the pool.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before the money moves. Without a terminal it is needed.")
@click.option("--dry-run", is_flag=True, help="Show what a run would do, and keep nothing.")
@click.option("--detach", is_flag=True, help="Do not wait for the run.")
@asks_service
def fund(
    file: BinaryIO | None,
    ledger_id: str | None,
    amount: Decimal | None,
    top_up_to: Decimal | None,
    dry_run: bool,
    yes: bool,
    detach: bool,
    where: Where,
    as_json: bool,
    **terms: Any,
) -> None:
    """Fund the balances in FILE from one pool, now, at a time, or again and again.

    FILE is a CSV, .xlsx or .ods file with a header, destination,amount,description; - is standard input. All of it is checked
    before anything is kept, and every bad row is listed. What the file does not say for sure is asked at a terminal. With
    --at or --cron the job and its next runs are shown. Else it runs now, and is watched until each row is decided.

    \b
    Examples:
      pacioli fund wallets.csv --source @FundingPool --currency USD --allow-overdraft --dry-run
      pacioli fund wallets.csv --source @FundingPool --currency USD --allow-overdraft --overdraft-limit 5000
      pacioli fund wallets.xlsx --source @FundingPool --currency EUR --map 'Wallet ID=destination' --rejects mend.csv
      make-list | pacioli fund - --source @Promotions --currency USD --until-limit --yes --json
      pacioli fund salaries.csv --source bln_... --cron '0 8 25 * *' --timezone Europe/Berlin --missed all
      pacioli fund --ledger ldg_... --top-up-to 50 --source @Pool --currency USD --allow-overdraft --cron '0 6 * * *'

    Before money moves, a terminal shows how many rows there are, their sum, the pool before and after, the first and largest
    rows and what is odd about them, and asks. Where nobody can be asked, --yes says that it is meant; otherwise nothing is
    done. --expect-rows and --expect-total refuse any other list. An @Name that does not exist is asked about, or refused without
    --new-names.

    Ctrl-C pauses the run at once, and asks: go on, leave it running, or cancel the rest. A second Ctrl-C leaves it paused, and
    so does the first where nobody can be asked. `pacioli funding resume` goes on with it.

    \b
    Exit status:
      0    every row was applied; or the job waits for its time, was detached, or was run dry without a fault
      1    rows were rejected or not posted, or the run was refused or cancelled; in a dry run, would be
      2    nothing was done: the file, an option or the database is not as it should be
      130  Ctrl-C: the run is paused, or goes on without this command, or nothing was begun
    """
    reading, rejects = fund_file.taken(file, terms)
    asked = replace(_asked(_name_of(file), _rule(file, ledger_id, amount, top_up_to), terms), file=reading)
    out, err = console(), console(stderr=True)
    with service(where) as client:
        pool_before = _look_at_pool(client, asked, dry_run)
        try:
            asked = fund_file.settled(file, asked)
            asked, left = fund_file.set_aside(client, asked, file, rejects, err)
            if dry_run:
                _end_dry_run(out, asked, _try_out(client, asked, file, err), as_json)
                return
            if not yes:
                asked, file = _confirmed(client, asked, file, err)
            made = _create_once(client, asked, file, err)
        except Invalid as error:
            _print_invalid(out, error, as_json)
            if text := _own_words(error):
                raise Unavailable(f"nothing was done: {text}") from None
            raise
        job = made.job
        fund_file.print_notes(err, job.file or None)
        if made.replayed:
            err.print(f"there was such a job already: {job.job_id}")
        if job.status == "WAITING_APPROVAL":
            if as_json:
                print_json(job)
            else:
                out.print(job_line(job))
        elif not job.run:
            watch.print_whole(client, out, client.funding.read(job.job_id), as_json)
        elif detach and as_json:
            print_json(job)
        elif detach:
            out.print(f"{job.job_id} is made, and runs by itself: `pacioli funding show {job.job_id}`")
        else:
            run = watch.to_its_end(client, job, job.run, err)
            watch.end(client, out, run, pool_before=None if made.replayed else pool_before, as_json=as_json)
        if left:
            raise click.exceptions.Exit(1)


def _rule(
    file: BinaryIO | None, ledger_id: str | None, amount: Decimal | None, top_up_to: Decimal | None
) -> Rule | None:
    """Return the rule that finds the balances, or None where a file names them."""
    if (file is None) == (ledger_id is None):
        raise click.UsageError(
            "say whom to fund: a file (- for standard input), or --ledger with --amount or --top-up-to"
        )
    if ledger_id is None:
        if amount is not None or top_up_to is not None:
            raise click.UsageError("--amount and --top-up-to belong to --ledger: in a file each row has its amount")
        return None
    if (amount is None) == (top_up_to is None):
        raise click.UsageError("--ledger needs either --amount or --top-up-to")
    return Rule(ledger_id=ledger_id, amount=amount, top_up_to=top_up_to)


def _asked(name: str | None, rule: Rule | None, terms: dict[str, Any]) -> NewJob:
    """Make the request of the options, and refuse in the words of the command line what it lacks."""
    if not terms["source"]:
        raise click.UsageError("say which pool pays: --source @FundingPool, or the id of a balance")
    if terms["source"].startswith("@") and not terms["currency"]:
        raise click.UsageError(f"{terms['source']} may have several currencies: say which one, as in --currency USD")
    terms["name"] = terms["name"] or name or f"ledger {rule.ledger_id if rule else ''}"
    again: bool | None = terms.pop("again") or None
    new_names: bool = terms.pop("new_names")
    # The reference is made here, so that the same command can be repeated when its answer is lost. It does not say that the
    # same file is meant to be paid twice.
    if not terms["reference"]:
        terms["reference"], again = f"cli-{new_key()}", bool(again)
    given = {field: value for field, value in terms.items() if value is not None and value is not False}
    return NewJob(**given, rule=rule, again=again, new_names=new_names)


def _name_of(file: BinaryIO | None) -> str | None:
    if file is None:
        return None
    name = getattr(file, "name", None)
    return plain(Path(name).name) if isinstance(name, str) and name not in ("-", "<stdin>") else "standard input"


def _look_at_pool(client: Client, asked: NewJob, dry_run: bool) -> int:
    """Return what the pool holds before, in minor units. Refuse a pool that is not there and may not go below zero."""
    pool: Balance | None = None
    if not asked.source.startswith("@"):
        pool = client.balances.read(asked.source)
    else:
        try:
            pool = client.balances.by_indicator(asked.source, asked.currency or "")
        except NotFound:
            overdraft = asked.allow_overdraft or asked.overdraft_limit
            if not (overdraft or dry_run or asked.at or asked.cron):
                raise click.UsageError(
                    f"there is no {asked.source} in {asked.currency} yet, so it has nothing to pay with: see that the name is "
                    "right, fund it first, or let it go below zero with --allow-overdraft"
                ) from None
    return pool.balance if pool is not None else 0


def _with_bar(err: Console, file: BinaryIO | None, ask: Callable[[Sent], T]) -> T:
    """Send a request, with a bar that shows how far the file is sent.

    Raises:
        click.exceptions.Exit: Ctrl-C before the service had all of it, so that nothing was kept.
    """
    whole = file is None
    try:
        with bars.sending(err) as tell:

            def sent(done: int, of: int) -> None:
                nonlocal whole
                whole = whole or done >= of
                tell(done, of)

            return ask(sent)
    except KeyboardInterrupt:
        if whole:
            raise
        raise _stopped() from None


def _stopped() -> click.exceptions.Exit:
    click.echo("stopped: no job was made, and nothing is posted", err=True)
    return click.exceptions.Exit(LEFT_GOING)


def _confirmed(client: Client, asked: NewJob, file: BinaryIO | None, err: Console) -> tuple[NewJob, BinaryIO | None]:
    """Show what a run would do and ask whether it is meant. Return the request, which now expects what was shown, and the file.

    Raises:
        Unavailable: nobody can be asked.
        click.exceptions.Exit: the answer is no.
    """
    if not at_terminal():
        text = "nobody can be asked here, so nothing was done: --yes says that it is meant, and --dry-run shows what it would do"
        raise Unavailable(text)
    file = _copied(file)
    if file is not None:
        file.seek(0)
    found = _try_out(client, replace(asked, new_names=None), file, err)
    print_dry_run(err, asked, found)
    print_look(err, found)
    if found.new_balances and not asked.new_names:
        print_new_names(err, asked, found, _names_near(client, asked, found))
        if not confirmed(f"Create {count(found.new_balances, 'new balance')}?"):
            raise _nothing_done()
    if not confirmed("Pay this?" if asked.at is None and asked.cron is None else "Keep this job?"):
        raise _nothing_done()
    if file is not None:
        file.seek(0)
    if asked.rule is None:  # Nobody may change the file between the question and the answer.
        total = found.amount_total if asked.expect_amount is None else asked.expect_amount
        rows = found.rows_total if asked.expect_rows is None else asked.expect_rows
        asked = replace(asked, expect_rows=rows, expect_amount=total)
    return replace(asked, new_names=bool(asked.new_names or found.new_balances)), file


def _copied(file: BinaryIO | None) -> BinaryIO | None:
    """Return a file that can be read twice."""
    if file is None or file.seekable():
        return file
    copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
    shutil.copyfileobj(file, copy)
    return copy


def _names_near(client: Client, asked: NewJob, found: DryRun) -> dict[str, str]:
    """Find an existing @Name that is like a new one, which may be mistyped."""
    known = {
        each.indicator
        for each in islice(client.balances.list(currency_eq=found.currency, ledger_id_eq=GENERAL), NAMES_READ)
        if each.indicator
    }
    near = {name: get_close_matches(name, known, 1, 0.8) for name in found.new_names[:NAMES_COMPARED]}
    return {name: like[0] for name, like in near.items() if like}


def _nothing_done() -> click.exceptions.Exit:
    click.echo("nothing was done", err=True)
    return click.exceptions.Exit(2)


def _create_once(client: Client, asked: NewJob, file: BinaryIO | None, err: Console) -> CreatedJob:
    """Create a job. If the same was sent before, ask whether it is meant.

    Raises:
        click.ClickException: the same was sent before, and nobody can be asked or the answer is no.
    """
    try:
        return _create(client, asked, file, err)
    except Conflict as error:
        if error.code != "FND_REPEATED":
            raise
        said = repetition_text(error.details)
        can_repeat = file is None or file.seekable()
        if not can_repeat or not at_terminal():
            raise Unavailable(f"{said}. Nothing was done; --again pays once more") from None
        err.print(f"{said}.")
        if not confirmed("Pay it once more?"):
            raise Unavailable(f"nothing was done: `pacioli funding show {error.details['job_id']}`") from None
        if file is not None:
            file.seek(0)
        return _create(client, replace(asked, again=True), file, err)


def _create(client: Client, asked: NewJob, file: BinaryIO | None, err: Console) -> CreatedJob:
    again = f"the same command with --reference {asked.reference} makes it once"
    try:
        return _with_bar(err, file, lambda sent: client.funding.create(asked, file, sent=sent))
    except (Busy, Unreachable) as error:
        if isinstance(error, Unreachable) and not error.uncertain:
            raise
        text = f"the service did not answer ({error}), and whether the job was made is not known: {again}"
        raise Unavailable(text) from None
    except KeyboardInterrupt:
        click.echo(f"stopped while the service looked at the list: it may make the job; {again}", err=True)
        raise click.exceptions.Exit(LEFT_GOING) from None


def _try_out(client: Client, asked: NewJob, file: BinaryIO | None, err: Console) -> DryRun:
    try:
        return _with_bar(err, file, lambda sent: client.funding.dry_run(asked, file, sent=sent))
    except KeyboardInterrupt:
        raise _stopped() from None


def _end_dry_run(out: Console, asked: NewJob, found: DryRun, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print_dry_run(out, asked, found)
        fund_file.print_notes(out, found.file)
    if not found.would_run or found.rows_rejected or found.rows_beyond_limit:
        raise click.exceptions.Exit(1)


def _own_words(error: Invalid) -> str:
    """Say in the words of the command line what is not as the options expect; empty for any other error."""
    texts = []
    for problem in error.problems:
        match problem.field:
            case "expect_rows" | "expect_amount":
                option = "--expect-rows" if problem.field == "expect_rows" else "--expect-total"
                texts.append(f"{option} {problem.message}")
            case "new_names":
                names = ", ".join(map(plain, error.details.get("names", [])[:SHOWN_NAMES]))
                texts.append(f"there is no {names} yet: see that each name is right, or create them with --new-names")
    return "; ".join(texts)


def _print_invalid(out: Console, error: Invalid, as_json: bool) -> None:
    """Print every bad row of a file. A problem without a row is left to whoever catches the error."""
    if as_json:
        detail = {"code": error.code, "message": error.message, "details": error.details}
        print_json({"error": error.message, "error_detail": detail})
    elif any(problem.row is not None for problem in error.problems):
        print_problems(out, error.problems, error.details.get("problem_count", len(error.problems)))
    if not as_json:
        fund_file.print_end(out, error)
