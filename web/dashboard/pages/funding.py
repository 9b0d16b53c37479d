"""Funding jobs: what comes, how a run goes on, and a job from a file, tried before it is made."""

import json
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import uuid4

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.datastructures import FileStorage

from core.base.actors import Right
from web.dashboard.asking import Refused, ask, send
from web.dashboard.pages.transactions import names_of
from web.dashboard.who import actor

blueprint = Blueprint("funding", __name__)

_TEXTS = ("name", "source", "currency", "precision", "at", "cron", "timezone", "overdraft_limit", "reference", "match")
_FLAGS = ("allow_overdraft", "allow_duplicates", "until_limit", "atomic")
_ACTIONS = ("pause", "resume", "cancel", "run")
_SHOWN_LINES = 20_000
"""A problem shows its line of a file of so many lines at most."""


@blueprint.get("/dashboard/funding")
def page() -> Any:
    """List jobs, and what comes, by day."""
    query = {
        "status": request.args.get("status"),
        "source": request.args.get("source"),
        "after": request.args.get("after"),
    }
    jobs = ask("GET", "/funding-jobs", query | {"limit": 50}).json
    coming = sorted((job for job in jobs if job["next_run_at"]), key=lambda job: job["next_run_at"])
    days = [(day, list(rows)) for day, rows in groupby(coming, key=lambda job: job["next_run_at"][:10])]
    return render_template("funding.html", jobs=jobs, days=days, may_create=actor().may(Right.FUNDING_CREATE))


@blueprint.get("/dashboard/funding/new")
def new() -> Any:
    """Show the form of a job from a file."""
    return render_template("funding_new.html", once=str(uuid4()))


@blueprint.post("/dashboard/funding/new")
def create() -> Any:
    """Try the job, or make it when it was tried and is what was seen."""
    form, file = request.form, request.files.get("recipients")
    sure = form.get("sure") == "yes"
    if file is None or not file.filename:
        return _tried(problem="Choose a file with the recipients: a CSV, .xlsx or .ods file.")
    job = _asked(sure=sure)
    headers = {"Idempotency-Key": form["once"]} if sure and form.get("once") else {}
    file.stream.seek(0, 2)
    length = file.stream.tell()
    file.stream.seek(0)
    try:
        answer = send(
            "POST", "/funding-jobs", {"job": json.dumps(job)}, file.stream, length, _type(file), headers=headers
        )
    except Refused as error:
        return _tried(problem=error.message, problems=_with_lines(error, file), details=error.details)
    if not sure:
        return _tried(would=answer.json)
    where = url_for("funding.one", job_id=answer.json["job_id"])
    if request.headers.get("HX-Request"):
        return "", 204, {"HX-Redirect": where}
    return redirect(where, 303)


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
        body, headers = {}, {"Idempotency-Key": form.get("once") or str(uuid4())}
    elif action not in _ACTIONS:
        return _show_job(job_id, problem="There is no such action."), 404
    try:
        ask("POST", f"/funding-jobs/{job_id}/{action}", body=body, headers=headers)
    except Refused as error:
        return _show_job(job_id, problem=error.message), 400
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
        answer = ask("POST", f"/funding-jobs/{job_id}/runs/{run_id}/retry", body={}, headers=headers).json
    except Refused as error:
        return _show_run(job_id, run_id, problem=error.message), 400
    return redirect(url_for("funding.run", job_id=job_id, run_id=answer["run_id"]), 303)


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
    query = {"limit": 50, "status": request.args.get("status"), "after": request.args.get("after")}
    rows = ask("GET", f"/funding-jobs/{job_id}/runs/{run_id}/rows", query).json
    return render_template(
        "funding_run.html",
        job=job,
        run=found,
        rows=rows,
        names=names_of([row["destination"] for row in rows]),
        may_control=actor().may(Right.FUNDING_CONTROL),
        once=str(uuid4()),
        **more,
    )


def _asked(*, sure: bool) -> dict[str, Any]:
    """Make the job of the form. One that was tried must have the rows and the sum that were seen."""
    form = request.form
    job: dict[str, Any] = {name: form[name].strip() for name in _TEXTS if form.get(name, "").strip()}
    job |= {name: True for name in _FLAGS if form.get(name)}
    if "precision" in job and job["precision"].isdecimal():
        job["precision"] = int(job["precision"])
    if "at" in job:
        job["at"] = _instant(job["at"])
    options = {name: form[f"file_{name}"].strip() for name in ("sheet", "decimal", "extra") if form.get(f"file_{name}")}
    if options:
        job["file"] = options
    if not sure:
        return job | {"dry_run": True}
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


def _with_lines(error: Refused, file: FileStorage) -> list[dict[str, Any]]:
    """Add to each problem the line of the file that it is in, if the file is a text."""
    problems: list[dict[str, Any]] = error.details.get("problems", [])
    if not problems or _type(file) != "text/csv":
        return problems
    file.stream.seek(0)
    lines = file.stream.read(4 * 1024 * 1024).decode("utf-8", "replace").splitlines()[:_SHOWN_LINES]
    return [
        {**each, "line": lines[row - 1] if isinstance(row := each.get("row"), int) and 0 < row <= len(lines) else ""}
        for each in problems
    ]


def _tried(**more: Any) -> Any:
    """Answer with the result alone where the page puts it beside the form, else with the page."""
    if request.headers.get("HX-Request"):
        return render_template("funding_tried.html", once=str(uuid4()), **more)
    return render_template("funding_new.html", once=str(uuid4()), tried=more, **more)
