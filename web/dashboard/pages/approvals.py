"""Approvals: the funding jobs that wait for a second person."""

from typing import Any

from flask import Blueprint, render_template, request

from core.base.actors import Right
from web.dashboard.asking import ask
from web.dashboard.who import actor

blueprint = Blueprint("approvals", __name__)

_SHOWN = 20


@blueprint.get("/dashboard/approvals")
def page() -> Any:
    """Show what waits, with what it would pay, and who asked for it."""
    listed = ask(
        "GET", "/funding-jobs", {"status": "WAITING_APPROVAL", "limit": _SHOWN, "after": request.args.get("after")}
    ).json
    jobs = [ask("GET", f"/funding-jobs/{job['job_id']}").json for job in listed]
    return render_template("approvals.html", jobs=jobs, size=_SHOWN, may_approve=actor().may(Right.FUNDING_APPROVE))
