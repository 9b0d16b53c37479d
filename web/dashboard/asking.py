"""Asks the API inside the process, as a client with the key of whoever signed in."""

import json
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from decimal import Decimal
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlencode

from flask import Response, current_app, g, request

from web.http import wire
from web.http.proxies import CLIENT

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_PASSED_ON = (
    "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "REMOTE_ADDR", "HTTP_HOST", "HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED",
    "wsgi.url_scheme", "wsgi.version", "wsgi.errors", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once", CLIENT,
)  # fmt: skip
"""The entries of a request that the API sees too. Its cookies and what its page says are not among them."""


class Refused(Exception):
    """The API refused. ``status``, ``code``, ``message`` and ``details`` are its answer."""

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details or {}
        self.response = Response(message, status)
        """The answer as it is."""


class Answer:
    """An answer of the API."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.body = status, body
        self.headers = {name.lower(): value for name, value in headers}

    @property
    def json(self) -> Any:
        """The JSON of the answer. A number with a fraction is a Decimal."""
        return json.loads(self.body, parse_float=Decimal)

    def response(self) -> Response:
        """Return the answer as it is, such as a file to keep."""
        return Response(self.body, self.status, content_type=self.headers.get("content-type"))


def lacks(scope: str) -> str:
    """Say that the key of the session lacks a scope."""
    return f"This needs the scope {scope}, which the key that you signed in with has not."


def ask(
    method: str,
    path: str,
    query: Mapping[str, object] | None = None,
    body: object | None = None,
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a request to the API. Without ``key`` it is that of the session. ``body`` is sent as JSON.

    A list in ``query`` is sent as a parameter that repeats.

    Raises:
        Refused: the API answered with an error.
    """
    content = b"" if body is None else json.dumps(body, default=str).encode()
    return send(method, path, query, BytesIO(content), len(content), "application/json", key=key, headers=headers)


def send(
    method: str,
    path: str,
    query: Mapping[str, object] | None,
    content: Any,
    length: int,
    content_type: str,
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a body of any type to the API, read from the file ``content``. As ``ask`` otherwise."""
    given = {name: value for name, value in (query or {}).items() if value not in (None, "")}
    environ: dict[str, Any] = {name: request.environ[name] for name in _PASSED_ON if name in request.environ}
    environ |= {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": urlencode(given, doseq=True, quote_via=quote),
        "CONTENT_LENGTH": str(length) if length else "",
        "wsgi.input": content,
        "HTTP_X_REQUEST_ID": request.environ.get(wire.REQUEST_ID, ""),
    }
    if length:
        environ["CONTENT_TYPE"] = content_type
    used = key if key is not None else g.session.key
    if used:
        environ["HTTP_X_BLNK_KEY"] = used
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in (headers or {}).items()}
    answer = copy_context().run(_call, current_app.extensions["api"], environ)
    if answer.status >= 400:
        refused = _refused(answer)
        refused.response = answer.response()
        raise refused
    return answer


def _call(api: Wsgi, environ: dict[str, Any]) -> Answer:
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        started[:] = [int(status[:3]), headers]

    parts = api(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        if (close := getattr(parts, "close", None)) is not None:
            close()
    return Answer(started[0], started[1], body)


def _refused(answer: Answer) -> Refused:
    try:
        detail = answer.json["error_detail"]
        more = detail.get("details")
        details = more if isinstance(more, dict) else {}  # Blnk's lists answer with a list of problems.
        text = lacks(details["required"]) if "required" in details else str(detail["message"])
        return Refused(answer.status, str(detail["code"]), text, details)
    except (ValueError, KeyError, TypeError):
        return Refused(answer.status, "", answer.body.decode(errors="replace")[:500])
