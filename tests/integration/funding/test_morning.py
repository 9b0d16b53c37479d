"""A finance person's morning at a terminal: 5,000 wallets of a spreadsheet, a stop in the middle, and the sums at the end."""

import csv
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pexpect
import pytest
from flask import Flask
from pexpect import fdpexpect
from sqlalchemy import text

from core.base.db import reading
from core.funding import runs
from core.funding.progress import Progress
from core.verification.verify import verify_all
from tests.harness.cli import Run, ok, served
from tests.harness.factories import Ledger
from tests.harness.funding import create_ledger, give
from tests.integration.funding.test_planted_sheet import EUROS, planted
from tests.integration.funding.test_planted_sheet import POOL as THE_POOL

ROOT = Path(__file__).parents[3]
PATIENCE_S = 120
"""A terminal may take so long to say what it is waited for, on a slow machine."""

ROWS, PIECE = 5_000, 1_000
POOL = ("--source", "@Payroll", "--currency", "USD", "--precision", "100")


class Terminal(fdpexpect.fdspawn):
    """A command in a process of its own, at a terminal.

    ``pexpect.spawn`` would fork this process, and a fork closes the connections of the service that runs in it.
    """

    def __init__(self, url: str, *arguments: str) -> None:
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (60, 160))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ops.cli", *arguments],
            cwd=ROOT,
            env={**os.environ, "PACIOLI_URL": url, "TERM": "dumb"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        super().__init__(ours, encoding="utf-8", timeout=PATIENCE_S)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Read to the end. Returns the exit status, and what was said last."""
        self.expect(pexpect.EOF)
        return self.process.wait(PATIENCE_S), str(self.before)


Start = Callable[..., Terminal]


@pytest.fixture
def sheet() -> dict[str, int]:
    """The cents that each wallet gets. One amount is twenty times the others."""
    dice = Random(7)
    amounts = {f"@W{number:04}": dice.randrange(1_000, 2_000) for number in range(ROWS)}
    return amounts | {"@W4321": 30_000}


@pytest.fixture
def file(sheet: dict[str, int], tmp_path: Path) -> str:
    path = tmp_path / "wallets.csv"
    lines = [f"{name},{cents / 100:.2f}" for name, cents in sheet.items()]
    path.write_text("\n".join(["destination,amount", *lines]))
    return str(path)


@pytest.fixture
def start(app: Flask) -> Iterator[Start]:
    """Start a command at a terminal of its own."""
    begun: list[Terminal] = []
    with served(app) as url:

        def start(*arguments: str) -> Terminal:
            begun.append(Terminal(url, *arguments))
            return begun[-1]

        yield start
        for terminal in begun:
            terminal.process.kill()
            terminal.process.wait()
            terminal.close()


class Worker:
    """Posts rows in a thread, until so many are posted or everything is."""

    def __init__(self, ledger: Ledger, *, until: int = ROWS) -> None:
        self._ledger, self._until = ledger, until
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.posted = 0

    def __enter__(self) -> "Worker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        progress = Progress()
        while not self._stop.wait(0.02):
            if progress.posted < self._until:
                runs.step(self._ledger.engine, datetime.now(UTC), progress)
                self.posted = progress.posted


def paid(ledger: Ledger) -> dict[str, int]:
    sql = "SELECT indicator, balance FROM balances WHERE indicator ~ '^@W[0-9]+$' AND balance <> 0"
    with reading(ledger.engine) as conn:
        return {row.indicator: int(row.balance) for row in conn.execute(text(sql))}


def test_five_thousand_wallets_are_paid_once_each_with_a_stop_in_the_middle(
    ledger: Ledger, run: Run, start: Start, file: str, sheet: dict[str, int]
) -> None:
    total = sum(sheet.values())
    give(ledger, Payroll=total + 100)

    # A mistyped pool is not created, and a no changes nothing.
    terminal = start("fund", file, "--source", "@Payrol", *POOL[2:], "--allow-overdraft")
    terminal.expect_exact("there is no @Payrol in USD yet, which would pay; did you mean @Payroll?")
    terminal.expect_exact("Create 5,001 new balances? [y/N]: ")
    terminal.sendline("n")
    assert terminal.end()[0] == 2

    # The run is looked at, confirmed, stopped in the middle, and its rest is cancelled.
    terminal = start("fund", file, *POOL)
    terminal.expect_exact(f"{total / 100:,.2f} USD")
    terminal.expect(r"largest\s+4323\s+@W4321\s+300\.00 USD")
    terminal.expect_exact("odd: ten times the median or more: row 4323 (@W4321, 300.00 USD)")
    terminal.expect_exact("Create 5,000 new balances? [y/N]: ")
    terminal.sendline("y")
    terminal.expect_exact("Pay this? [y/N]: ")
    terminal.sendline("y")
    with Worker(ledger, until=2 * PIECE):
        deadline = time.monotonic() + PATIENCE_S
        while len(paid(ledger)) < 2 * PIECE and time.monotonic() < deadline:
            time.sleep(0.05)
        terminal.interrupt()
        terminal.expect_exact("paused: 2,000 rows posted, 3,000 not")
        terminal.expect_exact("cancel the rest (c)?: ")
        terminal.sendline("c")
        status, said = terminal.end()
    assert status == 1
    found = re.search(r"pay the rest of it, 3,000 rows: pacioli funding retry (\S+) (\S+)", " ".join(said.split()))
    assert found is not None, said

    # The same command asks, and a no pays nobody.
    terminal = start("fund", file, *POOL)
    terminal.expect_exact("Pay this? [y/N]: ")
    terminal.sendline("y")
    terminal.expect(r"the same was sent before")
    terminal.expect_exact("Pay it once more? [y/N]: ")
    terminal.sendline("n")
    assert terminal.end()[0] == 2

    # The rest is paid alone.
    ok(run("funding", "retry", *found.groups()))
    with Worker(ledger):
        deadline = time.monotonic() + PATIENCE_S
        while len(paid(ledger)) < ROWS and time.monotonic() < deadline:
            time.sleep(0.05)
    assert paid(ledger) == sheet
    assert ledger.balance("@Payroll").balance == 100
    assert ok(run("funding")).count("5,000") >= 1

    # Next month it goes by itself.
    schedule = ("--cron", "0 8 25 * *", "--timezone", "Europe/Berlin", "--allow-overdraft", "--name", "Salaries")
    terminal = start("fund", file, *POOL, *schedule)
    terminal.expect_exact("Keep this job? [y/N]: ")
    terminal.sendline("y")
    status, said = terminal.end()
    assert (status, "next runs" in said) == (0, True)
    assert verify_all(ledger.engine).problems == []


def test_a_sheet_full_of_mistakes_is_paid_in_two_parts(ledger: Ledger, start: Start, tmp_path: Path) -> None:
    give(ledger, Pool=1_000_000)
    _, (euros,) = create_ledger(ledger, "EUR")
    sheet = planted("xlsx", {EUROS: euros, THE_POOL: ledger.balance("@Pool").balance_id})
    path, mend = tmp_path / "planted.xlsx", tmp_path / "mend.csv"
    path.write_bytes(sheet.data)
    wrong, cents = len(sheet.rows), sum(sheet.fine.values())
    pool = ("--source", "@Pool", *POOL[2:])

    # The columns have other names. The fine rows are paid, and the others are written down.
    terminal = start("fund", str(path), *pool, "--rejects", str(mend))
    terminal.expect_exact('Is "Wallet ID" the destination and "Purpose" the description? [y/N]: ')
    terminal.sendline("y")
    terminal.expect_exact(f"{wrong} rows in")
    terminal.expect_exact(f"Fine: {len(sheet.fine)} rows.")
    _confirm(terminal, len(sheet.fine))
    with Worker(ledger):
        assert terminal.end()[0] == 1
    assert ledger.balance("@Pool").balance == 1_000_000 - cents

    # Each is mended, and the file is paid as it is.
    lines = list(csv.reader(mend.read_text("utf-8-sig").splitlines()))
    assert [int(line[0]) for line in lines[1:]] == [*sheet.rows]
    mended = [[line[0], line[1], f"@Mended{line[0]}", "7.50", "mended", "USD"] for line in lines[1:]]
    with mend.open("w", newline="") as file:
        csv.writer(file).writerows([lines[0][:6], *mended])
    terminal = start("fund", str(mend), *pool)
    terminal.expect_exact("[y/N]: ")
    terminal.sendline("y")
    _confirm(terminal, wrong)
    with Worker(ledger):
        assert terminal.end()[0] == 0
    assert {name: ledger.balance(name).balance for name in sheet.fine} == sheet.fine
    assert all(ledger.balance(f"@Mended{row}").balance == 750 for row in sheet.rows)
    assert ledger.balance("@Pool").balance == 1_000_000 - cents - 750 * wrong
    assert verify_all(ledger.engine).problems == []


def _confirm(terminal: Terminal, new: int) -> None:
    terminal.expect_exact(f"Create {new} new balances? [y/N]: ")
    terminal.sendline("y")
    terminal.expect_exact("Pay this? [y/N]: ")
    terminal.sendline("y")
