"""The viewer of the API, in which every endpoint is called with the key of the session."""

from typing import Any

from flask import Blueprint, Response, render_template, request

from web.dashboard.asking import Refused, send

blueprint = Blueprint("try_it", __name__)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Scalar sets styles from its script, so styles may be inline on this page. Scripts may not."""

_PASSED_ON = ("Accept", "Idempotency-Key")


@blueprint.get("/dashboard/try")
def page() -> Any:
    """Show the viewer."""
    response = Response(render_template("try.html"))
    response.headers["Content-Security-Policy"] = POLICY
    return response


@blueprint.route("/dashboard/api/<path:path>", methods=["GET", "POST", "PUT", "DELETE"])
def call(path: str) -> Any:
    """Pass a request on to the API with the key of the session, and its answer back, an error too."""
    headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
    try:
        answer = send(
            request.method,
            f"/{path}",
            request.args,
            request.stream,
            request.content_length or 0,
            request.content_type or "application/json",
            headers=headers,
        )
    except Refused as error:
        return error.response
    return answer.response()
