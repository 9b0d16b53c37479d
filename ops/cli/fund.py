"""``pacioli fund`` and ``pacioli funding``: fund many balances from one pool, watch it, look at it again."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from time import monotonic, sleep
from typing import Any, BinaryIO, NamedTuple

import click
from rich.console import Console
from sqlalchemy import Connection, Engine

from core.base.answers import fields_of
from core.base.db import reading
from core.base.errors import InvalidRequest, NotFound, TransientError
from core.base.ids import new_key
from core.base.money import MAX_PRECISION
from core.funding import create, plan, recipients
from core.funding import dry_run as funding_dry_run
from core.funding import forecast as funding_forecast
from core.funding import jobs as funding_jobs
from core.funding import store as funding_store
from core.funding import views as funding_views
from core.funding.answers import counted_run_of, dry_run_of, forecast_of, job_of, row_of, run_of
from core.funding.create import Created
from core.funding.dry_run import DryRun
from core.funding.missed import Missed
from core.funding.recipients import Given
from core.funding.requests import FundingRequest, FundingRule
from core.funding.store import JobRow, RunRow, Tally
from core.funding.terms import job_terms
from core.funding.views import Counts
from core.ledger.directory import Directory
from core.ledger.store import balances as balance_store
from core.ledger.store import queues as queue_store
from ops.cli import show
from ops.server.instance import FORECAST_WITHIN_S, Unavailable, database, reads_ledger, settings

LEFT_GOING = 130
"""Exit status after Ctrl-C, unless it was to cancel: the job goes on without us, or was not made."""

POLL_S = 0.25
"""How often a run is looked at, unless looking takes long: then the pause is ``PAUSES`` times as long as the look."""
PAUSES = 4

WORKER_SILENT_S = 15
"""A worker that has not been heard of for this long does not live."""

SHOWN_REJECTED = 5
SHOWN_RUNS = 10


class _Number(click.ParamType[Decimal]):
    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            number = Decimal(value)
        except ArithmeticError:
            number = Decimal("nan")
        if not number.is_finite():
            self.fail(f"{value!r} is not a number such as 12.50", param, ctx)
        return number


NUMBER = _Number()


# Making jobs


@click.command(short_help="Fund many balances from one pool, now or on a schedule.")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--source", help="The pool that pays: an @Name or a balance id.")
@click.option("--currency", help="Of an @Name, which may have several.")
@click.option("--precision", type=click.IntRange(1, MAX_PRECISION), help="100 for cents; needed before its first use.")
@click.option("--ledger", "ledger_id", help="In place of FILE: all balances of this ledger, found when a run starts.")
@click.option("--amount", type=NUMBER, help="With --ledger: for each balance.")
@click.option("--top-up-to", type=NUMBER, help="With --ledger: what each balance is to have then.")
@click.option("--name", help="Of the job. [default: that of the file]")
@click.option("--description", help="Of each transaction whose row has none. [default: the name]")
@click.option("--reference", help="Makes the same command harmless when repeated. [default: a new one each time]")
@click.option("--allow-overdraft", is_flag=True, help="The pool may go below zero.")
@click.option("--overdraft-limit", type=NUMBER, help="How far below zero. A run that would go further is refused.")
@click.option("--until-limit", is_flag=True, help="Do not refuse it: fund in order, as far as the money goes.")
@click.option("--allow-duplicates", is_flag=True, help="A destination may be in the file several times.")
@click.option("--atomic", is_flag=True, help=f"All rows or none; up to {plan.MAX_ATOMIC:,}.")
@click.option("--inflight", is_flag=True, help="Hold the money, to be committed or voided later.")
@click.option(
    "--commit-after-s",
    "inflight_commit_after_s",
    type=int,
    help="Commit the holds so many seconds after the run is due.",
)
@click.option("--at", help="Run once, at this time, such as 2026-12-24T08:00:00+01:00.")
@click.option("--cron", help="Run again and again: minute hour day month weekday.")
@click.option("--timezone", help="Of --cron, such as Europe/Berlin. [default: UTC]")
@click.option("--ends-at", help="Of --cron: no run after this time.")
@click.option("--count", type=int, help="Of --cron: how many runs in all.")
@click.option(
    "--missed",
    type=click.Choice([each.value for each in Missed]),
    help="Runs that came while nothing ran. [default: once]",
)
@click.option("--dry-run", is_flag=True, help="Say what a run would come to, and do nothing.")
@click.option("--detach", is_flag=True, help="Do not wait for the run.")
@reads_ledger
def fund(
    file: BinaryIO | None,
    ledger_id: str | None,
    amount: Decimal | None,
    top_up_to: Decimal | None,
    dry_run: bool,
    detach: bool,
    data: Path,
    as_json: bool,
    **terms: Any,
) -> None:
    """Fund the balances in FILE from one pool, now, at a time, or again and again.

    FILE is a CSV whose first line is a header, destination,amount,description; - is standard input. All of it is checked
    before anything is kept, and every bad row is listed. With --at or --cron the job and its next runs are shown. Else it
    runs now, and is watched until each row is decided.

    \b
    Examples:
      pacioli fund wallets.csv --source @FundingPool --currency USD --allow-overdraft --dry-run
      pacioli fund wallets.csv --source @FundingPool --currency USD --allow-overdraft --overdraft-limit 5000
      make-list | pacioli fund - --source @Promotions --currency USD --until-limit --json
      pacioli fund salaries.csv --source bln_... --cron '0 8 25 * *' --timezone Europe/Berlin --missed all
      pacioli fund --ledger ldg_... --top-up-to 50 --source @Pool --currency USD --allow-overdraft --cron '0 6 * * *'

    Ctrl-C asks whether to cancel what is not posted yet. Otherwise, or where nobody can be asked, the run goes on without
    this command.

    \b
    Exit status:
      0    every row was applied; or the job waits for its time, was detached, or was run dry without a fault
      1    rows were rejected or not posted, or the run was refused or cancelled; in a dry run, would be
      2    nothing was done: the file, an option or the database is not as it should be
      130  Ctrl-C: the run goes on, or nothing was begun
    """
    request = _request(_name_of(file), ledger_id, amount, top_up_to, terms)
    out, err = show.console(), show.console(stderr=True)
    with database(data) as engine:
        directory = Directory(engine, check_precision=settings().precision_check)
        pool_before = _look_at_pool(engine, directory, request, dry_run)
        try:
            if dry_run:
                with _rows_of(file, err) as given:
                    _end_dry_run(out, funding_dry_run.dry_run_job(engine, request, given, directory, _now()), as_json)
                return
            made = _create(engine, request, file, directory, err)
        except InvalidRequest as error:
            _print_invalid(out, error, as_json)
            raise
        except KeyboardInterrupt:
            _say_what_was_kept(engine, request)
            raise click.exceptions.Exit(LEFT_GOING) from None
        if made.replayed:
            err.print(f"there was such a job already: {made.job.job_id}")
        if made.run is None:
            _print_job(engine, out, made.job, as_json)
        elif detach:
            _print_detached(out, made.job, made.run, as_json)
        else:
            seen = _watch(engine, made.job, made.run, err)
            _end_run(engine, out, seen, None if made.replayed else pool_before, as_json)


def _request(
    name: str | None, ledger_id: str | None, amount: Decimal | None, top_up_to: Decimal | None, terms: dict[str, Any]
) -> FundingRequest:
    """What is asked, with what only the command line can ask for named in its words."""
    rule = None
    if (name is None) == (ledger_id is None):
        raise click.UsageError(
            "say whom to fund: a CSV file (- for standard input), or --ledger with --amount or --top-up-to"
        )
    if ledger_id is None:
        if amount is not None or top_up_to is not None:
            raise click.UsageError("--amount and --top-up-to belong to --ledger: in a file each row has its amount")
    elif (amount is None) == (top_up_to is None):
        raise click.UsageError("--ledger needs either --amount or --top-up-to")
    else:
        rule = FundingRule(ledger_id, amount=amount, top_up_to=top_up_to)
    if not terms["source"]:
        raise click.UsageError("say which pool pays: --source @FundingPool, or the id of a balance")
    if terms["source"].startswith("@") and not terms["currency"]:
        raise click.UsageError(f"{terms['source']} may have several currencies: say which one, as in --currency USD")
    terms["name"] = terms["name"] or name or f"ledger {ledger_id}"
    # Said before it is kept, so that whoever does not get to know whether it was may ask for the same once more.
    terms["reference"] = terms["reference"] or f"cli-{new_key()}"
    terms["precision"] = None if terms["precision"] is None else Decimal(terms["precision"])
    return FundingRequest(**terms, rule=rule)


def _name_of(file: BinaryIO | None) -> str | None:
    if file is None:
        return None
    name = getattr(file, "name", None)
    return show.plain(Path(name).name) if isinstance(name, str) and name != "<stdin>" else "standard input"


def _look_at_pool(engine: Engine, directory: Directory, request: FundingRequest, dry_run: bool) -> int:
    """What the pool holds before, in minor units. One that is not there and may not go below zero cannot pay."""
    assert request.source
    pool = (request.source, request.currency or "") if request.source.startswith("@") else request.source
    directory.know([pool])
    ref = directory.balance(pool)
    overdraft = request.allow_overdraft or request.overdraft_limit
    if ref is None and isinstance(pool, tuple) and not (overdraft or dry_run or request.at or request.cron):
        raise click.UsageError(
            f"there is no {request.source} in {request.currency} yet, so it has nothing to pay with: see that the name is right, "
            "fund it first, or let it go below zero with --allow-overdraft"
        )
    if ref is None:
        return 0
    with reading(engine) as conn:
        return balance_store.find_keys(conn, [ref.key])[ref.key].balance


@contextmanager
def _rows_of(file: BinaryIO | None, err: Console) -> Iterator[Iterable[Given] | None]:
    """The rows of the file, and a bar that shows how far it is read."""
    if file is None:
        yield None
        return
    size = None
    if file.seekable():
        start = file.tell()
        size = file.seek(0, os.SEEK_END)
        file.seek(start)
    with show.reading(err, size) as tell:

        def given() -> Iterator[Given]:
            rows = 0
            for rows, each in enumerate(recipients.of_csv(file), 1):
                yield each
                if rows % recipients.PIECE == 0:
                    tell(rows, file.tell() if size is not None else None)
            tell(rows, None)

        yield given()


def _create(
    engine: Engine, request: FundingRequest, file: BinaryIO | None, directory: Directory, err: Console
) -> Created:
    assert request.reference
    try:
        with _rows_of(file, err) as given:
            return create.create_job(engine, request, given, directory, _now())
    except TransientError as error:
        raise Unavailable(
            f"the database was lost ({error.__cause__ or error}), and whether the job was made is not known: "
            f"the same command with --reference {request.reference} makes it once"
        ) from None


def _say_what_was_kept(engine: Engine, request: FundingRequest) -> None:
    assert request.reference
    with reading(engine) as conn:
        job = funding_store.find_job_by_reference(conn, request.reference)
    if job is None:
        click.echo("stopped: no job was made, and nothing is posted", err=True)
    else:
        _say_left_going(job)


def _end_dry_run(out: Console, found: DryRun, as_json: bool) -> None:
    next_runs = funding_forecast.next_occurrences(found.job)
    if as_json:
        show.print_json(dry_run_of(found))
    else:
        show.print_dry_run(out, found)
        show.print_occurrences(out, next_runs, job_terms(found.job).timezone)
    if found.refusal is not None or found.rejected or found.beyond_limit:
        raise click.exceptions.Exit(1)


def _print_invalid(out: Console, error: InvalidRequest, as_json: bool) -> None:
    """Every bad row of a file. What is wrong in one line is left to whoever catches the error."""
    if as_json:
        detail = {"code": error.code, "message": error.message, "details": error.details}
        show.print_json({"error": error.message, "error_detail": detail})
    elif "problems" in (error.details or {}):
        show.print_problems(out, error.details["problems"], error.details["problem_count"])


def _print_detached(out: Console, job: JobRow, run: RunRow, as_json: bool) -> None:
    if as_json:
        show.print_json({**fields_of(job_of(job)), "run": run_of(job, run)})
    else:
        out.print(f"{job.job_id} is made, and runs by itself: `pacioli funding show {job.job_id}`")


# Watching a run


class Seen(NamedTuple):
    """A run at one moment."""

    job: JobRow
    run: RunRow
    counts: Counts

    @property
    def over(self) -> bool:
        """Nothing more is posted, and what is posted is decided."""
        return self.run.status in ("COMPLETED", "REFUSED", "CANCELLED") and not self.counts.undecided

    @property
    def whole(self) -> bool:
        """Every row was applied."""
        return self.run.status == "COMPLETED" and self.counts.applied == self.counts.total


class Look:
    """Looks at a run again and again. A decided row stays what it is, so only what came since the last look is counted."""

    def __init__(self, job_id: str, run_id: str) -> None:
        self._job_id, self._run_id = job_id, run_id
        self._up_to = 0
        """Rows up to this one are decided, and counted."""
        self._counted: list[Tally] = []

    def at(self, conn: Connection) -> Seen:
        job = funding_jobs.get_job(conn, self._job_id)
        run = funding_jobs.get_run(conn, job, self._run_id)
        since = funding_store.tally(conn, run.id, after=self._up_to, up_to=run.posted_row)
        tally = _together(self._counted, since)
        if all(each.status is not None for each in since):
            self._counted, self._up_to = tally, run.posted_row
        return Seen(job, run, funding_views.counts_of(job, run, tally, _now()))


def _together(first: list[Tally], second: list[Tally]) -> list[Tally]:
    found = {(each.status, each.reason): each for each in first}
    for each in second:
        known = found.get((each.status, each.reason))
        more = each if known is None else each._replace(rows=known.rows + each.rows, amount=known.amount + each.amount)
        found[each.status, each.reason] = more
    return [*found.values()]


def _watch(engine: Engine, job: JobRow, run: RunRow, err: Console) -> Seen:
    """See a run to its end, and let Ctrl-C cancel it."""
    try:
        try:
            return _follow(engine, job, run, err)
        except KeyboardInterrupt:
            if not _wants_to_cancel():
                raise
            funding_jobs.cancel(engine, job.job_id, _now())
            return _follow(engine, job, run, err)
    except KeyboardInterrupt:
        _say_left_going(job)
        raise click.exceptions.Exit(LEFT_GOING) from None
    except TransientError as error:
        raise Unavailable(
            f"the database does not answer ({error.__cause__ or error}); the run goes on when it is back: "
            f"`pacioli funding show {job.job_id}`"
        ) from None


def _follow(engine: Engine, job: JobRow, run: RunRow, err: Console) -> Seen:
    moved_at, last, said = monotonic(), -1, set[str]()
    look = Look(job.job_id, run.run_id)
    with show.funding_progress(err) as tell:
        while True:
            began = monotonic()
            with reading(engine) as conn:
                seen = look.at(conn)
                tell(seen.job, seen.run, seen.counts)
                if seen.over:
                    return seen
                if seen.counts.accepted != last:
                    moved_at, last = began, seen.counts.accepted
                trouble = _trouble(conn, seen, still_s=began - moved_at)
            if trouble is not None and trouble not in said:
                err.print(trouble)
                said.add(trouble)
            sleep(max(POLL_S, PAUSES * (monotonic() - began)))


def _trouble(conn: Connection, seen: Seen, *, still_s: float) -> str | None:
    """Why a run that has not moved for so long may not be moving."""
    if seen.job.status == "PAUSED":
        return f"the job is paused; `pacioli funding resume {seen.job.job_id}` lets it go on"
    if not queue_store.live_workers(conn, WORKER_SILENT_S):
        return f"no worker was heard of for {WORKER_SILENT_S} s: the run waits for one; `pacioli up` starts one"
    if still_s > WORKER_SILENT_S:
        return f"a worker lives, but nothing has moved for {WORKER_SILENT_S} s: see that beat runs, and what they log"
    return None


def _wants_to_cancel() -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        return click.confirm("\nCancel what is not posted yet?", err=True)
    except click.Abort:
        return False


def _say_left_going(job: JobRow) -> None:
    click.echo(f"{job.job_id} goes on by itself: see `pacioli funding show {job.job_id}`", err=True)


def _end_run(engine: Engine, out: Console, seen: Seen, pool_before: int | None, as_json: bool) -> None:
    job, run, counts = seen
    with reading(engine) as conn:
        rejected, by_seq = funding_views.read_row_states(conn, run, limit=SHOWN_REJECTED, after=0, status="REJECTED")
        pool = balance_store.find_keys(conn, [job.source])[job.source].balance
    if as_json:
        rows = [row_of(job, row, by_seq) for row in rejected]
        show.print_json({**fields_of(job_of(job)), "run": counted_run_of(job, run, counts), "rejected": rows})
    else:
        show.print_run(out, job, run, counts, pool_before=pool_before, pool=pool)
        if rejected:
            show.print_rejected(out, job, rejected, by_seq, title="the first rejected rows")
        for line in _next_steps(seen):
            out.print(line)
    if not seen.whole:
        raise click.exceptions.Exit(1)


def _next_steps(seen: Seen) -> Iterator[str]:
    """What can be done about a run that did not apply every row."""
    job_id, run_id = seen.job.job_id, seen.run.run_id
    if seen.counts.rejected:
        yield f"all rejected rows:     pacioli funding rows {job_id} {run_id} --status rejected"
        yield f"the same as CSV:       GET /funding-jobs/{job_id}/runs/{run_id}/rows?status=REJECTED, Accept: text/csv"
    if seen.counts.unposted:
        yield f"rows not posted:       pacioli funding rows {job_id} {run_id} --status unposted"
    if seen.job.status == "ACTIVE" and seen.run.status == "REFUSED":
        yield f"once the pool can pay: pacioli funding run {job_id}"
    if seen.job.status == "ACTIVE" and seen.counts.rejected:
        yield f"once they can be paid: pacioli funding retry {job_id} {run_id}"


# Looking at jobs


@click.group(invoke_without_command=True, short_help="Show funding jobs; pause, resume, cancel, run or retry one.")
@click.option(
    "--status",
    type=click.Choice(["ACTIVE", "PAUSED", "CANCELLED", "FINISHED"], case_sensitive=False),
    help="Only these jobs.",
)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="The newest jobs.")
@reads_ledger
@click.pass_context
def funding(ctx: click.Context, status: str | None, limit: int, data: Path, as_json: bool) -> None:
    """Show the funding jobs, the newest first, and how their last runs went.

    JOB, in the commands below, is the id of a job or the reference that it was made with.

    \b
    Examples:
      pacioli funding --status active
      pacioli funding show fund_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11
      pacioli funding pause salaries-2026
      pacioli funding rows salaries-2026 --status rejected
      pacioli funding retry salaries-2026
    """
    if ctx.invoked_subcommand is not None:
        return
    with database(data) as engine, reading(engine) as conn:
        jobs = funding_store.list_jobs(conn, limit=limit, after=None, status=status)
        found = [(job, next(iter(funding_store.list_runs(conn, job.id, limit=1, after=None)), None)) for job in jobs]
    if as_json:
        show.print_json(
            [
                {**fields_of(job_of(job)), **({} if last_run is None else {"last_run": run_of(job, last_run)})}
                for job, last_run in found
            ]
        )
    else:
        show.print_jobs(show.console(), found)


@funding.command("show")
@click.argument("name", metavar="JOB")
@reads_ledger
def show_job(name: str, data: Path, as_json: bool) -> None:
    """Show JOB: its terms, what its pool will be after the next run, its next ten runs, and the last ones.

    \b
    Example:
      pacioli funding show fund_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11
    """
    with database(data) as engine:
        with reading(engine) as conn:
            job = _job(conn, name)
        _print_job(engine, show.console(), job, as_json)


@funding.command("rows")
@click.argument("name", metavar="JOB")
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option(
    "--status",
    type=click.Choice(list(funding_store.ROW_STATUSES), case_sensitive=False),
    help="Only rows that are so now.",
)
@click.option("--after", type=click.IntRange(0, 2**63 - 1), default=0, help="Only rows with a higher number.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@reads_ledger
def rows_of_run(
    name: str, run_id: str | None, status: str | None, after: int, limit: int, data: Path, as_json: bool
) -> None:
    """Show the rows of a RUN of JOB, or of its last run, and what became of each. A row has the number of its line.

    \b
    Examples:
      pacioli funding rows salaries-2026 --status rejected
      pacioli funding rows salaries-2026 run_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --after 1000 --json
    """
    with database(data) as engine, reading(engine) as conn:
        job = _job(conn, name)
        run = _run(conn, job, run_id)
        rows, by_seq = funding_views.read_row_states(conn, run, limit=limit, after=after, status=status)
    if as_json:
        show.print_json([row_of(job, row, by_seq) for row in rows])
        return
    out = show.console()
    show.print_rows(out, job, rows, by_seq, title=run.run_id)
    if len(rows) == limit:
        out.print(f"there may be more: --after {rows[-1].row}")


@funding.command("pause")
@click.argument("name", metavar="JOB")
@reads_ledger
def pause_job(name: str, data: Path, as_json: bool) -> None:
    """Stop JOB after the rows that are posted; nothing comes due until it is resumed."""
    _change(data, as_json, name, lambda engine, job_id: funding_jobs.pause(engine, job_id))


@funding.command("resume")
@click.argument("name", metavar="JOB")
@reads_ledger
def resume_job(name: str, data: Path, as_json: bool) -> None:
    """Go on with JOB: with the run it was at, and with its schedule from now on. What that had meanwhile is skipped."""
    _change(data, as_json, name, lambda engine, job_id: funding_jobs.resume(engine, job_id, _now()))


@funding.command("cancel")
@click.argument("name", metavar="JOB")
@reads_ledger
def cancel_job(name: str, data: Path, as_json: bool) -> None:
    """End JOB for good. What is posted stays; what is not stays unposted."""
    _change(data, as_json, name, lambda engine, job_id: funding_jobs.cancel(engine, job_id, _now()))


@funding.command("run")
@click.argument("name", metavar="JOB")
@click.option("--reference", help="Makes the same command harmless when repeated.")
@reads_ledger
def run_job(name: str, reference: str | None, data: Path, as_json: bool) -> None:
    """Run JOB once more, now, beside its schedule."""
    with database(data) as engine:
        with reading(engine) as conn:
            job = _job(conn, name)
        run, replayed = funding_jobs.run_now(engine, job.job_id, reference, _now())
    _print_new_run(job, run, "was there before" if replayed else "is to come", as_json)


@funding.command("retry")
@click.argument("name", metavar="JOB")
@click.argument("run_id", metavar="[RUN]", required=False)
@reads_ledger
def retry_run(name: str, run_id: str | None, data: Path, as_json: bool) -> None:
    """Post the rejected rows of a RUN of JOB again, or of its last run. Each run is retried once."""
    with database(data) as engine:
        with reading(engine) as conn:
            job = _job(conn, name)
            first = _run(conn, job, run_id)
        run, replayed = funding_jobs.retry(engine, job.job_id, first.run_id, _now())
    what = f"posts the rejected rows of {first.run_id} again"
    _print_new_run(job, run, f"already {what}" if replayed else what, as_json)


def _change(data: Path, as_json: bool, name: str, change: Any) -> None:
    with database(data) as engine:
        with reading(engine) as conn:
            job_id = _job(conn, name).job_id
        job = change(engine, job_id)
    if as_json:
        show.print_json(job_of(job))
    else:
        click.echo(show.job_line(job))


def _print_new_run(job: JobRow, run: RunRow, what: str, as_json: bool) -> None:
    if as_json:
        show.print_json(run_of(job, run))
    else:
        click.echo(f"{run.run_id} {what}: see `pacioli funding show {job.job_id}`")


def _print_job(engine: Engine, out: Console, job: JobRow, as_json: bool) -> None:
    """The job, its pool, what is to come, and what was."""
    forecast = funding_forecast.forecast_within(engine, job, FORECAST_WITHIN_S)
    next_runs = funding_forecast.next_occurrences(job)
    with reading(engine) as conn:
        runs = funding_store.list_runs(conn, job.id, limit=SHOWN_RUNS, after=None)
        counted = [Look(job.job_id, run.run_id).at(conn) for run in runs]
    if as_json:
        body = fields_of(job_of(job))
        body["pool"] = None if forecast is None else forecast_of(forecast, job.precision)
        body["next_runs"] = next_runs
        body["runs"] = [counted_run_of(*seen) for seen in counted]
        show.print_json(body)
        return
    show.print_job(out, job, forecast)
    show.print_occurrences(out, next_runs, job_terms(job).timezone)
    show.print_runs(out, counted)


def _job(conn: Connection, name: str) -> JobRow:
    job = funding_store.find_job(conn, name) or funding_store.find_job_by_reference(conn, name)
    if job is None:
        raise NotFound(
            "FND_NOT_FOUND", f"there is no funding job {name}: give a fund_ id, or the reference it was made with"
        )
    return job


def _run(conn: Connection, job: JobRow, run_id: str | None) -> RunRow:
    """A run of the job by its id, or the last one."""
    if run_id is not None:
        return funding_jobs.get_run(conn, job, run_id)
    for run in funding_store.list_runs(conn, job.id, limit=1, after=None):
        return run
    raise NotFound("FND_NOT_FOUND", f"{job.job_id} has not run yet")


def _now() -> datetime:
    return datetime.now(UTC)
