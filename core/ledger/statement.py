"""The statement of a balance: what it held at the start of a period, each entry with the balance after it, and the end."""

import re
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection

from core.base.answers import Time
from core.base.errors import ErrorCode, InvalidRequest
from core.ledger import history
from core.ledger.balances import Entry, entry_of
from core.ledger.reach import seen
from core.ledger.store import currencies as currency_store
from core.ledger.store import statement as statement_store
from core.ledger.store.balances import BalanceRow
from core.ledger.store.spans import LAST, NOTHING, Basis, Bound
from core.ledger.store.statement import Period

MAX_ENTRIES = 5_000
"""The largest number of entries in one page."""

_AFTER = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)


class Statement(Struct, frozen=True, kw_only=True, rename={"since": "from", "until": "to"}):
    """The statement of a balance over a period. Sums are minor units; opening_balance + credits - debits = closing_balance."""

    balance_id: str
    indicator: str
    """The @Name of an internal balance. It is empty for others."""
    currency: str
    precision: int | None
    """The number of minor units in a major unit. It is null before the currency's first use."""
    basis: Basis
    """booked counts an entry when it is decided, effective from its effective date."""
    since: Time | None
    until: Time | None
    """The time before which the entries are. null means that there is no end."""
    opening_balance: int
    """The balance before the first entry of the period."""
    debits: int
    """The debits of the whole period, which may be more than those of this page."""
    credits: int
    closing_balance: int
    """The balance after the last entry of the period."""
    entry_count: int
    """The number of entries of the whole period."""
    entries: list[Entry]
    """The entries in order. precise_balance_after is the balance after the entry in this order."""


class Cursor(Struct, frozen=True):
    """The end of a page: the version of its last entry, and that of the balance when the first page was read."""

    version: int
    upto: int

    def __str__(self) -> str:
        return f"{self.version}-{self.upto}"


def cursor_of(text: str | None) -> Cursor | None:
    """Read where the page before ended.

    Raises:
        InvalidRequest: the text is not that of a Link header.
    """
    if text is None:
        return None
    found = _AFTER.fullmatch(text)
    if found is None:
        raise _wrong_cursor()
    return Cursor(int(found[1]), int(found[2]))


def read(
    conn: Connection,
    row: BalanceRow,
    basis: Basis,
    between: tuple[datetime | None, datetime | None],
    *,
    after: Cursor | None,
    limit: int,
) -> Statement:
    """Read a page of a statement. All pages are as of the version that the balance had at the first one.

    ``conn`` sees one state of the database.

    Raises:
        InvalidRequest: the period ends before it begins, or there is no entry where the page before ended.
            Or too many entries would have to be added up.
        TooSlow: too many entries have one time.
    """
    since, until = between
    if since is not None and until is not None and until < since:
        raise InvalidRequest([("to", "is before from")], ErrorCode.GEN_VALIDATION_ERROR)
    period = Period(row.key, min(after.upto, row.version) if after else row.version, since, until)
    first = None if since is None else Bound(since, 0)
    begin = first if after is None else _place(conn, basis, period, after)
    last = Bound(None, LAST) if until is None else Bound(until, 0)
    given = list(dict.fromkeys(bound for bound in (first, begin) if bound is not None))  # The first page has one begin.
    *before, at_end = history.sums_until(conn, row.key, basis, period.upto, [*given, last])
    opening = before[0] if first is not None else NOTHING
    at_begin = before[-1] if before else NOTHING
    entries = statement_store.page(conn, basis, period, begin=begin, before=at_begin.balance, limit=limit)
    return Statement(
        balance_id=row.balance_id,
        indicator=row.indicator or "",
        currency=row.currency,
        precision=currency_store.precision_of(conn, row.currency) or currency_store.used_precision(conn, row.currency),
        basis=basis,
        since=since,
        until=until,
        opening_balance=opening.balance,
        debits=at_end.debits - opening.debits,
        credits=at_end.credits - opening.credits,
        closing_balance=at_end.balance,
        entry_count=at_end.entries - opening.entries,
        entries=[entry_of(entry) for entry in seen(conn, entries)],
    )


def _place(conn: Connection, basis: Basis, period: Period, after: Cursor) -> Bound:
    """Find where a page begins, which is not before the period.

    Raises:
        InvalidRequest: the balance has no entry with the version of the cursor.
    """
    place = statement_store.place_of(conn, basis, period, after.version)
    if place is None or place.at is None:
        raise _wrong_cursor()
    return Bound(period.since, 0) if period.since is not None and place.at < period.since else place


def next_after(found: Statement, row: BalanceRow, after: Cursor | None, limit: int, count: int) -> Cursor | None:
    """Return the end of a page with the first ``count`` of these entries, or None when it is the last one."""
    if not count or count == len(found.entries) < limit:
        return None
    return Cursor(found.entries[count - 1].version, min(after.upto, row.version) if after else row.version)


def _wrong_cursor() -> InvalidRequest:
    return InvalidRequest([("after", "must be that of a Link header")], ErrorCode.GEN_VALIDATION_ERROR)
