"""Tells the way of a transaction as a list of moments, with what came of it, and what is still to come."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from web.dashboard.formats import apart, money

Row = Mapping[str, Any]
"""A transaction as the API answers it."""

_WORDS = {
    "QUEUED": "accepted",
    "SCHEDULED": "scheduled",
    "INFLIGHT": "held",
    "APPLIED": "applied",
    "VOID": "voided",
    "REJECTED": "rejected",
}
_DONE = {"commit": "committed", "void": "voided", "refund": "refunded"}


class Moment(Struct, frozen=True):
    """One moment. ``status`` gives it its colour. ``transaction_id`` names another transaction that did it."""

    at: str
    word: str
    status: str
    after: str = ""
    """How long after the moment before."""
    text: str = ""
    transaction_id: str = ""
    is_to_come: bool = False


def kind_of(child: Row, row: Row) -> str:
    """Tell what a transaction that follows another one does: commit, void or refund."""
    if child["source"] and child["source"] == row["destination"]:
        return "refund"
    return "void" if child["status"] == "VOID" or "_void_" in child["reference"] else "commit"


def moments(row: Row, following: Iterable[Row]) -> list[Moment]:
    """List the moments of a transaction, the earliest first. ``following`` are the commits, voids and refunds of it."""
    found = [
        Moment(step["at"], _word(step["status"], row), step["status"], text=_text(step, row))
        for step in row["timeline"]
    ]
    for child in following:
        kind = kind_of(child, row)
        last = (
            child["timeline"][-1] if child.get("timeline") else {"at": child["created_at"], "status": child["status"]}
        )
        done = _DONE[kind] if child["status"] in ("APPLIED", "VOID") else f"{kind} {_WORDS.get(child['status'], '')}"
        sum_ = (
            f"{money(child['precise_amount'], child['precision'])} {child['currency']}"
            if child["precise_amount"]
            else ""
        )
        found.append(Moment(last["at"], done, child["status"], text=sum_, transaction_id=child["transaction_id"]))
    found.sort(key=lambda moment: moment.at)
    with_gaps = [
        Moment(
            moment.at, moment.word, moment.status, apart(before.at, moment.at) if before else "", moment.text,
            moment.transaction_id,
        )
        for before, moment in zip([None, *found], found, strict=False)
    ]  # fmt: skip
    return [*with_gaps, *_to_come(row)]


def _word(status: str, row: Row) -> str:
    if status == "APPLIED" and row["inflight"]:
        return "settled"
    return _WORDS.get(status, status.lower())


def _text(step: Row, row: Row) -> str:
    if step["status"] == "QUEUED" and row.get("sequence"):
        return f"number {row['sequence']:,} in the order of acceptance"
    return ""


def _to_come(row: Row) -> list[Moment]:
    """List what is due later."""
    dates = []
    if row["status"] == "SCHEDULED":
        dates.append(("scheduled_for", "will be accepted", "SCHEDULED"))
    if row["status"] == "INFLIGHT":
        dates += [
            ("inflight_commit_date", "will be committed", "INFLIGHT"),
            ("inflight_expiry_date", "will expire", "INFLIGHT"),
        ]
    return [
        Moment(row[name], word, status, is_to_come=True)
        for name, word, status in dates
        if row.get(name) and not row[name].startswith("0001-")
    ]
