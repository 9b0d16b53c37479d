"""Watches a run of a funding job to its end: the bar, possible trouble, Ctrl-C, and the result."""

import signal
from collections.abc import Iterator
from itertools import islice
from time import monotonic, sleep

import click
from msgspec.structs import replace
from pacioli_client import Client
from pacioli_client.answers.funding import Job, Run
from pacioli_client.errors import Conflict, Unreachable
from pacioli_client.errors import Unavailable as Busy
from rich.console import Console

from ops.cli.asking import at_terminal
from ops.cli.show import bars
from ops.cli.show.funding import approval_lines, print_job, print_occurrences, print_rejected, print_run, print_runs
from ops.cli.show.text import count, fields_of, print_json
from ops.server.instance import Unavailable

LEFT_GOING = 130
"""The exit status after a Ctrl-C that does not cancel: the job is paused, goes on, or is not made."""

POLL_S = 0.25
"""The pause between two requests. After a slow request the pause is ``PAUSES`` times as long as the request."""
PAUSES = 4

SILENT_S = 15
"""A worker without a heartbeat for so long counts as gone, and a run without progress as stuck."""

SHOWN_REJECTED = 5
SHOWN_RUNS = 10

ENDED = ("COMPLETED", "REFUSED", "CANCELLED")


def to_its_end(client: Client, job: Job, run: Run, err: Console) -> Run:
    """Follow a run to its end. Ctrl-C pauses it at once, and then asks what to do.

    Raises:
        click.exceptions.Exit: Ctrl-C, and it goes on without this command, or stays paused.
        Unavailable: the service does not answer any more.
    """
    try:
        while True:
            try:
                return _follow(client, job, run, err)
            except KeyboardInterrupt:
                run = _pause(client, job, run)
            if not _is_paused(run):
                continue  # Everything was posted before the pause, so there is nothing to ask.
            match _choice(job, run, err):
                case "g":
                    client.funding.resume(job.job_id)
                case "c":
                    client.funding.cancel(job.job_id)
                case "l":
                    client.funding.resume(job.job_id)
                    text = f"{job.job_id} goes on by itself: see `pacioli funding show {job.job_id}`"
                    raise _left(text)
                case _:
                    text = f"{job.job_id} is paused: `pacioli funding resume {job.job_id}` goes on with it"
                    raise _left(text)
    except (Busy, Unreachable) as error:
        raise Unavailable(
            f"the service does not answer ({error}); the run goes on when it is back: `pacioli funding show {job.job_id}`"
        ) from None


def end(client: Client, out: Console, run: Run, *, pool_before: int | None, as_json: bool) -> None:
    """Print the result of a run.

    Raises:
        click.exceptions.Exit: not every row was applied.
    """
    job = client.funding.read(run.job_id)
    rejected = []
    if run.rows_rejected:
        rows = client.funding.rows(run.job_id, run.run_id, status="REJECTED", limit=SHOWN_REJECTED)
        rejected = list(islice(rows, SHOWN_REJECTED))
    if as_json:
        print_json({**fields_of(replace(job, run=run)), "rejected": rejected})
    else:
        pool = client.balances.read(job.source).balance
        print_run(out, job, run, pool_before=pool_before, pool=pool)
        if rejected:
            print_rejected(out, job, rejected, title="the first rejected rows")
        for line in _next_steps(job, run):
            out.print(line)
    if run.status != "COMPLETED" or run.rows_applied != run.rows_total:
        raise click.exceptions.Exit(1)


def print_whole(client: Client, out: Console, job: Job, as_json: bool) -> None:
    """Show a job: its pool, its next runs, and its last runs."""
    runs = [
        client.funding.read_run(job.job_id, run.run_id)
        for run in islice(client.funding.runs(job.job_id, limit=SHOWN_RUNS), SHOWN_RUNS)
    ]
    if as_json:
        print_json({**fields_of(job), "runs": runs})
        return
    print_job(out, job)
    if job.approval:
        out.print("\n".join(approval_lines(job, job.approval)), markup=False)
    print_occurrences(out, job.next_runs or [], job.timezone)
    print_runs(out, job, runs)


def _follow(client: Client, job: Job, run: Run, err: Console) -> Run:
    moved_at, last, said = monotonic(), -1, set[str]()
    with bars.funding(err, job) as tell:
        while True:
            began = monotonic()
            run = client.funding.read_run(job.job_id, run.run_id)
            tell(run)
            if run.status in ENDED and not run.rows_queued:
                return run
            if run.rows_accepted != last:
                moved_at, last = began, run.rows_accepted
            trouble = _trouble(client, run, still_s=began - moved_at)
            if trouble is not None and trouble not in said:
                err.print(trouble)
                said.add(trouble)
            sleep(max(POLL_S, PAUSES * (monotonic() - began)))


def _trouble(client: Client, run: Run, *, still_s: float) -> str | None:
    """Return why a run may be stuck, or None."""
    if run.status == "PAUSED":
        return f"the job is paused; `pacioli funding resume {run.job_id}` lets it go on"
    if not client.health().checks.workers_alive:
        return f"no worker was heard of for {SILENT_S} s: the run waits for one; `pacioli up` starts one"
    if still_s > SILENT_S:
        return f"a worker lives, but nothing has moved for {SILENT_S} s: see that beat runs, and what they log"
    return None


def _pause(client: Client, job: Job, run: Run) -> Run:
    """Pause a job, and return its run. Another Ctrl-C has to wait, so that it is known whether money moves.

    A job of which everything is posted goes on.
    """
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        client.funding.pause(job.job_id)
        run = client.funding.read_run(job.job_id, run.run_id)
        if not _is_paused(run):
            client.funding.resume(job.job_id)
        return run
    except Conflict:  # Somebody has cancelled it.
        return client.funding.read_run(job.job_id, run.run_id)
    finally:
        signal.signal(signal.SIGINT, handler)


def _is_paused(run: Run) -> bool:
    return run.status == "PAUSED"


def _choice(job: Job, run: Run, err: Console) -> str:
    """Ask what to do with a paused run. A second Ctrl-C, the end of input and the absence of a terminal leave it paused."""
    left = (run.rows_total or job.rows or 0) - run.rows_accepted
    said = (
        f"paused: {count(run.rows_accepted, 'row')} posted, {left:,} not"
        if run.rows_total
        else "paused before its first row"
    )
    click.echo(f"\n{said}", err=True)
    if not at_terminal():
        return ""
    question = "Go on (g), leave it running (l), or cancel the rest (c)?"
    try:
        return str(click.prompt(question, type=click.Choice(["g", "l", "c"]), show_choices=False, err=True))
    except click.Abort:
        click.echo(err=True)
        return ""


def _left(text: str) -> click.exceptions.Exit:
    click.echo(text, err=True)
    return click.exceptions.Exit(LEFT_GOING)


def _next_steps(job: Job, run: Run) -> Iterator[str]:
    """Return what can be done about a run that did not apply every row."""
    job_id, run_id = job.job_id, run.run_id
    if run.rows_rejected:
        yield f"all rejected rows:  pacioli funding rows {job_id} {run_id} --status rejected"
    if run.rows_unposted:
        yield f"rows not posted:    pacioli funding rows {job_id} {run_id} --status unposted"
    if run.rows_rejected or run.rows_unposted:
        yield "the same as a file for `pacioli fund`: add --csv"
    if run.rows_to_retry:
        yield f"pay the rest of it, {count(run.rows_to_retry, 'row')}: pacioli funding retry {job_id} {run_id}"
