"""Keeps the sums of each thousand versions of a balance, so that no question about a time adds up a long history.

A *span* has the versions from one multiple of ``SIZE`` to the next. All of them are decided when it is written, so it never
changes. An entry is booked when it is decided. In effect it is from its effective date, or else from when it was accepted.
So a span has parts: part 0 has the entries without an effective date, and the others have those with one, in the order of
their dates. Each part knows its first and its last time, and what it comes to:

    entries up to a time = the parts that end by then
                         + the entries of the parts that begin by then and end later
                         + the entries beyond the last span

Entries at one moment follow each other by their versions.

Dates may be spread over weeks, and then a time is within the dates of hundreds of spans. So a *run* of ``RUN`` spans has the
entries with an effective date once more, sorted over all its versions, in ``dated_spans``. It stands for the parts of its spans.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.base.rows import array
from core.ledger.store import times

SIZE = 1_000
"""The number of versions of a span."""

DATED = 250
"""So many entries with an effective date are in one part, and more only if they have one date."""

RUN = 100
"""The number of spans of a run."""

RUN_DATED = 50
"""So many entries are in one part of a run, and more only if they have one date."""

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
    run: int
    """The last version that is in a run. The rest is what these spans and runs leave out, though others were written since."""


class Lag(NamedTuple):
    """A balance, and how far its spans go."""

    key: int
    version: int
    end: int


FIRST_OF = {Basis.BOOKED: "first_decided_at", Basis.EFFECTIVE: "first_at"}
LAST_OF = {Basis.BOOKED: "last_decided_at", Basis.EFFECTIVE: "last_at"}

_BOUNDS = """unnest(%(ats)s::timestamptz[], %(versions)s::bigint[], %(lows)s::bigint[], %(highs)s::bigint[])
            WITH ORDINALITY AS bound (at, version, low, high, ordinal)"""


def _parts(basis: Basis, *, upto: str, run: str) -> str:
    """Make the parts of spans and runs up to a version. ``run`` is the last version that is in a run."""
    spans = f"""
        SELECT last, part, %(size)s::bigint AS size, {FIRST_OF[basis]} AS first_at, {LAST_OF[basis]} AS last_at,
            credit, debit, entries
        FROM spans
        WHERE balance = %(key)s
          AND last <= {upto}
    """
    if basis is Basis.BOOKED:
        return spans
    return f"""
        {spans}
          AND (part = 0 OR last > {run})
        UNION ALL
        SELECT last, part, %(run_size)s::bigint, first_at, last_at, credit, debit, entries
        FROM dated_spans
        WHERE balance = %(key)s
          AND last <= {run}
          AND part > 0
    """


def _known(basis: Basis) -> str:
    """Make the statement that adds up whole parts. It is served by the primary keys of spans and dated_spans."""
    return f"""
        WITH run AS MATERIALIZED (
            SELECT coalesce(max(last), 0) AS last
            FROM dated_spans
            WHERE balance = %(key)s
              AND last <= %(upto)s
        )
        SELECT
            coalesce(sum(credit) FILTER (WHERE is_whole), 0),
            coalesce(sum(debit) FILTER (WHERE is_whole), 0),
            coalesce(sum(entries) FILTER (WHERE is_whole), 0),
            coalesce(sum(entries) FILTER (WHERE begins AND NOT is_whole), 0),
            max(last),
            (SELECT last FROM run)
        FROM {_BOUNDS}
        LEFT JOIN LATERAL (
            SELECT
                *,
                (last_at, last) <= (bound.at, bound.version) AS is_whole,
                (first_at, last - size + 1) <= (bound.at, bound.version) AS begins
            FROM ({_parts(basis, upto="%(upto)s", run="(SELECT last FROM run)")}) AS parts
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
    within = both(Basis.BOOKED, above="cut.last - %(size)s::bigint", upto="cut.last", where="" if is_booked else _NEAR)
    return f"""
        WITH bound AS (
            SELECT *
            FROM {_BOUNDS}
        ),
        cut AS MATERIALIZED (
            SELECT ordinal, at, version, low, high, last, part, size, first_at, last_at
            FROM bound
            JOIN ({_parts(basis, upto="%(end)s", run="%(run)s")}) AS parts
                ON (last_at, last) > (at, version)
                AND (first_at, last - size + 1) <= (at, version)
        ),
        beyond AS MATERIALIZED (
            {both(basis, above="%(end)s", upto="%(upto)s")}
        ),
        {"" if is_booked else _DATED}
        found AS (
            SELECT ordinal, signed
            FROM cut
            CROSS JOIN LATERAL ({within}) AS e
            WHERE part = 0 AND {"(e.at, e.version) <= (cut.at, cut.version)" if is_booked else _IS_UP_TO}
            UNION ALL
            SELECT ordinal, signed
            FROM beyond
            JOIN bound ON (beyond.at, beyond.version) <= (bound.at, bound.version)
            {"" if is_booked else _IN_CUT}
        )
        SELECT
            ordinal,
            coalesce(sum(signed) FILTER (WHERE signed > 0), 0),
            coalesce(-sum(signed) FILTER (WHERE signed < 0), 0),
            count(*)
        FROM found
        GROUP BY ordinal
    """


# Times of acceptance do not fall along the log, so the position tells nearly always which of two came first.
_NEAR = "AND o.seq < cut.high"

_IS_UP_TO = """(SELECT count(*) FROM log WHERE seq = e.seq AND effective_date IS NOT NULL) = 0
                AND CASE
                    WHEN e.seq < cut.low THEN true
                    ELSE ((SELECT accepted_at FROM log WHERE seq = e.seq), e.version) <= (cut.at, cut.version)
                END"""

# Entries with an effective date are found by it, and a part has those of its span with the dates between its own. They are
# found once, because the planner expects few of them, and would look for them again for each part.
_DATED = """
        dated AS MATERIALIZED (
            SELECT entry.*, size, (entry.version + size - 1) / size * size AS last
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
            ) AS entry
            CROSS JOIN (VALUES (%(size)s::bigint), (%(run_size)s::bigint)) AS sized (size)
            WHERE (entry.at, entry.version) <= (range.at, range.version)
        ),
""".strip()

_IN_CUT = """
            UNION ALL
            SELECT ordinal, signed
            FROM dated
            JOIN cut USING (ordinal, size, last)
            WHERE part > 0 AND dated.at BETWEEN cut.first_at AND cut.last_at
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

COLUMNS = "balance, last, part, first_at, last_at, first_decided_at, last_decided_at, credit, debit, entries"


def known(conn: Connection, key: int, basis: Basis, upto: int, bounds: Sequence[Bound]) -> Known:
    """Add up the whole parts of spans up to each bound. ``upto`` is the version up to which the caller looks."""
    rows = driver(conn).execute(_KNOWN[basis], {**_values(bounds), "key": key, "upto": upto}).fetchall()
    end = rows[0][4] or 0
    left = sum(int(row[3]) for row in rows) + upto - end
    return Known([Sums(*map(int, row[:3])) for row in rows], end, left, rows[0][5])


def end_of(conn: Connection, key: int) -> int:
    """Read the last version of a balance that is in a span; 0 when it has none."""
    row = driver(conn).execute(_END, {"key": key}).fetchone()
    return 0 if row is None else int(row[0])


def rest(conn: Connection, key: int, basis: Basis, known: Known, upto: int, bounds: Sequence[Bound]) -> list[Sums]:
    """Add up, for each bound, the entries that are in no whole part. ``upto`` is as in ``known``."""
    values = {**_values(bounds), "key": key, "end": known.end, "run": known.run, "upto": upto}
    if basis is Basis.EFFECTIVE:
        near = times.around(conn, [bound.at for bound in bounds])
        values |= {"lows": [each.first for each in near], "highs": [each.end for each in near]}
    rows = driver(conn).execute(_REST[basis], values).fetchall()
    found = {ordinal: Sums(int(credits), int(debits), entries) for ordinal, credits, debits, entries in rows}
    return [found.get(ordinal, NOTHING) for ordinal in range(1, len(bounds) + 1)]


def lagging(conn: Connection, *, after: int, limit: int | None, of: Collection[int] | None = None) -> list[Lag]:
    """Find the next balances beyond the key ``after`` that have a whole span to write: all, or those of some keys."""
    statement = _LAGGING if of is None else _LAGGING_OF
    given = {"after": after, "limit": limit, "size": SIZE, "keys": array(of or ())}
    return [Lag(*row) for row in driver(conn).execute(statement, given)]


def _values(bounds: Sequence[Bound]) -> dict[str, object]:
    return {
        "ats": ["infinity" if bound.at is None else bound.at.isoformat() for bound in bounds],
        "versions": [bound.version for bound in bounds],
        "lows": [0 for _ in bounds],
        "highs": [LAST for _ in bounds],
        "size": SIZE,
        "run_size": RUN * SIZE,
    }
