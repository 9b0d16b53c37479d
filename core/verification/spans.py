"""Checks the spans of balances, from which a balance at a time and statements are answered, against the entries."""

from sqlalchemy import Connection

from core.ledger.store import runs, span_check, spans
from core.verification.report import Report

_AT_ONCE = 200
"""The number of spans that one statement adds up."""


def check_spans(conn: Connection, report: Report) -> None:
    """Add up every span again. One that is missing between others, or beyond its balance, is reported too."""
    step = _AT_ONCE * spans.SIZE
    for key, version, end in span_check.written(conn):
        if end > version:
            report.add("spans", f"balance {key}", "last", expected=f"{version} or less, its version", found=end)
        for after in range(0, end, step):
            for each in span_check.wrong(conn, key, after=after, upto=min(after + step, end)):
                name = f"balance {key}, versions up to {each.last}, part {each.part}"
                report.add("spans", name, "sums", expected=each.expected, found=each.found)
    size = spans.RUN * spans.SIZE
    for key, end in runs.written(conn):
        for after in range(0, end, size):
            for each in runs.wrong(conn, key, after=after, upto=after + size):
                name = f"balance {key}, run up to {each.last}, part {each.part}"
                report.add("spans", name, "sums", expected=each.expected, found=each.found)
