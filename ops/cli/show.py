"""What the commands print for people: rich tables, amounts with their thousands, nothing that a client could forge."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import click
import msgspec
from msgspec import structs
from rich.box import SIMPLE_HEAD
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
from rich.table import Table
from rich.text import Text

from core.base.money import to_text
from core.funding import views as funding_views
from core.funding.dry_run import DryRun
from core.funding.forecast import Forecast
from core.funding.store import JobRow, RowState, RunRow
from core.funding.terms import job_terms
from core.funding.views import Counts
from core.ledger.explain import WIRE_NAMES, sum_text
from core.ledger.rules.model import Kind, Rejection
from core.ledger.store.balances import BalanceRow, Entry
from core.ledger.store.queues import QueueState
from core.ledger.store.transactions import Batch, Line, TransactionRow
from core.verification.report import Report, TellProgress

PIPE_WIDTH = 160
"""Columns where there is no terminal to ask."""

_GOOD, _BAD, _QUIET = "green", "bold red", "dim"
STATUS_STYLES = {
    "APPLIED": _GOOD,
    "INFLIGHT": "cyan",
    "QUEUED": "yellow",
    "SCHEDULED": "magenta",
    "VOID": _QUIET,
    "REJECTED": _BAD,
    "UNPOSTED": _QUIET,
    # Of funding jobs and their runs.
    "ACTIVE": _GOOD,
    "PAUSED": "yellow",
    "CANCELLED": _BAD,
    "FINISHED": _QUIET,
    "PENDING": "magenta",
    "RUNNING": "cyan",
    "COMPLETED": _GOOD,
    "REFUSED": _BAD,
}


def console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Prints text as it is: brackets in a client's description are no markup."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(markup=False, highlight=False, emoji=False, stderr=stderr, quiet=quiet, width=width)


def table(*columns: str, title: str | None = None, right: Sequence[str] = ()) -> Table:
    """A table with these headings; those in ``right`` hold numbers."""
    new = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        new.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return new


def money(minor: int, precision: int | None) -> str:
    """For people: ``-1,234.50`` at precision 100. Without a precision, minor units as they are."""
    whole, point, fraction = to_text(minor, precision or 1).partition(".")
    digits = str(precision or 1)
    if digits == "1" + "0" * (len(digits) - 1) and len(digits) > 1:
        point, fraction = ".", fraction.ljust(len(digits) - 1, "0")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}{int(whole.removeprefix('-')):,}{point}{fraction}"


def plain(text: str) -> str:
    """A client's text without what a terminal would obey."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_queues(out: Console, states: Sequence[QueueState]) -> None:
    columns = ("queue", "waiting", "oldest", "per second", "decided", "cursor", "last drained")
    queues = table(*columns, right=columns[:-1])
    for state in states:
        queues.add_row(
            str(state.number),
            f"{state.depth:,}",
            "" if state.oldest_age_s is None else f"{state.oldest_age_s:.1f} s",
            f"{state.rate:,.0f}",
            f"{state.decided:,}",
            str(state.cursor),
            _time(state.drained_at) if state.drained_at else "never",
        )
    out.print(queues)


def print_balance(
    out: Console,
    row: BalanceRow,
    precision: int | None,
    entries: Sequence[Entry],
    jobs: Sequence[tuple[JobRow, Forecast | None]] = (),
) -> None:
    """Its sums, what may be spent, what funding jobs will draw, and its last entries."""
    out.print(Text(f"{plain(row.indicator or row.balance_id)} in {plain(row.currency)}", style="bold"))
    facts = Table.grid(padding=(0, 2))
    facts.add_column()
    facts.add_column(justify="right")
    for name, minor in (
        ("credits", row.credit_balance),
        ("debits", row.debit_balance),
        ("balance", row.balance),
        ("held by inflight debits", row.inflight_debit_balance),
        ("expected by inflight credits", row.inflight_credit_balance),
        ("available", row.available),
    ):
        facts.add_row(name, Text(money(minor, precision), style=_BAD if minor < 0 else ""))
    out.print(facts)
    unit = "in minor units, for the currency has no precision yet" if precision is None else f"precision {precision}"
    out.print(Text(f"{row.balance_id}, version {row.version}, {unit}", style=_QUIET))
    for job, forecast in jobs:
        assert job.next_due is not None
        out.print(f"{plain(job.name)}, {_time(job.next_due)} UTC: {forecast_text(job, forecast)}  ({job.job_id})")
    if not entries:
        out.print("no entries yet\n")
        return
    lines = table("at", "debit", "credit", "balance", "with", "reference", right=("debit", "credit", "balance"))
    for entry in entries:
        amount = money(entry.amount, entry.precision)
        lines.add_row(
            _time(entry.at),
            amount if entry.direction == "debit" else "",
            amount if entry.direction == "credit" else "",
            money(entry.balance_after, entry.precision),
            plain(entry.counterparty),
            plain(entry.reference),
        )
    out.print(lines)


def print_transaction(
    out: Console, row: TransactionRow, destination: str | None, line: Line | None, legs: Sequence[TransactionRow] = ()
) -> None:
    """Its status and how it came to it: the timeline, the sum of a rejection, the place in line, the legs of a split."""
    status = f"{row.status}"
    amount = f"{money(row.amount, row.precision)} {plain(row.currency)}" if row.amount else "all that is left"
    head = Text(status, style=STATUS_STYLES[status])
    head.append(f"  {amount}", style="bold")
    out.print(head)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style=_QUIET)
    facts.add_column(overflow="fold")
    facts.add_row("from", plain(row.source_indicator or f"bln_{row.source}") if row.source is not None else "several")
    facts.add_row("to", plain(destination) if destination is not None else "several")
    facts.add_row("kind", Kind(row.kind).name.lower().replace("_", " "))
    facts.add_row("description", plain(row.description))
    facts.add_row("reference", plain(row.reference))
    facts.add_row("id", row.transaction_id)
    if row.parent:
        facts.add_row("belongs to", plain(row.parent))
    if row.seq:
        facts.add_row("sequence", f"{row.seq}" if row.queue is None else f"{row.seq}, in queue {row.queue}")
    if (hold := row.hold) is not None:
        parts = (("committed", hold.committed), ("voided", hold.voided), ("remaining", hold.remaining))
        facts.add_row("hold", ", ".join(f"{name} {money(minor, row.precision)}" for name, minor in parts))
    for status_then, at in row.timeline:
        facts.add_row(status_then, _time(at))
    if row.rejection is not None:
        facts.add_row("why", plain(sum_text(row.rejection, row)))
    if line is not None:
        facts.add_row("in line", line_text(line))
    out.print(facts)
    if legs:
        rows = table("leg", "from", "to", "amount", "status", right=("amount",))
        for leg in legs:
            source = leg.source_indicator or f"bln_{leg.source}"
            amount = money(leg.amount, leg.precision)
            rows.add_row(plain(leg.reference), plain(source), f"bln_{leg.destination}", amount, leg.status)
        out.print(rows)


def print_batch(out: Console, batch_id: str, batch: Batch) -> None:
    """What a bulk has come to."""
    rows = table("status", "transactions", title=batch_id, right=("transactions",))
    for status, count in batch.by_status.items():
        rows.add_row(Text(status, style=STATUS_STYLES[status]), f"{count:,}")
    rows.add_row("all", f"{batch.transactions:,}")
    out.print(rows)


def line_text(line: Line) -> str:
    """Where an undecided transaction stands, and what it waits for."""
    place = f"{line.ahead} ahead of it in queue {line.queue}, the oldest waits {line.oldest_age_s:.1f} s"
    if line.waits_for_queues:
        return f"{place}; earlier credits to its source wait in queue {', '.join(map(str, line.waits_for_queues))}"
    return place if line.ahead else f"next in queue {line.queue}, waiting {line.oldest_age_s:.1f} s for a worker"


def print_currencies(out: Console, precisions: Mapping[str, int]) -> None:
    if not precisions:
        out.print("no currency has a precision yet: the first transaction that states one fixes it")
        return
    rows = table("currency", "precision", "one minor unit", right=("precision", "one minor unit"))
    for currency, precision in precisions.items():
        rows.add_row(plain(currency), str(precision), to_text(1, precision))
    out.print(rows)


def print_report(out: Console, report: Report) -> None:
    """What was read, and the first problems if there are any."""
    since = f" from sequence {report.from_sequence:,} on" if report.from_sequence > 1 else ""
    read = (
        f"{_count(report.transactions, 'transaction')}{since} ({report.rejected:,} rejected, {report.undecided:,} not decided "
        f"yet), {_count(report.balances, 'balance')}, {'' if report.holds is None else _count(report.holds, 'hold') + ', '}"
        f"{_count(report.currencies, 'currency', 'currencies')}"
    )
    if report.ok:
        out.print(Text("the ledger is sound", style=_GOOD), f": {read}", sep="")
        _print_checkpoint(out, report)
        return
    out.print(
        Text(f"the ledger is damaged: {_count(report.problem_count, 'problem')}", style=_BAD), f" in {read}", sep=""
    )
    out.print(f"first: {plain(str(report.problems[0]))}")
    rows = table("table", "row", "what", "expected", "found")
    for problem in report.problems:
        rows.add_row(*map(plain, structs.astuple(problem)))
    out.print(rows)
    if report.problem_count > len(report.problems):
        out.print(f"and {report.problem_count - len(report.problems):,} more, which may follow from these")


def _print_checkpoint(out: Console, report: Report) -> None:
    if (checkpoint := report.checkpoint) is not None:
        how = "signed" if checkpoint.signed else "unsigned, or not checked, as there is no PACIOLI_CHAIN_KEY"
        up_to = f"{checkpoint.heads.sequence:,}"
        out.print(Text(f"checkpoint {checkpoint.id} vouches for the log up to sequence {up_to}; {how}", style=_QUIET))


# Funding


class Counted(Protocol):
    """A run and what its rows came to."""

    @property
    def job(self) -> JobRow: ...
    @property
    def run(self) -> RunRow: ...
    @property
    def counts(self) -> Counts: ...


def print_problems(out: Console, problems: Sequence[Mapping[str, Any]], count: int) -> None:
    """The bad rows of a file."""
    rows = table("line", "field", "message", title=_count(count, "problem"), right=("line",))
    for problem in problems:
        rows.add_row(str(problem["row"]), plain(problem["field"]), plain(problem["message"]))
    out.print(rows)
    if count > len(problems):
        out.print(f"and {count - len(problems):,} more")


_SHOWN_NAMES = 5


def print_dry_run(out: Console, found: DryRun) -> None:
    """What a run would come to, and which rows would be rejected."""
    job = found.job
    would = Text("would run", style=_GOOD) if found.refusal is None else Text("would be refused", style=_BAD)
    out.print(Text(f"{plain(job.name)}: ", style="bold") + would)
    facts = _facts()
    facts.add_row("rows", f"{found.rows:,}", _money(found.amount, job))
    if found.refusal is not None:
        facts.add_row("why", "", plain(found.refusal["message"]))
    else:
        facts.add_row(_moved(job), f"{found.applied:,}", _money(found.applied_amount, job))
        for reason, rows in sorted(found.rejected.items()):
            facts.add_row("rejected", Text(f"{rows:,}", style=_BAD), WIRE_NAMES[reason])
        if found.beyond_limit:
            facts.add_row("beyond the limit", Text(f"{found.beyond_limit:,}", style=_BAD), "would not be posted")
    if found.new_names:
        some = ", ".join(found.new_names[:_SHOWN_NAMES]) + (", ..." if len(found.new_names) > _SHOWN_NAMES else "")
        facts.add_row("new balances", f"{len(found.new_names):,}", plain(some))
    facts.add_row(f"{_pool(job)} now", "", _money(found.pool_before, job))
    facts.add_row(f"{_pool(job)} after it", "", _money(found.pool_after, job))
    out.print(facts)
    if found.examples:
        examples = [
            (row.row, found.names[row.destination], row.amount, outcome.rejection) for row, outcome in found.examples
        ]
        _print_rejected(out, job, examples, title="would be rejected")
        if (more := found.rejected.total() - len(found.examples)) > 0:
            out.print(f"and {more:,} more")


def print_occurrences(out: Console, next_runs: Sequence[datetime], zone: str) -> None:
    """When a job runs next, on its own clock and in UTC."""
    if not next_runs:
        return
    rows = table("next runs", *([zone] if zone != "UTC" else []), "UTC", right=("next runs",))
    for number, at in enumerate(next_runs, 1):
        clocks = [at.astimezone(ZoneInfo(name)) for name in dict.fromkeys((zone, "UTC"))]
        rows.add_row(str(number), *(f"{clock:%a} {_time(clock)} {clock:%Z}" for clock in clocks))
    out.print(rows)


def print_job(out: Console, job: JobRow, forecast: Forecast | None) -> None:
    """A job's terms, and what its pool will be after the next run."""
    terms, status = job_terms(job), funding_views.job_status(job)
    out.print(Text(f"{plain(job.name)}  ", style="bold") + Text(status, style=STATUS_STYLES[status]))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style=_QUIET)
    facts.add_column(overflow="fold")
    facts.add_row("id", job.job_id)
    facts.add_row("reference", plain(job.reference))
    facts.add_row("pool", f"{_pool(job)} in {plain(job.currency)}, precision {job.precision}")
    facts.add_row("when", schedule_text(job))
    facts.add_row("rows", _rows_text(job))
    if terms.allow_overdraft or terms.overdraft_limit is not None:
        limit = "" if terms.overdraft_limit is None else f", down to {_money(-terms.overdraft_limit, job)}"
        facts.add_row("overdraft", f"yes{limit}{', as far as it goes' if terms.until_limit else ''}")
    named = {"atomic": terms.atomic, "inflight": terms.inflight, "duplicates allowed": terms.allow_duplicates}
    if any(named.values()):
        facts.add_row("also", ", ".join(name for name, is_so in named.items() if is_so))
    if terms.cron is not None:
        facts.add_row("came due", f"{_count(job.runs_made, 'run')}, {job.skipped:,} skipped")
    facts.add_row("the pool", forecast_text(job, forecast))
    out.print(facts)


def forecast_text(job: JobRow, forecast: Forecast | None) -> str:
    """What the pool will be after the next run, and how many it still carries. None took too long to look up."""
    if forecast is None:
        return "takes too long to foresee"
    left = "" if forecast.runs_left is None else f"; it carries {_count(forecast.runs_left, 'run')}"
    now = _money(forecast.balance, job)
    if job.next_due is None:
        return f"{now} now"
    if forecast.runs_left == 0 and not job_terms(job).until_limit:
        return f"{now} now; the next run, of {_money(forecast.amount, job)}, would be refused{left}"
    return f"{now} now, {_money(forecast.balance_after, job)} after the next run{left}"


def print_jobs(out: Console, jobs: Sequence[tuple[JobRow, RunRow | None]]) -> None:
    """Jobs, each with its last run."""
    if not jobs:
        out.print("no funding jobs: `pacioli fund --help` says how to make one")
        return
    rows = table("job", "name", "status", "pool", "when", "next run (UTC)", "last run", "rows", right=("rows",))
    rows.columns[0].no_wrap = True  # It is there to be copied.
    for job, run in jobs:
        status = funding_views.job_status(job)
        rows.add_row(
            job.job_id,
            plain(job.name),
            Text(status, style=STATUS_STYLES[status]),
            _pool(job),
            schedule_text(job),
            _time(job.next_due) if job.next_due is not None and job.status == "ACTIVE" else "",
            "" if run is None else _run_status(job, run),
            "by rule" if job.row_count is None else f"{job.row_count:,}",
        )
    out.print(rows)


def print_runs(out: Console, runs: Sequence[Counted]) -> None:
    """The runs of a job, with what their rows came to."""
    if not runs:
        out.print("no runs yet")
        return
    columns = ("run", "due (UTC)", "status", "rows", "accepted", "applied", "rejected", "not posted", "amount")
    rows = table(*columns, right=columns[3:])
    rows.columns[0].no_wrap = True
    for each in runs:
        rejected = sum(each.counts.rejected.values())
        rows.add_row(
            each.run.run_id,
            _time(each.run.due_at),
            _run_status(each.job, each.run),
            _number(each.counts.total),
            _number(each.counts.accepted),
            _number(each.counts.applied),
            Text(_number(rejected), style=_BAD if rejected else ""),
            _number(each.counts.unposted),
            _money(each.counts.applied_amount, each.job),
        )
    out.print(rows)


def print_rejected(
    out: Console, job: JobRow, rows: Sequence[RowState], by_seq: Mapping[int, TransactionRow], *, title: str
) -> None:
    """Rejected rows of a run and why. Their transactions are given by seq."""
    _print_rejected(
        out, job, [(row.row, row.destination, row.amount, by_seq[row.seq or 0].rejection) for row in rows], title=title
    )


def _print_rejected(
    out: Console, job: JobRow, rows: Iterable[tuple[int, str, int, Rejection | None]], *, title: str
) -> None:
    lines = table("row", "destination", "amount", "why", title=title, right=("row", "amount"))
    for row, destination, amount, rejection in rows:
        why = "" if rejection is None else plain(sum_text(rejection, job))
        lines.add_row(str(row), plain(destination), _money(amount, job), why)
    out.print(lines)


def print_run(out: Console, job: JobRow, run: RunRow, counts: Counts, *, pool_before: int | None, pool: int) -> None:
    """What a run came to. ``pool`` is the balance now; ``pool_before`` None when it is not known."""
    out.print(Text(f"{plain(job.name)}  ", style="bold") + _run_status(job, run))
    facts = _facts()
    facts.add_row("rows", _number(counts.total), "" if run.amount is None else _money(run.amount, job))
    if run.refusal is not None:
        facts.add_row("why", "", plain(json.loads(run.refusal)["message"]))
    facts.add_row(_moved(job), f"{counts.applied:,}", _money(counts.applied_amount, job))
    for reason, rows in counts.rejected.items():
        facts.add_row("rejected", Text(f"{rows:,}", style=_BAD), WIRE_NAMES[reason])
    if counts.unposted:
        why = "beyond the limit" if run.last_row is not None and run.status == "COMPLETED" else ""
        facts.add_row("not posted", Text(f"{counts.unposted:,}", style=_BAD), why)
    if pool_before is not None:
        facts.add_row(f"{_pool(job)} before", "", _money(pool_before, job))
    facts.add_row(f"{_pool(job)} now", "", _money(pool, job))
    if run.started_at is not None and run.ended_at is not None:
        facts.add_row(
            "took", "", f"{(run.ended_at - run.started_at).total_seconds():.1f} s, {counts.rate:,.0f} rows a second"
        )
    out.print(facts)


def print_rows(
    out: Console, job: JobRow, rows: Sequence[RowState], by_seq: Mapping[int, TransactionRow], *, title: str
) -> None:
    """Rows of a run and their transactions, which are given by seq."""
    if not rows:
        out.print("no such rows")
        return
    retried = any(row.first_seq is not None for row in rows)
    columns = ("row", "destination", "amount", "status", "transaction", *(("first",) if retried else ()), "why")
    lines = table(*columns, title=title, right=("row", "amount"))
    for row in rows:
        transaction, first = by_seq.get(row.seq or 0), by_seq.get(row.first_seq or 0)
        status = "UNPOSTED" if transaction is None else str(transaction.status)
        lines.add_row(
            str(row.row),
            plain(row.destination),
            _money(row.amount, job),
            Text(status, style=STATUS_STYLES[status]),
            "" if transaction is None else transaction.transaction_id,
            *(("" if first is None else first.transaction_id,) if retried else ()),
            plain(sum_text(transaction.rejection, job)) if transaction and transaction.rejection else "",
        )
    out.print(lines)


def job_line(job: JobRow) -> str:
    """How a job stands, in one line."""
    status = funding_views.job_status(job)
    if status == "CANCELLED":
        return f"{job.job_id} is cancelled: what is posted stays, and nothing more will be"
    if status == "PAUSED":
        return f"{job.job_id} is paused: `pacioli funding resume {job.job_id}` goes on with it"
    if job.next_due is not None:
        return f"{job.job_id} is active: it runs next at {_time(job.next_due)} UTC"
    return f"{job.job_id} is active" if job.unfinished else f"{job.job_id} is finished: `run` runs it once more"


def schedule_text(job: JobRow) -> str:
    """When a job runs: its cron expression, its time, or that it ran when it was made."""
    terms = job_terms(job)
    if terms.at is not None:
        return f"at {_time(terms.at)} UTC"
    if terms.cron is None:
        return "at once"
    until = "" if terms.ends_at is None else f" until {_time(terms.ends_at)} UTC"
    times = "" if terms.count is None else f", {_count(terms.count, 'time')}"
    return f"{plain(terms.cron)} {terms.timezone}{until}{times}"


def _rows_text(job: JobRow) -> str:
    terms = job_terms(job)
    if job.row_count is not None and job.amount is not None:
        return f"{job.row_count:,}, {_money(job.amount, job)} in all"
    each = (
        f"{_money(terms.amount, job)} each"
        if terms.amount is not None
        else f"up to {_money(terms.top_up_to or 0, job)}"
    )
    clauses = f" {terms.logical_operator} ".join(
        f"{clause.field} {clause.operator} {clause.value if clause.values is None else clause.values}"
        for clause in terms.filters or ()
    )
    return f"all balances with {plain(clauses)}, {each}"


def _run_status(job: JobRow, run: RunRow) -> Text:
    status = funding_views.run_status(job, run)
    return Text(status, style=STATUS_STYLES[status])


def _facts() -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style=_QUIET)
    facts.add_column(justify="right")
    facts.add_column(overflow="fold")
    return facts


def _moved(job: JobRow) -> str:
    return "held" if job_terms(job).inflight else "applied"


def _pool(job: JobRow) -> str:
    return plain(job.indicator or job.source_id)


def _money(minor: int, job: JobRow) -> str:
    return f"{money(minor, job.precision)} {plain(job.currency)}"


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


# Bars


@contextmanager
def reading(err: Console, size: int | None) -> Iterator[Callable[[int, int | None], None]]:
    """A bar of how far a file is read, for ``tell(rows, bytes)``; of its rows alone when its size is not known.

    Once all is read, ``bytes`` is None: then the list is looked at as a whole.
    """
    columns = (DownloadColumn(), TimeRemainingColumn()) if size is not None else ()
    with _bar(err, *columns) as bar:
        task = bar.add_task("reading", total=size)

        def tell(rows: int, done: int | None) -> None:
            if done is None and size is not None:
                bar.update(task, completed=size, description=f"{rows:,} rows read, checking")
            else:
                bar.update(task, completed=done or rows, description=f"reading, {rows:,} rows")

        yield tell


@contextmanager
def funding_progress(err: Console) -> Iterator[Callable[[JobRow, RunRow, Counts], None]]:
    """A bar of how far a run is."""
    columns = (
        TextColumn("{task.fields[told]}", markup=False),
        TextColumn("{task.fields[rejected]}", style=_BAD, markup=False),
    )
    with _bar(err, *columns) as bar:
        task = bar.add_task("", total=None, told="", rejected="")

        def tell(job: JobRow, run: RunRow, counts: Counts) -> None:
            rejected = sum(counts.rejected.values())
            bar.update(
                task,
                description=funding_views.run_status(job, run).lower(),
                completed=counts.applied + rejected,
                total=counts.total,
                told=_progress_text(job, counts),
                rejected=f"{rejected:,} rejected" if rejected else "",
            )

        yield tell


def _progress_text(job: JobRow, counts: Counts) -> str:
    if counts.total is None:
        return "not started"
    parts = [
        f"{counts.accepted:,} of {counts.total:,} accepted",
        f"{counts.applied + sum(counts.rejected.values()):,} decided",
        _money(counts.applied_amount, job),
        f"{counts.rate:,.0f}/s",
    ]
    return ", ".join(parts if counts.left_s is None else [*parts, f"{counts.left_s:,.0f} s left"])


@contextmanager
def progress() -> Iterator[TellProgress]:
    """A bar on standard error, if that is a terminal, of what the verifier reads."""
    with _bar(console(stderr=True), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            bar.update(tasks[what], completed=done, total=of or None)

        yield tell


def _bar(err: Console, *columns: ProgressColumn) -> Progress:
    """A bar that is gone when it is done, and never there without a terminal."""
    first = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=30))
    return Progress(*first, *columns, console=err, transient=True, disable=not err.is_terminal)


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
