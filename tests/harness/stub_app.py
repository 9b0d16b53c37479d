"""A small application behind ``web.serve``, whose requests last as long as a test wants."""

import os
import re
import time

from flask import Flask, Response, request

from web.places import Places

FAILS = "STUB_APP_FAILS"


def create_app() -> Flask:
    if FAILS in os.environ:
        raise SystemExit("no such setting")
    app = Flask(__name__)

    @app.get("/pid")
    def pid() -> str:
        return str(os.getpid())

    @app.get("/health")
    def health() -> str:
        return "UP"

    @app.route("/environ", methods=["GET", "POST"])
    def environ() -> dict[str, str]:
        request.get_data()
        return {name: value for name, value in request.environ.items() if name.startswith(("HTTP_", "CONTENT_"))}

    @app.get("/sleep/<float:seconds>")
    def sleep(seconds: float) -> str:
        time.sleep(seconds)
        return "slept"

    @app.get("/stuck")
    def stuck() -> str:
        re.match(r"(a+)+$", "a" * 64 + "b")  # It keeps the interpreter's lock for years.
        return "not any more"

    @app.post("/body")
    def body() -> str:
        return str(len(request.get_data()))

    @app.get("/stream")
    def stream() -> Response:
        return Response((f"data: {number}\n\n" for number in range(3)), mimetype="text/event-stream")

    app.extensions["places"] = Places(app.wsgi_app)
    app.wsgi_app = app.extensions["places"]  # type: ignore[method-assign]
    return app
