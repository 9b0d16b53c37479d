"""``pacioli fund`` reads files as people have them, asks what they do not say, and sets aside what cannot be paid."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import Engine

from core.base.db import reading
from core.funding import job_store
from ops.cli import asking, fund_file
from tests.harness.cli import Run, failed, ok
from tests.harness.factories import Ledger
from tests.harness.sheets import Shown, csv_of, ods_of, xlsx_of

POOL = (
    "--source",
    "@Pool",
    "--currency",
    "USD",
    "--precision",
    "100",
    "--allow-overdraft",
    "--detach",
    "--yes",
    "--new-names",
)
TABLE = [("Wallet ID", "Amount", "Team"), ("@Ana", 12.5, "Sales"), ("@Ben", 3, "Desk")]
MAPPED = ("--map", "Wallet ID=destination", "--extra", "ignore")


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    path = tmp_path / "wallets.xlsx"
    path.write_bytes(xlsx_of(TABLE))
    return path


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Somebody who says yes to all questions, which are kept."""
    asked: list[str] = []

    def confirmed(question: str) -> bool:
        asked.append(question)
        return True

    monkeypatch.setattr(fund_file, "at_terminal", lambda: True)
    monkeypatch.setattr(fund_file, "confirmed", confirmed)
    return asked


def paid(engine: Engine) -> list[tuple[int | None, int | None]]:
    """Return the number of rows and the cents of each job, oldest first."""
    with reading(engine) as conn:
        jobs = job_store.list_jobs(conn, limit=100, after=None, status=None)
    return [(job.row_count, job.amount) for job in reversed(jobs)]


@pytest.mark.parametrize("write", [xlsx_of, ods_of, csv_of])
def test_a_sheet_is_funded_as_it_is(engine: Engine, run: Run, ledger: Ledger, tmp_path: Path, write: Any) -> None:
    path = tmp_path / "wallets"
    path.write_bytes(write([*TABLE]) if write is csv_of else write(TABLE))
    ok(run("fund", str(path), *POOL, *MAPPED))
    assert paid(engine) == [(2, 1550)]


def test_names_of_columns_are_asked_at_a_terminal(
    engine: Engine, run: Run, ledger: Ledger, sheet: Path, at_terminal: list[str]
) -> None:
    ok(run("fund", str(sheet), *POOL))
    assert at_terminal[0] == 'Is "Wallet ID" the destination?'
    assert "Team" in at_terminal[1] and "metadata" in at_terminal[1]
    assert paid(engine) == [(2, 1550)]


def test_without_a_terminal_the_options_are_named(run: Run, ledger: Ledger, sheet: Path) -> None:
    result = run("fund", str(sheet), *POOL)
    assert result.exit_code == 2
    assert "If so: --map 'Wallet ID=destination'" in result.output


def test_a_decimal_comma_is_asked(
    engine: Engine, run: Run, ledger: Ledger, tmp_path: Path, at_terminal: list[str]
) -> None:
    path = tmp_path / "w.csv"
    path.write_bytes(csv_of([("destination", "amount"), ("@A", 12.5), ("@B", "1.234,50")], separator=";", mark=","))
    ok(run("fund", str(path), *POOL))
    assert at_terminal == ["Row 2 has the amount 12,5. Does the file have decimal commas?"]
    assert paid(engine) == [(2, 124700)]


def test_rejects_are_written_the_rest_is_paid_and_the_mended_file_is_accepted(
    engine: Engine, run: Run, ledger: Ledger, tmp_path: Path
) -> None:
    path, mend = tmp_path / "w.xlsx", tmp_path / "mend.csv"
    rows = [*TABLE, ("@Cid", "$7", "Sales"), ("", 4, ""), ("@Dan", Shown(1.005, "0.00", "1.01"), "=x")]
    path.write_bytes(xlsx_of(rows))
    result = run("fund", str(path), *POOL, *MAPPED, "--rejects", str(mend))
    assert result.exit_code == 1, result.output
    told = " ".join(result.stderr.split())
    assert "3 rows in" in told and "Fine: 2 rows." in told
    assert paid(engine) == [(2, 1550)]
    lines = list(csv.reader(mend.read_text(encoding="utf-8-sig").splitlines()))
    assert lines[0] == ["row", "why", *TABLE[0]]
    assert [(line[0], line[2:]) for line in lines[1:]] == [
        ("4", ["@Cid", "$7", "Sales"]),
        ("5", ["", "4", ""]),
        ("6", ["@Dan", "1.01", "'=x"]),
    ]
    failed(run("fund", str(path), *POOL, *MAPPED, "--rejects", str(mend)), 2, "is there already")
    lines[1][3], lines[2][2] = "7", "@Eve"
    with mend.open("w", newline="") as text:
        csv.writer(text).writerows(lines)
    ok(run("fund", str(mend), *POOL, *MAPPED))
    assert paid(engine) == [(2, 1550), (3, 700 + 400 + 101)]


def test_where_all_rows_are_fine_no_file_of_rejects_is_written(
    engine: Engine, run: Run, ledger: Ledger, sheet: Path, tmp_path: Path
) -> None:
    ok(run("fund", str(sheet), *POOL, *MAPPED, "--rejects", str(tmp_path / "mend.csv")))
    assert not (tmp_path / "mend.csv").exists()
    assert paid(engine) == [(2, 1550)]


def test_where_no_row_is_fine_nothing_is_paid(engine: Engine, run: Run, ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("destination,amount\n@A,x\n")
    result = run("fund", str(tmp_path / "w.csv"), *POOL, "--rejects", str(tmp_path / "mend.csv"))
    assert result.exit_code == 1
    assert paid(engine) == []


def test_a_refused_file_shows_its_cells_and_counts_the_fine_rows(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("destination,amount\n@A,5\n@B,$6\n")
    result: Result = run("fund", str(tmp_path / "w.csv"), *POOL)
    assert result.exit_code == 2
    assert "$6" in result.output and "1 of 2 rows fine" in result.output


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--map", "Wallet"), "--map takes a pair"),
        (("--map", "Wallet=purse"), "--map maps"),
        (("--decimal", ";"), "--decimal"),
        (("--extra", "drop"), "--extra"),
        (("--sheet", " "), "--sheet"),
    ],
)
def test_an_option_that_is_not_right_is_named(run: Run, sheet: Path, options: tuple[str, str], says: str) -> None:
    failed(run("fund", str(sheet), *POOL, *options), 2, says)


def test_notes_are_shown_in_a_dry_run_and_in_json(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "w.xlsx"
    path.write_bytes(xlsx_of([("destination", "amount"), ("@A", 5)], hidden=[2]))
    assert "row 2 is hidden in the sheet" in ok(run("fund", str(path), *POOL, "--dry-run"))
    out = json.loads(run("fund", str(path), *POOL, "--dry-run", "--json").stdout)
    assert out["file"]["notes"] == ["row 2 is hidden in the sheet, and read like any other"]


def test_nobody_is_asked_without_a_terminal() -> None:
    assert not asking.at_terminal()
