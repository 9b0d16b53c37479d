"""Prints balances, transactions, queues and currencies for people."""

from collections.abc import Mapping, Sequence

from msgspec import UNSET
from pacioli_client.answers.balances import Balance, Entry
from pacioli_client.answers.funding import Job
from pacioli_client.answers.service import Queue
from pacioli_client.answers.transactions import Batch, QueuePosition, Transaction
from rich.console import Console
from rich.text import Text

from core.base.money import to_text
from ops.cli.show.funding import forecast_text
from ops.cli.show.tables import Facts
from ops.cli.show.text import BAD, QUIET, duration, money, plain, status_text, table, time


def print_queues(out: Console, found: Sequence[Queue]) -> None:
    """Print how long each queue is, and how fast it moves."""
    columns = ("queue", "waiting", "oldest", "per second", "decided", "cursor", "last drained (UTC)")
    queues = table(*columns, right=columns[:-1], drop=("cursor", "last drained (UTC)"))
    for queue in found:
        queues.add_row(
            str(queue.number),
            f"{queue.depth:,}",
            "" if queue.oldest_age_s is None else duration(float(queue.oldest_age_s)),
            f"{queue.rate_per_s:,.0f}",
            f"{queue.decided:,}",
            f"{queue.cursor:,}",
            time(queue.last_drained_at) if queue.last_drained_at else "never",
        )
    out.print(queues)


def print_balance(
    out: Console, row: Balance, precision: int | None, entries: Sequence[Entry], jobs: Sequence[Job] = ()
) -> None:
    """Print a balance: its sums, what may be spent, what funding jobs will draw, and its last entries."""
    out.print(Text(f"{plain(row.indicator or row.balance_id)} in {plain(row.currency)}", style="bold"))
    facts = Facts()
    for name, minor in (
        ("credits", row.credit_balance),
        ("debits", row.debit_balance),
        ("balance", row.balance),
        ("held by inflight debits", row.inflight_debit_balance),
        ("expected by inflight credits", row.inflight_credit_balance),
        ("available", row.available_balance),
    ):
        facts.add(name, Text(money(minor, precision), style=BAD if minor < 0 else ""), right=True)
    out.print(facts)
    unit = "in minor units, for it has no transactions yet" if precision is None else f"precision {precision}"
    out.print(Text(f"{row.balance_id}, version {row.version}, {unit}", style=QUIET))
    for job in jobs:
        when = "" if job.next_run_at is None else f", {time(job.next_run_at)} UTC"
        out.print(f"{plain(job.name)}{when}: {forecast_text(job)}  ({job.job_id})")
    if not entries:
        out.print("no entries yet\n")
        return
    columns = ("at (UTC)", "debit", "credit", "balance", "with", "reference")
    lines = table(*columns, right=columns[1:4], drop=("reference", "at (UTC)"))
    for entry in entries:
        amount = money(entry.precise_amount, precision)
        lines.add_row(
            time(entry.at),
            amount if entry.direction == "debit" else "",
            amount if entry.direction == "credit" else "",
            money(entry.precise_balance_after, precision),
            plain(entry.counterparty),
            plain(entry.reference),
        )
    out.print(lines)


def print_transaction(out: Console, row: Transaction, names: Mapping[str, str]) -> None:
    """Print a transaction: its status, timeline, rejection, position in the queue, and the legs of a split.

    ``names`` has the ``@Name`` of balances that have one, by their ids.
    """
    head = status_text(row.status)
    left = f"{money(row.precise_amount, row.precision)} {plain(row.currency)}"
    head.append(f"  {left if row.precise_amount else 'all that is left'}", style="bold")
    out.print(head)
    facts = Facts()
    facts.add("from", plain(names.get(row.source, row.source)) or "several")
    facts.add("to", plain(names.get(row.destination, row.destination)) or "several")
    facts.add("description", plain(row.description))
    facts.add("reference", plain(row.reference))
    facts.add("id", row.transaction_id)
    if row.parent_transaction:
        facts.add("belongs to", plain(row.parent_transaction))
    if row.sequence:
        facts.add("sequence", f"{row.sequence}")
    if (hold := row.inflight_amounts) is not UNSET and hold:
        parts = (("committed", hold.committed), ("voided", hold.voided), ("remaining", hold.remaining))
        facts.add("hold", ", ".join(f"{name} {money(minor, row.precision)}" for name, minor in parts))
    for step in row.timeline:
        facts.add(step.status, time(step.at))
    if row.rejection:
        facts.add("why", plain(row.rejection.message))
    if row.queue:
        facts.add("in line", _position_text(row.queue))
    out.print(facts)
    if row.legs:
        rows = table("leg", "from", "to", "amount", "status", right=("amount",))
        for leg in row.legs:
            sides = [plain(names.get(side, side)) for side in (leg.source or "", leg.destination or "")]
            rows.add_row(plain(leg.reference), *sides, money(leg.precise_amount, row.precision), leg.status or "")
        out.print(rows)


def print_batch(out: Console, batch: Batch) -> None:
    """Print how many transactions of a batch have which status."""
    rows = table("status", "transactions", title=batch.batch_id, right=("transactions",))
    for status, transactions in batch.counts.items():
        if transactions:
            rows.add_row(status_text(status), f"{transactions:,}")
    rows.add_row("all", f"{batch.transaction_count:,}")
    out.print(rows)


def print_currencies(out: Console, precisions: Mapping[str, int]) -> None:
    """Print the precision of each currency."""
    if not precisions:
        out.print("no currency has a precision yet: the first transaction that states one fixes it")
        return
    rows = table("currency", "precision", "one minor unit", right=("precision", "one minor unit"))
    for currency, precision in precisions.items():
        rows.add_row(plain(currency), str(precision), to_text(1, precision))
    out.print(rows)


def _position_text(position: QueuePosition) -> str:
    """Say where an undecided transaction stands, and what it waits for."""
    oldest = f"the oldest waits {position.oldest_age_s:.1f} s"
    return f"{position.position} in queue {position.number}, waiting for {plain(position.waiting_for)}; {oldest}"
