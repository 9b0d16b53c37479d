"""``python -m tests.harness.walls_cpu`` measures what all walls cost a request, in microseconds of CPU.

It runs the functions that come before each view, and the wrapper around the application, in one thread, each in a loop. The best
of several rounds counts, because other work on the machine only adds. The limit is ``LIMIT_US``.
"""

import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from core.base.actors import NOBODY, bind
from tests.harness.databases import QuickPostgres, new_database
from tests.harness.keys import KEY
from web import app as module
from web.app import create_app

LIMIT_US = 8.0
ROUNDS, CALLS = 15, 4000

ENVIRON: dict[str, Any] = {
    "SCRIPT_NAME": "", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "5001", "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "40000", "REQUEST_METHOD": "POST", "PATH_INFO": "/transactions",
    "QUERY_STRING": "", "wsgi.url_scheme": "http", "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "200",
    "HTTP_HOST": "127.0.0.1:5001", "HTTP_USER_AGENT": "python-requests/2.32", "HTTP_ACCEPT": "*/*",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate", "HTTP_CONNECTION": "keep-alive", "HTTP_X_BLNK_KEY": KEY,
}  # fmt: skip


def best_us(call: Callable[[], object]) -> float:
    """Return the CPU time of a call in the best round."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(CALLS):
            call()
        rounds.append((time.thread_time() - began) / CALLS * 1e6)
    return min(rounds)


def measure(database_url: str) -> dict[str, float]:
    """Measure each wall of an application, by name."""
    settings = {"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY, "PACIOLI_RATE": "900000/9000000"}
    app = create_app(settings | {"PACIOLI_TRUSTED_PROXIES": "10.0.0.0/8"})
    nothing = best_us(lambda: None)
    found = {}
    with app.request_context(ENVIRON | {"wsgi.input": BytesIO()}):
        for wall in app.before_request_funcs[None]:
            name = f"{wall.__module__}.{wall.__qualname__}".replace(".<locals>", "")
            found[name] = best_us(wall) - nothing
        bind(NOBODY)

    def bare(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        start("200 OK", [])
        return []

    def start(*_: object) -> None:
        return None

    ledger = app.extensions["pacioli"]
    wrapped = module._with_headers(bare, ledger, module.DeniedRequests(ledger.engine))
    without = best_us(lambda: bare(ENVIRON, start))
    found["web.app._with_headers"] = best_us(lambda: wrapped(dict(ENVIRON), start)) - without
    ledger.engine.dispose()
    return found


def main() -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as folder, QuickPostgres(Path(folder)) as server:
        found = measure(new_database(server.url))
    for name, cost in found.items():
        print(f"{cost:7.2f} µs  {name}")
    print(f"{sum(found.values()):7.2f} µs  in all; the limit for the walls is {LIMIT_US:g}")


if __name__ == "__main__":
    main()
