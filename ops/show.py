"""What the commands print for people: rich tables, amounts with their thousands, nothing that a client could forge."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click
import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from core import audit
from core.audit import Report
from core.explain import sum_text
from core.model import Kind
from core.money import to_text
from core.store.balances import BalanceRow, Entry
from core.store.queues import QueueState
from core.store.transactions import Batch, Line, TransactionRow

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


def print_balance(out: Console, row: BalanceRow, precision: int | None, entries: Sequence[Entry]) -> None:
    """Its sums, what may be spent, and its last entries."""
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
        rows.add_row(*map(plain, problem))
    out.print(rows)
    if report.problem_count > len(report.problems):
        out.print(f"and {report.problem_count - len(report.problems):,} more, which may follow from these")


def _print_checkpoint(out: Console, report: Report) -> None:
    if (checkpoint := report.checkpoint) is not None:
        how = "signed" if checkpoint.signed else "unsigned, or not checked, as there is no PACIOLI_CHAIN_KEY"
        up_to = f"{checkpoint.heads.sequence:,}"
        out.print(Text(f"checkpoint {checkpoint.id} vouches for the log up to sequence {up_to}; {how}", style=_QUIET))


@contextmanager
def progress() -> Iterator[audit.Progress]:
    """A bar on standard error, if that is a terminal, of what the verifier reads."""
    err = console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            bar.update(tasks[what], completed=done, total=of or None)

        yield tell


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
