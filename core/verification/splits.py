"""Check splits: legs follow their split in order, add up to its amount, and share its atomic group."""

import json
from dataclasses import dataclass

from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import HOLD, LEG_KINDS, REFUND, SPLIT, TRANSFER
from core.verification.history_store import HistoryRow
from core.verification.report import Report, seq_key


@dataclass(slots=True)
class _OpenSplit:
    """A split whose legs are being read."""

    logged: LogRow
    atomic: bool
    legs: int = 0
    amount: int = 0
    left_open: bool = False
    """True when a leg refunds all that is left. Only its outcome has that amount."""

    @property
    def transaction_id(self) -> str:
        return self.logged.transaction_id


class Splits:
    """A check of the splits along the walk. It holds the split whose legs are being read, if there is one."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._split: _OpenSplit | None = None

    def owns(self, row: HistoryRow) -> bool:
        """Return whether a row is a leg of the open split. A refund of a split is a split itself, so it is no leg."""
        return (
            self._split is not None
            and row.logged is not None
            and row.logged.kind in LEG_KINDS
            and row.logged.parent == self._split.transaction_id
        )

    def check(self, row: HistoryRow, logged: LogRow) -> None:
        """Check a row as a leg of the open split. Any other row closes the split, and may open the next."""
        if self._split is not None:
            if self.owns(row):
                self._check_leg(self._split, logged)
                return
            self.close()
        if logged.kind == SPLIT:
            terms = json.loads(logged.terms) if logged.terms is not None else {}
            self._split = _OpenSplit(logged, bool(terms.get("atomic")))
        elif logged.kind in (TRANSFER, HOLD) and logged.parent is not None and logged.parent.startswith("txn_"):
            key = seq_key(logged.seq)
            self._report.add("log", key, "parent", expected="the split right before it", found=logged.parent)

    def close(self) -> None:
        """Close the open split, and check that it has legs that add up to its amount."""
        split, self._split = self._split, None
        if split is None:
            return
        key = seq_key(split.logged.seq)
        if split.legs == 0:
            self._report.add("log", key, "legs", expected="legs right after it", found="none")
        elif split.amount != split.logged.amount and not split.left_open:
            expected = f"{split.amount}, which its {split.legs} legs add up to"
            self._report.add("log", key, "amount", expected=expected, found=split.logged.amount)

    def _check_leg(self, split: _OpenSplit, leg: LogRow) -> None:
        split.legs += 1
        split.amount += leg.amount
        refund = leg.kind == REFUND
        split.left_open |= refund and leg.amount == 0
        expected = f"{split.logged.reference}_{split.legs}"
        if leg.reference not in (expected, f"txn_{leg.id}"):
            expected = f"{expected}, as leg {split.legs} of seq {split.logged.seq}"
            self._report.add("log", seq_key(leg.seq), "reference", expected=expected, found=leg.reference)
        group, found = (split.logged.group_first, split.logged.group_last), (leg.group_first, leg.group_last)
        if found != group or (found == (None, None) and (split.atomic or refund)):
            first, last = group
            expected = "one, as its split is atomic" if first is None else f"that of its split, {first} to {last}"
            self._report.add("log", seq_key(leg.seq), "group", expected=expected, found=f"{found[0]} to {found[1]}")
