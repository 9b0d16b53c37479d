"""``pacioli funding`` shows funding jobs, and pauses, resumes, cancels, runs or retries them."""

import re
from collections.abc import Callable
from itertools import islice

import click
from pacioli_client import Client
from pacioli_client.answers.funding import Job, Run
from pacioli_client.errors import NotFound
from pacioli_client.funding import StartedRun

from ops.cli.service import Where, asks_service, service
from ops.cli.show.funding import approval_lines, job_line, print_csv, print_jobs, print_rows
from ops.cli.show.text import console, print_json
from ops.cli.watch import print_whole
from ops.numbers import Whole

ROW_STATUSES = ("QUEUED", "APPLIED", "INFLIGHT", "REJECTED", "VOID", "UNPOSTED")

_ID = re.compile(r"fund_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@click.group(invoke_without_command=True)
@click.option(
    "--status",
    type=click.Choice(["ACTIVE", "PAUSED", "CANCELLED", "FINISHED", "WAITING_APPROVAL"], case_sensitive=False),
    help="Show only jobs with this status.",
)
@click.option("--limit", type=Whole(1, 1000), default=50, show_default=True, help="Show so many of the newest jobs.")
@click.option("--source", help="Show only jobs that this pool pays, an @Name or a balance id.")
@asks_service
@click.pass_context
def funding(
    ctx: click.Context, status: str | None, limit: int, source: str | None, where: Where, as_json: bool
) -> None:
    """Show the funding jobs, the newest first: when each was made, how much it pays, and how many rows its last run applied.

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
    with service(where) as client:
        jobs = list(islice(client.funding.list(status=status, source=source, limit=min(limit, 100)), limit))
        if as_json:
            print_json(jobs)
        else:
            print_jobs(console(), [(job, _counted(client, job)) for job in jobs])


@funding.command("show")
@click.argument("name", metavar="JOB")
@asks_service
def show_job(name: str, where: Where, as_json: bool) -> None:
    """Show JOB: its terms, what its pool will be after the next run, its next ten runs, and the last ones.

    \b
    Example:
      pacioli funding show fund_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11
    """
    with service(where) as client:
        print_whole(client, console(), _job(client, name), as_json)


@funding.command("rows")
@click.argument("name", metavar="JOB")
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option(
    "--status", type=click.Choice(ROW_STATUSES, case_sensitive=False), help="Show only rows that have this status now."
)
@click.option("--after", type=Whole(0, 2**63 - 1), default=0, help="Show only rows with a higher number.")
@click.option("--limit", type=Whole(1, 10_000), default=100, show_default=True, help="Show so many rows.")
@click.option("--csv", "as_csv", is_flag=True, help="With --status, print all such rows as a file that `fund` takes.")
@asks_service
def rows_of_run(
    name: str, run_id: str | None, status: str | None, after: int, limit: int, as_csv: bool, where: Where, as_json: bool
) -> None:
    """Show the rows of a RUN of JOB, or of its last run, and what became of each. A row has the number of its line.

    \b
    Examples:
      pacioli funding rows salaries-2026 --status rejected
      pacioli funding rows salaries-2026 --status unposted --csv > rest.csv
      pacioli funding rows salaries-2026 run_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --after 1000 --json
    """
    if as_csv and (as_json or status is None):
        raise click.UsageError(
            "--csv needs --status, and goes without --json: a file with paid rows would pay them again"
        )
    with service(where) as client:
        job = _job(client, name)
        run_id = run_id or _its_last_run(client, job.job_id)
        if as_csv:
            print_csv(client.funding.rows(job.job_id, run_id, status=status, after=after))
            return
        found = client.funding.rows(job.job_id, run_id, status=status, after=after, limit=limit)
        rows = list(islice(found, limit))
    if as_json:
        print_json(rows)
        return
    out = console()
    print_rows(out, job, rows, title=run_id)
    if len(rows) == limit:
        out.print(f"there may be more: --after {rows[-1].row}")


@funding.command("pause")
@click.argument("name", metavar="JOB")
@asks_service
def pause_job(name: str, where: Where, as_json: bool) -> None:
    """Pause JOB after the rows that are posted. It has no more runs until it is resumed.

    \b
    Example:
      pacioli funding pause salaries-2026
    """
    _change(where, as_json, name, lambda client, job_id: client.funding.pause(job_id))


@funding.command("resume")
@click.argument("name", metavar="JOB")
@asks_service
def resume_job(name: str, where: Where, as_json: bool) -> None:
    """Resume JOB: its unfinished run goes on, and its schedule from now on. The runs in between are skipped.

    \b
    Example:
      pacioli funding resume salaries-2026
    """
    _change(where, as_json, name, lambda client, job_id: client.funding.resume(job_id))


@funding.command("cancel")
@click.argument("name", metavar="JOB")
@asks_service
def cancel_job(name: str, where: Where, as_json: bool) -> None:
    """Cancel JOB for good. Rows that are posted stay posted, and no more are.

    \b
    Example:
      pacioli funding cancel salaries-2026
    """
    _change(where, as_json, name, lambda client, job_id: client.funding.cancel(job_id))


@funding.command("approve")
@click.argument("name", metavar="JOB")
@click.option("--digest", help="Approve what was seen under this digest, without a question.")
@asks_service
def approve_job(name: str, digest: str | None, where: Where, as_json: bool) -> None:
    """Approve JOB, which a key of another owner asked for. It shows what the job would post, and asks.

    \b
    Examples:
      pacioli funding approve salaries-2026
      pacioli funding approve salaries-2026 --digest 5d1c...
    """
    with service(where) as client:
        job = _job(client, name)
        if digest is None:
            if not job.approval:
                raise click.ClickException("the job needs no approval")
            click.echo("\n".join(approval_lines(job, job.approval)), err=True)
            click.confirm("Approve it?", abort=True, err=True)
            digest = job.approval.digest
        _print_changed(client.funding.approve(job.job_id, digest), as_json)


@funding.command("refuse")
@click.argument("name", metavar="JOB")
@click.option("--reason", help="The reason, for whoever asked for it.")
@asks_service
def refuse_job(name: str, reason: str | None, where: Where, as_json: bool) -> None:
    """Refuse JOB, which a key of another owner asked for. It is then cancelled for good.

    \b
    Example:
      pacioli funding refuse salaries-2026 --reason "the list is last month's"
    """
    _change(where, as_json, name, lambda client, job_id: client.funding.refuse(job_id, reason))


@funding.command("run")
@click.argument("name", metavar="JOB")
@click.option("--reference", help="A repeated command with the same reference does nothing twice.")
@click.option("--again", is_flag=True, help="Pay all rows once more, whatever another run has paid.")
@asks_service
def run_job(name: str, reference: str | None, again: bool, where: Where, as_json: bool) -> None:
    """Run JOB once more, now, beside its schedule. It pays all rows.

    Without --again or --reference it is refused after a run that paid a part of its rows or was retried. What a run left is
    paid by `retry`.

    \b
    Example:
      pacioli funding run salaries-2026 --reference extra-december
    """
    with service(where) as client:
        started = client.funding.run(_job_id(client, name), reference, again=again or None)
    _print_new_run(started, "was there before" if started.replayed else "is to come", as_json)


@funding.command("retry")
@click.argument("name", metavar="JOB")
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option(
    "--only", type=click.Choice(["rejected", "unposted"]), help="Post only the rows of one kind. [default: both]"
)
@click.option("--again", is_flag=True, help="Pay them even if JOB was run by hand since.")
@asks_service
def retry_run(name: str, run_id: str | None, only: str | None, again: bool, where: Where, as_json: bool) -> None:
    """Post what a RUN of JOB did not pay, or its last run: the rows that were rejected, and those that were not posted.

    That works after a limit, a refusal and a cancel. Over all tries of a run each row is paid at most once. `show` has the
    tries of a run below it.

    \b
    Examples:
      pacioli funding retry salaries-2026
      pacioli funding retry salaries-2026 --only unposted
    """
    with service(where) as client:
        job_id = _job_id(client, name)
        run_id = run_id or _its_last_run(client, job_id, first_try=True)
        started = client.funding.retry(job_id, run_id, only=only, again=again)
    what = f"posts {f'the {only} rows' if only else 'the rest'} of {run_id}"
    _print_new_run(started, f"already {what}" if started.replayed else what, as_json)


def _change(where: Where, as_json: bool, name: str, change: Callable[[Client, str], Job]) -> None:
    with service(where) as client:
        _print_changed(change(client, _job_id(client, name)), as_json)


def _print_changed(job: Job, as_json: bool) -> None:
    if as_json:
        print_json(job)
    else:
        click.echo(job_line(job))


def _print_new_run(started: StartedRun, what: str, as_json: bool) -> None:
    run = started.run
    if as_json:
        print_json(run)
    else:
        click.echo(f"{run.run_id} {what}: see `pacioli funding show {run.job_id}`")


def _counted(client: Client, job: Job) -> Run | None:
    """Return the last run of a listed job with its counts. A run that is not over is counted now."""
    run = job.last_run or None
    return run if run is None or run.rows_applied is not None else client.funding.read_run(job.job_id, run.run_id)


def _job_id(client: Client, name: str) -> str:
    return name if _ID.fullmatch(name) else _job(client, name).job_id


def _job(client: Client, name: str) -> Job:
    """A job by its id or its reference."""
    for read in (
        (client.funding.read, client.funding.by_reference) if _ID.fullmatch(name) else (client.funding.by_reference,)
    ):
        try:
            return read(name)
        except NotFound:
            continue
    raise click.ClickException(f"there is no funding job {name}: give a fund_ id, or the reference it was made with")


def _its_last_run(client: Client, job_id: str, *, first_try: bool = False) -> str:
    """Return the ID of the last run. With ``first_try`` it is the run that the last one retries, if it does."""
    run = _last_run(client, job_id)
    if run is None:
        raise click.ClickException(f"{job_id} has not run yet")
    while first_try and run.retry_of:
        run = client.funding.read_run(job_id, run.retry_of)
    return run.run_id


def _last_run(client: Client, job_id: str) -> Run | None:
    return next(client.funding.runs(job_id, limit=1), None)
