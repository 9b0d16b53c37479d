"""Prints funding jobs, their runs and the rows of a run for people."""

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from pacioli_client.answers.funding import Approval, DryRun, Job, KeptRule, Row, Run
from pacioli_client.errors import Problem
from pacioli_client.requests import NewJob
from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.base.money import grouped, to_minor
from ops.cli.show.text import BAD, GOOD, QUIET, count, money, plain, status_text, table, time

SHOWN_TEXT = 30
"""The number of characters of a wrong cell that are shown."""
SHOWN_NAMES = 5

Priced = Job | DryRun
"""An answer that has the currency and the precision of its amounts."""


def print_problems(out: Console, problems: Sequence[Problem], total: int) -> None:
    """Print the bad rows of a file."""
    rows = table(
        "row", "field", "as it stands", "message", title=count(total, "problem"), right=("row",), wrap=("message",),
        drop=("as it stands",),
    )  # fmt: skip
    for problem in problems:
        text = plain(problem.text or "")
        stands = text if len(text) <= SHOWN_TEXT else f"{text[: SHOWN_TEXT - 3]}..."
        number = "" if problem.row is None else str(problem.row)
        rows.add_row(number, plain(problem.field), stands, plain(problem.message))
    out.print(rows)
    if total > len(problems):
        out.print(f"and {total - len(problems):,} more")


def print_dry_run(out: Console, asked: NewJob, found: DryRun) -> None:
    """Print what a run would do, and which rows it would reject."""
    would = Text("would run", style=GOOD) if found.would_run else Text("would be refused", style=BAD)
    out.print(Text(f"{plain(found.name)}: ", style="bold") + would)
    facts, pool = _facts(), plain(asked.source)
    facts.add_row("rows", f"{found.rows_total:,}", _money(found.precise_amount_total, found))
    if found.refusal is not None:
        facts.add_row("why", "", plain(str(found.refusal["message"])))
    else:
        what = "held" if asked.inflight else "applied"
        facts.add_row(what, f"{found.rows_applied:,}", _money(found.precise_amount_applied, found))
        for reason, rows in found.rejected_by_reason.items():
            facts.add_row("rejected", Text(f"{rows:,}", style=BAD), plain(reason))
        if found.rows_beyond_limit:
            facts.add_row("beyond the limit", Text(f"{found.rows_beyond_limit:,}", style=BAD), "would not be posted")
    if found.new_balances:
        names = found.new_names[:SHOWN_NAMES]
        some = ", ".join(names) + (", ..." if found.new_balances > len(names) else "")
        facts.add_row("new balances", f"{found.new_balances:,}", plain(some))
    facts.add_row(f"{pool} now", "", _money(found.pool.balance, found))
    facts.add_row(f"{pool} after it", "", _money(found.pool.balance_after, found))
    out.print(facts)
    if found.rejected:
        rows_rejected = [(row.row, row.destination, row.precise_amount, row.message) for row in found.rejected]
        _print_rejected(out, found, rows_rejected, title="would be rejected")
        if (more := found.rows_rejected - len(found.rejected)) > 0:
            out.print(f"and {more:,} more")
    print_occurrences(out, found.next_runs, asked.timezone or "UTC")


_ODD = {
    "TOTAL": "as much as all other rows together, as a total would be",
    "LARGE": "ten times the median or more",
    "TWICE": "the same amount to the same balance or with the same text, twice",
}


def print_look(out: Console, found: DryRun) -> None:
    """Print the first and the largest rows of a dry run, and those that are odd."""
    rows = table("rows", "row", "destination", "amount", "text", right=("row", "amount"), drop=("text",))
    for what, listed in (("first", found.first_rows), ("largest", found.largest_rows)):
        for number, row in enumerate(listed):
            amount = _money(row.precise_amount, found)
            rows.add_row("" if number else what, str(row.row), plain(row.destination), amount, plain(row.description))
    out.print(rows)
    for odd in found.odd:
        listed_rows = ", ".join(
            f"row {row.row} ({plain(row.destination)}, {_money(row.precise_amount, found)})" for row in odd.rows
        )
        more = "" if odd.count <= len(odd.rows) else f" and {odd.count - len(odd.rows):,} more"
        out.print(Text(f"odd: {_ODD.get(odd.kind, odd.kind)}: {listed_rows}{more}", style=BAD))


def print_new_names(out: Console, asked: NewJob, found: DryRun, near: Mapping[str, str]) -> None:
    """Print the @Names that do not exist, and the existing name that each may be meant for."""
    for name in found.new_names[:SHOWN_NAMES]:
        pays = ", which would pay" if name == asked.source else ""
        like = f"; did you mean {plain(near[name])}?" if name in near else ""
        out.print(Text(f"there is no {plain(name)} in {plain(found.currency)} yet{pays}{like}", style=BAD))
    if found.new_balances > SHOWN_NAMES:
        out.print(f"and {found.new_balances - SHOWN_NAMES:,} more")


def print_occurrences(out: Console, next_runs: Sequence[datetime], zone: str) -> None:
    """Print when a job runs next, in its time zone and in UTC."""
    if not next_runs:
        return
    rows = table("next runs", *([zone] if zone != "UTC" else []), "UTC", right=("next runs",))
    for number, at in enumerate(next_runs, 1):
        clocks = [at.astimezone(ZoneInfo(name)) for name in dict.fromkeys((zone, "UTC"))]
        rows.add_row(str(number), *(f"{clock:%a} {time(clock)} {clock:%Z}" for clock in clocks))
    out.print(rows)


def print_job(out: Console, job: Job) -> None:
    """Print the terms of a job, and what its pool will hold after the next run."""
    out.print(Text(f"{plain(job.name)}  ", style="bold") + status_text(job.status))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style=QUIET)
    facts.add_column(overflow="fold")
    facts.add_row("id", job.job_id)
    facts.add_row("reference", plain(job.reference))
    facts.add_row("pool", f"{_pool(job)} in {plain(job.currency)}, precision {job.precision}")
    facts.add_row("when", schedule_text(job))
    facts.add_row("rows", _rows_text(job))
    if job.allow_overdraft or job.overdraft_limit is not None:
        limit = "" if job.overdraft_limit is None else f", down to {_major(-job.overdraft_limit, job)}"
        facts.add_row("overdraft", f"yes{limit}{', as far as it goes' if job.until_limit else ''}")
    named = {"atomic": job.atomic, "inflight": job.inflight, "duplicates allowed": job.allow_duplicates}
    if any(named.values()):
        facts.add_row("also", ", ".join(name for name, is_so in named.items() if is_so))
    if job.cron is not None:
        facts.add_row("came due", f"{count(job.runs_made, 'run')}, {job.skipped:,} skipped")
    if job.status != "CANCELLED":
        facts.add_row("the pool", forecast_text(job))
    out.print(facts)


def forecast_text(job: Job) -> str:
    """Say what the pool will hold after the next run, and how many runs it can pay."""
    pool = job.pool
    if not pool:
        return "takes too long to foresee"
    left = "" if pool.runs_left is None else f"; it carries {count(pool.runs_left, 'run')}"
    now = _money(pool.balance, job)
    if job.next_run_at is None:
        return f"{now} now"
    if pool.runs_left == 0 and not job.until_limit:
        return f"{now} now; the next run, of {_money(pool.next_run_precise_amount, job)}, would be refused{left}"
    return f"{now} now, {_money(pool.balance_after_next_run, job)} after the next run{left}"


def print_jobs(out: Console, jobs: Sequence[tuple[Job, Run | None]]) -> None:
    """Print jobs, each with its last run: when it was made, how much it pays, and how many rows are applied."""
    if not jobs:
        out.print("no funding jobs: `pacioli fund --help` says how to make one")
        return
    columns = (
        "job", "made (UTC)", "name", "status", "pool", "when", "next run (UTC)", "last run", "rows", "amount", "applied",
    )  # fmt: skip
    drop = ("next run (UTC)", "when", "pool", "last run", "status")
    rows = table(*columns, right=("rows", "amount", "applied"), drop=drop)
    for job, run in jobs:
        total = job.precise_amount if run is None else run.precise_amount_total or job.precise_amount
        rows.add_row(
            job.job_id,
            time(job.created_at),
            plain(job.name),
            status_text(job.status),
            _pool(job),
            schedule_text(job),
            "" if job.next_run_at is None else time(job.next_run_at),
            "" if run is None else status_text(run.status),
            "by rule" if job.rows is None else f"{job.rows:,}",
            "" if total is None else _money(total, job),
            "" if run is None else f"{run.rows_applied or 0:,}",
        )
    out.print(rows)


def print_runs(out: Console, job: Job, runs: Sequence[Run]) -> None:
    """Print the runs of a job, with their counts of rows. The tries of a run stand below it."""
    if not runs:
        out.print("no runs yet")
        return
    columns = ("run", "due (UTC)", "status", "rows", "accepted", "applied", "rejected", "not posted", "amount")
    rows = table(*columns, right=columns[3:])
    for run, depth in _as_trees(runs):
        rejected = run.rows_rejected or 0
        rows.add_row(
            f"{'  ' * (depth - 1)}└ {run.run_id}" if depth else run.run_id,
            time(run.due_at),
            status_text(run.status),
            _number(run.rows_total),
            _number(run.rows_accepted),
            _number(run.rows_applied or 0),
            Text(_number(rejected), style=BAD if rejected else ""),
            _number(run.rows_unposted or 0),
            _money(run.precise_amount_applied or 0, job),
        )
    out.print(rows)


def _as_trees(runs: Sequence[Run]) -> Iterator[tuple[Run, int]]:
    """Yield each run, and then its tries, the oldest first, with their depth."""
    known = {run.run_id for run in runs}

    def below(run: Run, depth: int) -> Iterator[tuple[Run, int]]:
        yield run, depth
        for one in reversed(runs):
            if one.retry_of == run.run_id:
                yield from below(one, depth + 1)

    for run in runs:
        if run.retry_of not in known:
            yield from below(run, 0)


def print_csv(rows: Iterable[Row]) -> None:
    """Print rows as a CSV that ``fund`` takes, and that any spreadsheet reads."""
    lines = csv.writer(sys.stdout, lineterminator="\n")
    lines.writerow(("destination", "amount", "description"))
    lines.writerows((row.destination, format(row.amount, "f"), row.description) for row in rows)


def print_rejected(out: Console, job: Job, rows: Sequence[Row], *, title: str) -> None:
    """Print rejected rows of a run, and why."""
    told = [(row.row, row.destination, row.precise_amount, _why(row)) for row in rows]
    _print_rejected(out, job, told, title=title)


def print_run(out: Console, job: Job, run: Run, *, pool_before: int | None, pool: int) -> None:
    """Print the result of a run. ``pool`` is the balance now; ``pool_before`` None when it is not known."""
    out.print(Text(f"{plain(job.name)}  ", style="bold") + status_text(run.status))
    out.print(Text(f"{job.job_id}, run {run.run_id}", style=QUIET))
    facts = _facts()
    total = run.precise_amount_total
    facts.add_row("rows", _number(run.rows_total), "" if total is None else _money(total, job))
    if run.refusal is not None:
        facts.add_row("why", "", plain(str(run.refusal["message"])))
    what = "held" if job.inflight else "applied"
    facts.add_row(what, f"{run.rows_applied or 0:,}", _money(run.precise_amount_applied or 0, job))
    for reason, rows in (run.rejected_by_reason or {}).items():
        facts.add_row("rejected", Text(f"{rows:,}", style=BAD), plain(reason))
    if run.rows_unposted:
        why = "beyond the limit" if run.limit_reached and run.status == "COMPLETED" else ""
        facts.add_row("not posted", Text(f"{run.rows_unposted:,}", style=BAD), why)
    if pool_before is not None:
        facts.add_row(f"{_pool(job)} before", "", _money(pool_before, job))
    facts.add_row(f"{_pool(job)} now", "", _money(pool, job))
    if run.started_at is not None and run.ended_at is not None:
        took_s = (run.ended_at - run.started_at).total_seconds()
        facts.add_row("took", "", f"{took_s:.1f} s, {run.rate_per_s or 0:,.0f} rows a second")
    out.print(facts)


def print_rows(out: Console, job: Job, rows: Sequence[Row], *, title: str) -> None:
    """Print rows of a run, and their transactions."""
    if not rows:
        out.print("no such rows")
        return
    retried = any(row.first_transaction_id for row in rows)
    columns = ("row", "destination", "amount", "status", "transaction", *(("first",) if retried else ()), "why")
    lines = table(*columns, title=title, right=("row", "amount"))
    for row in rows:
        lines.add_row(
            str(row.row),
            plain(row.destination),
            _money(row.precise_amount, job),
            status_text(row.status),
            row.transaction_id,
            *((row.first_transaction_id,) if retried else ()),
            _why(row),
        )
    out.print(lines)


def repetition_text(first: Mapping[str, Any]) -> str:
    """Say which job paid the same before. ``first`` are the details of the error."""
    precision, currency = first["precision"], plain(first["currency"])
    at = datetime.fromisoformat(first["created_at"])
    total = "" if first["precise_amount"] is None else f" pays {money(first['precise_amount'], precision)} {currency}"
    rows = "" if first["rows"] is None else f" in {count(first['rows'], 'row')}"
    applied = f"{count(first['rows_applied'], 'row')}, {money(first['precise_amount_applied'], precision)} {currency}"
    return (
        f"the same was sent before: {first['job_id']} ({plain(first['name'])}) of {time(at)} UTC{total}{rows}. "
        f"Applied so far: {applied}"
    )


def job_line(job: Job) -> str:
    """Say the status of a job in one line."""
    if job.status == "CANCELLED":
        return f"{job.job_id} is cancelled: what is posted stays, and nothing more will be"
    if job.status == "PAUSED":
        return f"{job.job_id} is paused: `pacioli funding resume {job.job_id}` goes on with it"
    if job.status == "WAITING_APPROVAL":
        return f"{job.job_id} waits for a key of another owner: `pacioli funding approve {job.job_id}`"
    if job.next_run_at is not None:
        return f"{job.job_id} is active: it runs next at {time(job.next_run_at)} UTC"
    finished = job.status == "FINISHED"
    return f"{job.job_id} is finished: `run` runs it once more" if finished else f"{job.job_id} is active"


def approval_lines(job: Job, approval: Approval) -> list[str]:
    """Say what a job would post, or who has decided on it."""
    if approval.decided_by:
        because = f": {approval.reason}" if approval.reason else ""
        return [f"{approval.status.lower()} by {approval.decided_by} for {approval.digest[:16] or 'nothing'}{because}"]
    sum_of_it = grouped(approval.precise_amount or 0, job.precision)
    covered = (
        "its terms and these rows" if approval.covers_rows else "its terms, for its rule finds other rows each time"
    )
    return [
        f"{job.job_id} was asked for by {approval.asked_by} of {approval.owner}",
        f"it would pay {sum_of_it} {job.currency} in {count(approval.rows or 0, 'row')} from {job.indicator or job.source}, "
        f"{schedule_text(job)}",
        f"the approval covers {covered}: {approval.digest}",
    ]


def schedule_text(job: Job) -> str:
    """Say when a job runs: its cron expression, its time, or at once."""
    if job.at is not None:
        return f"at {time(job.at)} UTC"
    if job.cron is None:
        return "at once"
    until = "" if job.ends_at is None else f" until {time(job.ends_at)} UTC"
    times = "" if job.count is None else f", {count(job.count, 'time')}"
    return f"{plain(job.cron)} {job.timezone}{until}{times}"


def _rows_text(job: Job) -> str:
    if job.rule is not None:
        return _rule_text(job, job.rule)
    return f"{job.rows or 0:,}, {_money(job.precise_amount or 0, job)} in all"


def _rule_text(job: Job, rule: KeptRule) -> str:
    if rule.precise_amount is not None:
        each = f"{_money(rule.precise_amount, job)} each"
    else:
        each = f"up to {_money(rule.precise_top_up_to or 0, job)}"
    clauses = f" {rule.logical_operator} ".join(
        f"{clause.field} {clause.operator} {clause.value if clause.values is None else clause.values}"
        for clause in rule.filters
    )
    return f"all balances with {plain(clauses)}, {each}"


def _print_rejected(out: Console, job: Priced, rows: Iterable[tuple[int, str, int, str]], *, title: str) -> None:
    lines = table("row", "destination", "amount", "why", title=title, right=("row", "amount"))
    for row, destination, amount, why in rows:
        lines.add_row(str(row), plain(destination), _money(amount, job), plain(why))
    out.print(lines)


def _facts() -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style=QUIET)
    facts.add_column(justify="right")
    facts.add_column(overflow="fold")
    return facts


def _pool(job: Job) -> str:
    return plain(job.indicator or job.source)


def _why(row: Row) -> str:
    return "" if row.rejection is None else plain(row.rejection.message)


def _money(minor: int, job: Priced) -> str:
    return f"{money(minor, job.precision)} {plain(job.currency)}"


def _major(amount: Decimal, job: Priced) -> str:
    return _money(to_minor(amount, job.precision), job)


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
