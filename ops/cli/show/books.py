"""Prints balances, transactions, queues and currencies for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, UnsetType
from pacioli_client.answers.balances import Balance, BalanceAt, Entry
from pacioli_client.answers.funding import Job
from pacioli_client.answers.ledgers import Ledger
from pacioli_client.answers.service import Queue
from pacioli_client.answers.transactions import Batch, KeptShare, QueuePosition, Step, Transaction
from rich.console import Console
from rich.text import Text

from core.base.money import to_text
from ops.cli.show.funding import forecast_text
from ops.cli.show.tables import Facts
from ops.cli.show.text import BAD, GOOD, QUIET, duration, moment, money, plain, status_text, table, time


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
    out: Console,
    row: Balance,
    precision: int | None,
    entries: Sequence[Entry],
    jobs: Sequence[Job] = (),
    *,
    has_entries: bool = False,
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
        out.print("" if has_entries else "no entries yet\n")
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


def print_transaction(
    out: Console, row: Transaction, names: Mapping[str, str], following: Sequence[Transaction] = ()
) -> None:
    """Print a transaction: its status, timeline, rejection, position in the queue, legs, and what followed from it.

    ``names`` has the ``@Name`` of balances that have one, by their ids.
    """
    head = status_text(row.status)
    left = f"{money(row.precise_amount, row.precision)} {plain(row.currency)}"
    head.append(f"  {left if row.precise_amount else 'all that is left'}", style="bold")
    out.print(head)
    facts = Facts()
    facts.add("from", _sides_text(row.source, row.sources, names))
    facts.add("to", _sides_text(row.destination, row.destinations, names))
    if row.description:
        facts.add("description", plain(row.description))
    facts.add("reference", plain(row.reference))
    facts.add("id", row.transaction_id)
    if row.parent_transaction:
        facts.add("belongs to", plain(row.parent_transaction))
    if row.sequence:
        facts.add("sequence", f"{row.sequence:,}")
    if (hold := row.inflight_amounts) is not UNSET and hold:
        parts = (("committed", hold.committed), ("voided", hold.voided), ("remaining", hold.remaining))
        facts.add("hold", ", ".join(f"{name} {money(minor, row.precision)}" for name, minor in parts))
    before: Step | None = None
    for step in row.timeline:
        took = "" if before is None else f", {duration((step.at - before.at).total_seconds())} later"
        facts.add(step.status, f"{moment(step.at)}{took}")
        before = step
    if row.rejection:
        facts.add("why", plain(row.rejection.message))
    if row.queue:
        facts.add("in line", _position_text(row.queue))
    out.print(facts)
    if row.legs:
        rows = table("leg", "from", "to", "amount", "status", right=("amount",), drop=("leg",))
        for leg in row.legs:
            sides = [plain(names.get(side, side)) for side in (leg.source or "", leg.destination or "")]
            rows.add_row(
                plain(leg.reference), *sides, money(leg.precise_amount, row.precision), status_text(leg.status or "")
            )
        out.print(rows)
    legs = {leg.transaction_id for leg in row.legs or ()}
    if after := [each for each in following if each.transaction_id not in legs]:
        rows = table("what followed", "amount", "status", "at (UTC)", "id", right=("amount",), drop=("at (UTC)",))
        for each in after:
            rows.add_row(
                _relation_text(row, each),
                money(each.precise_amount, each.precision) if each.precise_amount else "all that is left",
                status_text(each.status),
                time(each.created_at),
                each.transaction_id,
            )
        out.print(rows)


def print_transactions(out: Console, found: Sequence[Transaction], names: Mapping[str, str]) -> None:
    """Print transactions, a line each."""
    if not found:
        out.print("no such transactions")
        return
    columns = ("at (UTC)", "status", "amount", "from", "to", "description", "reference", "id")
    rows = table(*columns, right=("amount",), drop=("id", "description", "reference", "at (UTC)"))
    for row in found:
        rows.add_row(
            time(row.created_at),
            status_text(row.status),
            f"{money(row.precise_amount, row.precision)} {plain(row.currency)}",
            plain(names.get(row.source, row.source)) or "several",
            plain(names.get(row.destination, row.destination)) or "several",
            plain(row.description),
            plain(row.reference),
            row.transaction_id,
        )
    out.print(rows)


def print_trial(out: Console, found: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Print what a transaction would do, and what each balance would hold."""
    precision = found["precision"]
    would = Text("would be applied", style=GOOD) if found["would_apply"] else Text("would be rejected", style=BAD)
    amount = f"{money(int(found['precise_amount']), precision)} {plain(found['currency'])} "
    out.print(Text(amount, style="bold") + would)
    if rejection := found.get("rejection"):
        out.print(plain(rejection["message"]))
    rows = table("balance", "holds", "would hold", right=("holds", "would hold"))
    for each in found["balances"]:
        amounts = (money(int(each[f"{when}_balance"]), precision) for when in ("current", "resulting"))
        new = " (new)" if each.get("virtual") else ""
        rows.add_row(plain(names.get(each["balance_id"], each["balance_id"])) + new, *amounts)
    out.print(rows)


def print_balances(out: Console, found: Sequence[Balance], precisions: Mapping[str, int | None]) -> None:
    """Print balances, a line each."""
    if not found:
        out.print("no such balances")
        return
    columns = ("balance", "currency", "holds", "available", "created (UTC)", "id")
    drop = ["created (UTC)", "available"]
    if all(row.indicator for row in found):
        drop.append("id")
    rows = table(*columns, right=columns[2:4], drop=drop)
    for row in found:
        amounts = (row.balance, row.available_balance)
        precision = precisions.get(row.currency)
        rows.add_row(
            plain(row.indicator) or _name_in(row),
            plain(row.currency),
            *(Text(money(minor, precision), style=BAD if minor < 0 else "") for minor in amounts),
            time(row.created_at),
            row.balance_id,
        )
    out.print(rows)


def print_balance_at(out: Console, row: Balance, then: BalanceAt, precision: int | None, when: str) -> None:
    """Print what a balance held at a time."""
    out.print(Text(f"{plain(row.indicator or row.balance_id)} in {plain(row.currency)}, {when}", style="bold"))
    facts = Facts()
    sums = then.balance
    for name, minor in (("credits", sums.credit_balance), ("debits", sums.debit_balance), ("balance", sums.balance)):
        facts.add(name, Text(money(minor, precision), style=BAD if minor < 0 else ""), right=True)
    out.print(facts)


def print_ledgers(out: Console, found: Sequence[Ledger]) -> None:
    """Print ledgers, a line each."""
    if not found:
        out.print("no such ledgers")
        return
    rows = table("name", "created (UTC)", "id", drop=("created (UTC)",))
    for row in found:
        rows.add_row(plain(row.name), time(row.created_at), row.ledger_id)
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


def _sides_text(side: str, several: Sequence[KeptShare] | UnsetType, names: Mapping[str, str]) -> str:
    """Name a side of a transaction as the request did."""
    if side or not several:
        return plain(names.get(side, side)) or "several"
    return ", ".join(plain(names.get(share.identifier, share.identifier)) for share in several)


def _relation_text(row: Transaction, other: Transaction) -> str:
    """Say what another transaction, which belongs to this one, did with it."""
    if row.source and (other.source, other.destination) == (row.destination, row.source):
        return "refund"
    if row.inflight_amounts:
        return "void of the hold" if other.status == "VOID" else "commit of the hold"
    return "leg" if not row.source or not row.destination else "part"


def _name_in(row: Balance) -> str:
    """Return the name in the metadata of a balance that has one, and no other."""
    name = (row.meta_data or {}).get("name")
    return plain(name)[:40] if isinstance(name, str) else ""


def _position_text(position: QueuePosition) -> str:
    """Say where an undecided transaction stands, and what it waits for."""
    oldest = f"the oldest waits {position.oldest_age_s:.1f} s"
    return f"{position.position} in queue {position.number}, waiting for {plain(position.waiting_for)}; {oldest}"
