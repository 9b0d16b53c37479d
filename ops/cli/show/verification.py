"""Prints what the verifier found."""

from datetime import timedelta

import msgspec
from pacioli_client.answers.service import Verification
from rich.console import Console
from rich.text import Text

from core.notary.attestations import VerifiedUpTo
from core.verification.report import Problem
from core.verification.results import Kind, Result, unsound
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
        _print_seal(out, report)
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


_KINDS: dict[str, str] = {
    Kind.SLICE: "slice of the history",
    Kind.CHECKPOINT: "since the checkpoint",
    Kind.FULL: "whole ledger",
}


def print_results(out: Console, results: list[Result]) -> None:
    """Print the results of earlier verifications, newest first, and the first problem of each kind that has some."""
    if not results:
        out.print("nothing was verified yet: a worker verifies a slice each minute, and `pacioli verify` all")
        return
    rows = table("when", "age", "what", "sequences", "took", "result", right=("age", "took"))
    for each in results:
        read = f"{each.first_seq:,} to {each.last_seq:,}" if each.last_seq >= each.first_seq else "none"
        found = count(each.problem_count, "problem") if each.problem_count else "sound"
        rows.add_row(
            plain(each.at.isoformat(" ", "seconds")),
            plain(str(timedelta(seconds=round(each.age_s)))),
            plain(_KINDS.get(each.kind, each.kind)),
            plain(read + (", the end" if each.complete and each.last_seq >= each.first_seq else "")),
            plain(f"{each.took_s:.1f} s"),
            Text(found, style=BAD if each.problem_count else GOOD),
        )
    out.print(rows)
    for each in unsound(results):
        for first in msgspec.json.decode(each.problems, type=list[Problem])[:1]:
            out.print(plain(f"the first problem of {_KINDS.get(each.kind, each.kind)}: {first}"))


def _print_seal(out: Console, report: Verification) -> None:
    if (seal := report.sealed) is not None:
        how = "" if seal.pinned else ", which was not compared with a known one"
        text = f"seal {seal.number} vouches for the log up to sequence {seal.sequence:,}; signed by the notary {seal.key}{how}"
        out.print(Text(text, style=QUIET))
    if (attested := report.attested) is not None:
        statement = msgspec.json.decode(attested.statement, type=VerifiedUpTo)
        text = f"the notary says that the log was verified up to sequence {statement.sequence:,} at {statement.verified_at}"
        out.print(plain(text), style=QUIET)


def _print_checkpoint(out: Console, report: Verification) -> None:
    if (checkpoint := report.checkpoint) is not None:
        how = "signed" if report.signed else "unsigned, or not checked, as there is no PACIOLI_CHAIN_KEY"
        up_to = f"{checkpoint.sequence:,}"
        out.print(Text(f"checkpoint {checkpoint.id} vouches for the log up to sequence {up_to}; {how}", style=QUIET))
