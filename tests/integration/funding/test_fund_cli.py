"""``pacioli fund`` and ``pacioli funding``: what they print, what they exit with, and what Ctrl-C does.

The worker's part is done by the test: each time the command sleeps, the run moves on by one step, or by none.
"""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from select import select
from time import monotonic
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import Engine

from core.base.db import begin, reading
from core.base.errors import TransientError
from core.funding import job_store, posting, row_store, runs
from core.funding import jobs as funding_jobs
from core.funding.progress import Progress
from core.ledger.store import balances as balance_store
from core.ledger.store import ledgers as ledger_store
from core.upkeep import heartbeats
from core.upkeep.heartbeats import State
from ops.cli import watch
from tests.harness.cli import Run, failed, ok, served
from tests.harness.factories import Ledger

ROOT = Path(__file__).parents[3]
PATIENCE_S = 90.0
"""How long a terminal may take to say what it is waited for, on a slow machine."""
POOL = ("--source", "@Pool", "--currency", "USD", "--yes", "--new-names")


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    """Writes a CSV of these rows under the header ``destination,amount``, or of so many rows of 1.00, and says where."""

    def file(*rows: str, many: int = 0) -> str:
        path = tmp_path / "wallets.csv"
        path.write_text("\n".join(["destination,amount", *rows, *(f"@W{number},1" for number in range(many))]))
        return str(path)

    return file


@pytest.fixture
def ledger(ledger: Ledger) -> Ledger:
    """With 10.00 USD in @Pool."""
    ledger.post(destination="@Pool", precise_amount=1000)
    ledger.drain()
    return ledger


class Steps:
    """Takes one step of the run while the command sleeps and then, once, does what a test asks for."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.after_rows: dict[int, Callable[[], Any]] = {}
        """Calls to make, by the number of rows posted before."""
        self.after: dict[int, Callable[[], Any]] = {}
        """Calls to make, by the number of sleeps before."""
        self.count = 0
        self._progress = Progress()

    def sleep(self, _: float) -> None:
        self.count += 1
        assert self.count < 100, "the command waits for ever"
        runs.step(self.engine, datetime.now(UTC), self._progress)
        for what, number in ((self.after_rows, self._progress.posted), (self.after, self.count)):
            if (then := what.pop(number, None)) is not None:
                then()


@pytest.fixture
def steps(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = Steps(engine)
    monkeypatch.setattr(watch, "sleep", steps.sleep)
    monkeypatch.setattr(posting, "PIECE_IN_COMPANY", 2)
    monkeypatch.setattr(posting, "PIECE", 2)
    return steps


def body_of(result: Result, status: int = 0) -> Any:
    """The JSON on standard output, and nothing else there."""
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


def jobs(engine: Engine) -> list[job_store.JobRow]:
    with reading(engine) as conn:
        return job_store.list_jobs(conn, limit=100, after=None, status=None)


def balance(ledger: Ledger, name: str) -> int:
    return ledger.balance(name).balance


# Running now


def test_a_run_that_applies_every_row_exits_with_0(
    ledger: Ledger, run: Run, file: Callable[..., str], steps: Steps
) -> None:
    out = ok(run("fund", file("@Ana,1.50", "@Ben,2"), *POOL))
    for part in ("wallets.csv  COMPLETED", "@Pool before", "10.00 USD", "@Pool now", "6.50 USD", "rows a second"):
        assert part in out
    assert "rejected" not in out
    assert (balance(ledger, "@Ana"), balance(ledger, "@Ben"), balance(ledger, "@Pool")) == (150, 200, 650)


def test_the_same_command_pays_again_only_where_that_is_meant(
    ledger: Ledger, run: Run, file: Callable[..., str], steps: Steps
) -> None:
    ok(run("fund", file("@Ana,1"), *POOL))
    (first,) = jobs(ledger.engine)
    for name in ("wallets.csv", "another name"):
        refused = run("fund", file("@Ana,1"), *POOL, "--name", name)
        said = f"the same was sent before: {first.job_id} (wallets.csv) of "
        failed(refused, 2, said, "pays 1.00 USD in 1 row. Applied so far: 1 row, 1.00 USD", "--again pays once more")
    for arguments in (("--again",), ("--reference", "r"), ("--reference", "r")):
        result = run("fund", file("@Ana,1"), *POOL, *arguments)
        assert ok(result)
    assert balance(ledger, "@Ana") == 300
    assert f"there was such a job already: {jobs(ledger.engine)[0].job_id}" in result.stderr
    failed(run("fund", file("@Ana,2"), *POOL, "--reference", "r"), 1, "reference r has already been used")


def test_rows_that_are_rejected_are_shown_with_the_sum_and_exit_with_1(
    ledger: Ledger, run: Run, file: Callable[..., str], steps: Steps
) -> None:
    # The run starts with enough. After its first piece somebody else has drawn on the pool.
    steps.after_rows[2] = lambda: (ledger.post(source="@Pool", destination="@B", precise_amount=750), ledger.drain())
    result = run("fund", file(many=4), *POOL)
    assert result.exit_code == 1
    for part in ("COMPLETED", "insufficient_funds", "available USD0.50, asked USD1.00, short by USD0.50"):
        assert part in result.stdout
    (job,) = jobs(ledger.engine)
    body = body_of(run("funding", "show", job.job_id, "--json"))
    assert body["runs"][0]["rejected_by_reason"] == {"insufficient_funds": 2}
    assert f"pacioli funding retry {job.job_id} {body['runs'][0]['run_id']}" in result.stdout


def test_a_run_that_is_refused_exits_with_1(ledger: Ledger, run: Run, file: Callable[..., str], steps: Steps) -> None:
    result = run("fund", file("@Ana,10.01"), *POOL)
    assert result.exit_code == 1
    assert "REFUSED" in result.stdout
    assert "the run needs 10.01 USD, and the pool can pay 10.00" in result.stdout
    assert f"pay the rest of it, 1 row: pacioli funding retry {jobs(ledger.engine)[0].job_id}" in result.stdout
    body = body_of(run("fund", file("@Ana,10.01"), *POOL, "--json"), 1)
    assert body["run"]["refusal"]["short_by"] == 1


def test_rows_beyond_the_limit_stay_unposted_and_exit_with_1(
    ledger: Ledger, run: Run, file: Callable[..., str], steps: Steps
) -> None:
    result = run("fund", file("@Ana,9", "@Ben,2"), *POOL, "--until-limit")
    assert result.exit_code == 1
    assert "beyond the limit" in result.stdout
    assert "--status unposted" in result.stdout
    assert balance(ledger, "@Pool") == 100


def test_while_a_run_is_watched_no_row_is_counted_twice_or_left_out(
    ledger: Ledger, run: Run, file: Callable[..., str], steps: Steps
) -> None:
    steps.after_rows[2] = lambda: (ledger.post(source="@Pool", destination="@B", precise_amount=650), ledger.drain())
    body = body_of(run("fund", file(many=6), *POOL, "--json"), 1)
    assert (body["run"]["rows_applied"], body["run"]["rows_rejected"], body["run"]["rows_total"]) == (3, 3, 6)


def test_json_is_all_there_is_on_standard_output(
    ledger: Ledger, run: Run, file: Callable[..., str], steps: Steps
) -> None:
    body = body_of(run("fund", file(many=3), *POOL, "--json"))
    assert (body["status"], body["run"]["status"], body["run"]["rows_applied"]) == ("FINISHED", "COMPLETED", 3)
    assert body["rejected"] == []


@pytest.mark.smoke
def test_rows_may_come_from_standard_input(ledger: Ledger, run: Run, steps: Steps) -> None:
    body = body_of(run("fund", "-", *POOL, "--json", input=b"destination,amount\r\n@Ana,1\r\n"))
    assert (body["name"], body["run"]["rows_applied"]) == ("standard input", 1)


def test_a_ledger_is_topped_up(ledger: Ledger, run: Run, steps: Steps) -> None:
    with begin(ledger.engine) as conn:
        ledger_store.create(conn, "ldg_1", "Customers", None)
        for _ in range(3):
            terms = {"indicator": None, "currency": "USD", "meta_data": None}
            balance_store.create(conn, ledger_id="ldg_1", **terms)
    rule = ("--ledger", "ldg_1", "--top-up-to", "2.50")
    assert body_of(run("fund", *rule, *POOL, "--json"))["run"]["rows_applied"] == 3
    assert body_of(run("fund", *rule, *POOL, "--json", "--again"))["run"]["rows_applied"] == 0
    assert balance(ledger, "@Pool") == 250


def test_detached_it_says_how_to_look_again(ledger: Ledger, run: Run, file: Callable[..., str]) -> None:
    out = ok(run("fund", file("@Ana,1"), *POOL, "--detach"))
    (job,) = jobs(ledger.engine)
    assert out == f"{job.job_id} is made, and runs by itself: `pacioli funding show {job.job_id}`\n"
    assert body_of(run("fund", file("@Ana,1"), *POOL, "--detach", "--json", "--again"))["run"]["status"] == "PENDING"


def test_what_keeps_a_run_from_moving_is_said_once(
    ledger: Ledger, run: Run, file: Callable[..., str], steps: Steps
) -> None:
    result = run("fund", file(many=3), *POOL)
    assert ok(result)
    assert steps.count > 2
    assert result.stderr.count("no worker was heard of for 15 s") == 1


def test_a_worker_that_lives_and_does_nothing_is_mentioned(
    ledger: Ledger, run: Run, file: Callable[..., str], steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    with begin(ledger.engine) as conn:
        heartbeats.record(conn, "worker", "worker", State(pid=1, up_s=0))
    result = run("fund", file(many=3), *POOL)
    assert ok(result)
    assert result.stderr == ""
    clock = iter(range(0, 100_000, 16))
    monkeypatch.setattr(watch, "monotonic", lambda: next(clock))
    monkeypatch.setattr(runs, "step", lambda *_: None)
    steps.after[steps.count + 2] = _interrupt
    assert "see that beat runs" in run("fund", file(many=3), *POOL, "--again").stderr


def test_a_job_that_is_paused_meanwhile_says_so(
    ledger: Ledger, run: Run, file: Callable[..., str], steps: Steps
) -> None:
    def pause() -> None:
        job_id = jobs(ledger.engine)[0].job_id
        assert ok(run("funding", "pause", job_id)).startswith(f"{job_id} is paused")
        steps.after[steps.count + 2] = lambda: ok(run("funding", "resume", job_id))

    steps.after_rows[2] = pause
    result = run("fund", file(many=3), *POOL)
    assert ok(result)
    assert result.stderr.count("the job is paused; `pacioli funding resume fund_") == 1


# Ctrl-C


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_where_nobody_can_be_asked_an_interrupted_run_stays_paused(
    ledger: Ledger, run: Run, file: Callable[..., str], steps: Steps
) -> None:
    steps.after_rows[2] = _interrupt
    result = run("fund", file(many=5), *POOL, "--json", input=b"y\n")
    (job,) = jobs(ledger.engine)
    assert (result.exit_code, result.stdout, job.status) == (130, "", "PAUSED")
    assert "paused: 2 rows posted, 3 not" in result.stderr
    assert f"{job.job_id} is paused: `pacioli funding resume {job.job_id}` goes on with it" in result.stderr
    assert runs.advance(ledger.engine).posted == 0
    ok(run("funding", "resume", job.job_id))
    assert runs.advance(ledger.engine, for_s=60).posted == 3


def test_interrupted_while_it_reads_nothing_is_kept(
    ledger: Ledger, run: Run, file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacioli_client.funding._Upload.read", lambda *_: _interrupt())
    for more in ((), ("--dry-run",)):
        result = run("fund", file(many=5), *POOL, *more)
        assert result.exit_code == 130
        assert "no job was made, and nothing is posted" in result.stderr
    assert jobs(ledger.engine) == []


def test_interrupted_while_the_service_looks_at_the_list_it_names_the_reference_to_repeat(
    ledger: Ledger, run: Run, file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_store, "copy_rows", lambda *_: _interrupt())
    result = run("fund", file(many=5), *POOL)
    assert (result.exit_code, result.stdout) == (130, "")
    assert "it may make the job; the same command with --reference cli-" in result.stderr
    tried_out = run("fund", file(many=5), *POOL, "--dry-run")
    assert tried_out.exit_code == 130
    assert "no job was made" in tried_out.stderr


class Terminal:
    """The command in a process of its own, at a terminal."""

    def __init__(self, url: str, *arguments: str) -> None:
        self.said = ""
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ops.cli", *arguments],
            cwd=ROOT,
            env={**os.environ, "PACIOLI_URL": url, "TERM": "xterm", "COLUMNS": "200"},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            start_new_session=True,
        )
        os.close(theirs)

    def wait_for(self, text: str) -> None:
        """Read until it has said so. The bar goes on for ever, so silence is not what ends the wait."""
        deadline = monotonic() + PATIENCE_S
        while text not in self.said:
            assert monotonic() < deadline, (
                f"it did not say {text!r} within {PATIENCE_S:g} s; it said {self.said[-2000:]!r}"
            )
            if select([self._ours], [], [], 1.0)[0]:
                self.said += os.read(self._ours, 65_536).decode(errors="replace")
        self.said = self.said.partition(text)[2]

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> tuple[int, str]:
        """Its exit status and what it wrote to standard output."""
        with suppress(OSError):  # The end of a terminal is an error.
            while text := os.read(self._ours, 65_536):
                self.said += text.decode(errors="replace")
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        return self.process.wait(), out

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        os.close(self._ours)


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    with served(app) as url:
        yield url


@pytest.fixture
def terminal(ledger: Ledger, file: Callable[..., str], address: str) -> Iterator[Terminal]:
    """A run of four rows at a terminal, two of them posted."""
    terminal = Terminal(address, "fund", file(many=4), *POOL)
    try:
        terminal.wait_for("not started")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(posting, "PIECE", 2)
            patch.setattr(posting, "PIECE_IN_COMPANY", 2)
            progress = Progress()
            while progress.posted < 2:
                runs.step(ledger.engine, datetime.now(UTC), progress)
        terminal.wait_for("2 of 4 accepted, 2 decided, 2.00 USD")
        terminal.interrupt()
        terminal.wait_for("paused: 2 rows posted, 2 not")
        terminal.wait_for("Go on (g), leave it running (l), or cancel the rest (c)?: ")
        assert runs.advance(ledger.engine).posted == 0
        yield terminal
    finally:
        terminal.close()


def test_ctrl_c_and_cancel_cancels_what_is_not_posted_and_exits_with_1(terminal: Terminal, ledger: Ledger) -> None:
    terminal.type("c\n")
    status, out = terminal.end()
    (job,) = jobs(ledger.engine)
    assert (status, job.status) == (1, "CANCELLED")
    for part in ("CANCELLED", "applied", "2.00 USD", "not posted"):
        assert part in out
    assert balance(ledger, "@Pool") == 800
    assert runs.advance(ledger.engine).posted == 0


def test_ctrl_c_and_go_on_pays_all_rows_and_exits_with_0(terminal: Terminal, ledger: Ledger) -> None:
    terminal.type("g\n")
    terminal.wait_for("2 of 4 accepted")
    runs.advance(ledger.engine, for_s=60)
    status, out = terminal.end()
    assert (status, balance(ledger, "@Pool")) == (0, 600)
    assert "COMPLETED" in out


# The end of input is to the prompt what a second Ctrl-C is, but cannot come too early to be noticed.
@pytest.mark.parametrize(("answer", "status_of_job"), [("l\n", "ACTIVE"), ("\x04", "PAUSED")])
def test_ctrl_c_and_leave_it_or_no_answer_exits_with_130(
    terminal: Terminal, ledger: Ledger, answer: str, status_of_job: str
) -> None:
    terminal.type(answer)
    status, out = terminal.end()
    (job,) = jobs(ledger.engine)
    assert (status, out, job.status) == (130, "", status_of_job)
    how = "show" if status_of_job == "ACTIVE" else "resume"
    assert f"pacioli funding {how} {job.job_id}" in terminal.said
    funding_jobs.resume(ledger.engine, job.job_id, datetime.now(UTC))
    runs.advance(ledger.engine, for_s=60)
    assert balance(ledger, "@Pool") == 600


# Failures


def test_every_bad_row_of_a_file_is_listed_and_nothing_is_kept(
    ledger: Ledger, run: Run, file: Callable[..., str]
) -> None:
    result = run("fund", file("@Ana,1.001", "bln_nobody,1", "@Ben,x", *(f"bln_{n},1" for n in range(110))), *POOL)
    failed(result, 2, "recipients: row 2, amount: is not a whole number of minor units", "and 112 more")
    for part in ("113 problems", "there is no balance 'bln_nobody'", "must be a number such as 12.50", "and 13 more"):
        assert part in result.stdout
    body = body_of(run("fund", file("@Ana,1.001"), *POOL, "--json"), 2)
    assert body["error_detail"]["details"]["problems"][0]["row"] == 2
    assert jobs(ledger.engine) == []


def test_what_is_missing_is_answered_with_what_to_do(ledger: Ledger, run: Run, file: Callable[..., str]) -> None:
    path = file("@Ana,1")
    for arguments, says in (
        ((*POOL,), "say whom to fund: a file"),
        ((path, "--ledger", "ldg_x", *POOL), "say whom to fund: a file"),
        (("--ledger", "ldg_x", *POOL), "--ledger needs either --amount or --top-up-to"),
        ((path, *POOL, "--amount", "1"), "belong to --ledger"),
        ((path,), "say which pool pays: --source @FundingPool"),
        ((path, "--source", "@Pool"), "as in --currency USD"),
        (
            (path, "--source", "@Pool", "--currency", "EUR", "--allow-overdraft", "--yes"),
            "precision: is required, as nothing has fixed",
        ),
        (
            (path, "--source", "@Poll", "--currency", "USD"),
            "there is no @Poll in USD yet, so it has nothing to pay with",
        ),
        ((path, *POOL, "--overdraft-limit", "nan"), "'nan' is not a number such as 12.50"),
        ((path, *POOL, "--until-limit", "--atomic"), "--until-limit: funds a part, and atomic all or nothing"),
        (("no-such-file.csv", *POOL), "no-such-file.csv"),
        ((path, *POOL, "--precision", "10"), "precision"),
    ):
        failed(run("fund", *arguments), 2, says)
    failed(run("fund", path, "--source", "bln_x"), 1, "Balance with ID 'bln_x' not found")
    for command in ("show", "pause", "resume", "cancel", "run", "retry", "rows"):
        failed(run("funding", command, "nope"), 1, "there is no funding job nope: give a fund_ id, or the reference")


def test_a_commit_that_may_be_lost_names_the_reference_to_repeat(
    ledger: Ledger, run: Run, file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any) -> None:
        raise TransientError("gone")

    monkeypatch.setattr(job_store, "insert_job", lost)
    failed(run("fund", file("@Ana,1"), *POOL), 2, "the same command with --reference cli-", "makes it once")


def test_a_database_that_is_lost_during_a_run_does_not_end_it(
    ledger: Ledger, run: Run, file: Callable[..., str], steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any) -> None:
        raise TransientError("gone")

    steps.after_rows[2] = lambda: monkeypatch.setattr("web.funding.reading_within", lost)
    failed(run("fund", file(many=4), *POOL), 2, "the run goes on when it is back: `pacioli funding show fund_")


# Schedules and dry runs


def test_a_schedule_shows_its_next_runs_and_the_pool(ledger: Ledger, run: Run, file: Callable[..., str]) -> None:
    cron = ("--cron", "0 8 25 * *", "--timezone", "Europe/Berlin", "--count", "3")
    out = ok(run("fund", file("@Ana,4"), *POOL, *cron))
    for part in (
        "wallets.csv  ACTIVE", "0 8 25 * * Europe/Berlin, 3 times", "08:00:00 CE", "UTC",
        "10.00 USD now, 6.00 USD after the next run; it carries 2 runs", "no runs yet",
    ):  # fmt: skip
        assert part in out
    body = body_of(run("fund", file("@Ana,4"), *POOL, *cron, "--json", "--again"))
    assert len(body["next_runs"]) == 3
    assert (body["pool"]["balance_after_next_run"], body["pool"]["runs_left"]) == (600, 2)
    assert "at 2999-01-01 00:00:00 UTC" in ok(run("fund", file("@Ana,4"), *POOL, "--at", "2999-01-01T00:00:00Z"))


def test_a_dry_run_shows_what_it_would_come_to_and_keeps_nothing(
    ledger: Ledger, run: Run, file: Callable[..., str]
) -> None:
    out = ok(run("fund", file("@Ana,4"), *POOL, "--dry-run"))
    for part in ("would run", "4.00 USD", "@Pool now", "10.00 USD", "@Pool after it", "6.00 USD"):
        assert part in out
    assert "new balances" in out and "@Ana" in out  # A name that is mistyped would be seen here.
    refused = run("fund", file("@Ana,11"), *POOL, "--dry-run")
    assert refused.exit_code == 1
    assert "the run needs 11.00 USD, and the pool can pay 10.00" in refused.stdout
    part = run("fund", file("@Ana,9", "@Ben,2"), *POOL, "--dry-run", "--until-limit")
    assert part.exit_code == 1
    assert "beyond the limit" in part.stdout
    assert body_of(run("fund", file("@Ana,9", "@Ben,2"), *POOL, "--dry-run", "--json"), 1)["refusal"]["short_by"] == 100
    assert jobs(ledger.engine) == []


def test_a_balance_says_what_its_jobs_will_draw(ledger: Ledger, run: Run, file: Callable[..., str]) -> None:
    assert "funding" not in body_of(run("balance", "@Pool", "--json"))[0]
    cron = ("--cron", "0 8 25 * *", "--name", "Salaries")
    ok(run("fund", file("@Ana,4"), *POOL, *cron))
    ok(run("fund", file("@Ana,11"), *POOL, *cron))
    (body,) = body_of(run("balance", "@Pool", "--json"))
    pools = [job["pool"] for job in body["funding_jobs"]]
    assert [(pool["balance_after_next_run"], pool["runs_left"]) for pool in pools] == [(600, 2), (1000, 0)]
    out = ok(run("balance", "@Pool"))
    assert "6.00 USD after the next run; it carries 2 runs" in out
    assert "the next run, of 11.00 USD, would be refused" in out


# Looking at jobs


def test_jobs_are_listed_and_shown_by_id_or_reference(
    ledger: Ledger, run: Run, file: Callable[..., str], steps: Steps
) -> None:
    assert "no funding jobs: `pacioli fund --help`" in ok(run("funding"))
    ok(run("fund", file("@Ana,1"), *POOL, "--reference", "first"))
    ok(run("fund", file("@Ana,1"), *POOL, "--cron", "0 8 * * *", "--name", "Daily"))
    out = ok(run("funding"))
    for part in ("wallets.csv", "FINISHED", "COMPLETED", "at once", "0 8 * * * UTC", "@Pool"):
        assert part in out
    assert "\x1b" not in out
    assert len(body_of(run("funding", "--json"))) == 2
    assert len(body_of(run("funding", "--limit", "1", "--json"))) == 1
    assert body_of(run("funding", "--status", "paused", "--json")) == []
    shown = ok(run("funding", "show", "first"))
    for part in ("first", "COMPLETED", "1, 1.00 USD in all"):
        assert part in shown
    by_id = body_of(run("funding", "show", jobs(ledger.engine)[1].job_id, "--json"))
    assert (by_id["reference"], by_id["runs"][0]["rows_applied"]) == ("first", 1)


def test_a_job_is_paused_resumed_run_and_cancelled(ledger: Ledger, run: Run, file: Callable[..., str]) -> None:
    ok(run("fund", file("@Ana,1"), *POOL, "--cron", "0 8 * * *", "--reference", "daily"))
    assert "is paused: `pacioli funding resume" in ok(run("funding", "pause", "daily"))
    failed(run("funding", "run", "daily"), 1, "the job is paused; resume it")
    assert "is active: it runs next at" in ok(run("funding", "resume", "daily"))
    assert "is to come: see `pacioli funding show" in ok(run("funding", "run", "daily", "--reference", "extra"))
    assert "was there before" in ok(run("funding", "run", "daily", "--reference", "extra"))
    assert body_of(run("funding", "cancel", "daily", "--json"))["status"] == "CANCELLED"
    assert "is cancelled: what is posted stays" in ok(run("funding", "cancel", "daily"))
    failed(run("funding", "resume", "daily"), 1, "cancelled for good")


def test_rejected_rows_are_listed_and_retried_once(
    ledger: Ledger, run: Run, file: Callable[..., str], steps: Steps
) -> None:
    steps.after_rows[2] = lambda: (ledger.post(source="@Pool", destination="@B", precise_amount=750), ledger.drain())
    assert run("fund", file(many=4), *POOL, "--reference", "r").exit_code == 1
    rejected = body_of(run("funding", "rows", "r", "--status", "rejected", "--json"))
    assert [(row["row"], row["status"]) for row in rejected] == [(4, "REJECTED"), (5, "REJECTED")]
    assert [row["row"] for row in body_of(run("funding", "rows", "r", "--status", "applied", "--json"))] == [2, 3]
    first = ok(run("funding", "rows", "r", "--limit", "2"))
    assert "@W1" in first
    assert "there may be more: --after 3" in first
    assert "short by USD0.50" in ok(run("funding", "rows", "r", "--after", "3"))
    ledger.post(destination="@Pool", precise_amount=1000)
    ledger.drain()
    assert "posts the rest of run_" in ok(run("funding", "retry", "r"))
    first_run = body_of(run("funding", "show", "r", "--json"))["runs"][1]["run_id"]
    assert "already posts the rest of" in ok(run("funding", "retry", "r", first_run))
    runs.advance(ledger.engine, for_s=60)
    tree = ok(run("funding", "show", "r")).partition("not posted")[2]
    assert tree.index(first_run) < tree.index("└ run_")
    again = body_of(run("funding", "rows", "r", "--json"))
    assert [(row["row"], row["status"]) for row in again] == [(4, "APPLIED"), (5, "APPLIED")]
    assert again[0]["first_transaction_id"] == rejected[0]["transaction_id"]
    assert rejected[0]["transaction_id"] in ok(run("funding", "rows", "r"))
    assert len(body_of(run("funding", "rows", "r", first_run, "--json"))) == 4


def test_a_job_that_has_not_run_has_no_rows(ledger: Ledger, run: Run, file: Callable[..., str]) -> None:
    ok(run("fund", file("@Ana,1"), *POOL, "--cron", "0 8 * * *", "--reference", "daily"))
    failed(run("funding", "rows", "daily"), 1, "has not run yet")
    failed(run("funding", "rows", "daily", "run_x"), 1, "Run with ID 'run_x' not found")


def test_the_help_teaches(run: Run) -> None:
    out = ok(run("--help"))
    assert "\n  fund " in out
    assert "\n  funding " in out
    told = ok(run("fund", "--help"))
    for part in ("pacioli fund wallets.csv --source @FundingPool", "Exit status:", "Ctrl-C pauses the run at once"):
        assert part in told
    for command in ("show", "rows", "pause", "resume", "cancel", "run", "retry"):
        assert ok(run("funding", command, "--help"))
