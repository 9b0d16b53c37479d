"""The process of the notary: when it signs, where it publishes, what it survives, and how its key is replaced."""

import base64
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from rfc3161_client import TimestampRequestBuilder

from core.base.db import connect, reading
from core.ledger import drain
from core.ledger.store import waiting as waiting_store
from core.notary import seal_store
from core.notary.publish import SealFile, Stamps, to_syslog, to_webhook
from core.notary.published import read_lines
from core.notary.seals import Seal, keypair, read
from core.upkeep import heartbeats
from core.verification.sealed import Known
from core.verification.verify import verify_all
from ops.server import notary
from ops.server.notary import KeyFile, NotaryService
from tests.harness.factories import Ledger
from tests.harness.history import tamper
from tests.harness.programs import needs_program

OURS, NEXT = keypair(bytes(32)), keypair(b"\1" * 32)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sign at each step, instead of every ten seconds."""
    monkeypatch.setattr(notary, "EVERY_S", 0.0)


@pytest.fixture
def file(tmp_path: Path) -> SealFile:
    return SealFile(tmp_path / "seals.jsonl")


def service(ledger: Ledger, file: SealFile | None = None, *publish: Any, keys: KeyFile | None = None) -> NotaryService:
    return NotaryService(ledger.engine, OURS, keys or KeyFile(None), file, publish)


def seals(ledger: Ledger) -> list[Seal]:
    with reading(ledger.engine) as conn:
        return [seal for _, seal in seal_store.every(conn)]


def lines(file: SealFile) -> list[str]:
    return file._path.read_text().splitlines()


@pytest.mark.smoke
def test_it_signs_what_is_new_and_nothing_else(ledger: Ledger, file: SealFile) -> None:
    one = service(ledger, file)
    ledger.post()
    for _ in range(3):
        one.step()
    assert len(seals(ledger)) == 1
    ledger.drain()
    one.step()
    assert [seal.line for seal in seals(ledger)] == lines(file)
    assert len(lines(file)) == 2


def test_it_waits_for_ten_seconds_or_ten_thousand_rows(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, file: SealFile
) -> None:
    one = service(ledger, file)
    ledger.post()
    one.step()
    monkeypatch.setattr(notary, "EVERY_S", 1e9)
    ledger.post()
    one.step()
    assert len(seals(ledger)) == 1
    monkeypatch.setattr(notary, "ROWS", 2)
    ledger.post()
    one.step()
    assert len(seals(ledger)) == 1  # They are accepted, and not decided.
    ledger.drain()
    one.step()
    statements = [statement for seal in seals(ledger) if (statement := read(seal))]
    assert [(each.last_seq, each.decided) for each in statements] == [(1, 0), (3, 3)]


def test_a_queue_that_stands_still_holds_up_no_row_for_longer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, file: SealFile
) -> None:
    for module in ("core.notary.notary", "ops.server.notary"):
        monkeypatch.setattr(f"{module}.ROWS", 2)
    for number in range(5):
        ledger.post(source=f"@{number}")
    one = service(ledger, file)
    assert one.step() == 0.0  # There is more than one seal covers.
    monkeypatch.setattr(notary, "EVERY_S", 1e9)
    ledger.post()
    assert [one.step(), one.step()] == [0.0, notary.LOOK_EVERY_S]
    statements = [statement for seal in seals(ledger) if (statement := read(seal))]
    assert [(each.last_seq, each.decided) for each in statements] == [(2, 0), (4, 0), (5, 0)]  # The sixth came later.


def test_queues_that_were_decided_together_are_signed_once(ledger: Ledger) -> None:
    for number in range(8):
        ledger.post(source=f"@{number}")
    with reading(ledger.engine) as conn:
        (queue, *others) = waiting_store.with_work(conn)
    assert others
    drain.drain(ledger.engine, queue, together=100)
    one = service(ledger)
    for _ in range(3):
        one.step()
    assert len(seals(ledger)) == 1


@pytest.mark.parametrize(
    ("alter", "gone"),
    [
        ("DELETE FROM outcomes WHERE seq = 3", "the outcome of seq 3"),
        ("UPDATE outcomes SET hash = sha256('') WHERE seq = 3", "the outcome of seq 3"),
        ("DELETE FROM log WHERE seq = 4", "row 4 of the log"),
        ("UPDATE log SET digest = sha256('') WHERE seq = 4", "row 4 of the log"),
    ],
)
def test_what_vanishes_before_it_is_sealed_is_noticed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, file: SealFile, alter: str, gone: str
) -> None:
    ledger.post()
    one = service(ledger, file)
    one.step()
    monkeypatch.setattr(notary, "EVERY_S", 1e9)
    ledger.post(source="@1")
    ledger.post(source="@2")
    ledger.drain()
    ledger.post(source="@3")
    one.step()
    assert one.problem is None
    tamper(
        ledger,
        alter,
        "UPDATE queues SET cursor = 2 WHERE cursor > 2 AND NOT EXISTS (SELECT FROM outcomes WHERE seq = 3)",
    )
    for _ in range(2):
        one.step()
        assert one.problem == f"{gone} was there, and is gone or another now; nothing more is signed"
    assert len(seals(ledger)) == 1


def test_what_goes_on_after_a_look_is_no_problem(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    one = service(ledger)
    one.step()
    monkeypatch.setattr(notary, "EVERY_S", 1e9)
    for _ in range(3):
        for source in "@1", "@2", "@3":
            ledger.post(source=source)
        one.step()
        ledger.drain()
        one.step()
        assert one.problem is None


def test_one_that_starts_again_goes_on_and_publishes_what_was_not(ledger: Ledger, file: SealFile) -> None:
    ledger.post()
    service(ledger, file).step()
    ledger.post()
    service(ledger, None).step()  # As one that ended between the database and the file.
    with file._path.open("a") as half:
        half.write('{"statement": "{')
    ledger.post()
    service(ledger, file).step()
    assert [each.seal for each in read_lines(line for line in lines(file) if line.endswith('"}'))] == seals(ledger)
    assert len(seals(ledger)) == 3


def test_seals_that_are_gone_from_the_database_stop_it(ledger: Ledger, file: SealFile) -> None:
    ledger.post()
    service(ledger, file).step()
    tamper(ledger, "DELETE FROM seals")
    ledger.post()
    one = service(ledger, file)
    one.step()
    assert one.problem == "seal 1 was published, and the database does not have it; nothing more is signed"
    assert seals(ledger) == []


def test_a_key_is_replaced_while_it_runs(ledger: Ledger, file: SealFile, tmp_path: Path) -> None:
    path = tmp_path / "notary.key"
    path.write_text(bytes(32).hex())
    keys = KeyFile(path)
    one = service(ledger, file, keys=keys)
    ledger.post()
    one.step()
    (tmp_path / "notary.key.next").write_text((b"\1" * 32).hex() + "\n")
    one.step()
    one.step()
    assert (tmp_path / "notary.key.earlier").read_text().split() == [OURS.public]
    assert path.read_text().strip() == (b"\1" * 32).hex()
    statements = [statement for seal in seals(ledger) if (statement := read(seal))]
    assert [each.key for each in statements] == [OURS.public, OURS.public, NEXT.public]
    assert statements[1].next_key == NEXT.public
    for key in (OURS, NEXT):
        report = verify_all(ledger.engine, known=Known(keys=frozenset([key.public])))
        assert report.problems == []
        assert report.sealed is not None and report.sealed.pinned
    ledger.post()
    again = NotaryService(ledger.engine, NEXT, keys, file, ())
    again.step()
    assert (again.problem, len(seals(ledger))) == (None, 4)


def test_one_that_ended_while_its_key_was_replaced_goes_on_with_the_new_key(
    ledger: Ledger, file: SealFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notary.key"
    path.write_text(bytes(32).hex())
    (tmp_path / "notary.key.next").write_text((b"\1" * 32).hex())
    keys = KeyFile(path)
    ledger.post()
    with monkeypatch.context() as patched:
        patched.setattr(KeyFile, "take_over", lambda keys: None)
        service(ledger, file, keys=keys).step()
    ledger.post()
    one = service(ledger, file, keys=keys)
    one.step()
    assert one.problem is None
    assert path.read_text() == (b"\1" * 32).hex()
    assert [statement.key for seal in seals(ledger) if (statement := read(seal))] == [OURS.public, NEXT.public]


def test_it_outlives_an_outage_of_the_database(ledger: Ledger, file: SealFile, monkeypatch: pytest.MonkeyPatch) -> None:
    away = connect("postgresql://127.0.0.1:1/none", connections=1)
    one = NotaryService(away, OURS, KeyFile(None), file, ())
    one.step()
    assert one.problem is None
    monkeypatch.setattr(one, "_engine", ledger.engine)
    ledger.post()
    one.step()
    assert len(seals(ledger)) == 1
    away.dispose()


def test_it_shows_that_it_lives_and_what_is_wrong_and_is_forgotten_when_it_ends(
    ledger: Ledger, file: SealFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "EVERY_S", 0.01)
    ledger.post()
    tamper(ledger, "UPDATE log SET amount = 5")
    one = service(ledger, file)
    running = threading.Thread(target=one.run)
    running.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with reading(ledger.engine) as conn:
            found = [each for each in heartbeats.every(conn) if each.part == "notary"]
        if found and found[0].state is not None and found[0].state.problem is not None:
            break
        time.sleep(0.02)
    assert found[0].state is not None
    assert "row 1 of the log does not have the digest" in str(found[0].state.problem)
    one.stop()
    running.join(20)
    with reading(ledger.engine) as conn:
        assert [each for each in heartbeats.every(conn) if each.part == "notary"] == []


@contextmanager
def _web(status: int, answer: bytes | Callable[[bytes], bytes] = b"") -> Iterator[tuple[str, list[bytes]]]:
    """A web service on this machine, and the bodies that it was sent."""
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            body = answer if isinstance(answer, bytes) else answer(got[-1])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", got
        finally:
            server.shutdown()
            thread.join()


def test_a_seal_goes_to_a_syslog_and_a_web_service(ledger: Ledger, file: SealFile, tmp_path: Path) -> None:
    ledger.post()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, _web(200) as (url, got):
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(10)
        port = udp.getsockname()[1]
        service(ledger, file, to_syslog(f"127.0.0.1:{port}"), to_webhook(url)).step()
        line = udp.recv(4096).decode()
    (seal,) = seals(ledger)
    assert line.startswith("<109>pacioli-notary: {")
    (brief,) = read_lines([line])
    assert (brief.number, brief.hash) == (1, seal.hash)
    assert [json.loads(body) for body in got] == [json.loads(seal.line)]


def test_a_web_service_that_fails_is_told_and_gets_the_seal_later(ledger: Ledger, file: SealFile) -> None:
    ledger.post()
    with _web(503) as (url, _):
        one = service(ledger, file, to_webhook(url))
        one.step()
        assert one.problem == "a seal could not be published: HTTPStatusError"
    assert len(seals(ledger)) == 1
    with _web(200) as (url, got):
        one._publish = [to_webhook(url)]
        one.step()
        assert (one.problem, len(got)) == (None, 1)


def test_a_time_stamp_authority_that_answers_nonsense_is_told(ledger: Ledger, file: SealFile) -> None:
    ledger.post()
    with _web(200, b"nonsense") as (url, got):
        one = service(ledger, file, Stamps(url, file).publish)
        one.step()
    assert one.problem == "a seal could not be published: ValueError"
    assert got[0][:1] == b"\x30"  # The request is DER.


class Authority:
    """A time stamp authority of OpenSSL, with a certificate of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._openssl = folder, needs_program("openssl")
        (folder / "serial").write_text("01\n")
        (folder / "ts.cnf").write_text(_AUTHORITY.format(folder=folder))
        self.run(
            *("req", "-new", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9"),
            *("-subj", "/CN=authority", "-config", f"{folder}/ts.cnf", "-extensions", "stamps"),
            *("-keyout", f"{folder}/tsa.key", "-out", f"{folder}/tsa.pem"),
        )

    def run(self, *arguments: str) -> str:
        done = subprocess.run([self._openssl, *arguments], cwd=self._folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def answer(self, query: bytes) -> bytes:
        """Stamp what was asked for."""
        (self._folder / "query").write_bytes(query)
        self.run("ts", "-reply", "-config", "ts.cnf", "-queryfile", "query", "-out", "answer")
        return (self._folder / "answer").read_bytes()

    def verify(self, data: bytes, answer: bytes) -> str:
        (self._folder / "data").write_bytes(data)
        (self._folder / "given").write_bytes(answer)
        return self.run("ts", "-verify", "-data", "data", "-in", "given", "-CAfile", "tsa.pem")


_AUTHORITY = """
[req]
distinguished_name = name
[name]
[stamps]
basicConstraints = critical,CA:true
extendedKeyUsage = critical,timeStamping
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256, sha512
ess_cert_id_alg = sha256
"""


def test_a_time_stamp_authority_stamps_a_seal_and_anybody_can_check_it(
    ledger: Ledger, file: SealFile, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    ledger.post()
    with _web(200, authority.answer) as (url, got):
        one = service(ledger, file, Stamps(url, file).publish)
        one.step()
        ledger.post()
        one.step()
    assert (one.problem, len(got)) == (None, 1)  # A stamp an hour is enough.
    first, _ = seals(ledger)
    (stamp,) = (json.loads(line) for line in lines(file) if "timestamp_of" in line)
    assert stamp["timestamp_of"] == first.hash
    token = base64.b64decode(stamp["token"])
    assert "Verification: OK" in authority.verify(bytes.fromhex(first.hash), token)
    assert SealFile(file._path).last() == seals(ledger)[-1]  # Stamps between the seals are left out.


@pytest.mark.parametrize("what", ["refused", "stamped something else"])
def test_a_stamp_that_is_refused_or_of_something_else_is_told(
    ledger: Ledger, file: SealFile, tmp_path: Path, what: str
) -> None:
    authority = Authority(tmp_path)
    other = TimestampRequestBuilder().data(b"other").build().as_bytes()

    def answer(query: bytes) -> bytes:
        return authority.answer(
            other if "else" in what else re.sub(rb"\x60\x86\x48\x01\x65\x03\x04\x02\x03", _SHA_9, query)
        )

    ledger.post()
    with _web(200, answer) as (url, _):
        one = service(ledger, file, Stamps(url, file).publish)
        one.step()
    assert one.problem is not None and what in one.problem
    assert not [line for line in lines(file) if "timestamp_of" in line]


_SHA_9 = b"\x60\x86\x48\x01\x65\x03\x04\x02\x09"
"""The identifier of a digest that the authority does not take."""


def test_a_stamp_is_kept_in_the_file_beside_its_seal(file: SealFile) -> None:
    seal = Seal('{"form": ""}', "ab")
    file.write(seal)
    file.write_stamp(seal, b"stamp")
    stamp = json.loads(lines(file)[1])
    assert (stamp["timestamp_of"], base64.b64decode(stamp["token"])) == (seal.hash, b"stamp")
