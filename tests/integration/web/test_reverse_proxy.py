"""The reverse proxies of the book, in front of a real web server."""

import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from core.doors.certificates import Certificate, pinned
from tests.harness.certificates import new_certificate
from tests.harness.key_ring import later
from tests.harness.keys import HEADERS, KEY
from tests.harness.pages import ROOT
from tests.harness.programs import needs_program
from tests.harness.serving import WITHIN_S, Served

NAME = "ledger.example.com"


def _nginx(folder: Path, certificate: Certificate, served_port: int, port: int) -> list[str]:
    text = (ROOT / "ops" / "proxy" / "nginx.conf").read_text()
    text = text.replace("listen 443", f"listen 127.0.0.1:{port}").replace("127.0.0.1:5001", f"127.0.0.1:{served_port}")
    text = text.replace("/etc/ssl/ledger.crt", str(certificate.file)).replace(
        "/etc/ssl/ledger.key", str(certificate.key)
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    around = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    config = folder / "nginx.conf"
    config.write_text(
        f"pid {folder}/pid;\ndaemon off;\nmaster_process off;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{around}{text}\n}}\n"
    )
    return [needs_program("nginx"), "-e", str(folder / "log"), "-p", str(folder), "-c", str(config)]


def _caddy(folder: Path, certificate: Certificate, served_port: int, port: int) -> list[str]:
    text = (ROOT / "ops" / "proxy" / "Caddyfile").read_text()
    text = re.sub(rf"^{NAME} ", f"{NAME}:{port} ", text, flags=re.MULTILINE)
    text = text.replace("127.0.0.1:5001", f"127.0.0.1:{served_port}")
    text = text.replace("/etc/ssl/ledger.crt", str(certificate.file)).replace(
        "/etc/ssl/ledger.key", str(certificate.key)
    )
    config = folder / "Caddyfile"
    config.write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{text}")
    return [needs_program("caddy"), "run", "--config", str(config), "--adapter", "caddyfile"]


Proxy = Callable[[Path, Certificate, int, int], list[str]]


@contextmanager
def _running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env={"HOME": str(folder)}, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + WITHIN_S
            while True:
                assert process.poll() is None, (folder / "output").read_text()
                assert time.monotonic() < deadline
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(WITHIN_S)


@pytest.fixture
def served(database_url: str) -> Iterator[Served]:
    env = {
        "DATABASE_URL": database_url,
        "PACIOLI_SECRET_KEY": KEY,
        "PACIOLI_ALLOWED_HOSTS": NAME,
        "PACIOLI_TRUSTED_PROXIES": "127.0.0.1",
    }
    served = Served("web.app:create_app", env=env)
    with ExitStack() as stack:
        stack.callback(served.close)
        yield served


@pytest.mark.parametrize("proxy", [_nginx, _caddy], ids=["nginx", "caddy"])
def test_a_proxy_keeps_host_and_request_id_and_lets_waits_and_uploads_through(
    proxy: Proxy, served: Served, tmp_path: Path
) -> None:
    certificate = new_certificate(tmp_path)
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = proxy(tmp_path, certificate, served.port, port)
    with (
        _running(command, tmp_path, port),
        httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=pinned(certificate.file), trust_env=False) as client,
    ):
        client.timeout = httpx.Timeout(WITHIN_S)
        client.headers.update({"Host": NAME, **HEADERS})

        def ask(method: str, path: str, status: int, **given: object) -> httpx.Response:
            answer = client.request(method, path, extensions={"sni_hostname": NAME}, **given)  # type: ignore[arg-type]
            assert answer.status_code == status, answer.text
            return answer

        answer = ask("GET", "/transactions", 200, headers={"X-Request-Id": "mine-1"})
        assert answer.headers["X-Request-Id"] == "mine-1"
        assert answer.headers.get_list("Strict-Transport-Security") == ["max-age=31536000"]
        ask("GET", "/transactions", 401, headers={"X-Blnk-Key": ""})
        body = {
            "precise_amount": 1, "precision": 100, "currency": "USD", "reference": "proxied", "source": "@World",
            "destination": "@A", "allow_overdraft": True, "description": "a test", "skip_queue": True,
        }  # fmt: skip
        id = ask("POST", "/transactions", 201, json=body, headers={"Origin": f"https://{NAME}"}).json()[
            "transaction_id"
        ]
        assert ask("GET", f"/transactions/{id}?wait=5s", 200).json()["status"] == "APPLIED"
        forged = {"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=203.0.113.7"}
        for network, status in (("127.0.0.0/8", 200), ("203.0.113.0/24", 403)):
            made = {"name": "k", "owner": "o", "scopes": ["*:*"], "expires_at": later(days=9)}
            bound = ask("POST", "/api-keys", 201, json={**made, "reach": {"networks": [network]}}).json()["key"]
            ask("GET", "/transactions", status, headers={"X-Blnk-Key": bound, **forged})
        # A refused upload ends its connection, and the client may only learn that when it asks again.
        json = {"Content-Type": "application/json", "Connection": "close"}
        ask("POST", "/nothing", 404, content=b" " * 4_000_000, headers=json)
        ask("POST", "/transactions", 413, content=b" " * 6_000_000, headers=json)
        ask("GET", "/health", 200)


def test_a_proxy_waits_longer_than_a_request_may() -> None:
    for name in ("nginx.conf", "Caddyfile"):
        found = re.search(
            r"(?:proxy_read_timeout|response_header_timeout) (\d+)s", (ROOT / "ops/proxy" / name).read_text()
        )
        assert found is not None
        assert int(found[1]) > 60
