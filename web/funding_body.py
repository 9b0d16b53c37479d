"""Funding jobs and their runs as JSON, for the web and for ``--json``. Amounts: ``amount`` in major units, ``precise_`` ones in
minor units."""

import json
from datetime import datetime
from typing import Any

import msgspec

from core.base.money import to_text
from core.funding import jobs as funding
from core.funding.jobs import Counts, Forecast, Rehearsal
from core.funding.store import RUN_PREFIX, JobRow, RowState, RunRow
from core.funding.terms import terms_of
from core.ledger.answers import rejection_of
from core.ledger.explain import WIRE_NAMES, sum_text
from core.ledger.store.transactions import TransactionRow


def job_body(job: JobRow, last_run: RunRow | None = None) -> dict[str, Any]:
    """A job: its terms, and where it stands."""
    terms = terms_of(job)
    body: dict[str, Any] = {
        "job_id": job.job_id,
        "reference": job.reference,
        "name": job.name,
        "status": funding.status_of(job),
        "source": job.source_id,
        "indicator": job.indicator or "",
        "currency": job.currency,
        "precision": job.precision,
        "description": terms.description,
        "allow_overdraft": terms.allow_overdraft,
        "overdraft_limit": None if terms.overdraft_limit is None else _major(terms.overdraft_limit, job.precision),
        "until_limit": terms.until_limit,
        "allow_duplicates": terms.allow_duplicates,
        "atomic": terms.atomic,
        "inflight": terms.inflight,
        "inflight_commit_date": terms.inflight_commit_date,
        "inflight_commit_after_s": terms.inflight_commit_after_s,
        "rows": job.row_count,
        "amount": None if job.amount is None else _major(job.amount, job.precision),
        "precise_amount": job.amount,
        "rule": None,
        "at": terms.at,
        "cron": terms.cron,
        "timezone": terms.timezone,
        "ends_at": terms.ends_at,
        "count": terms.count,
        "missed": terms.missed,
        "next_run_at": job.next_due if job.status == "ACTIVE" else None,
        "runs_made": job.runs_made,
        "skipped": job.skipped,
        "created_at": job.created_at,
    }
    if terms.filters is not None:
        body["rule"] = {
            "filters": [msgspec.structs.asdict(clause) for clause in terms.filters],
            "logical_operator": terms.logical_operator,
            "precise_amount": terms.amount,
            "precise_top_up_to": terms.top_up_to,
        }
    if last_run is not None:
        body["last_run"] = run_body(job, last_run)
    return body


def forecast_body(found: Forecast, precision: int) -> dict[str, Any]:
    """What the pool will be after the next run."""
    return {
        "balance": found.balance,
        "next_run_rows": found.rows,
        "next_run_precise_amount": found.amount,
        "balance_after_next_run": found.balance_after,
        "runs_left": found.runs_left,
        "amount_after_next_run": _major(found.balance_after, precision),
    }


def run_body(job: JobRow, run: RunRow, counts: Counts | None = None) -> dict[str, Any]:
    """A run, with what its rows came to if they were counted."""
    body: dict[str, Any] = {
        "run_id": run.run_id,
        "job_id": job.job_id,
        "status": funding.status_of_run(job, run),
        "due_at": run.due_at,
        "occurrence": run.occurrence,
        "retry_of": "" if run.retry_of is None else f"{RUN_PREFIX}{run.retry_of}",
        "retried_by": "" if run.retried_by is None else f"{RUN_PREFIX}{run.retried_by}",
        "rows_total": run.row_count,
        "rows_accepted": run.posted,
        "amount_total": None if run.amount is None else _major(run.amount, job.precision),
        "precise_amount_total": run.amount,
        "amount_accepted": _major(run.posted_amount, job.precision),
        "precise_amount_accepted": run.posted_amount,
        "limit_reached": run.last_row is not None,
        "refusal": None if run.refusal is None else json.loads(run.refusal),
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
    }
    if counts is not None:
        body |= {
            "rows_applied": counts.applied,
            "rows_rejected": sum(counts.rejected.values()),
            "rejected_by_reason": {WIRE_NAMES[reason]: rows for reason, rows in counts.rejected.items()},
            "rows_queued": counts.undecided,
            "rows_unposted": counts.unposted,
            "amount_applied": _major(counts.applied_amount, job.precision),
            "precise_amount_applied": counts.applied_amount,
            "progress": round((counts.accepted - counts.undecided) / counts.total, 4) if counts.total else None,
            "rate_per_s": round(counts.rate, 1),
            "left_s": None if counts.left_s is None else round(counts.left_s, 1),
        }
    return body


def row_body(job: JobRow, run: RunRow, row: RowState, transactions: dict[int, TransactionRow]) -> dict[str, Any]:
    """A row of a run and its transaction, if it has one. ``transactions`` are by seq."""
    transaction = transactions.get(row.seq or 0)
    first = transactions.get(row.first_seq or 0)
    return {
        "row": row.row,
        "destination": row.destination,
        "amount": _major(row.amount, job.precision),
        "precise_amount": row.amount,
        "currency": job.currency,
        "description": row.description or terms_of(job).description,
        "status": "UNPOSTED" if transaction is None else transaction.status,
        "transaction_id": "" if transaction is None else transaction.transaction_id,
        "reference": "" if transaction is None else transaction.reference,
        "rejection": None if transaction is None or transaction.rejection is None else rejection_of(transaction),
        "first_transaction_id": "" if first is None else first.transaction_id,
    }


def rehearsal_body(found: Rehearsal, next_runs: list[datetime]) -> dict[str, Any]:
    """What a run would come to."""
    job = found.job
    rejected = [
        {
            "row": row.row,
            "destination": found.names[row.destination],
            "precise_amount": row.amount,
            "reason": WIRE_NAMES[outcome.rejection.reason],
            "message": sum_text(outcome.rejection, job),
        }
        for row, outcome in found.examples
        if outcome.rejection is not None
    ]
    return {
        "dry_run": True,
        "would_run": found.refusal is None,
        "refusal": found.refusal,
        "name": job.name,
        "currency": job.currency,
        "precision": job.precision,
        "rows_total": found.rows,
        "amount_total": _major(found.amount, job.precision),
        "precise_amount_total": found.amount,
        "rows_applied": found.applied,
        "amount_applied": _major(found.applied_amount, job.precision),
        "precise_amount_applied": found.applied_amount,
        "rows_rejected": sum(found.rejected.values()),
        "rejected_by_reason": {WIRE_NAMES[reason]: rows for reason, rows in sorted(found.rejected.items())},
        "rows_beyond_limit": found.beyond_limit,
        "rejected": rejected,
        "new_balances": len(found.new_names),
        "new_names": found.new_names[: funding.MAX_REJECTED],
        "first_failure": rejected[0] if rejected else _first_refused(found),
        "pool": {
            "balance": found.pool_before,
            "balance_after": found.pool_after,
            "amount_after": _major(found.pool_after, job.precision),
        },
        "next_runs": next_runs,
    }


def _first_refused(found: Rehearsal) -> dict[str, Any] | None:
    if found.refusal is None or "first_row" not in found.refusal:
        return None
    return {"row": found.refusal["first_row"], **{name: found.refusal[name] for name in ("reason", "message")}}


def _major(minor: int, precision: int) -> msgspec.Raw:
    return msgspec.Raw(to_text(minor, precision).encode())
