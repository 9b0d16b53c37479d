"""Creates the dashboard: a Flask application beside the API's, with cookies and templates, which the API has not."""

from functools import cache
from importlib import resources
from typing import Any

from flask import Flask, Response, current_app, g, redirect, render_template, request, url_for
from werkzeug.exceptions import NotFound

from core.base.actors import Right
from core.base.errors import TransientError
from web.dashboard import formats, nav, query
from web.dashboard.asking import Refused, Wsgi
from web.dashboard.pages import (
    activity,
    approvals,
    audit,
    balances,
    events,
    funding,
    health,
    identities,
    keys,
    map,
    monitors,
    overview,
    queues,
    signing_in,
    transactions,
    try_it,
    webhooks,
)
from web.dashboard.session import Session, Sessions, is_own
from web.dashboard.who import actor, actor_of, is_open, sessions
from web.http import walls
from web.service import Service

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
MAX_BODY = 257 * 1024 * 1024
"""The largest list of recipients that the API takes, and the form around it."""
_OPEN = ("signing_in.page", "signing_in.sign_in", "asset")
_READS = ("GET", "HEAD", "OPTIONS")
_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}


def create(api: Wsgi, ledger: Service) -> Flask:
    """Create the application. ``api`` is what answers requests to the API, with its walls, keys and headers."""
    app = Flask("web.dashboard", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.url_map.strict_slashes = False
    app.extensions |= {"api": api, "service": ledger, "sessions": Sessions(_secret_of(ledger)), "precisions": {}}
    app.jinja_env.filters |= formats.FILTERS
    app.jinja_env.globals |= {"fault": query.fault, "invalid": query.invalid, "unsaid": query.unsaid}
    app.jinja_env.globals["may"] = lambda right: actor().may(Right(right))
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    for module in (
        signing_in, overview, map, activity, balances, transactions, funding, approvals, queues, events, webhooks, monitors,
        identities, keys, audit, health, try_it,
    ):  # fmt: skip
        app.register_blueprint(module.blueprint)
    app.add_url_rule("/dashboard/static/<path:name>", "asset", _asset)
    app.before_request(walls.wall(app, ledger.allowed_hosts, every_page=True))
    app.before_request(lambda: _enter(ledger))
    app.after_request(_finish)
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(413, lambda _: (_page_of("The file is too large", "A list has at most 256 MiB."), 413))
    app.register_error_handler(404, lambda _: (_page_of("There is no such page", "Look at the menu."), 404))
    app.register_error_handler(
        405, lambda _: redirect(_page_above(request.path), 303)
    )  # An answer to a form, loaded again.
    app.register_error_handler(TransientError, lambda _: (_page_of("The database is busy", "Try it again soon."), 503))
    app.context_processor(
        lambda: {"menu": nav.shown_to(actor()), "session": g.get("session"), "part": _part(), **_places()}
    )
    return app


def _places() -> dict[str, str]:
    """Return the path of the page, and what renews it. An answer to a form shows the page that has the form."""
    if request.method in _READS and "here" not in g:
        return {"here": request.path, "renewed_by": request.full_path}
    here = _page_above(g.get("here", request.path))
    return {"here": here, "renewed_by": here}


def _page_above(path: str) -> str:
    """Return the path of the page that has the form which is sent to a path."""
    urls = current_app.create_url_adapter(request)
    assert urls is not None
    while not urls.test(path, "GET"):
        path = path.rpartition("/")[0]
    return path


def _part() -> str | None:
    """Return the part of a page that a page which is open asks for, to renew it."""
    return request.headers.get("HX-Target") if request.method == "GET" else None


def _secret_of(ledger: Service) -> bytes:
    if ledger.secret_key is not None:
        return ledger.secret_key.reveal().encode()
    return b"without a key"  # The cookie of such a service holds no key, and it answers this machine alone.


def _asset(name: str) -> Response:
    content = _files().get(name)
    if content is None:
        raise NotFound
    response = Response(content, mimetype=_TYPES[name.rpartition(".")[2]])
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


@cache
def _files() -> dict[str, bytes]:
    """Return the files that pages load. They are few and small, so they stay in memory."""
    folder = resources.files("web") / "dashboard" / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in _TYPES}


def _enter(ledger: Service) -> Any:
    """Find the session, and refuse a write that does not come from a page of it."""
    if request.endpoint in _OPEN:
        return None
    found = sessions().read(request)
    needs_key = ledger.secret_key is not None
    if found is None and not needs_key:
        found = g.new_session = sessions().begin(None)
    who = None if found is None or (needs_key and not found.key) else actor_of(ledger, found.key)
    if found is None or who is None or not is_open(ledger, found, who):
        return _to_sign_in()
    g.session, g.actor = found, who
    if request.method not in _READS and not is_own(found, request):
        return _page_of("This request did not come from this page", "Load the page again, and repeat it."), 403
    return None


def _to_sign_in() -> Any:
    """Lead to the page that takes a key, and back afterwards."""
    back = request.full_path.rstrip("?") if request.method == "GET" else "/dashboard"
    where = url_for("signing_in.page", next=back)
    if request.headers.get("HX-Request"):
        return Response(status=204, headers={"HX-Redirect": where})
    return redirect(where, 303)


def _finish(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", POLICY)
    fresh: Session | None = g.get("new_session")
    if fresh is not None:
        sessions().write(fresh, response, request)
    return response


def _refused(error: Refused) -> Any:
    if error.status == 401:
        return _to_sign_in()
    titles = {403: "This key may not do that", 404: "It is not there", 429: "Too many requests"}
    return _page_of(titles.get(error.status, "It was refused"), error.message), error.status


def _page_of(title: str, text: str) -> str:
    return render_template("message.html", title=title, text=text)
