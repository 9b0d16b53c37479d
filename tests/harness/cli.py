"""The ``pacioli`` command in this process, asking the application in this process."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
from click.testing import CliRunner, Result
from flask import Flask
from structlog.testing import capture_logs
from werkzeug.serving import make_server

from ops.cli.main import main

HERE = "http://localhost"
"""The address of the application in this process. Any other is asked over the network."""

Run = Callable[..., Result]


class Nearby(httpx.BaseTransport):
    """Carries requests to the application in this process, and those for other hosts to the network."""

    def __init__(self, app: Flask) -> None:
        self._here = httpx.WSGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == httpx.URL(HERE).host:
            response = self._here.handle_request(request)
            response.read()
            return response
        with httpx.HTTPTransport() as network:
            response = network.handle_request(request)
            response.read()
            return response


def runner(database_url: str) -> Run:
    """Runs ``pacioli`` against a database and the application in this process; ``input`` comes from standard input."""

    def run(*arguments: str, input: bytes | None = None, **env: str) -> Result:
        given = {"DATABASE_URL": database_url, "PACIOLI_URL": HERE, **env}
        with capture_logs():  # Those of the application would end up in what the command prints.
            return CliRunner().invoke(main, arguments, input=input, env=given)

    return run


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The address of the application on a port of its own, for commands that run in a process of their own."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ok(result: Result) -> str:
    """Check that the command succeeded, and return what it printed."""
    assert result.exit_code == 0, result.output
    return result.stdout


def failed(result: Result, status: int, *says: str) -> None:
    """Check that the command failed with this status, one line on standard error and no traceback."""
    assert result.exit_code == status, result.output
    assert isinstance(result.exception, SystemExit)
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    for part in says:
        assert part in last
