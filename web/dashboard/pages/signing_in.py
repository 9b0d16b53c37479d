"""The page that takes a key."""

from typing import Any

from flask import Blueprint, current_app, g, redirect, render_template, request

from core.base.db import begin
from core.keys import session_store
from web.dashboard.asking import Refused, ask
from web.dashboard.session import ENDED_S
from web.dashboard.who import actor_of, is_open, sessions

blueprint = Blueprint("signing_in", __name__)


@blueprint.get("/dashboard/sign-in")
def page() -> Any:
    """Show the form."""
    return render_template("sign_in.html", next=_back(request.args.get("next")))


@blueprint.post("/dashboard/sign-in")
def sign_in() -> Any:
    """Begin a session with a key that is right. A page of another site cannot send this: the walls ask where it comes from."""
    ledger = current_app.extensions["service"]
    key, back = request.form.get("key", "").strip(), _back(request.form.get("next"))
    if (who := actor_of(ledger, key)) is None:
        try:
            ask("GET", "/currencies", key=key or "-")  # The API counts those who guess.
        except Refused as error:
            return render_template("sign_in.html", next=back, problem=error.message), error.status
    session = sessions().begin(key)
    if who is not None and not is_open(ledger, session, who):
        problem = "This key was rotated. Sign in with its new secret."
        return render_template("sign_in.html", next=back, problem=problem), 401
    response = redirect(back, 303)
    sessions().write(session, response, request)
    return response


@blueprint.post("/dashboard/sign-out")
def sign_out() -> Any:
    """End the session, for whoever has a copy of its cookie too."""
    with begin(current_app.extensions["service"].engine) as conn:
        session_store.end(conn, g.session.id, for_s=ENDED_S)
    response = redirect("/dashboard/sign-in", 303)
    sessions().end(response)
    return response


def _back(path: str | None) -> str:
    """Return a path of the dashboard, whatever was given: nobody is led to another site."""
    if path and path.startswith("/dashboard") and "\\" not in path and "//" not in path and path.isprintable():
        return path
    return "/dashboard"
