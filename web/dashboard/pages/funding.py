"""Funding jobs: what comes, how a run goes on, and a job from a file, tried before it is made."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.datastructures import FileStorage

from core.base.actors import Right
from web.dashboard import calendar, query, table_of_file
from web.dashboard.asking import Answer, Refused, ask, send
from web.dashboard.lists import after_of
from web.dashboard.now import now
from web.dashboard.pages.transactions import names_of
from web.dashboard.precisions import precisions
from web.dashboard.who import actor

blueprint = Blueprint("funding", __name__)

_TEXTS = ("name", "source", "currency", "precision", "at", "cron", "timezone", "overdraft_limit", "reference", "match")
_FLAGS = ("allow_overdraft", "allow_duplicates", "until_limit", "atomic")
_ACTIONS = ("pause", "resume", "cancel", "run")
STATUSES = ("ACTIVE", "PAUSED", "WAITING_APPROVAL", "FINISHED", "CANCELLED")
_LISTED = 50
_ASKED = 12
"""The calendar asks for all next runs of so many jobs at most. Of the others it has the next one."""


@blueprint.get("/dashboard/funding")
def page() -> Any:
    """List jobs, and show what comes in the calendar of a month."""
    asked = {name: query.text(name) for name in ("source", "after")}
    jobs = ask("GET", "/funding-jobs", {"status": query.choice("status", STATUSES), **asked, "limit": _LISTED}).json
    today = now().date()
    first = calendar.month_of(query.text("month"), today)
    if first is None:
        query.wrong("month", "must be a month such as 2026-11, and was left out")
    month = calendar.make(first or today.replace(day=1), today, _runs_of(jobs))
    return render_template(
        "funding.html",
        jobs=jobs,
        month=month,
        statuses=STATUSES,
        size=_LISTED,
        may_create=actor().may(Right.FUNDING_CREATE),
    )


def _runs_of(jobs: list[dict[str, Any]]) -> Iterator[calendar.Run]:
    """Find the last run of each job, and the runs to come. Ten of each job are known, of some jobs only the next."""
    coming = sorted((job for job in jobs if job["next_run_at"]), key=lambda job: job["next_run_at"])
    for job in jobs:
        if last := job["last_run"]:
            where = url_for("funding.run", job_id=job["job_id"], run_id=last["run_id"])
            yield calendar.Run(job, datetime.fromisoformat(last["due_at"]), status=last["status"], path=where)
    for number, job in enumerate(coming):
        times = [job["next_run_at"]]
        if job["cron"] and number < _ASKED:
            times = ask("GET", f"/funding-jobs/{job['job_id']}").json["next_runs"]
        where = url_for("funding.one", job_id=job["job_id"])
        for at in times:
            yield calendar.Run(job, datetime.fromisoformat(at).astimezone(UTC), path=where)


@blueprint.get("/dashboard/funding/new")
def new() -> Any:
    """Show the form of a job, which is paid to the rows of a file or to the balances of a ledger."""
    return _form()


@blueprint.post("/dashboard/funding/new")
def create() -> Any:
    """Try the job, or make it when it was tried and is what was seen."""
    form, file = request.form, request.files.get("recipients")
    sure = form.get("sure") == "yes"
    rule = _rule()
    has_file = file is not None and bool(file.filename)
    if has_file == bool(rule):
        return _tried(
            problem="Choose a file or a ledger, and not both."
            if rule
            else "Choose a file with the recipients, a CSV, .xlsx or .ods file, or the ledger whose balances get it."
        )
    job = _asked(rule, sure=sure)
    headers = {"Idempotency-Key": form["once"]} if sure and form.get("once") else {}
    try:
        answer = _sent(job, file if has_file else None, headers)
    except Refused as error:
        return _tried(problem=error.message, **_told(error, file))
    if not sure:
        return _tried(would=answer.json)
    where = url_for("funding.one", job_id=answer.json["job_id"])
    if request.headers.get("HX-Request"):
        return "", 204, {"HX-Redirect": where}
    return redirect(where, 303)


def _sent(job: dict[str, Any], file: FileStorage | None, headers: dict[str, str]) -> Answer:
    if file is None:
        return ask("POST", "/funding-jobs", body=job, headers=headers)
    file.stream.seek(0, 2)
    length = file.stream.tell()
    file.stream.seek(0)
    return send("POST", "/funding-jobs", {"job": json.dumps(job)}, file.stream, length, _type(file), headers=headers)


@blueprint.get("/dashboard/funding/<job_id>")
def one(job_id: str) -> Any:
    """Show a job, its runs, and the buttons of what the key may do about it."""
    return _show_job(job_id)


@blueprint.post("/dashboard/funding/<job_id>/<action>")
def act(job_id: str, action: str) -> Any:
    """Pause, resume, cancel, run, approve or refuse a job."""
    form = request.form
    body: dict[str, Any] | None = None
    headers: dict[str, str] = {}
    if action == "approve":
        body = {"digest": form.get("digest", "")}
    elif action == "refuse":
        body = {"reason": form.get("reason") or None}
    elif action == "run":
        body, headers = _again(), {"Idempotency-Key": form.get("once") or str(uuid4())}
    elif action not in _ACTIONS:
        return _show_job(job_id, problem="There is no such action."), 404
    try:
        ask("POST", f"/funding-jobs/{job_id}/{action}", body=body, headers=headers)
    except Refused as error:
        return _show_job(job_id, problem=error.message, repeated=error.code == "FND_REPEATED"), error.status
    if run_id := form.get("run", ""):
        return redirect(url_for("funding.run", job_id=job_id, run_id=run_id), 303)
    if form.get("back") == "approvals":
        return redirect(url_for("approvals.page"), 303)
    return redirect(url_for("funding.one", job_id=job_id), 303)


@blueprint.get("/dashboard/funding/<job_id>/runs/<run_id>")
def run(job_id: str, run_id: str) -> Any:
    """Show a run: its progress, and its rows."""
    return _show_run(job_id, run_id)


@blueprint.post("/dashboard/funding/<job_id>/runs/<run_id>/retry")
def retry(job_id: str, run_id: str) -> Any:
    """Post the rest of a run again."""
    headers = {"Idempotency-Key": request.form.get("once") or str(uuid4())}
    try:
        answer = ask("POST", f"/funding-jobs/{job_id}/runs/{run_id}/retry", body=_again(), headers=headers).json
    except Refused as error:
        return _show_run(job_id, run_id, problem=error.message, repeated=error.code == "FND_REPEATED"), error.status
    return redirect(url_for("funding.run", job_id=job_id, run_id=answer["run_id"]), 303)


def _again() -> dict[str, Any]:
    """Return the body of a run or a retry. The form has ``again`` only on the page that said why it may pay twice."""
    return {"again": True} if request.form.get("again") else {}


def _show_job(job_id: str, **more: Any) -> str:
    may = actor().may
    job = ask("GET", f"/funding-jobs/{job_id}").json
    runs = ask("GET", f"/funding-jobs/{job_id}/runs", {"limit": 20}).json
    return render_template(
        "funding_job.html",
        job=job,
        runs=runs,
        names=names_of([job["source"]]),
        may_control=may(Right.FUNDING_CONTROL),
        may_approve=may(Right.FUNDING_APPROVE),
        once=str(uuid4()),
        **more,
    )


def _show_run(job_id: str, run_id: str, **more: Any) -> str:
    job = ask("GET", f"/funding-jobs/{job_id}").json
    found = ask("GET", f"/funding-jobs/{job_id}/runs/{run_id}").json
    asked = {"limit": 50, "status": query.text("status"), "after": query.text("after")}
    answer = ask("GET", f"/funding-jobs/{job_id}/runs/{run_id}/rows", asked)
    rows = answer.json
    return render_template(
        "funding_run.html",
        job=job,
        run=found,
        rows=rows,
        following=after_of(answer.headers.get("link", "")),
        names=names_of([row["destination"] for row in rows]),
        may_control=actor().may(Right.FUNDING_CONTROL),
        once=str(uuid4()),
        **more,
    )


def _rule() -> dict[str, Any] | None:
    """Return the rule of the form: each balance of a ledger gets an amount, or is filled up to it. None without a ledger."""
    form = request.form
    ledger_id = form.get("rule_ledger", "").strip()
    name = "top_up_to" if form.get("rule_kind") == "top_up_to" else "amount"
    return {"ledger_id": ledger_id, name: form.get("rule_amount", "").strip() or None} if ledger_id else None


def _asked(rule: dict[str, Any] | None, *, sure: bool) -> dict[str, Any]:
    """Make the job of the form. One that was tried must have the rows and the sum that were seen.

    A job with a rule looks its balances up when a run starts, so only one that runs now must have them.
    """
    form = request.form
    job: dict[str, Any] = {name: form[name].strip() for name in _TEXTS if form.get(name, "").strip()}
    job |= {name: True for name in _FLAGS if form.get(name)}
    if "precision" in job and job["precision"].isdecimal():
        job["precision"] = int(job["precision"])
    if "at" in job:
        job["at"] = _instant(job["at"])
    options: dict[str, Any] = {
        name: form[f"file_{name}"].strip() for name in ("sheet", "decimal", "extra") if form.get(f"file_{name}")
    }
    if without := _without_rows():
        options["without_rows"] = without
    if options:
        job["file"] = options
    if rule:
        job["rule"] = rule
    if not sure:
        return job | {"dry_run": True}
    if rule and ("at" in job or "cron" in job):
        return job
    for name in ("expect_rows", "expect_amount"):
        if form.get(name):
            job[name] = int(form[name]) if name == "expect_rows" else form[name]
    return job


def _instant(text: str) -> str:
    """Read the time of a form, which is in UTC and names no zone. What is no time is left to the API to refuse."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if at.tzinfo else f"{at.isoformat(timespec='seconds')}Z"


def _type(file: FileStorage) -> str:
    return "text/csv" if (file.filename or "").lower().endswith((".csv", ".txt")) else "application/octet-stream"


def _told(error: Refused, file: FileStorage | None) -> dict[str, Any]:
    """Tell the problems of a file, in its own rows if it is a text, and which rows can be left out to pay the others."""
    problems: list[dict[str, Any]] = [each for each in error.details.get("problems", []) if "row" in each]
    told: dict[str, Any] = {"problems": problems, "details": error.details}
    if problems and file is not None and _type(file) == "text/csv":
        file.stream.seek(0)
        told["table"] = table_of_file.read(file.stream.read(table_of_file.MAX_READ), problems)
    rows = {each.get("row") for each in problems}
    is_all = error.details.get("problem_count") == len(problems)
    if problems and is_all and None not in rows and 1 not in rows and error.details.get("rows_fine"):
        told["without"] = sorted({*rows, *_without_rows()})
    return told


def _without_rows() -> list[int]:
    """Return the rows of the file that the reader leaves out."""
    return [int(row) for row in request.form.get("without_rows", "").split(",") if row.strip().isdecimal()]


def _tried(**more: Any) -> Any:
    """Answer with the result alone where the page puts it beside the form, else with the page."""
    if request.headers.get("HX-Request"):
        return render_template("funding_tried.html", once=str(uuid4()), **more)
    return _form(tried=more, **more)


def _form(**more: Any) -> str:
    try:
        ledgers = ask("GET", "/ledgers", {"limit": _LISTED}).json
    except Refused:  # The key may not read them.
        ledgers = []
    return render_template("funding_new.html", once=str(uuid4()), currencies=precisions(), ledgers=ledgers, **more)
