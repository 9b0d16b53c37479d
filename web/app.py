"""Creates the Flask application: ``web.app:create_app()``. Its threads start with it."""

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import structlog
from flask import Flask, Response, request
from structlog.contextvars import bind_contextvars, clear_contextvars
from uuid_utils import uuid7
from werkzeug.routing import BaseConverter

from core.base import tracing
from core.base.actors import ANONYMOUS, MASTER, NOBODY, Actor, bind, unbind
from core.base.errors import ErrorCode
from core.base.quick import WouldWait
from core.keys.ring import KeyRing, Unusable
from web import (
    api_keys,
    audit,
    balances,
    books,
    docs,
    events,
    flows,
    funding,
    health,
    history,
    holds,
    hooks,
    identities,
    ledgers,
    metadata,
    metrics,
    monitors,
    parts,
    queues,
    receipts,
    refunds,
    transactions,
    verification,
    webhooks,
)
from web.dashboard import app as dashboard
from web.denied import DeniedRequests
from web.http import (
    access,
    errors,
    later,
    openapi,
    operations,
    parameters,
    proxies,
    rates,
    retries,
    rights,
    walls,
    wire,
)
from web.http.later import Later
from web.http.lean import Lean, NoSessions
from web.http.master import MasterKey
from web.places import PROCESSES, Places
from web.service import Service, start

_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
]
_NAMES = frozenset(name for name, _ in _HEADERS)
_OVER_TLS = ("Strict-Transport-Security", "max-age=31536000")
"""A browser that has seen this asks the host over TLS alone for a year."""

_DENIED = ("401", "403")

SLOW_S = 1.0
"""A request that takes longer is slow, unless it asked to wait."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

logger = structlog.get_logger()

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def create_app(environ: Mapping[str, str] = os.environ) -> Flask:
    """Create the application and connect it as the environment says."""
    app = Lean("pacioli", static_folder=None)
    app.session_interface = NoSessions()
    app.config["MAX_CONTENT_LENGTH"] = wire.MAX_BODY
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # Two slashes may be part of a reference.
    app.url_map.converters["rest"] = _Rest
    ledger = start(environ)
    app.extensions["pacioli"] = ledger
    for module in (
        transactions, holds, refunds, funding, balances, history, books, ledgers, metadata, parts, queues, health, metrics,
        verification, receipts, audit, events, flows, api_keys, identities, monitors, webhooks, hooks,
        openapi, docs,
    ):  # fmt: skip
        app.register_blueprint(module.blueprint)
    errors.install(app)
    metrics.install(app)  # First, so that a request without the key is counted too.
    app.before_request(walls.wall(app, ledger.allowed_hosts))
    open_paths = operations.open_paths(app)
    secret_key = ledger.secret_key.reveal() if ledger.secret_key else None
    app.before_request(_key_check(app, secret_key, open_paths, ledger.ring))
    if ledger.rate is not None:
        bucket = rates.Bucket(ledger.rate, PROCESSES)
        app.before_request(lambda: rates.check(bucket, open_paths))
    app.before_request(parameters.check)
    places = app.extensions["places"] = Places(app.wsgi_app)
    api = _with_headers(places, ledger, DeniedRequests(ledger.engine))
    pages = cache(lambda: _with_headers(dashboard.create(api, ledger), ledger, DeniedRequests(ledger.engine)))
    app.wsgi_app = _beside(api, pages)  # type: ignore[method-assign,assignment]
    app.is_quick = _is_quick
    return app


def _is_quick(environ: dict[str, Any]) -> bool:
    """Tell whether a request waits for nothing, as a rule, before it leaves its answer to other threads.

    Of those that do wait after all, most pay for their first steps twice. So only the requests that come most often are here.
    """
    if environ["QUERY_STRING"] or retries.HEADER in environ or tracing.is_on():
        return False
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if method == "POST":
        return bool(path == "/transactions")
    return method == "GET" and (path.startswith(_QUICK_READS) or path in ("/", "/health"))


_QUICK_READS = ("/transactions/txn_", "/balances/bln_", "/balances/indicator/")


def _beside(api: Wsgi, pages: Callable[[], Wsgi]) -> Wsgi:
    """Give the paths of the dashboard to it, and all others to the API. Who never opens it does not pay for it."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        is_page = path.startswith("/dashboard") and path[10:11] in ("", "/")
        return (pages() if is_page else api)(environ, start_response)

    return app


class _Rest(BaseConverter):
    """Matches the rest of a path. Werkzeug's own ``path`` may not begin with a slash."""

    regex = "(?s:.+)"  # An older reference may have a line break.
    part_isolating = False


def _key_check(
    app: Flask, secret_key: str | None, open_paths: frozenset[str], ring: KeyRing | None
) -> Callable[[], Response | None]:
    """Make the check of ``X-Blnk-Key`` and of what the key may do. It binds the actor of the request."""
    if secret_key is None or ring is None:
        return _refuse_others
    table, known = rights.by_endpoint(app), rights.resources(app)
    master = MasterKey(secret_key)
    guesses, buckets = rates.Guesses(), rates.Buckets(PROCESSES)

    def check() -> Response | None:
        asked = wire.current()
        if asked.path in open_paths:
            return None
        key = asked.environ.get("HTTP_X_BLNK_KEY")
        if not key and asked.path == "/metrics":
            # Prometheus can send one in this way.
            key = asked.environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        if not key:
            return errors.error_response(
                ErrorCode.AUTH_MISSING_API_KEY, "Authentication required. Use X-Blnk-Key header"
            )
        if master.matches(key):
            bind(MASTER)
            return None
        found = ring.find(key)
        if isinstance(found, Actor):
            bind(found)
            if (
                found.rate is not None
                and later.AGAIN not in request.environ
                and (wait_s := buckets.wait_s(found.key_id, found.rate))
            ):
                return rates.too_many("more requests came than the rate of this key allows", wait_s)
            return rights.refusal(found, table, known) or rights.beyond_reach(
                found, proxies.client_address(request.environ)
            )
        if found is Unusable.LAPSED:
            return errors.error_response(ErrorCode.AUTH_EXPIRED_API_KEY, "API key is expired or revoked")
        if wait_s := guesses.wait_s(proxies.client_address(request.environ)):
            return rates.too_many("too many wrong keys came from this address", wait_s)
        return errors.error_response(ErrorCode.AUTH_INVALID_API_KEY, "Invalid API key")

    return check


def _refuse_others() -> Response | None:
    """Answer only this machine. Without a key, ``web.serve`` listens on loopback alone, but another server may not."""
    if proxies.is_from_this_machine(request.environ):
        bind(ANONYMOUS)
        return None
    text = "the service has no key, so it answers its own machine alone: set PACIOLI_SECRET_KEY"
    return errors.error_response(ErrorCode.AUTH_MISSING_API_KEY, text)


def _with_headers(wsgi: Wsgi, ledger: Service, denied: DeniedRequests) -> Wsgi:
    """Add the headers that every answer has, and a request ID. The caller's own ID is kept if it is well-formed.

    The ID is in each log line of the request. A slow request has a line of its own, and at the level debug every request has.
    """

    every = logger.is_enabled_for(logging.DEBUG)
    trusted, access_log = ledger.trusted_proxies, ledger.access_log
    believed = proxies.Proxies(trusted)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else str(uuid7())
        environ[wire.REQUEST_ID] = request_id
        if trusted:
            environ[proxies.CLIENT] = believed.client(environ)
        bind_contextvars(request_id=request_id)
        before = bind(NOBODY)
        started = time.perf_counter()
        answered, length = "", None

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal answered, length
            answered = status
            if access_log:
                length = next((value for name, value in headers if name == "Content-Length"), None)
            own = {name for name, _ in headers}
            more = _HEADERS if own.isdisjoint(_NAMES) else [each for each in _HEADERS if each[0] not in own]
            over_tls = [_OVER_TLS] if environ["wsgi.url_scheme"] == "https" else ()
            return start_response(status, [*headers, *over_tls, *more, ("X-Request-Id", request_id)], exc_info)

        def finish() -> None:
            took_s = time.perf_counter() - started
            if every or (took_s > SLOW_S and "wait=" not in environ.get("QUERY_STRING", "")):
                _log(environ, answered, took_s)
            if access_log:
                access.log(environ, status=answered, length=length, took_s=took_s)
            if answered[:3] in _DENIED:
                denied.add(environ, int(answered[:3]))

        found: Iterable[bytes] | None = ()
        try:
            name, trace = f"HTTP {environ['REQUEST_METHOD']}", environ.get("HTTP_TRACEPARENT")
            path = environ.get("PATH_INFO", "")
            with tracing.span(name, parent=trace, path=path, request_id=request_id):
                found = answer(environ, start)
                return found
        except WouldWait:
            found = None  # The request has not ended.
            raise
        finally:
            try:
                if isinstance(found, Later):
                    found.ended.append(finish)
                elif found is not None:
                    finish()
            finally:
                clear_contextvars()  # The thread, and whatever it does next, is not this request's.
                unbind(before)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        # No text column of Postgres can hold NUL, so no such path or parameter names anything.
        if "\x00" in environ.get("PATH_INFO", ""):
            return errors.error_response(ErrorCode.GEN_NOT_FOUND, "no path has the NUL character in it")(environ, start)
        if "%00" in environ.get("QUERY_STRING", ""):
            text = "a parameter must not contain the NUL character"
            return errors.error_response(ErrorCode.GEN_BAD_REQUEST, text)(environ, start)
        return wsgi(environ, start)

    return app


def _log(environ: Mapping[str, Any], status: str, took_s: float) -> None:
    """Write the line of a request. Parameters are left out, because they may be anything."""
    is_slow = took_s > SLOW_S
    logger.log(
        logging.WARNING if is_slow else logging.DEBUG,
        "a request was slow" if is_slow else "request",
        method=environ["REQUEST_METHOD"],
        path=environ.get("PATH_INFO", "")[:200],
        address=proxies.client_address(environ),
        status=status[:3],
        took_ms=round(took_s * 1000, 1),
    )
