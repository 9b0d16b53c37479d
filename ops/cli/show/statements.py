"""Prints statements, and the books that add up to zero."""

from collections.abc import Callable, Sequence

from pacioli_client.answers.balances import CurrencyBooks, Statement
from rich.console import Console
from rich.text import Text

from core.base.money import to_text
from ops.cli.show.text import BAD, GOOD, clock, count, money, plain, table, time


def print_books(out: Console, found: Sequence[CurrencyBooks]) -> None:
    """Print a table for each currency, with a line that adds it up."""
    if not found:
        out.print("the books are empty: the first transaction makes the first balances")
        return
    for each in found:
        right = ("debits", "credits", "balance", "held")
        rows = table("name", *right, title=plain(each.currency), right=right, drop=("held", "debits", "credits"))
        for line in each.lines:
            others = f"{plain(line.ledger)}, {count(line.balances, 'balance')}"
            sums = (line.debits, line.credits, line.balance, line.held)
            rows.add_row(plain(line.indicator) or others, *(_cell(minor, each.precision) for minor in sums))
        rows.add_section()
        adds_up = not each.balance
        total = Text(money(each.balance, each.precision), style=GOOD if adds_up else BAD)
        rows.add_row("together", *(money(minor, each.precision) for minor in (each.debits, each.credits)), total, "")
        out.print(rows)
        if not adds_up:
            out.print(Text("this does not add up to zero: run `pacioli verify`", style=BAD))
        if each.precision is None:
            out.print("the amounts are minor units, for no transaction has said the precision")


def print_statement(out: Console, found: Statement) -> None:
    """Print the opening balance, the entries with the balance after each, and the closing balance."""
    name = plain(found.indicator or found.balance_id)
    effective = found.basis == "effective"
    out.print(Text(f"{name} in {plain(found.currency)}", style="bold"))
    period = [f"from {clock(found.since)}" if found.since else "from the first entry"]
    period.append(f"to {clock(found.until)}" if found.until else "to now")
    out.print(f"{', '.join(period)}{', by effective dates' if effective else ''}")
    columns = ("at (UTC)", "description", "with", "debit", "credit", "balance", "reference")
    rows = table(*columns, right=columns[3:6], drop=("reference", "description", "at (UTC)"))
    rows.add_row("", "", "opening balance", "", "", money(found.opening_balance, found.precision))
    for entry in found.entries:
        amount = money(entry.precise_amount, found.precision)
        rows.add_row(
            time(entry.effective_date if effective else entry.at),
            plain(entry.description),
            plain(entry.counterparty),
            amount if entry.direction == "debit" else "",
            amount if entry.direction == "credit" else "",
            money(entry.precise_balance_after, found.precision),
            plain(entry.reference),
        )
    rows.add_section()
    sums = (found.debits, found.credits, found.closing_balance)
    rows.add_row("", "", "closing balance", *(money(minor, found.precision) for minor in sums))
    out.print(rows)


def exact(precision: int | None) -> Callable[[int], str]:
    """Return the writer of amounts for programs: no thousands separators, and every place of the currency."""
    return lambda minor: money(minor, precision).replace(",", "") if precision else to_text(minor, 1)


def inert(text: str) -> str:
    """Mark a text that a spreadsheet would run as a formula."""
    return f"'{text}" if text.lstrip()[:1] in ("=", "+", "-", "@") else text


def _cell(minor: int, precision: int | None) -> Text:
    return Text(money(minor, precision), style=BAD if minor < 0 else "")
