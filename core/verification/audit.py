"""Checks the chain of the audit log.

Each row must follow the one before it without a gap, and have the hash over its columns and the hash before it. The first
row is the first ever, or follows where a row of the chain says that older ones were cut off.
"""

from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from core.journal import audit_store
from core.journal.actions import Action
from core.journal.audit_row import START, AuditRow, hash_of
from core.verification.report import Report, TellProgress, hash_text

ROWS_AT_A_TIME = 200
"""The number of rows that one statement reads. The details of a row may take a hundred kilobytes."""

NEWEST = 10_000
"""A verification that goes on from a checkpoint reads so many of the newest rows."""


class _Cut(msgspec.Struct):
    """The details of a row that says where the chain begins since."""

    last: int
    hash: str


class _End(NamedTuple):
    """The row before the next one."""

    id: int
    hash: bytes


def check_audit(conn: Connection, report: Report, progress: TellProgress, *, newest: int | None = None) -> None:
    """Check the rows of the audit log, or only the newest, and report each that does not follow from the one before."""
    last = audit_store.last_id(conn)
    after = 0 if newest is None else max(last - newest - 1, 0)
    end: _End | None = None
    cut = _Cut(0, START.hex())
    first: AuditRow | None = None
    while rows := audit_store.read_range(conn, after=after, limit=ROWS_AT_A_TIME):
        for row in rows:
            if end is None:
                first = row
                is_start = row.id == 1
                end = _End(row.id - 1, START) if is_start else None
            if end is not None:
                _check_row(report, row, end)
            end = _End(row.id, row.hash)
            if row.action == Action.AUDIT_CUT:
                cut = _cut_of(report, row)
        after = rows[-1].id
        progress("audit", min(after, last), last)
    if first is not None and first.id > 1 and newest is None:
        if first.id != cut.last + 1:
            report.add("audit", f"id {cut.last + 1}", "row", expected="a row", found=f"none before id {first.id}")
        else:
            _check_row(report, first, _End(cut.last, bytes.fromhex(cut.hash)))


def _check_row(report: Report, row: AuditRow, end: _End) -> None:
    if row.id != end.id + 1:
        report.add("audit", f"id {end.id + 1}", "row", expected="a row", found=f"none before id {row.id}")
    expected = hash_of(row, end.hash)
    if row.hash != expected:
        report.add("audit", f"id {row.id}", "hash", expected=hash_text(expected), found=hash_text(row.hash))


def _cut_of(report: Report, row: AuditRow) -> _Cut:
    try:
        cut = msgspec.json.decode(row.details, type=_Cut)
        bytes.fromhex(cut.hash)
    except (msgspec.MsgspecError, ValueError):
        report.add("audit", f"id {row.id}", "details", expected="where the chain begins", found=row.details)
        return _Cut(0, START.hex())
    return cut
