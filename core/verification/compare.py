"""Compare the state with the history: balances, holds, refunds, statements and dates."""

from sqlalchemy import Connection

from core.base.names import currency_problem, escaped
from core.ledger.rules.model import Balance, Hold, Refunded
from core.ledger.store import balances as balance_store
from core.ledger.store.balances import BALANCE_PREFIX
from core.verification import state_store
from core.verification.report import LISTED, Report, TellProgress, seq_key
from core.verification.tally import Settled, Sums, balance_of

_TOLD_EVERY = 5_000
"""The number of rows after which progress is reported."""

_ZERO = "0, for debits equal credits"
_TOUCHED = "a balance, for there are outcomes that touch it"


def compare_balances(conn: Connection, report: Report, sums: dict[int, Sums], progress: TellProgress) -> None:
    """Check that each balance is the sum of its outcomes, and that the balances of a currency add up to zero."""
    totals: dict[str, list[int]] = {}
    for name, currency, balance, stored in state_store.balances(conn):
        report.balances += 1
        expected = sums.pop(stored.id, None) or Sums()
        if stored != balance_of(stored.id, expected) or balance != expected.credit - expected.debit:
            _compare_balance(report, name, expected, stored, balance)
        total = totals.setdefault(currency, [0, 0])
        total[0] += balance
        total[1] += stored.inflight_credit - stored.inflight_debit
        if report.balances % _TOLD_EVERY == 0:
            progress("balances", report.balances, 0)
    for key in sums:
        report.add("balances", f"key {key}", "row", expected=_TOUCHED, found="none")
    for currency, (balance, inflight) in totals.items():
        _check_total(report, currency, balance=balance, inflight=inflight)
    progress("balances", report.balances, report.balances)


def _compare_balance(report: Report, name: str, expected: Sums, stored: Balance, balance: int) -> None:
    values = (
        ("credit_balance", expected.credit, stored.credit),
        ("debit_balance", expected.debit, stored.debit),
        ("balance", expected.credit - expected.debit, balance),
        ("inflight_credit_balance", expected.inflight_credit, stored.inflight_credit),
        ("inflight_debit_balance", expected.inflight_debit, stored.inflight_debit),
        ("version", expected.version, stored.version),
        ("last_credit_seq", expected.last_credit_seq, stored.last_credit_seq),
    )
    report.compare("balances", name, "by its outcomes", values)


def check_totals(conn: Connection, report: Report) -> None:
    """Check that the balances of each currency add up to zero."""
    for currency, balance, inflight in state_store.totals(conn):
        _check_total(report, currency, balance=balance, inflight=inflight)


def _check_total(report: Report, currency: str, *, balance: int, inflight: int) -> None:
    report.currencies += 1
    if (message := currency_problem(currency)) is not None:
        report.warn("balances", f"all in {escaped(currency)}", "currency", message)
    for what, total in (("balance", balance), ("inflight", inflight)):
        if total:
            report.add("balances", f"all in {currency}", what, expected=_ZERO, found=total)


def compare_holds(conn: Connection, report: Report, holds: dict[int, Settled], progress: TellProgress) -> None:
    """Check that the committed and voided amounts of each hold are the sums of its settlements, and its balances right."""
    report.holds = 0
    for hold, settled_at, source, destination, may_lack_sides in state_store.holds(conn):
        report.holds += 1
        expected = holds.pop(hold.seq, None)
        if expected is None:
            report.add("holds", seq_key(hold.seq), "row", expected=_NO_OUTCOME, found=_hold_text(hold))
            continue
        if not (may_lack_sides and source is destination is None):
            sides = ("source", expected.source, source), ("destination", expected.destination, destination)
            report.compare("holds", seq_key(hold.seq), "the balance key in the log", sides)
        report.compare(
            "holds",
            seq_key(hold.seq),
            "by its settlements",
            (
                ("amount", expected.amount, hold.amount),
                ("committed", expected.committed, hold.committed),
                ("voided", expected.voided, hold.voided),
                ("settled_at", expected.settled_at, settled_at),
            ),
        )
        if report.holds % _TOLD_EVERY == 0:
            progress("holds", report.holds, 0)
    for seq, expected in holds.items():
        report.add("holds", seq_key(seq), "row", expected=f"a hold of {expected.amount}", found="none")
    progress("holds", report.holds, report.holds)


def compare_refunds(conn: Connection, report: Report, refunds: dict[int, Refunded]) -> None:
    """Check that the refunded amount of each transaction is the sum of its refunds."""
    for stored in state_store.refunds(conn):
        expected = refunds.pop(stored.seq, None)
        if expected is None:
            report.add("refunds", seq_key(stored.seq), "row", expected=_NO_OUTCOME, found=_refund_text(stored))
            continue
        values = ("amount", expected.amount, stored.amount), ("refunded", expected.refunded, stored.refunded)
        report.compare("refunds", seq_key(stored.seq), "by its refunds", values)
    for seq, expected in refunds.items():
        report.add("refunds", seq_key(seq), "row", expected=_refund_text(expected), found="none")


def check_statements(conn: Connection, report: Report, progress: TellProgress) -> None:
    """Check that the statement of each balance has no gap, and that each running balance follows from the line before."""
    progress("statements", 0, 0)
    broken = state_store.broken_entries(conn, LISTED)
    ids = balance_store.public_ids(conn, {entry.balance for entry in broken})
    for entry in broken:
        name = f"{BALANCE_PREFIX}{ids[entry.balance]}" if entry.balance in ids else f"balance key {entry.balance}"
        values = (
            (f"{entry.side}_version", entry.expected_version, entry.version),
            (f"{entry.side}_balance", entry.expected_balance, entry.balance_after),
        )
        report.compare("outcomes", seq_key(entry.seq), f"the next of {name}", values)
    progress("statements", report.transactions, report.transactions)


def check_dates(conn: Connection, report: Report) -> None:
    """Check that no scheduled transaction is in the log yet, and that each hold with a settlement date is."""
    for id, seq in state_store.scheduled_and_accepted(conn, LISTED):
        report.add("scheduled", id, "row", expected=f"none, for it is in the log at {seq_key(seq)}", found="one")
    for id in state_store.due_without_transaction(conn, LISTED):
        report.add("due", id, "transaction", expected="a hold, or a split of holds, in the log", found="none")


_NO_OUTCOME = "none, for no outcome made it"


def _refund_text(refund: Refunded) -> str:
    return f"{refund.refunded} of {refund.amount}"


def _hold_text(hold: Hold) -> str:
    return f"{hold.amount}, committed {hold.committed}, voided {hold.voided}"
