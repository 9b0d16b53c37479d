"""Reads a page of the statement of a balance. ``spans.py`` has its sums.

A page begins at a place, and so in the first span that ends after it. The entries from there on, in the order of their versions,
tell a time by which the page ends: an entry that belongs before it, but has a later version, is in a span that begins by then.
So a page reads a few spans, however long the history is. Nothing beyond the version ``upto`` counts, so that all pages of a
statement add up, whatever is posted meanwhile.
"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.ledger.store import spans, times
from core.ledger.store.entries import Entry
from core.ledger.store.spans import FIRST_OF, LAST_OF, UNDATED, Basis, Bound, both, side


class Period(NamedTuple):
    """The entries of a balance from a time on, and before another, as of a version of it. None does not limit them."""

    key: int
    upto: int
    since: datetime | None
    until: datetime | None


_PLACE = {
    basis: f"""
        SELECT at
        FROM ({both(basis, above="%(version)s - 1", upto="least(%(version)s, %(upto)s)")}) AS entries
    """
    for basis in Basis
}

_AFTER = "(at, version) > (%(begin)s::timestamptz, %(begin_version)s::bigint)"


def _first(basis: Basis, name: str, sign: str) -> str:
    """Make the first entries of one side after a place, in the order of their versions."""
    where = f"{UNDATED} AND o.seq >= %(low)s" if basis is Basis.EFFECTIVE else ""
    entries = side(basis, name, sign, above="%(start)s", upto="%(upto)s", where=where)
    return f"""(
        SELECT at, version
        FROM ({entries}) AS side
        WHERE {_AFTER}
        ORDER BY version
        LIMIT %(limit)s
    )"""


# It is a statement of its own, so that the planner knows how many entries follow. It would read and sort them all otherwise.
def _start(basis: Basis) -> str:
    """Make the statement that finds the last version in a span, and the version after which the entries beyond a place begin."""
    return f"""
        WITH reach AS (
            SELECT coalesce(max(last), 0) AS last
            FROM spans
            WHERE balance = %(key)s
              AND last <= %(upto)s
        )
        SELECT (SELECT last FROM reach), coalesce(min(last) - %(size)s::bigint, (SELECT last FROM reach))
        FROM spans
        WHERE balance = %(key)s
          AND last <= %(upto)s
          AND part = 0
          AND ({LAST_OF[basis]}, last) > (%(begin)s::timestamptz, %(begin_version)s::bigint)
    """


def _stop(basis: Basis) -> str:
    """Make the statement that finds a place by which a page ends. There is none if fewer entries follow than it may have."""
    return f"""
        SELECT at, version
        FROM (
            SELECT at, version
            FROM ({_first(basis, "source", "-")} UNION ALL {_first(basis, "destination", "")}) AS sides
            ORDER BY version
            LIMIT %(limit)s
        ) AS first
        ORDER BY at, version
        OFFSET %(limit)s - 1
    """


# The entries with an effective date are found by it: as many of each side as the page has, and all of the last date.
_DATED = """
            UNION ALL
            (
                SELECT
                    o.{side}_version,
                    o.seq,
                    {sign}o.amount,
                    o.{other},
                    o.decided_at,
                    log.effective_date
                FROM log
                JOIN outcomes AS o ON o.seq = log.seq
                WHERE log.{side} = %(key)s
                  AND log.effective_date >= %(begin)s
                  AND log.effective_date < %(until)s
                  AND log.effective_date <= %(stop)s
                  AND (log.effective_date, o.{side}_version) > (%(begin)s, %(begin_version)s)
                  AND o.status = 1
                  AND o.{side}_version <= %(upto)s
                ORDER BY log.effective_date
                FETCH FIRST %(limit)s ROWS WITH TIES
            )
""".strip()


def _page(basis: Basis) -> str:
    is_effective = basis is Basis.EFFECTIVE
    undated = f"{UNDATED} AND o.seq >= %(low)s AND o.seq < %(high)s" if is_effective else ""
    debits = _DATED.format(side="source", other="destination", sign="-") if is_effective else ""
    credits = _DATED.format(side="destination", other="source", sign="") if is_effective else ""
    return f"""
        WITH near AS MATERIALIZED (
            SELECT last
            FROM spans
            WHERE balance = %(key)s
              AND last <= %(upto)s
              AND part = 0
              AND ({LAST_OF[basis]}, last) > (%(begin)s::timestamptz, %(begin_version)s::bigint)
              AND ({FIRST_OF[basis]}, last - %(size)s::bigint + 1) <= (%(stop)s::timestamptz, %(stop_version)s::bigint)
              AND {FIRST_OF[basis]} < %(until)s
        ),
        entries AS (
            SELECT e.*
            FROM near
            CROSS JOIN LATERAL ({both(basis, above="near.last - %(size)s::bigint", upto="near.last", where=undated)}) AS e
            UNION ALL
            SELECT *
            FROM ({both(basis, above="%(end)s", upto="%(upto)s", where=undated)}) AS beyond
            {debits}
            {credits}
        )
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
            SELECT *, %(before)s + sum(signed) OVER (ORDER BY at, version) AS running
            FROM entries
            WHERE at < %(until)s
              AND {_AFTER}
            ORDER BY at, version
            LIMIT %(limit)s
        ) AS e
        JOIN log ON log.seq = e.seq
        JOIN balances ON balances.id = e.counterparty
        ORDER BY e.at, e.version
    """


_START = {basis: _start(basis) for basis in Basis}
_STOP = {basis: _stop(basis) for basis in Basis}
_PAGE = {basis: _page(basis) for basis in Basis}


def place_of(conn: Connection, basis: Basis, period: Period, version: int) -> Bound | None:
    """Find the position of the entry with a version. Returns None when there is none."""
    given = {"key": period.key, "upto": period.upto, "version": version}
    row = driver(conn).execute(_PLACE[basis], given).fetchone()
    return None if row is None else Bound(row[0], version)


def page(
    conn: Connection, basis: Basis, period: Period, *, begin: Bound | None, before: int, limit: int
) -> list[Entry]:
    """Read the entries after a place, in order, with the balance after each. ``before`` is the balance at the place.

    Without a place the first entries are read.
    """
    values = {
        "key": period.key,
        "upto": period.upto,
        "until": period.until or "infinity",
        "begin": begin.at if begin is not None else "-infinity",
        "begin_version": begin.version if begin is not None else 0,
        "limit": limit,
        "size": spans.SIZE,
    }
    values |= {"low": _near(conn, basis, None if begin is None else begin.at).first}
    end, start = driver(conn).execute(_START[basis], values).fetchall()[0]
    found = driver(conn).execute(_STOP[basis], values | {"start": start}).fetchone()
    stop, stop_version = found or (None, 0)
    values |= {"high": _near(conn, basis, stop or period.until).end}
    values |= {"end": end, "stop": stop or "infinity", "stop_version": stop_version, "before": before}
    return [Entry(*row) for row in driver(conn).execute(_PAGE[basis], values)]


def _near(conn: Connection, basis: Basis, at: datetime | None) -> times.Range:
    """Find the positions of the rows that must be compared with a time. Booked entries are not in the order of acceptance."""
    return times.around(conn, [at])[0] if basis is Basis.EFFECTIVE else times.EVERYWHERE
