"""Receipts of statements: the entries of a balance over a period, each proved, and none of them left out.

Each outcome that touches a balance makes the next version of it, and has what the balance held after it. So entries whose
versions follow each other without a gap are all that there were between the first and the last of them.
"""

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType
from sqlalchemy import Connection, Engine

from core.base.db import driver, reading_within
from core.ledger.store import versions
from core.notary import proof_store
from core.notary.receipts import PartyOf, Prover, Receipt, Signed, keys_of

FORM = "pacioli statement receipt 1"

ENTRIES, MAX_ENTRIES = 50, 500
"""The number of entries in one receipt, and the largest. Each entry hashes the leaves of two blocks, about half a millisecond."""

_WITHIN_S = 20.0

_NOT_YET = "the notary signs the newest entries within about ten seconds of its work; ask again then"
_MORE = "there are more entries: ask again with after={}, and check both"

# Entries are booked in the order of their versions. The indexes of outcomes by balance and version serve this.
_SIDE = """(
        SELECT {side}_version AS version, seq
        FROM outcomes
        WHERE {side} = %(key)s
          AND {side}_version > %(after)s
          AND {side}_version < %(end)s
          AND (%(since)s::timestamptz IS NULL OR decided_at >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR decided_at < %(until)s)
        ORDER BY {side}_version
        LIMIT %(limit)s
    )""".strip()

_ENTRIES = f"""
    SELECT version, seq
    FROM ({_SIDE.format(side="source")} UNION ALL {_SIDE.format(side="destination")}) AS entries
    ORDER BY version
    LIMIT %(limit)s
"""


class StatementReceipt(Struct, frozen=True, kw_only=True):
    """The entries of a balance with the proofs of each, in the order in which they were booked. Sums are minor units."""

    form: str
    balance: PartyOf
    opening_version: int
    """The version of the balance before the first entry. It is 1 when nothing had touched it."""
    opening_balance: int
    closing_version: int
    closing_balance: int
    entries: list[Receipt]
    """The receipt of each transaction that made a version, without ``keys``. Holds and their ends are among them."""
    keys: list[Signed]
    """The seals by which one key of the notary handed over to the next, as in the receipt of a transaction."""
    note: str | UnsetType = UNSET
    """The entries that are still to come."""


def statement_receipt(
    engine: Engine, key: int, between: tuple[datetime | None, datetime | None], *, after: int, limit: int
) -> StatementReceipt:
    """Make the receipt of the entries of a balance, beyond the version ``after``.

    Raises:
        TooSlow: the proofs took too long.
        TransientError: the database was busy or gone.
    """
    since, until = between
    with reading_within(engine, _WITHIN_S) as conn:
        found: list[tuple[int, int]] = []
        for within in versions.ranges(conn, key, between):
            given = {"key": key, "after": max(after, within.above), "end": within.end, "since": since, "until": until}
            found += driver(conn).execute(_ENTRIES, {**given, "limit": limit + 1 - len(found)}).fetchall()
            if len(found) > limit:
                break
        rows = proof_store.rows(conn, [seq for _, seq in found[:limit]])
        prover = Prover(conn)
        entries = prover.receipts([rows[seq] for _, seq in found[:limit]])
        opening, closing = _ends(conn, key, [version for version, _ in found[:limit]], after)
        balance = prover.party(key)
        assert balance is not None
        unsealed = any(each.note is not UNSET for each in entries)
        more = _MORE.format(found[limit - 1][0]) if len(found) > limit else UNSET
        return StatementReceipt(
            form=FORM,
            balance=balance,
            opening_version=opening[0],
            opening_balance=opening[1],
            closing_version=closing[0],
            closing_balance=closing[1],
            entries=entries,
            keys=keys_of(conn),
            note=_NOT_YET if unsealed else more,
        )


_HELD = """
SELECT coalesce(
    (SELECT source_balance FROM outcomes WHERE source = %(key)s AND source_version = %(version)s),
    (SELECT destination_balance FROM outcomes WHERE destination = %(key)s AND destination_version = %(version)s),
    0
)
"""


def _ends(conn: Connection, key: int, versions: list[int], after: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return version and balance before the first entry and after the last one."""
    ends = (versions[0] - 1, versions[-1]) if versions else (max(after, 1), max(after, 1))
    found = []
    for version in ends:
        row = driver(conn).execute(_HELD, {"key": key, "version": version}).fetchone()
        assert row is not None
        found.append((version, int(row[0])))
    return found[0], found[1]
