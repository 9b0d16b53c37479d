"""The web server under faults: what one web process, one client or one main process does costs the others nothing."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPResponse

import psutil
import pytest
import requests

from tests.harness.serving import ROOT, WITHIN_S, Served, fed_slowly, load
from tests.harness.stub_app import FAILS

SLOW = 1000
LARGE = b"Content-Length: 100000"


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    served = Served()
    try:
        yield served
    finally:
        served.close()


@pytest.fixture
def served(shared: Served) -> Served:
    shared.wait_until_both_answer()
    return shared


def wait_until_gone(process: psutil.Process) -> None:
    """Wait until a process has ended."""
    with suppress(psutil.TimeoutExpired):
        process.wait(WITHIN_S)
    assert not process.is_running()


def test_a_killed_web_process_costs_only_the_requests_that_it_held(served: Served) -> None:
    with load(served, clients=6) as outcomes:
        for _ in range(3):
            served.workers()[0].kill()
            before = outcomes["answered"]
            served.wait_until_both_answer()
            assert outcomes["answered"] > before
    lost = outcomes.total() - outcomes["answered"]
    assert "ConnectionRefusedError" not in outcomes
    assert lost <= 3 * 6, outcomes
    assert outcomes["answered"] > 100


def test_a_frozen_web_process_takes_no_new_connection_and_is_replaced(served: Served) -> None:
    frozen = served.workers()[0]
    frozen.suspend()
    with load(served, clients=2) as outcomes:
        wait_until_gone(frozen)
        served.wait_until_both_answer()
    # The requests that it held are lost. It can have accepted no more than one of each client.
    assert outcomes.total() - outcomes["answered"] <= 2, outcomes
    assert outcomes["answered"] > 10


def test_a_web_process_that_is_stuck_in_python_is_replaced(served: Served) -> None:
    before = served.workers()
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(served.get, "/stuck")
        assert stuck.exception(WITHIN_S) is not None  # Its process was killed.
    deadline = time.monotonic() + WITHIN_S
    while all(each.is_running() for each in before):  # A zombie runs until its parent has seen it.
        assert time.monotonic() < deadline
        time.sleep(0.02)
    served.wait_until_both_answer()


@pytest.mark.parametrize(
    "start",
    [
        b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
        b"POST /body HTTP/1.1\r\nHost: x\r\n" + LARGE + b"\r\n\r\n",
        b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /missing HTTP/1.1\r\nHost: x\r\n" + LARGE + b"\r\n\r\n",
        b"POST /body HTTP/1.1\r\nHo",
        b"",
    ],
    ids=["bodies", "large bodies", "chunks", "refused bodies", "heads", "silent connections"],
)
def test_a_thousand_slow_clients_do_not_take_the_service_away(served: Served, start: bytes) -> None:
    with fed_slowly([served.connect(start) for _ in range(SLOW)]):
        for _ in range(20):
            assert served.get("/pid", timeout_s=20)
        assert requests.post(f"http://127.0.0.1:{served.port}/body", b"quick", timeout=20).text == "5"


@pytest.mark.parametrize("framing", [LARGE.decode(), "Transfer-Encoding: chunked"])
def test_a_slow_upload_to_a_missing_route_is_answered_at_once(served: Served, framing: str) -> None:
    with served.connect(f"POST /missing HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode()) as client:
        assert client.recv(4096).startswith(b"HTTP/1.1 404 ")


def test_the_connection_of_a_refused_upload_can_be_used_again(served: Served) -> None:
    def status(client: socket.socket) -> int:
        with HTTPResponse(client) as answer:
            answer.begin()
            answer.read()
            return answer.status

    with served.connect(b"POST /missing HTTP/1.1\r\nHost: x\r\n" + LARGE + b"\r\n\r\n") as client:
        assert status(client) == 404
        for _ in range(4):
            time.sleep(0.1)
            client.sendall(b"x" * 25_000)
        client.sendall(b"GET /pid HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status(client) == 200


def test_a_client_that_reads_when_it_has_sent_all_sees_its_404_and_keeps_its_connection(served: Served) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(8):
            yield b"x" * 1000
            time.sleep(0.05)

    with requests.Session() as session:
        for _ in range(2):
            answer = session.post(f"http://127.0.0.1:{served.port}/missing", data=pieces(), timeout=WITHIN_S)
            assert answer.status_code == 404
        big = session.post(f"http://127.0.0.1:{served.port}/missing", data=b"x" * 8_000_000, timeout=WITHIN_S)
        assert big.status_code == 404
        (pool,) = session.adapters["http://"].poolmanager.pools._container.values()  # type: ignore[attr-defined]
        assert pool.num_connections == 1


def test_a_head_that_does_not_come_and_an_idle_connection_are_closed(served: Served) -> None:
    starts = [b"", b"GET /pid HTTP/1.1\r\nHo", b"GET /pid HTTP/1.1\r\nHost: x\r\n\r\n"]
    began = time.monotonic()
    for client in [served.connect(start) for start in starts]:
        with client:
            while client.recv(4096):
                pass
    assert time.monotonic() - began < 20  # Granian's own limit is 30 s.


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nhello",
        b"Content-Length: 5, 5\r\n\r\nhello",
        b"Content-Length: +5\r\n\r\nhello",
        b"Transfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"X: folded\r\n on\r\n\r\n",
        b"X : space\r\n\r\n",
        b"X: \x00\r\n\r\n",
        b"X: a\rY: b\r\n\r\n",
    ],
)
def test_what_two_servers_may_frame_differently_is_refused_and_cut(served: Served, rest: bytes) -> None:
    with served.connect(b"POST /environ HTTP/1.1\r\nHost: x\r\n" + rest) as client:
        answer = b""
        while data := client.recv(4096):
            answer += data
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_length_beside_chunks_is_dropped_and_the_connection_ends(served: Served) -> None:
    head = b"POST /environ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    with served.connect(head + b"5\r\nhello\r\n0\r\n\r\n") as client:
        answer = b""
        while data := client.recv(4096):
            answer += data
    assert b"CONTENT_LENGTH" not in answer and b"chunked" in answer


def test_an_answer_is_streamed(served: Served) -> None:
    assert served.get("/stream") == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


def reload(served: Served) -> None:
    """Replace all web processes, and wait until that is done."""
    before = {each.pid for each in served.workers()}
    served.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + WITHIN_S
    while before & {each.pid for each in served.workers()}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    served.wait_until_both_answer()


def test_sighup_replaces_the_web_processes_and_cuts_no_request(served: Served) -> None:
    with load(served, clients=4) as outcomes, load(served, clients=8, posts=True) as kept_open:
        for _ in range(5):
            reload(served)
    assert set(outcomes) == set(kept_open) == {"answered"}, (outcomes, kept_open)


@pytest.fixture
def own() -> Iterator[Served]:
    served = Served()
    try:
        served.wait_until_both_answer()
        yield served
    finally:
        served.close()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_what_was_begun_is_answered_before_the_server_stops(own: Served, signum: int) -> None:
    workers = own.workers()
    with ThreadPoolExecutor(8) as pool:
        begun = [pool.submit(own.get, "/sleep/1.5") for _ in range(8)]
        time.sleep(0.7)  # All have been accepted by then; one that was not would wait for ever, and fail the test.
        # As a terminal does, which sends the signal to all processes of the group.
        os.killpg(own.process.pid, signum)
        assert [each.result() for each in begun] == [b"slept"] * 8
    assert own.process.wait(WITHIN_S) == 0
    assert not any(each.is_running() for each in workers)


def test_an_orderly_stop_cuts_no_connection_either(own: Served) -> None:
    own.listener.close()  # As `pacioli up` does before it stops the web processes.
    with load(own, clients=8, posts=True) as outcomes:
        time.sleep(0.5)
        assert own.stop() == 0
    refused = outcomes.pop("ConnectionRefusedError", 0)
    assert refused and set(outcomes) == {"answered"}, outcomes


def test_a_killed_main_process_costs_nothing_when_another_has_its_socket(own: Served) -> None:
    orphans = own.workers()
    with load(own, clients=2) as outcomes:
        own.process.kill()
        own.process.wait()
        time.sleep(1.0)
        before = outcomes["answered"]
        own.start()
        own.wait_until_both_answer()
        assert outcomes["answered"] > before
    assert set(outcomes) == {"answered"}, outcomes
    for orphan in orphans:
        orphan.terminate()
        wait_until_gone(orphan)


def test_an_application_that_cannot_start_ends_the_server(capfd: pytest.CaptureFixture[str]) -> None:
    served = Served(env={FAILS: "1"})
    try:
        assert served.process.wait(WITHIN_S) not in (0, None)
    finally:
        served.close()
    assert "no such setting" in "".join(capfd.readouterr())


def _refused(*options: str, fds: Sequence[int] = (), **env: str) -> str:
    """Start a web server that must not start, and return what it says."""
    command = [sys.executable, "-m", "web.serve", "--app", "tests.harness.stub_app:create_app", *options]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PACIOLI_")}
    done = subprocess.run(
        command, cwd=ROOT, env=clean | env, pass_fds=fds, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::"])
def test_no_door_opens_without_a_key(host: str) -> None:
    assert _refused("--host", host).startswith("PACIOLI_SECRET_KEY is not set: ")
    assert "can be guessed" in _refused("--host", host, PACIOLI_SECRET_KEY="changemechangeme")


def test_without_a_key_only_a_loopback_address_is_listened_on() -> None:
    for host in ("0.0.0.0", "::", "203.0.113.1"):
        assert f"on loopback alone, not on {host}: " in _refused("--host", host, PACIOLI_INSECURE="on")
    with socket.create_server(("0.0.0.0", 0)) as listener:
        fd = listener.fileno()
        assert "not on 0.0.0.0: " in _refused("--fd", str(fd), fds=[fd], PACIOLI_INSECURE="on")
