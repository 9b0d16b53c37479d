"""Reads the statement of a balance: the sums before, within and at the end of a period, and a page of its entries.

An entry is booked when it is decided. In effect it is from its effective date, or else from when it was accepted. Entries at
one moment follow each other by their versions. Nothing beyond the version ``upto`` counts, so that all pages of a statement
add up, whatever is posted meanwhile.
"""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection, text

from core.ledger.store.balances import Entry


class Basis(StrEnum):
    """The time by which an entry belongs to a period."""

    BOOKED = "booked"
    EFFECTIVE = "effective"


class Period(NamedTuple):
    """The entries of a balance from a time on, and before another, as of a version of it. None does not limit them."""

    key: int
    upto: int
    since: datetime | None
    until: datetime | None


class Place(NamedTuple):
    """The position of an entry in a statement."""

    at: datetime
    version: int


class Sums(NamedTuple):
    """The sums of a statement, in minor units."""

    opening: int
    before: int
    """All entries up to the place where the page begins."""
    debits: int
    credits: int
    entries: int


_AT = {Basis.BOOKED: "o.decided_at", Basis.EFFECTIVE: "coalesce(log.effective_date, log.accepted_at)"}

_SIDE = """
        SELECT
            o.{side}_version AS version,
            o.seq,
            {sign}o.amount AS signed,
            o.{side} AS own,
            o.{other} AS counterparty,
            o.decided_at,
            {at} AS at
        FROM outcomes AS o{join}
        WHERE o.{side} = :key
          AND o.{side}_version <= :upto
          AND o.status = 1
"""


def _entries(basis: Basis) -> str:
    """Make the rows of both sides. outcomes_source_version_idx and outcomes_destination_version_idx find them."""
    # Only the effective date is in the log, so entries as they were booked need no look at it.
    join = " JOIN log ON log.seq = o.seq" if basis is Basis.EFFECTIVE else ""
    debits = _SIDE.format(side="source", other="destination", sign="-", at=_AT[basis], join=join)
    credits = _SIDE.format(side="destination", other="source", sign="", at=_AT[basis], join=join)
    return f"{debits} UNION ALL {credits}"


_SUMS = {
    basis: text(
        f"""
        SELECT
            coalesce(sum(signed) FILTER (WHERE at < :since), 0),
            coalesce(sum(signed) FILTER (WHERE at < :since OR (at, version) <= (:place_at, :place)), 0),
            coalesce(-sum(signed) FILTER (WHERE at >= :since AND at < :until AND signed < 0), 0),
            coalesce(sum(signed) FILTER (WHERE at >= :since AND at < :until AND signed > 0), 0),
            count(*) FILTER (WHERE at >= :since AND at < :until)
        FROM ({_entries(basis)}) AS entries
        """
    )
    for basis in Basis
}

_PAGE = {
    basis: text(
        f"""
        SELECT
            e.version,
            'txn_' || log.id,
            log.reference,
            log.parent,
            CASE WHEN e.signed < 0 THEN 'debit' ELSE 'credit' END,
            abs(e.signed),
            e.running,
            coalesce(balances.indicator, 'bln_' || balances.balance_id),
            log.currency,
            log.precision,
            log.description,
            e.decided_at,
            e.seq,
            coalesce(log.effective_date, log.accepted_at)
        FROM (
            SELECT *, :before + sum(signed) OVER (ORDER BY at, version) AS running
            FROM ({_entries(basis)}) AS entries
            WHERE at >= :since
              AND at < :until
              AND (at, version) > (:place_at, :place)
            ORDER BY at, version
            LIMIT :limit
        ) AS e
        JOIN log ON log.seq = e.seq
        JOIN balances ON balances.id = e.counterparty
        ORDER BY e.at, e.version
        """
    )
    for basis in Basis
}

_PLACE = {basis: text(f"SELECT at FROM ({_entries(basis)}) AS entries WHERE version = :version") for basis in Basis}


def place_of(conn: Connection, basis: Basis, period: Period, version: int) -> Place | None:
    """Find the position of the entry with a version. Returns None when there is none."""
    given = {"key": period.key, "upto": period.upto, "version": version}
    at = conn.execute(_PLACE[basis], given).scalar_one_or_none()
    return None if at is None else Place(at, version)


def sums(conn: Connection, basis: Basis, period: Period, after: Place | None) -> Sums:
    """Add up the entries before, up to and within a period."""
    row = conn.execute(_SUMS[basis], _bounds(period, after)).one()
    return Sums(*map(int, row))


def page(
    conn: Connection, basis: Basis, period: Period, *, after: Place | None, before: int, limit: int
) -> list[Entry]:
    """Read the entries that follow a place, in order, with the balance after each. ``before`` is the balance at the place."""
    rows = conn.execute(_PAGE[basis], {**_bounds(period, after), "before": before, "limit": limit})
    return [Entry(*row) for row in rows]


def _bounds(period: Period, after: Place | None) -> dict[str, object]:
    return {
        "key": period.key,
        "upto": period.upto,
        "since": period.since or "-infinity",
        "until": period.until or "infinity",
        "place_at": after.at if after is not None else "-infinity",
        "place": after.version if after is not None else 0,
    }
