"""Let a funding job above a sum wait until a key of another owner approves it.

An approval is for a digest: of the terms of the job, and of the rows that it would post. It is computed anew when somebody
reads the job, approves it, and when a run starts. So what runs is what was seen, and a run of anything else is refused.
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine

from core.base import actors
from core.base.db import begin
from core.base.errors import Conflict, ErrorCode, InvalidRequest
from core.base.ids import new_key
from core.base.money import grouped
from core.base.setting_values import Sums
from core.base.sizes import MAX_NAME
from core.funding import approval_store, job_store, reach, run_store, told
from core.funding.approval_store import APPROVED, REFUSED, WAITING, ApprovalRow, Seen
from core.funding.job_store import JobRow
from core.funding.jobs import INVALID, get_job, going_on, lock_job
from core.funding.plan import rule_of
from core.funding.pledged import ALTERED
from core.funding.row_store import fill_by_rule
from core.funding.run_store import FOR_GOOD, Plan, RunRow
from core.funding.terms import job_terms
from core.journal.actions import Action, Event, text_of
from core.journal.event_types import EventType
from core.journal.facts import tell_all
from core.journal.record import record
from core.ledger.rules.validation import text_problems

WITHIN_S = 120.0
"""The digest of a million rows is computed in so long, even on a busy machine."""


class Approval(Struct, frozen=True):
    """An approval, and what the job would post now. ``seen`` is None once it is decided."""

    row: ApprovalRow
    seen: Seen | None
    covers_rows: bool


def is_needed(job: JobRow, above: Sums | None) -> bool:
    """Tell whether a new job waits for an approval. The sum of a rule is not known before it runs, so such a job always does."""
    if above is None:
        return False
    limit = above if isinstance(above, Decimal) else above.get(job.currency)
    return limit is None or job.amount is None or job.amount > limit * job.precision


def ask(conn: Connection, job: JobRow) -> None:
    """Note who asked for a job that waits for its approval."""
    actor = actors.current()
    approval_store.insert(conn, job.id, asked_by=actor.key_id, owner=actor.owner)


def read(engine: Engine, job: JobRow) -> Approval | None:
    """Read the approval of a job, with the digest to approve while it waits. Returns None when the job needs none."""
    with begin(engine, within_s=WITHIN_S) as conn:
        row = approval_store.find(conn, job.id)
        if row is None:
            return None
        is_open = row.status == WAITING and job.status != "CANCELLED"
        found = Approval(row, _seen(conn, job) if is_open else None, _covers_rows(job))
        conn.rollback()
    return found


def approve(engine: Engine, job_id: str, digest: str, now: datetime) -> JobRow:
    """Approve what was seen under a digest. The job becomes active, and the runs that came due meanwhile are skipped.

    A repeated approval by the same key changes nothing.

    Raises:
        InvalidRequest: the digest is none.
        NotFound: there is no such job.
        Conflict: the job does not wait for an approval, its own owner asks, or it would post something else than was seen.
    """
    if re.fullmatch("[0-9a-fA-F]{64}", digest) is None:
        text = "must be the digest that the job shows in its approval, which has 64 hexadecimal digits"
        raise InvalidRequest([("digest", text)], INVALID)
    wanted = bytes.fromhex(digest)
    actor = actors.current()
    with begin(engine, within_s=WITHIN_S) as conn:
        job = lock_job(conn, job_id)
        row = _of_another(conn, job)
        if (row.status, row.decided_by, row.digest) == (APPROVED, actor.key_id, wanted):
            return job
        _check_waiting(job, row)
        reach.require_money(conn, job)
        seen = _seen(conn, job)
        if seen.digest != wanted:
            raise Conflict(
                ErrorCode.GEN_CONFLICT,
                f"the job would now post something else than was seen: {seen.rows} rows with "
                f"{grouped(seen.amount, job.precision)} {job.currency}; read it again, and approve that digest",
                {"digest": seen.digest.hex(), "rows": seen.rows, "precise_amount": seen.amount},
            )
        decided = row._replace(status=APPROVED, digest=wanted, decided_by=actor.key_id, decided_at=now)
        approval_store.decide(conn, decided)
        job_store.update_job(conn, going_on(job, now))
        _record(conn, Action.JOB_APPROVED, job, digest=digest.lower(), rows=seen.rows, amount=seen.amount)
        return get_job(conn, job_id)


def refuse(engine: Engine, job_id: str, reason: str | None, now: datetime) -> JobRow:
    """Refuse a job, which is then cancelled for good.

    Raises:
        InvalidRequest: the reason is not valid.
        NotFound: there is no such job.
        Conflict: the job does not wait for an approval, or its own owner asks.
    """
    if reason is not None and (problems := text_problems("reason", reason, MAX_NAME)):
        raise InvalidRequest(problems, INVALID)
    actor = actors.current()
    with begin(engine) as conn:
        job = lock_job(conn, job_id)
        row = _of_another(conn, job)
        if (row.status, row.decided_by) == (REFUSED, actor.key_id):
            return job
        _check_waiting(job, row)
        decided = row._replace(status=REFUSED, decided_by=actor.key_id, decided_at=now, reason=reason)
        approval_store.decide(conn, decided)
        runs = run_store.cancel_runs(conn, job.id, now)
        cancelled = job._replace(status="CANCELLED", next_due=None)
        job_store.update_job(conn, cancelled)
        facts = told.of_runs(conn, EventType.FUNDING_RUN_CANCELLED, job, runs)
        tell_all(conn, [*facts, told.of_job(EventType.FUNDING_JOB_CANCELLED, cancelled)])
        _record(conn, Action.JOB_REFUSED, job, reason=reason)
        return get_job(conn, job_id)


def check_may_pay(conn: Connection, job: JobRow) -> None:
    """Refuse to let a job pay that needs an approval and has none.

    Raises:
        Conflict: it has none.
    """
    row = approval_store.find(conn, job.id)
    if row is not None and row.status != APPROVED:
        text = "waits for approval" if row.status == WAITING else "was refused by the key that was to approve it"
        raise Conflict(ErrorCode.GEN_CONFLICT, f"the job {text}", {"status": job.status})
    if row is not None and not approval_store.is_as_decided(conn, row):
        text = "the job has an approval that nobody gave: somebody changed it in the database"
        raise Conflict(ErrorCode.GEN_CONFLICT, text, {"status": job.status})


def compared(conn: Connection, job: JobRow, run: RunRow, plan: Plan) -> Plan:
    """Compare the plan of a run with what was approved, and refuse it if it differs. A retry posts rows of an approved run.

    A plan that is refused for another reason is compared too, because a retry of it is not.
    """
    row = approval_store.find(conn, job.id)
    if row is None or (plan.refusal is not None and plan.refusal["reason"] in FOR_GOOD):
        return plan
    if row.status != APPROVED:
        return _refused(plan, "NOT_APPROVED", "nobody has approved the job")
    if not approval_store.is_as_decided(conn, row):
        return _refused(plan, ALTERED, "nobody gave the approval of the job: somebody changed it in the database")
    if run.retry_of is not None:
        return plan
    if approval_store.seen(conn, job.id, plan.list, with_rows=_covers_rows(job)).digest != row.digest:
        return _refused(plan, "NOT_AS_APPROVED", "the run would post something else than was approved; make a new job")
    return plan


def _refused(plan: Plan, reason: str, message: str) -> Plan:
    return msgspec.structs.replace(plan, refusal={"reason": reason, "message": message})


def _covers_rows(job: JobRow) -> bool:
    """Tell whether the approval is for the rows too. A rule that runs by cron finds others each time."""
    terms = job_terms(job)
    return terms.filters is None or terms.cron is None


def _seen(conn: Connection, job: JobRow) -> Seen:
    """Compute what a job would post now. A rule fills a list for that, which goes with the savepoint."""
    rule = rule_of(job, job_terms(job))
    list: UUID = job.id
    attempt = conn.begin_nested()
    if rule is not None:
        list = new_key()
        fill_by_rule(conn, list, rule)
    found = approval_store.seen(conn, job.id, list, with_rows=_covers_rows(job))
    attempt.rollback()
    return found


def _of_another(conn: Connection, job: JobRow) -> ApprovalRow:
    """Find the approval of a job, for a key of another owner than the one that asked for it."""
    row = approval_store.find(conn, job.id)
    if row is None:
        raise Conflict(ErrorCode.GEN_CONFLICT, "the job needs no approval", {"status": job.status})
    actor = actors.current()
    if row.owner == actor.owner or row.asked_by == actor.key_id:
        text = f"the job was asked for by {row.asked_by}, and only a key of another owner than {row.owner} may decide on it"
        raise Conflict(ErrorCode.GEN_CONFLICT, text, {"owner": row.owner})
    return row


def _check_waiting(job: JobRow, row: ApprovalRow) -> None:
    if row.status != WAITING or job.status != "WAITING_APPROVAL":
        status = job.status if row.status == WAITING else row.status
        text = f"the job is {status}, and waits for no approval"
        raise Conflict(ErrorCode.GEN_CONFLICT, text, {"status": job.status})


def _record(conn: Connection, action: Action, job: JobRow, **more: Any) -> None:
    record(conn, Event(action=action, subject=job.job_id, before=text_of(status=job.status), more=more))
