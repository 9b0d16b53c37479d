"""Checks the receipt of a statement with the public key of the notary and nothing else."""

from collections.abc import Collection

import msgspec
from msgspec import Struct

from core.ledger.rules.model import STATUS_NUMBERS, Status
from core.notary.receipt_check import Checked, check
from core.notary.receipts import PartyOf, Receipt
from core.notary.statement_receipts import FORM, StatementReceipt

_APPLIED = str(STATUS_NUMBERS[Status.APPLIED])

_FIRST = 1
"""The version of a balance that nothing has touched, which holds nothing."""


class CheckedEntry(Struct, frozen=True, kw_only=True):
    """An entry that is proved."""

    version: int
    transaction_id: str
    reference: str
    signed_amount: int
    """The amount in minor units: negative for a debit, and 0 where nothing moved, such as for a hold."""
    balance: int
    """The balance after it."""
    decided_at: str


class CheckedStatement(Struct, frozen=True, kw_only=True):
    """The result of a check of a statement."""

    ok: bool
    """Whether every entry is proved, and none is missing between the first and the last."""
    problems: list[str]
    balance: PartyOf
    opening_balance: int
    closing_balance: int
    debits: int
    credits: int
    entries: list[CheckedEntry]
    """The entries that are proved."""
    sealed_at: str | None = None
    """The time of the newest seal of them."""
    note: str | None = None


def check_statement(receipt: StatementReceipt, keys: Collection[str]) -> CheckedStatement:
    """Check the receipt of a statement by public keys of the notary that are known from elsewhere."""
    problems: list[str] = []
    if receipt.form != FORM:
        problems.append(f"its form is {receipt.form!r}, and this release knows {FORM!r}")
    version, balance = receipt.opening_version, receipt.opening_balance
    if version < _FIRST or (version == _FIRST and balance):
        problems.append("its opening balance is not 0, which every balance begins with")
    entries: list[CheckedEntry] = []
    seals: list[str] = []
    ledgers: set[str | None] = set()
    for number, each in enumerate(receipt.entries, 1):
        checked = check(msgspec.structs.replace(each, keys=receipt.keys), keys)
        problems += [f"entry {number}: {problem}" for problem in checked.problems]
        entry = _entry(each, checked, receipt.balance)
        if isinstance(entry, str):
            problems.append(f"entry {number}: {entry}")
            break
        version, balance = version + 1, balance + entry.signed_amount
        if entry.version != version:
            problems.append(f"entry {number}: it made version {entry.version}, and {version} is missing")
            break
        if entry.balance != balance:
            problems.append(f"entry {number}: the balance after it is {entry.balance}, and by the one before {balance}")
            break
        entries.append(entry)
        ledgers.add(checked.ledger)
        seals += [at for at in (checked.accepted_by, checked.decided_by) if at is not None]
    if len(ledgers) > 1:
        problems.append("its seals are of different ledgers")
    if not problems and (version, balance) != (receipt.closing_version, receipt.closing_balance):
        problems.append(
            f"it ends with version {receipt.closing_version} and {receipt.closing_balance}, and its entries with version "
            f"{version} and {balance}"
        )
    amounts = [entry.signed_amount for entry in entries]
    return CheckedStatement(
        ok=not problems and bool(entries),
        problems=problems,
        balance=receipt.balance,
        opening_balance=receipt.opening_balance,
        closing_balance=receipt.closing_balance,
        debits=-sum(amount for amount in amounts if amount < 0),
        credits=sum(amount for amount in amounts if amount > 0),
        entries=entries,
        sealed_at=max(seals, default=None),
        note=receipt.note if isinstance(receipt.note, str) else None,
    )


def _entry(receipt: Receipt, checked: Checked, balance: PartyOf) -> CheckedEntry | str:
    """Return the entry that a transaction makes in a balance, or why it proves none."""
    row, outcome = checked.accepted, checked.decided
    if not row or not outcome:
        return "what was accepted or decided is not proved"
    for side, party, sign in (("source", checked.source, -1), ("destination", checked.destination, 1)):
        if party == balance and outcome[side] == str(row[side]):
            moved = int(outcome["amount"]) if outcome["status"] == _APPLIED else 0
            return CheckedEntry(
                version=int(outcome[f"{side}_version"]),
                transaction_id=checked.transaction_id,
                reference=str(row["reference"]),
                signed_amount=sign * moved,
                balance=int(outcome[f"{side}_balance"]),
                decided_at=outcome["decided_at"],
            )
    return "it does not touch the balance"
