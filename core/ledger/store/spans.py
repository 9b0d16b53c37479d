"""Keeps the sums of each thousand versions of a balance, so that no question about a time adds up a long history.

A *span* has the versions from one multiple of ``SIZE`` to the next. All of them are decided when it is written, so it never
changes. An entry is booked when it is decided. In effect it is from its effective date, or else from when it was accepted.
So a span has parts: part 0 has the entries without an effective date, and the others have those with one, in the order of
their dates. Each part knows its first and its last time, and what it comes to:

    entries up to a time = the parts that end by then
                         + the entries of the parts that begin by then and end later
                         + the entries beyond the last span

Entries at one moment follow each other by their versions.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import array, driver

SIZE = 1_000
"""The number of versions of a span."""

DATED = 250
"""So many entries with an effective date are in one part, and more only if they have one date."""

LAST = 2**62
"""A version after all others."""


class Basis(StrEnum):
    """The time by which an entry belongs to a period."""

    BOOKED = "booked"
    EFFECTIVE = "effective"


class Bound(NamedTuple):
    """The end of a range of entries: it includes those at this time up to this version, and all of before. None is for ever."""

    at: datetime | None
    version: int


class Sums(NamedTuple):
    """The sums of the entries up to a bound, in minor units."""

    credits: int
    debits: int
    entries: int

    @property
    def balance(self) -> int:
        """Credits less debits."""
        return self.credits - self.debits

    def plus(self, more: "Sums") -> "Sums":
        """Add the sums of other entries."""
        return Sums(self.credits + more.credits, self.debits + more.debits, self.entries + more.entries)


NOTHING = Sums(0, 0, 0)


class Known(NamedTuple):
    """The sums that the spans of a balance have for some bounds, and what is left to add up."""

    sums: list[Sums]
    end: int
    """The last version that is in a span."""
    left: int
    """The number of entries that are read to add up the rest."""


class Lag(NamedTuple):
    """A balance, and how far its spans go."""

    key: int
    version: int
    end: int


FIRST_OF = {Basis.BOOKED: "first_decided_at", Basis.EFFECTIVE: "first_at"}
LAST_OF = {Basis.BOOKED: "last_decided_at", Basis.EFFECTIVE: "last_at"}

_BOUNDS = "unnest(%(ats)s::timestamptz[], %(versions)s::bigint[]) WITH ORDINALITY AS bound (at, version, ordinal)"


def _known(basis: Basis) -> str:
    """Make the statement that adds up whole parts. It is served by the primary key of spans."""
    return f"""
        SELECT
            coalesce(sum(credit) FILTER (WHERE is_whole), 0),
            coalesce(sum(debit) FILTER (WHERE is_whole), 0),
            coalesce(sum(entries) FILTER (WHERE is_whole), 0),
            coalesce(sum(entries) FILTER (WHERE begins AND NOT is_whole), 0),
            max(last)
        FROM {_BOUNDS}
        LEFT JOIN LATERAL (
            SELECT
                *,
                ({LAST_OF[basis]}, last) <= (bound.at, bound.version) AS is_whole,
                ({FIRST_OF[basis]}, last - %(size)s::bigint + 1) <= (bound.at, bound.version) AS begins
            FROM spans
            WHERE balance = %(key)s
              AND last <= %(upto)s
        ) AS span ON true
        GROUP BY ordinal
        ORDER BY ordinal
    """


def side(basis: Basis, name: str, sign: str, *, above: str, upto: str, where: str = "") -> str:
    """Make the entries of one side of a balance between two versions, by outcomes_source_version_idx or its twin."""
    # Only the effective date is in the log, so entries as they were booked need no look at it.
    is_booked = basis is Basis.BOOKED
    at = "o.decided_at" if is_booked else "coalesce(log.effective_date, log.accepted_at)"
    join = "" if is_booked else "JOIN log ON log.seq = o.seq"
    other = "destination" if name == "source" else "source"
    return f"""
        SELECT
            o.{name}_version AS version,
            o.seq,
            {sign}o.amount AS signed,
            o.{other} AS counterparty,
            o.decided_at,
            {at} AS at
        FROM outcomes AS o
        {join}
        WHERE o.{name} = %(key)s
          AND o.{name}_version > {above}
          AND o.{name}_version <= {upto}
          AND o.status = 1
          {where}
    """


def both(basis: Basis, *, above: str, upto: str, where: str = "") -> str:
    """Make the entries of a balance between two versions."""
    debits = side(basis, "source", "-", above=above, upto=upto, where=where)
    credits = side(basis, "destination", "", above=above, upto=upto, where=where)
    return f"{debits} UNION ALL {credits}"


UNDATED = "AND log.effective_date IS NULL"


def _rest(basis: Basis) -> str:
    """Make the statement that adds up what whole parts leave out."""
    is_booked = basis is Basis.BOOKED
    within = both(basis, above="cut.last - %(size)s::bigint", upto="cut.last", where="" if is_booked else UNDATED)
    return f"""
        WITH bound AS (
            SELECT *
            FROM {_BOUNDS}
        ),
        cut AS MATERIALIZED (
            SELECT ordinal, at, version, last, part, {FIRST_OF[basis]} AS first_at, {LAST_OF[basis]} AS last_at
            FROM bound
            JOIN spans ON balance = %(key)s AND last <= %(end)s
            WHERE ({LAST_OF[basis]}, last) > (at, version)
              AND ({FIRST_OF[basis]}, last - %(size)s::bigint + 1) <= (at, version)
        ),
        beyond AS MATERIALIZED (
            {both(basis, above="%(end)s", upto="%(upto)s")}
        ),
        found AS (
            SELECT ordinal, signed
            FROM cut
            CROSS JOIN LATERAL ({within}) AS e
            WHERE part = 0 AND (e.at, e.version) <= (cut.at, cut.version)
            UNION ALL
            SELECT ordinal, signed
            FROM beyond
            JOIN bound ON (beyond.at, beyond.version) <= (bound.at, bound.version)
            {"" if is_booked else _DATED}
        )
        SELECT
            ordinal,
            coalesce(sum(signed) FILTER (WHERE signed > 0), 0),
            coalesce(-sum(signed) FILTER (WHERE signed < 0), 0),
            count(*)
        FROM found
        GROUP BY ordinal
    """


# Entries with an effective date are found by it, and a part has those of its span with the dates between its own.
_DATED = """
            UNION ALL
            SELECT dated.ordinal, dated.signed
            FROM (
                SELECT ordinal, at, version, min(first_at) AS first_at
                FROM cut
                WHERE part > 0
                GROUP BY ordinal, at, version
            ) AS range
            CROSS JOIN LATERAL (
                SELECT ordinal, -o.amount AS signed, log.effective_date AS at, o.source_version AS version
                FROM log
                JOIN outcomes AS o ON o.seq = log.seq
                WHERE log.source = %(key)s
                  AND log.effective_date BETWEEN range.first_at AND range.at
                  AND o.status = 1
                  AND o.source_version <= %(end)s
                UNION ALL
                SELECT ordinal, o.amount, log.effective_date, o.destination_version
                FROM log
                JOIN outcomes AS o ON o.seq = log.seq
                WHERE log.destination = %(key)s
                  AND log.effective_date BETWEEN range.first_at AND range.at
                  AND o.status = 1
                  AND o.destination_version <= %(end)s
            ) AS dated
            JOIN cut ON part > 0
                AND cut.ordinal = dated.ordinal
                AND cut.last = (dated.version + %(size)s::bigint - 1) / %(size)s::bigint * %(size)s::bigint
                AND dated.at BETWEEN cut.first_at AND cut.last_at
            WHERE (dated.at, dated.version) <= (range.at, range.version)
""".strip()

_KNOWN = {basis: _known(basis) for basis in Basis}
_REST = {basis: _rest(basis) for basis in Basis}

_END = """
    SELECT last
    FROM spans
    WHERE balance = %(key)s
    ORDER BY last DESC
    LIMIT 1
"""

# The spans of a balance are few and new ones follow the last, so one probe of their key tells where they end.
_LAGGING = """
    SELECT balances.id, balances.version, coalesce(newest.last, 0)
    FROM balances
    LEFT JOIN LATERAL (
        SELECT last
        FROM spans
        WHERE spans.balance = balances.id
        ORDER BY last DESC
        LIMIT 1
    ) AS newest ON true
    WHERE balances.id > %(after)s
      AND balances.version >= %(size)s::bigint
      AND balances.version >= coalesce(newest.last, 0) + %(size)s::bigint
    ORDER BY balances.id
    LIMIT %(limit)s
"""

_LAGGING_OF = _LAGGING.replace("WHERE balances.id >", "WHERE balances.id = ANY(%(keys)s::bigint[]) AND balances.id >")

# This reads the log for each entry. Every span has a part 0, even if it is empty: it ends before any time.
_PARTS = f"""
    entries AS (
        SELECT
            (version + %(size)s::bigint - 1) / %(size)s::bigint * %(size)s::bigint AS last,
            effective_date IS NOT NULL AS is_dated,
            coalesce(effective_date, accepted_at) AS at,
            e.decided_at,
            e.signed
        FROM ({both(Basis.BOOKED, above="%(after)s", upto="%(upto)s")}) AS e
        JOIN log ON log.seq = e.seq
    ),
    parts AS (
        SELECT
            last,
            CASE WHEN is_dated THEN 1 + (rank() OVER (PARTITION BY last, is_dated ORDER BY at) - 1) / %(dated)s::bigint ELSE 0 END
                AS part,
            at,
            min(decided_at) OVER (PARTITION BY last) AS first_decided_at,
            max(decided_at) OVER (PARTITION BY last) AS last_decided_at,
            signed,
            1 AS entries
        FROM entries
        UNION ALL
        SELECT last, 0, NULL, first_decided_at, last_decided_at, 0, 0
        FROM generate_series(%(after)s::bigint + %(size)s::bigint, %(upto)s::bigint, %(size)s::bigint) AS span (last)
        LEFT JOIN (
            SELECT last, min(decided_at) AS first_decided_at, max(decided_at) AS last_decided_at
            FROM entries
            GROUP BY last
        ) AS decided USING (last)
    ),
    summed AS (
        SELECT
            %(key)s::bigint AS balance,
            last,
            part,
            coalesce(min(at), '-infinity') AS first_at,
            coalesce(max(at), '-infinity') AS last_at,
            coalesce(min(first_decided_at), '-infinity') AS first_decided_at,
            coalesce(max(last_decided_at), '-infinity') AS last_decided_at,
            coalesce(sum(signed) FILTER (WHERE signed > 0), 0) AS credit,
            coalesce(-sum(signed) FILTER (WHERE signed < 0), 0) AS debit,
            sum(entries) AS entries
        FROM parts
        GROUP BY last, part
    )
"""

COLUMNS = "balance, last, part, first_at, last_at, first_decided_at, last_decided_at, credit, debit, entries"

# The same sums again, beside those that were written.
_WRONG = f"""
    WITH {_PARTS}
    SELECT
        last,
        part,
        format('%%s in, %%s out, %%s entries', summed.credit, summed.debit, summed.entries),
        format('%%s in, %%s out, %%s entries', written.credit, written.debit, written.entries)
    FROM summed
    FULL JOIN (
        SELECT *
        FROM spans
        WHERE balance = %(key)s
          AND last > %(after)s
          AND last <= %(upto)s
    ) AS written USING ({COLUMNS.partition(", first_at")[0]})
    WHERE (summed.first_at, summed.last_at, summed.first_decided_at, summed.last_decided_at,
           summed.credit, summed.debit, summed.entries)
        IS DISTINCT FROM
          (written.first_at, written.last_at, written.first_decided_at, written.last_decided_at,
           written.credit, written.debit, written.entries)
    ORDER BY last, part
"""

_WRITTEN = """
    SELECT spans.balance, coalesce(balances.version, 0), max(spans.last)
    FROM spans
    LEFT JOIN balances ON balances.id = spans.balance
    GROUP BY 1, 2
    ORDER BY 1
"""


def known(conn: Connection, key: int, basis: Basis, upto: int, bounds: Sequence[Bound]) -> Known:
    """Add up the whole parts of spans up to each bound. ``upto`` is the version up to which the caller looks."""
    rows = driver(conn).execute(_KNOWN[basis], {**_values(bounds), "key": key, "upto": upto}).fetchall()
    end = rows[0][4] or 0
    return Known([Sums(*map(int, row[:3])) for row in rows], end, sum(int(row[3]) for row in rows) + upto - end)


def end_of(conn: Connection, key: int) -> int:
    """Read the last version of a balance that is in a span; 0 when it has none."""
    row = driver(conn).execute(_END, {"key": key}).fetchone()
    return 0 if row is None else int(row[0])


def rest(conn: Connection, key: int, basis: Basis, within: tuple[int, int], bounds: Sequence[Bound]) -> list[Sums]:
    """Add up, for each bound, the entries that are in no whole part.

    ``within`` has the last version that is in a span, and the version up to which the caller looks.
    """
    end, upto = within
    values = {**_values(bounds), "key": key, "end": end, "upto": upto}
    rows = driver(conn).execute(_REST[basis], values).fetchall()
    found = {ordinal: Sums(int(credits), int(debits), entries) for ordinal, credits, debits, entries in rows}
    return [found.get(ordinal, NOTHING) for ordinal in range(1, len(bounds) + 1)]


def lagging(conn: Connection, *, after: int, limit: int | None, of: Collection[int] | None = None) -> list[Lag]:
    """Find the next balances beyond the key ``after`` that have a whole span to write: all, or those of some keys."""
    statement = _LAGGING if of is None else _LAGGING_OF
    given = {"after": after, "limit": limit, "size": SIZE, "keys": array(of or ())}
    return [Lag(*row) for row in driver(conn).execute(statement, given)]


class Wrong(NamedTuple):
    """A part of a span that is not what its entries come to."""

    last: int
    part: int
    expected: str
    found: str


def written(conn: Connection) -> list[Lag]:
    """List the balances that have spans, with their versions and how far their spans go."""
    return [Lag(*row) for row in driver(conn).execute(_WRITTEN)]


def wrong(conn: Connection, key: int, *, after: int, upto: int) -> list[Wrong]:
    """Add up the spans of a balance between two multiples of ``SIZE`` again, and list those that differ."""
    values = {"key": key, "after": after, "upto": upto, "size": SIZE, "dated": DATED}
    return [Wrong(*row) for row in driver(conn).execute(_WRONG, values)]


def _values(bounds: Sequence[Bound]) -> dict[str, object]:
    return {
        "ats": ["infinity" if bound.at is None else bound.at.isoformat() for bound in bounds],
        "versions": [bound.version for bound in bounds],
        "size": SIZE,
    }
