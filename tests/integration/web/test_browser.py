"""Pages of other sites in a real browser: none posts money, and none reads anything."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.serving import make_server

from tests.harness.api import Api, close
from tests.harness.keys import KEY
from tests.harness.programs import needs_program
from web.app import create_app

ATTACKS = """
const body = JSON.stringify({precise_amount: 1, precision: 100, currency: "USD", reference: "R", source: "@A",
                             destination: "@B", allow_overdraft: true, description: "stolen"});
const target = "%s";
const attempts = [
  ["untyped", {mode: "no-cors", method: "POST", body: new Blob([body.replace("R", "1")])}],
  ["text", {mode: "no-cors", method: "POST", body: body.replace("R", "2")}],
  ["form", {mode: "no-cors", method: "POST", body: new URLSearchParams([[body.replace("R", "3"), ""]])}],
  ["data", {mode: "no-cors", method: "POST", body: (() => { const f = new FormData(); f.append("x", body); return f; })()}],
  ["json", {method: "POST", headers: {"Content-Type": "application/json"}, body: body.replace("R", "4")}],
  ["read", {}],
  ["key", {method: "POST", headers: {"Content-Type": "application/json", "X-Blnk-Key": "KEY"}, body: body.replace("R", "5")}],
  ["bearer", {headers: {"Authorization": "Bearer KEY"}}],
  ["query", {mode: "no-cors", method: "POST", body: body.replace("R", "6")}, "?key=KEY&X-Blnk-Key=KEY&api_key=KEY"],
];
(async () => {
  const seen = [];
  for (const [name, options, query = ""] of attempts) {
    try {
      const answer = await fetch(target + "/transactions" + query, options);
      seen.push(name + ":" + answer.type + ":" + (await answer.text()).length);
    } catch (error) { seen.push(name + ":refused"); }
  }
  document.title = "done";
  document.body.textContent = seen.join(" ");
})();
"""


@contextmanager
def serving(app: object) -> Iterator[int]:
    """Serve a WSGI application on a free port, and yield the port."""
    server = make_server("127.0.0.1", 0, app, threaded=True)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _service(database_url: str, key: str | None) -> Iterator[int]:
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": key or ""})
    with serving(app) as port:
        yield port
    close(app)


def _open(url: str, folder: Path) -> str:
    """Open a page in Chromium, and return its text when its scripts have ended. Every name is 127.0.0.1."""
    chromium = needs_program("chromium")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom"]
    options += [f"--user-data-dir={folder}", "--host-resolver-rules=MAP * 127.0.0.1", "--virtual-time-budget=10000"]
    done = subprocess.run([chromium, *options, url], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.mark.parametrize("key", [None, KEY], ids=["without a key", "with a key"])
def test_a_page_of_another_site_posts_and_reads_nothing(
    api: Api, database_url: str, tmp_path: Path, key: str | None
) -> None:
    needs_program("chromium")

    with _service(database_url, key) as port:
        for name, target in {
            "another site": f"http://127.0.0.1:{port}",
            "a name of its own for this machine": f"http://evil.example:{port}",
            "a page of another port": f"http://localhost:{port}",
        }.items():
            script = (ATTACKS % target).replace("KEY", KEY)
            page = Flask("evil")
            page.add_url_rule("/", "attack", lambda text=script: f"<body><script>{text}</script>")
            host = "localhost" if "port" in name else "evil.example"
            with serving(page) as evil:
                text = _open(f"http://{host}:{evil}/", tmp_path / name)
            assert "json:refused read:refused key:refused bearer:refused" in text, (name, text)
            assert api.get("/transactions") == [], name


def test_the_page_of_the_api_asks_for_the_key(database_url: str, tmp_path: Path) -> None:
    with _service(database_url, KEY) as port:
        text = _open(f"http://localhost:{port}/docs", tmp_path)
    assert "X-Blnk-Key" in text


def test_the_page_of_the_api_works_in_the_browser_and_may_post(api: Api, tmp_path: Path) -> None:
    with serving(api.app) as port:
        text = _open(f"http://localhost:{port}/docs", tmp_path)
    assert "Record a transaction" in text or "/transactions" in text
