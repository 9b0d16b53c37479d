"""Check what was accepted for later against its pledges, and the chain of the pledges."""

from sqlalchemy import Connection

from core.ledger.rules.pledges import START, Of, Pledge, link
from core.ledger.store import due as due_store
from core.ledger.store import pledges
from core.verification.report import LISTED, Report


def check_pending(conn: Connection, report: Report) -> None:
    """Check that what waits is as it was accepted, that none of it is gone, and that each pledge chains to the one before."""
    number, hash = 0, START
    for row in pledges.every(conn):
        number += 1
        if row.of not in set(Of):
            report.add("pledges", f"number {row.number}", "of", expected=f"one of {', '.join(Of)}", found=row.of)
            hash = row.hash
            continue
        hash = link(hash, number, Pledge(row.id, Of(row.of), row.digest))
        if (row.number, row.hash) != (number, hash):
            expected = f"number {number} and {hash.hex()}, over the row and the hash before it"
            report.add("pledges", f"number {row.number}", "hash", expected=expected, found=row.hash.hex())
            number, hash = row.number, row.hash
    for id in due_store.altered(conn):
        expected = "what was accepted, by its pledge; it is refused when it is due"
        report.add("scheduled", f"txn_{id}", "content", expected=expected, found="something else")
    for id in pledges.broken(conn, LISTED):
        expected = "a scheduled transaction, or one in the log, for there is a pledge"
        report.add("scheduled", f"txn_{id}", "row", expected=expected, found="none")
