"""Lets a request be sent again under an ``Idempotency-Key``: the view of such a route is wrapped with ``once``.

A request without the header costs one look into its environment.
"""

import io
from collections.abc import Callable
from functools import wraps
from hashlib import sha256
from typing import Any, TypeVar

import structlog
from flask import Response, current_app, request
from sqlalchemy import Connection

from core.base import actors
from core.base.errors import TransientError
from core.journal import retries
from core.journal.retries import Answer
from core.journal.retry_store import Claim
from web.http import later, wire
from web.http.operations import FILES, MULTIPART
from web.service import service

View = TypeVar("View", bound=Callable[..., Any])

HEADER = "HTTP_IDEMPOTENCY_KEY"
REPLAYED = "Idempotent-Replayed"

_CLAIM, _REFERENCE, _KEPT = "pacioli.claim", "pacioli.reference", "pacioli.kept"
"""The entries of the WSGI environment of a request with a key: its claim, its reference, and whether its answer is stored."""

logger = structlog.get_logger()


def once(view: View) -> View:
    """Give a view that moves money or creates things the header ``Idempotency-Key``.

    An answer that the view returns is kept, and the same request gets it again. An error that it raises did nothing, so it
    is not kept, and the request may be mended and sent again with its key.
    """

    @wraps(view)
    def guarded(**arguments: Any) -> Any:
        if HEADER not in wire.environ():
            return view(**arguments)
        return _once(view, arguments)

    guarded.takes_idempotency_key = True  # type: ignore[attr-defined]
    return guarded  # type: ignore[return-value]


def takes_key(view: Callable[..., Any]) -> bool:
    """Tell whether the route of a view takes the header."""
    return bool(getattr(view, "takes_idempotency_key", False))


def reference() -> str | None:
    """Return the reference that the request's key gives to what it posts. Without a key there is none."""
    found: str | None = wire.environ().get(_REFERENCE)
    return found


def keep_in(conn: Connection, response: Response) -> Response:
    """Store the answer of the request in the transaction that does what it asks, if it has a key.

    Raises:
        TransientError: the same request was sent again and has taken over.
    """
    claim: Claim | None = request.environ.get(_CLAIM)
    if claim is not None:
        retries.keep_in(conn, claim, _stored(response))
        request.environ[_KEPT] = True
    return response


def _once(view: Callable[..., Any], arguments: dict[str, Any]) -> Response:
    environ, engine = request.environ, service().engine
    environ.pop(later.OFFERED, None)  # The answer is stored here.
    key, actor = environ[HEADER], actors.current().key_id
    retries.check_key(key)
    environ[_REFERENCE] = retries.reference_of(actor, key)
    if request.mimetype in (MULTIPART, *FILES):
        # The parts of a repeated upload have other boundaries, so it is known by the reference and the content of its job.
        return current_app.make_response(view(**arguments))
    claim = retries.claim(engine, actor, key, _fingerprint(environ))
    if isinstance(claim, Answer):
        response = Response(claim.body, claim.status, claim.headers)
        response.headers[REPLAYED] = "true"
        return response
    environ[_CLAIM] = claim
    try:
        response = current_app.make_response(view(**arguments))
    except Exception:
        _quietly(retries.release, engine, claim)
        raise
    if response.status_code >= 500:
        _quietly(retries.release, engine, claim)
    elif not environ.get(_KEPT):
        _quietly(retries.keep, engine, claim, _stored(response))
    return response


def _fingerprint(environ: dict[str, Any]) -> bytes:
    """Digest the route and the body of the request, and leave the body to the view. ``?wait=`` may differ."""
    body = wire.read_whole(environ)
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
    route = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}\0"
    return sha256(route.encode() + body).digest()


def _stored(response: Response) -> Answer:
    headers = [(name, value) for name, value in response.headers if name != "Content-Length"]
    return Answer(response.status_code, headers, response.get_data())


def _quietly(work: Callable[..., None], *arguments: Any) -> None:
    """Do what the answer does not depend on. A claim that stays open because of a failure ends by itself."""
    try:
        work(*arguments)
    except TransientError as error:
        logger.warning("an idempotency key could not be settled", error=repr(error.__cause__))
