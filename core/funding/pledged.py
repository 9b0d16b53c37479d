"""Keeps the hash of a job and of its rows when they are accepted, and finds what was altered before it is paid.

Rows are hashed a thousand at a time, so that each piece of a run is compared as it is posted, however long the list is.
"""

import json

from sqlalchemy import Connection

from core.base.db import driver
from core.funding.job_store import JobRow
from core.ledger.rules.pledges import Of, Pledge, content
from core.ledger.store import pledges

CHUNK = 1_000
"""So many rows have one hash. It must not change, because hashes of older lists are kept."""

ALTERED = "ALTERED"
"""The reason of a refusal."""

_HASH = """
sha256(convert_to(
    string_agg(json_build_array(row, destination, amount::text, description, meta_data::text)::text, E'\\n' ORDER BY row),
    'UTF8'
))
""".strip()

_KEEP = f"""
INSERT INTO funding_digests (list, chunk, digest)
SELECT list, (row - 1) / {CHUNK}, {_HASH}
FROM funding_rows
WHERE list = %(list)s
GROUP BY list, (row - 1) / {CHUNK}
"""

_OF_LIST = """
SELECT sha256(coalesce(string_agg(digest, ''::bytea ORDER BY chunk), ''::bytea))
FROM funding_digests
WHERE list = %(list)s
"""

# Both are ranges of a primary key.
_DIFFERS = f"""
SELECT EXISTS (
    SELECT
    FROM (
        SELECT (row - 1) / {CHUNK} AS chunk, {_HASH} AS digest
        FROM funding_rows
        WHERE list = %(list)s AND row > {CHUNK} * %(first)s::bigint AND row <= {CHUNK} * (%(last)s::bigint + 1)
        GROUP BY 1
    ) AS found
    FULL JOIN (
        SELECT chunk, digest
        FROM funding_digests
        WHERE list = %(list)s AND chunk BETWEEN %(first)s AND %(last)s
    ) AS kept USING (chunk)
    WHERE found.digest IS DISTINCT FROM kept.digest
)
"""

_IS_KEPT = """
SELECT EXISTS (
    SELECT
    FROM funding_digests
    WHERE list = %(list)s
)
"""

_ALL = 2**40


def keep(conn: Connection, list: object) -> None:
    """Keep the hashes of the rows of a list. They are never changed."""
    driver(conn).execute(_KEEP, {"list": list})


def is_kept(conn: Connection, list: object) -> bool:
    """Tell whether there are hashes of the rows of a list."""
    return driver(conn).execute(_IS_KEPT, {"list": list}).fetchone() == (True,)


def pledge(conn: Connection, job: JobRow) -> None:
    """Keep the hashes of a new job and of its rows."""
    keep(conn, job.id)
    pledges.add(conn, [_pledge_of(conn, job)])


def altered(conn: Connection, job: JobRow) -> str | None:
    """Say what of a job is not as it was accepted. None is for nothing, or for a job of an older release."""
    pledged = pledges.digests(conn, [str(job.id)]).get(str(job.id))
    if pledged is None and job.actor is None:
        return None
    if pledged != _pledge_of(conn, job).digest:
        return "the job is not the one that was accepted"
    return altered_rows(conn, job, job.id)


def altered_rows(conn: Connection, job: JobRow, list: object, *, first: int = 1, last: int = _ALL) -> str | None:
    """Say which rows between two of a list are not as they were accepted. A job of an older release has none."""
    if job.actor is None:
        return None
    chunks = {"first": (first - 1) // CHUNK, "last": min((last - 1) // CHUNK, _ALL // CHUNK)}
    if list != job.id and not is_kept(conn, list):
        return None  # A worker of an older release made this list for its run.
    (differs,) = driver(conn).execute(_DIFFERS, {"list": list, **chunks}).fetchone() or (True,)
    if not differs:
        return None
    where = "" if last >= _ALL else f" between {chunks['first'] * CHUNK + 1} and {(chunks['last'] + 1) * CHUNK}"
    return f"rows{where} are not those that were accepted"


def refusal_of(what: str) -> str:
    """Write the refusal of a run, which pays nobody from then on."""
    return json.dumps({"reason": ALTERED, "message": f"{what}: somebody changed them in the database"})


def _pledge_of(conn: Connection, job: JobRow) -> Pledge:
    (of_list,) = driver(conn).execute(_OF_LIST, {"list": job.id}).fetchone() or (b"",)
    values = (
        str(job.id), job.reference, job.name, job.source, job.source_id, job.currency, job.precision, job.terms,
        job.row_count, job.amount, job.actor, of_list.hex(),
    )  # fmt: skip
    return Pledge(str(job.id), Of.FUNDING, content(Of.FUNDING, values))
