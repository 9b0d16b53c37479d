"""Funding jobs, their lists of rows, their runs, and which transaction each row became.

Whoever changes a job or one of its runs holds the job's row, so a pause or a cancel is true once it is answered.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Numeric,
    Select,
    Uuid,
    cast,
    column,
    func,
    insert,
    literal,
    literal_column,
    select,
    text,
    type_coerce,
)

from core.base.db import copy_text, driver, plan_for_values
from core.base.ids import key_of
from core.base.tables import balances, funding_rows
from core.ledger.rules.model import RUN_PREFIX
from core.ledger.store.balance_list import BALANCE_ROWS, matching
from core.ledger.store.log import escaped
from core.lists.fields import Listing

JOB_PREFIX = "fund_"


class JobRow(NamedTuple):
    """A job as it is kept. Amounts are minor units."""

    id: UUID
    reference: str
    name: str
    source: int
    """Key of the pool's balance."""
    source_id: str
    indicator: str | None
    currency: str
    precision: int
    terms: str
    """JSON text of ``FundingTerms``."""
    digest: bytes
    row_count: int | None
    """Of its list; None where a rule says whom to fund."""
    amount: int | None
    """Of its list."""
    status: str
    """ACTIVE, PAUSED or CANCELLED."""
    next_due: datetime | None
    runs_made: int
    skipped: int
    created_at: datetime
    unfinished: int
    """Runs that are not over."""

    @property
    def job_id(self) -> str:
        return f"{JOB_PREFIX}{self.id}"


class RunRow(NamedTuple):
    """One time that a job came due, or was run by hand. Amounts are minor units."""

    id: UUID
    job: UUID
    occurrence: str
    due_at: datetime
    retry_of: UUID | None
    status: str
    """PENDING, POSTING, POSTED (and not all decided), COMPLETED, REFUSED or CANCELLED."""
    list: UUID | None
    row_count: int | None
    amount: int | None
    last_row: int | None
    """Rows after it are beyond the limit."""
    posted_row: int
    """Rows up to it are in the log."""
    posted: int
    posted_amount: int
    refusal: str | None
    """JSON text: why nothing of it was posted."""
    created_at: datetime
    started_at: datetime | None
    progressed_at: datetime | None
    ended_at: datetime | None
    retried_by: UUID | None

    @property
    def run_id(self) -> str:
        return f"{RUN_PREFIX}{self.id}"


class FundingRow(NamedTuple):
    """One row of a list: whom to give how much."""

    row: int
    destination: int
    amount: int
    description: str | None
    meta_data: str | None


class RowState(NamedTuple):
    """A row of a run, and what became of it."""

    row: int
    destination: str
    amount: int
    description: str | None
    seq: int | None
    """Of its transaction; None when it is not posted."""
    first_seq: int | None
    """In a retry: of the transaction that was rejected."""


class Tally(NamedTuple):
    """Posted rows that came to the same."""

    status: int | None
    """Number of the outcome's status; None while undecided."""
    reason: int | None
    rows: int
    amount: int
    """That moved or is held; 0 of those undecided or rejected."""
    decided_at: datetime | None


_JOB = (
    "SELECT j.id, reference, name, j.source, 'bln_' || b.balance_id, b.indicator, j.currency, j.precision, terms::text, "
    "digest, row_count, amount, status, next_due, runs_made, skipped, j.created_at, (SELECT count(*) FROM funding_runs "
    "WHERE job = j.id AND funding_runs.status IN ('PENDING', 'POSTING', 'POSTED')) "
    "FROM funding_jobs AS j JOIN balances AS b ON b.id = j.source "
)
_RUN = (
    "SELECT r.id, r.job, r.occurrence, r.due_at, r.retry_of, r.status, r.list, r.row_count, r.amount, r.last_row, "
    "r.posted_row, r.posted, r.posted_amount, r.refusal::text, r.created_at, r.started_at, r.progressed_at, r.ended_at, "
    "(SELECT id FROM funding_runs WHERE retry_of = r.id) FROM funding_runs AS r "
)


# Jobs


def insert_job(conn: Connection, job: JobRow) -> bool:
    """A new job. False when its reference is taken."""
    done = driver(conn).execute(
        "INSERT INTO funding_jobs (id, reference, name, source, currency, precision, terms, digest, row_count, amount, "
        "status, next_due, runs_made, skipped, created_at) VALUES (" + ", ".join(["%s"] * 15) + ") "
        "ON CONFLICT ON CONSTRAINT funding_jobs_reference_key DO NOTHING",
        (*job[:4], *job[6:17]),
    )
    return done.rowcount == 1


def find_job(conn: Connection, job_id: str, *, lock: bool = False) -> JobRow | None:
    """A job by its id. With ``lock`` nobody else changes it, or its runs, until the transaction ends."""
    key = key_of(job_id, JOB_PREFIX)
    return None if key is None else _job(conn, "WHERE j.id = %s" + (" FOR NO KEY UPDATE OF j" if lock else ""), (key,))


def find_job_by_reference(conn: Connection, reference: str) -> JobRow | None:
    return _job(conn, "WHERE reference = %s", (reference,))


def waiting(conn: Connection, now: datetime) -> tuple[bool, bool]:
    """Whether a job is due, and whether a run is not over. Two index probes."""
    row = driver(conn).execute(
        "SELECT EXISTS (SELECT FROM funding_jobs WHERE status = 'ACTIVE' AND next_due <= %s), "
        "EXISTS (SELECT FROM funding_runs WHERE status IN ('PENDING', 'POSTING', 'POSTED'))",
        (now,),
    ).fetchone()  # fmt: skip
    assert row is not None
    return row[0], row[1]


def lock_due_job(conn: Connection, now: datetime) -> JobRow | None:
    """The job that has been due for longest, locked. What another caller has locked is left to that one."""
    return _job(
        conn,
        "WHERE status = 'ACTIVE' AND next_due <= %s ORDER BY next_due, j.id LIMIT 1 FOR NO KEY UPDATE OF j SKIP LOCKED",
        (now,),
    )


def list_jobs(conn: Connection, *, limit: int, after: str | None, status: str | None) -> list[JobRow]:
    """A page of jobs, newest first, that begins after the job with this id.

    ``status`` narrows them: ACTIVE, PAUSED, CANCELLED, or FINISHED for those that are active and have nothing left to do.
    """
    key = key_of(after, JOB_PREFIX) if after is not None else None
    finished = (
        "next_due IS NULL AND NOT EXISTS (SELECT FROM funding_runs WHERE job = j.id "
        "AND funding_runs.status IN ('PENDING', 'POSTING', 'POSTED'))"
    )
    rows = driver(conn).execute(
        _JOB + "WHERE (%(after)s::uuid IS NULL OR j.id < %(after)s) AND (%(status)s::text IS NULL OR %(status)s = "
        f"CASE WHEN status = 'ACTIVE' AND {finished} THEN 'FINISHED' ELSE status END) ORDER BY j.id DESC LIMIT %(limit)s",
        {"after": key, "status": status, "limit": limit},
    )  # fmt: skip
    return [JobRow(*row) for row in rows]


def active_jobs_of(conn: Connection, source: int, limit: int) -> list[JobRow]:
    """The jobs that will draw on this balance, the next one first."""
    rows = driver(conn).execute(
        _JOB + "WHERE j.source = %s AND status = 'ACTIVE' AND next_due IS NOT NULL ORDER BY next_due, j.id LIMIT %s",
        (source, limit),
    )
    return [JobRow(*row) for row in rows]


def update_job(
    conn: Connection, id: UUID, *, status: str, next_due: datetime | None, runs_made: int, skipped: int
) -> None:
    """Move a job on. The caller has locked it."""
    driver(conn).execute(
        "UPDATE funding_jobs SET status = %s, next_due = %s, runs_made = %s, skipped = %s WHERE id = %s",
        (status, next_due, runs_made, skipped, id),
    )


def _job(conn: Connection, where: str, values: Sequence[Any]) -> JobRow | None:
    row = driver(conn).execute(_JOB + where, values).fetchone()
    return None if row is None else JobRow(*row)


# Lists


def copy_rows(conn: Connection, list: UUID, rows: Iterable[FundingRow]) -> None:
    """Append rows to a list."""
    name = str(list)
    copy_text(
        conn,
        "funding_rows",
        "list, row, destination, amount, description, meta_data",
        (
            f"{name}\t{row}\t{destination}\t{amount}\t{escaped(description)}\t{escaped(meta_data)}"
            for row, destination, amount, description, meta_data in rows
        ),
    )


def rename_destinations(conn: Connection, list: UUID, keys: dict[int, int]) -> None:
    """Put real keys in the place of those that stood for balances which were not there yet."""
    driver(conn).execute(
        "UPDATE funding_rows SET destination = key FROM unnest(%s::bigint[], %s::bigint[]) AS made (stood, key) "
        "WHERE list = %s AND destination = stood",
        ([*keys], [*keys.values()], list),
    )


def repeated_destinations(conn: Connection, list: UUID, limit: int) -> tuple[int, list[tuple[int, int]]]:
    """How many rows have a destination that an earlier row has, and pairs of such a row and the first one."""
    rows = driver(conn).execute(
        "SELECT count(*) OVER (), row, first FROM (SELECT row, min(row) OVER (PARTITION BY destination) AS first "
        "FROM funding_rows WHERE list = %s) AS each WHERE row <> first ORDER BY row LIMIT %s",
        (list, limit),
    ).fetchall()  # fmt: skip
    return (rows[0][0] if rows else 0), [(row, first) for _, row, first in rows]


def read_rows(conn: Connection, list: UUID, *, after: int, limit: int) -> list[FundingRow]:
    """The next rows of a list."""
    rows = driver(conn).execute(
        "SELECT row, destination, amount, description, meta_data::text FROM funding_rows "
        "WHERE list = %s AND row > %s ORDER BY row LIMIT %s",
        (list, after, limit),
    )
    return [*map(FundingRow._make, rows)]


def totals(conn: Connection, list: UUID) -> tuple[int, int]:
    """Rows of a list, and their amounts together."""
    row = driver(conn).execute(
        "SELECT count(*), coalesce(sum(amount), 0) FROM funding_rows WHERE list = %s", (list,)
    ).fetchone()  # fmt: skip
    assert row is not None
    return int(row[0]), int(row[1])


def last_row_within(conn: Connection, list: UUID, room: int) -> int:
    """The last row up to which, in order, the amounts come to no more than ``room``; 0 when not even the first does."""
    row = driver(conn).execute(
        "SELECT coalesce(max(row), 0) FROM (SELECT row, sum(amount) OVER (ORDER BY row) AS total FROM funding_rows "
        "WHERE list = %s) AS each WHERE total <= %s",
        (list, room),
    ).fetchone()  # fmt: skip
    assert row is not None
    return int(row[0])


def amount_within(conn: Connection, of: "UUID | Rule", room: int) -> int:
    """How much of ``room`` the rows of a list, or those that a rule would make now, take up in order."""
    rows = (_selected(conn, of) if isinstance(of, Rule) else _rows_of(of)).subquery("selected")
    totals = (
        select(func.sum(rows.c.amount).over(order_by=rows.c.key).label("total"))
        .where(rows.c.amount > 0)
        .subquery("each")
    )
    largest = select(func.coalesce(func.max(totals.c.total), 0)).where(totals.c.total <= literal(room, Numeric()))
    return int(conn.execute(largest).scalar_one())


def fill_by_rule(conn: Connection, list: UUID, rule: "Rule") -> None:
    """Make a list of the balances that a rule names, in the order in which they were created."""
    found = _selected(conn, rule).subquery("selected")
    rows = select(
        literal(list, Uuid()), func.row_number().over(order_by=found.c.key), found.c.key, found.c.amount
    ).where(found.c.amount > 0)
    conn.execute(insert(funding_rows).from_select(["list", "row", "destination", "amount"], rows))


def totals_by_rule(conn: Connection, rule: "Rule") -> tuple[int, int]:
    """Rows that ``fill_by_rule`` would make now, and their amounts together."""
    found = _selected(conn, rule).subquery("selected")
    totals = select(func.count(), func.coalesce(func.sum(found.c.amount), 0)).where(found.c.amount > 0)
    count, amount = conn.execute(totals).one()
    return int(count), int(amount)


class Rule(NamedTuple):
    """Whom to fund, said without naming them. Amounts are minor units."""

    listing: Listing
    currency: str
    but: int
    """Key of the pool, which cannot fund itself."""
    amount: int | None
    """For each."""
    top_up_to: int | None
    """What each should have then, together with what is held for it, and what runs have yet to post to it."""


def cut_to_missing(conn: Connection, list: UUID, top_up_to: int) -> None:
    """Leave in a list that was made for this top-up no more than is missing by now, and only the rows that miss something."""
    driver(conn).execute(
        f"""
        WITH now AS MATERIALIZED (
            SELECT row, %(top_up_to)s::numeric - {_HELD} AS missing
            FROM funding_rows
            JOIN balances ON balances.id = funding_rows.destination
            LEFT JOIN ({_COMING}) AS coming ON coming.destination = balances.id
            WHERE funding_rows.list = %(list)s
        ),
        gone AS (
            DELETE FROM funding_rows AS f
            USING now
            WHERE f.list = %(list)s AND f.row = now.row AND missing <= 0
        )
        UPDATE funding_rows AS f
        SET amount = missing
        FROM now
        WHERE f.list = %(list)s AND f.row = now.row AND missing > 0 AND missing < f.amount
        """,
        {"top_up_to": top_up_to, "list": list},
    )


def unposted_amount(conn: Connection, source: int) -> int:
    """What the runs under way have yet to post out of a pool, those of paused jobs included."""
    row = driver(conn).execute(
        "SELECT coalesce(sum(CASE WHEN last_row IS NULL THEN r.amount - posted_amount ELSE (SELECT coalesce(sum(f.amount), 0) "
        "FROM funding_rows AS f WHERE f.list = r.list AND f.row > posted_row AND f.row <= last_row) END), 0) "
        "FROM funding_runs AS r JOIN funding_jobs AS j ON j.id = r.job WHERE r.status = 'POSTING' AND j.source = %s",
        (source,),
    ).fetchone()  # fmt: skip
    assert row is not None
    return int(row[0])


_COMING = """
    SELECT f.destination, sum(f.amount) AS amount
    FROM funding_runs AS r
    JOIN funding_rows AS f ON f.list = r.list
        AND f.row > r.posted_row
        AND (r.last_row IS NULL OR f.row <= r.last_row)
    WHERE r.status = 'POSTING'
    GROUP BY f.destination
"""
"""What runs have yet to post to each balance."""

_HELD = "(balances.balance + balances.inflight_credit_balance + coalesce(coming.amount, 0))"
"""What a balance has, together with what is held for it and what runs have yet to post to it."""


def _selected(conn: Connection, rule: Rule) -> Select[Any]:
    """The balances that a rule names, as ``key``, and the ``amount`` that each would get."""
    plan_for_values(conn)
    source, given = BALANCE_ROWS.source, rule.amount if rule.top_up_to is None else rule.top_up_to
    amount: ColumnElement[Any] = cast(literal(given, Numeric()), Numeric())
    if rule.top_up_to is not None:
        coming = (
            text(_COMING).columns(column("destination", BigInteger()), column("amount", Numeric())).subquery("coming")
        )
        source = source.outerjoin(coming, coming.c.destination == balances.c.id)
        amount = amount - literal_column(_HELD, Numeric())
    return (
        select(balances.c.id.label("key"), amount.label("amount"))
        .select_from(source)
        .where(balances.c.currency == rule.currency, balances.c.id != rule.but, matching(conn, rule.listing))
    )


def _rows_of(list: UUID) -> Select[Any]:
    amount = type_coerce(funding_rows.c.amount, Numeric())
    return select(funding_rows.c.row.label("key"), amount.label("amount")).where(funding_rows.c.list == list)


# Runs


def insert_run(
    conn: Connection,
    id: UUID,
    *,
    job: UUID,
    occurrence: str,
    due_at: datetime,
    created_at: datetime,
    retry_of: UUID | None = None,
) -> bool:
    """A run that is yet to start. False when there is one for this occurrence, or this retry, already."""
    done = driver(conn).execute(
        "INSERT INTO funding_runs (id, job, occurrence, due_at, created_at, retry_of, status) "
        "VALUES (%s, %s, %s, %s, %s, %s, 'PENDING') ON CONFLICT DO NOTHING",
        (id, job, occurrence, due_at, created_at, retry_of),
    )
    return done.rowcount == 1


def find_run(conn: Connection, run_id: str) -> RunRow | None:
    key = key_of(run_id, RUN_PREFIX)
    return None if key is None else _run(conn, "WHERE r.id = %s", (key,))


def find_run_of(conn: Connection, job: UUID, occurrence: str) -> RunRow | None:
    return _run(conn, "WHERE r.job = %s AND r.occurrence = %s", (job, occurrence))


def list_runs(conn: Connection, job: UUID, *, limit: int, after: str | None) -> list[RunRow]:
    """A page of a job's runs, newest first, that begins after the run with this id."""
    key = key_of(after, RUN_PREFIX) if after is not None else None
    rows = driver(conn).execute(
        _RUN
        + "WHERE r.job = %(job)s AND (%(after)s::uuid IS NULL OR r.id < %(after)s) ORDER BY r.id DESC LIMIT %(limit)s",
        {"job": job, "after": key, "limit": limit},
    )
    return [RunRow(*row) for row in rows]


def lock_next_run(conn: Connection, *, but: Collection[UUID] = ()) -> tuple[JobRow, RunRow] | None:
    """The run to go on with, and its job, which is locked. Runs of one job follow each other, those of many take turns.

    One that has begun goes first, though what was due before it may be claimed after it: what a run comes to depends on
    what the one before it did. What another caller has locked is left to that one. ``but`` are runs that are not to have a turn.
    """
    found = driver(conn).execute(
        "SELECT r.id FROM funding_runs AS r JOIN funding_jobs AS j ON j.id = r.job "
        "WHERE (r.status = 'POSTED' OR r.status IN ('PENDING', 'POSTING') AND j.status = 'ACTIVE') "
        "AND r.id <> ALL(%s) AND NOT EXISTS ("
        "SELECT FROM funding_runs AS e WHERE e.job = r.job AND e.status IN ('PENDING', 'POSTING', 'POSTED') "
        "AND (e.status = 'PENDING', e.due_at, e.id) < (r.status = 'PENDING', r.due_at, r.id)) "
        "ORDER BY r.progressed_at NULLS FIRST, r.due_at, r.id LIMIT 1 FOR NO KEY UPDATE OF j SKIP LOCKED",
        (list(but),),
    ).fetchone()  # fmt: skip
    # Read once more, under the lock: what was found may have moved on while it was waited for.
    run = None if found is None else _run(conn, "WHERE r.id = %s", (found[0],))
    job = None if run is None else _job(conn, "WHERE j.id = %s", (run.job,))
    return None if job is None or run is None else (job, run)


def start_run(
    conn: Connection, id: UUID, *, list: UUID, rows: int, amount: int, last_row: int | None, now: datetime
) -> None:
    """What the run will post is fixed."""
    driver(conn).execute(
        "UPDATE funding_runs SET status = 'POSTING', list = %s, row_count = %s, amount = %s, last_row = %s, started_at = %s "
        "WHERE id = %s",
        (list, rows, amount, last_row, now, id),
    )


def post_rows(conn: Connection, id: UUID, rows: Sequence[tuple[FundingRow, int]], now: datetime) -> None:
    """Note which seq each of these rows has got, and move the run on behind the last. The primary key refuses a second."""
    run = str(id)
    copy_text(conn, "funding_postings", "run, row, seq", (f"{run}\t{row.row}\t{seq}" for row, seq in rows))
    driver(conn).execute(
        "UPDATE funding_runs SET posted_row = %s, posted = posted + %s, posted_amount = posted_amount + %s, "
        "progressed_at = %s WHERE id = %s",
        (rows[-1][0].row, len(rows), sum(row.amount for row, _ in rows), now, id),
    )


def touch_run(conn: Connection, id: UUID, now: datetime) -> None:
    """It is another run's turn."""
    driver(conn).execute("UPDATE funding_runs SET progressed_at = %s WHERE id = %s", (now, id))


def end_run(
    conn: Connection, id: UUID, *, status: str, ended_at: datetime | None = None, refusal: str | None = None
) -> None:
    """Nothing more is posted of it."""
    driver(conn).execute(
        "UPDATE funding_runs SET status = %s, ended_at = %s, refusal = %s WHERE id = %s",
        (status, ended_at, refusal, id),
    )


def cancel_runs(conn: Connection, job: UUID, now: datetime) -> None:
    """Whatever is not posted of a job's runs stays unposted. The caller has locked the job."""
    driver(conn).execute(
        "UPDATE funding_runs SET status = 'CANCELLED', ended_at = %s WHERE job = %s AND status IN ('PENDING', 'POSTING')",
        (now, job),
    )


def fill_with_rejected(conn: Connection, list: UUID, run: UUID) -> int:
    """Make a list of the rows of a run that were rejected, under the numbers they had. Returns how many there are.

    Of a retry also those that were not posted, as it was refused or the money did not go so far: they are rejected still.
    """
    return (
        driver(conn)
        .execute(
            "INSERT INTO funding_rows (list, row, destination, amount, description, meta_data) "
            "SELECT %s, f.row, f.destination, f.amount, f.description, f.meta_data FROM funding_runs AS r "
            "JOIN funding_rows AS f ON f.list = r.list LEFT JOIN funding_postings AS p ON p.run = r.id AND p.row = f.row "
            "LEFT JOIN outcomes AS o ON o.seq = p.seq "
            "WHERE r.id = %s AND (o.status = 4 OR p.seq IS NULL AND r.retry_of IS NOT NULL)",
            (list, run),
        )
        .rowcount
    )


def others_posted(conn: Connection, run: RunRow, *, within_s: float) -> bool:
    """Whether anything but this run was accepted in these last seconds."""
    row = driver(conn).execute(
        "SELECT EXISTS (SELECT FROM log WHERE accepted_at > clock_timestamp() - make_interval(secs => %s) "
        "AND parent IS DISTINCT FROM %s)",
        (within_s, run.run_id),
    ).fetchone()  # fmt: skip
    assert row is not None
    return bool(row[0])


def last_posted(conn: Connection, run: UUID) -> dict[int, int]:
    """The seq of a run's last posting, by the queue that it is in."""
    rows = driver(conn).execute(
        "SELECT queue, seq FROM log WHERE queue IS NOT NULL AND seq = (SELECT max(seq) FROM funding_postings WHERE run = %s)",
        (run,),
    )
    return dict(rows.fetchall())


def tally(conn: Connection, run: UUID, *, after: int = 0, up_to: int = 2**63 - 1) -> list[Tally]:
    """What the posted rows of a run have come to, by status and reason. ``after`` and ``up_to`` are numbers of rows."""
    rows = driver(conn).execute(
        "SELECT o.status, o.reason, count(*), coalesce(sum(o.amount), 0), max(o.decided_at) FROM funding_postings AS p "
        "LEFT JOIN outcomes AS o ON o.seq = p.seq WHERE p.run = %s AND p.row > %s AND p.row <= %s GROUP BY 1, 2 ORDER BY 1, 2",
        (run, after, up_to),
    )
    return [*map(Tally._make, rows)]


ROW_STATUSES = {
    "UNPOSTED": "p.seq IS NULL",
    "QUEUED": "p.seq IS NOT NULL AND o.seq IS NULL",
    "INFLIGHT": "h.settled_at IS NULL AND h.seq IS NOT NULL",
    "APPLIED": "(o.status = 1 OR h.settled_at IS NOT NULL AND h.committed > 0)",
    "VOID": "h.voided = h.amount",
    "REJECTED": "o.status = 4",
}
"""What a row may read, and how it is told. A hold is INFLIGHT, APPLIED or VOID as far as it is settled."""


def row_states(conn: Connection, run: RunRow, *, limit: int, after: int, status: str | None) -> list[RowState]:
    """Rows of a run, in order, that come after row number ``after``. ``status`` narrows them to one of ``ROW_STATUSES``."""
    wanted = "true" if status is None else ROW_STATUSES[status]
    rows = driver(conn).execute(
        "SELECT f.row, coalesce(b.indicator, 'bln_' || b.balance_id), f.amount, f.description, p.seq, before.seq "
        "FROM funding_rows AS f JOIN balances AS b ON b.id = f.destination "
        "LEFT JOIN funding_postings AS p ON p.run = %s AND p.row = f.row LEFT JOIN outcomes AS o ON o.seq = p.seq "
        "LEFT JOIN holds AS h ON h.seq = p.seq "
        "LEFT JOIN funding_postings AS before ON before.run = %s AND before.row = f.row "
        f"WHERE f.list = %s AND f.row > %s AND {wanted} ORDER BY f.row LIMIT %s",
        (run.id, run.retry_of, run.list, after, limit),
        prepare=False,
    )
    return [*map(RowState._make, rows)]


def _run(conn: Connection, where: str, values: Sequence[Any]) -> RunRow | None:
    row = driver(conn).execute(_RUN + where, values).fetchone()
    return None if row is None else RunRow(*row)
