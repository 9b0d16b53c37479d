"""Progress bars on standard error, which are shown only on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pacioli_client.answers.funding import Job, Run
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from ops.cli.show.text import BAD, console, money, plain


@contextmanager
def sending(err: Console) -> Iterator[Callable[[int, int], None]]:
    """Show how far a list is sent, by ``tell(done, of)`` in bytes, and that the service then checks it."""
    with _bar(err, DownloadColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("reading", total=None)

        def tell(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of, description="checking" if done >= of else "sending")

        yield tell


@contextmanager
def funding(err: Console, job: Job) -> Iterator[Callable[[Run], None]]:
    """Show how far a run is."""
    columns = (
        TextColumn("{task.fields[told]}", markup=False),
        TextColumn("{task.fields[rejected]}", style=BAD, markup=False),
    )
    with _bar(err, *columns) as bar:
        task = bar.add_task("", total=None, told="", rejected="")

        def tell(run: Run) -> None:
            rejected = run.rows_rejected or 0
            bar.update(
                task,
                description=run.status.lower(),
                completed=(run.rows_applied or 0) + rejected,
                total=run.rows_total,
                told=_progress_text(job, run),
                rejected=f"{rejected:,} rejected" if rejected else "",
            )

        yield tell


@contextmanager
def verifying() -> Iterator[Callable[[str, int, int], None]]:
    """Show how far the verifier has read."""
    with _bar(console(stderr=True), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            bar.update(tasks[what], completed=done, total=of or None)

        yield tell


def _progress_text(job: Job, run: Run) -> str:
    if run.rows_total is None:
        return "not started"
    parts = [
        f"{run.rows_accepted:,} of {run.rows_total:,} accepted",
        f"{(run.rows_applied or 0) + (run.rows_rejected or 0):,} decided",
        f"{money(run.precise_amount_applied or 0, job.precision)} {plain(job.currency)}",
        f"{run.rate_per_s or 0:,.0f}/s",
    ]
    return ", ".join(parts if not run.left_s else [*parts, f"{run.left_s:,.0f} s left"])


def _bar(err: Console, *columns: ProgressColumn) -> Progress:
    """Make a bar that disappears at its end, and that needs a terminal."""
    first = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=30))
    return Progress(*first, *columns, console=err, transient=True, disable=not err.is_terminal)
