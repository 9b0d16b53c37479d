"""Prints what the verifier found."""

from pacioli_client.answers.service import Verification
from rich.console import Console
from rich.text import Text

from ops.cli.show.text import BAD, GOOD, QUIET, count, plain, table


def print_report(out: Console, report: Verification) -> None:
    """Print what was read, and the first problems if there are any."""
    since = f" from sequence {report.from_sequence:,} on" if report.from_sequence > 1 else ""
    read = (
        f"{count(report.transactions, 'transaction')}{since} ({report.rejected:,} rejected, {report.undecided:,} not decided "
        f"yet), {count(report.balances, 'balance')}, {'' if report.holds is None else count(report.holds, 'hold') + ', '}"
        f"{count(report.currencies, 'currency', 'currencies')}"
    )
    if report.ok:
        out.print(Text("the ledger is sound", style=GOOD), f": {read}", sep="")
        if report.note:
            out.print(plain(report.note))
        _print_checkpoint(out, report)
        _print_warnings(out, report)
        return
    out.print(
        Text(f"the ledger is damaged: {count(report.problem_count, 'problem')}", style=BAD), f" in {read}", sep=""
    )
    first = report.problems[0]
    out.print(plain(f"first: {first.table}, {first.key}, {first.what}: expected {first.expected}, found {first.found}"))
    rows = table("table", "row", "what", "expected", "found")
    for each in report.problems:
        rows.add_row(*map(plain, (each.table, each.key, each.what, each.expected, each.found)))
    out.print(rows)
    if report.problem_count > len(report.problems):
        out.print(f"and {report.problem_count - len(report.problems):,} more, which may follow from these")
    _print_warnings(out, report)


def _print_warnings(out: Console, report: Verification) -> None:
    """Print the rows from before a rule of today. They are no damage."""
    if not report.warning_count:
        return
    out.print(f"{count(report.warning_count, 'warning')}: names or codes from before today's rules, which still work")
    for each in report.warnings:
        out.print(plain(f"  {each.table}, {each.key}, {each.what}: {each.message}"))
    if report.warning_count > len(report.warnings):
        out.print(f"and {report.warning_count - len(report.warnings):,} more")


def _print_checkpoint(out: Console, report: Verification) -> None:
    if (checkpoint := report.checkpoint) is not None:
        how = "signed" if report.signed else "unsigned, or not checked, as there is no PACIOLI_CHAIN_KEY"
        up_to = f"{checkpoint.sequence:,}"
        out.print(Text(f"checkpoint {checkpoint.id} vouches for the log up to sequence {up_to}; {how}", style=QUIET))
