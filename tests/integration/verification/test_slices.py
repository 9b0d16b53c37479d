"""Slices of the history are verified one after the other, and a damaged row anywhere is found."""

import json
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from core.base.db import begin, reading
from core.ledger.rules.routing import MAX_QUEUES
from core.verification import results, verification_store
from core.verification.results import Kind
from core.verification.slices import verify_next
from ops.cli.main import main
from tests.harness.factories import Ledger, transaction
from tests.harness.history import tamper

SEEN_BY_A_SLICE = [
    "UPDATE log SET description = 'x' WHERE seq = {}",
    "UPDATE log SET amount = amount + 1 WHERE seq = {}",
    "UPDATE log SET digest = decode(repeat('ab', 32), 'hex') WHERE seq = {}",
    "UPDATE outcomes SET hash = decode(repeat('ab', 32), 'hex') WHERE seq = {}",
    "UPDATE outcomes SET amount = amount + 1 WHERE seq = {}",
    "UPDATE outcomes SET decided_at = decided_at + interval '1 s' WHERE seq = {}",
    "DELETE FROM outcomes WHERE seq = {}",
    "DELETE FROM log WHERE seq = {0}; DELETE FROM outcomes WHERE seq = {0}",
]


def _ranges(ledger: Ledger, rows: int, passes: int = 1) -> list[tuple[int, int, bool]]:
    """Verify slices to the end of the log, and return the range of each and whether it is the last."""
    found = []
    while passes:
        report = verify_next(ledger.engine, rows)
        assert report.problems == []
        found.append((report.from_sequence, report.to_sequence, report.complete))
        passes -= report.complete
    return found


def test_slices_cover_the_whole_history_and_begin_anew(chained: Ledger) -> None:
    one_pass = _ranges(chained, rows=2)
    assert one_pass == [(1, 2, False), (3, 5, False), (6, 7, False), (8, 8, True)]
    assert _ranges(chained, rows=2, passes=2) == one_pass * 2
    assert _ranges(chained, rows=100) == [(1, 8, True)]


def test_an_empty_ledger_and_one_where_all_waits_are_sound(ledger: Ledger) -> None:
    assert _ranges(ledger, rows=2) == [(1, 0, True)]
    for _ in range(5):
        ledger.post()
    assert _ranges(ledger, rows=100) == [(1, 5, True)]
    assert verify_next(ledger.engine, 2).complete is False
    ledger.drain()
    assert _ranges(ledger, rows=2) == [(3, 4, False), (5, 5, True)]
    assert _ranges(ledger, rows=2) == [(1, 2, False), (3, 4, False), (5, 5, True)]


@pytest.mark.parametrize("damage", SEEN_BY_A_SLICE)
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_a_damaged_row_anywhere_is_found_within_a_pass_and_stays_found(chained: Ledger, damage: str, rows: int) -> None:
    for _ in range(3):
        verify_next(chained.engine, rows)
    tamper(chained, *damage.format(7).split("; "))
    found = next(report for report in (verify_next(chained.engine, rows) for _ in range(12)) if not report.ok)
    assert any("seq 7" in problem.key or "seq 8" in problem.key for problem in found.problems), found.problems
    assert not verify_next(chained.engine, rows).ok


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_balance_that_was_altered_is_found(chained: Ledger, rows: int) -> None:
    tamper(chained, "UPDATE balances SET balance = balance + 1, credit_balance = credit_balance + 1 WHERE id = 2")
    assert not all(verify_next(chained.engine, rows).ok for _ in range(9))


def test_rows_that_were_removed_at_the_end_are_found(chained: Ledger) -> None:
    assert [verify_next(chained.engine, 3).to_sequence for _ in range(2)] == [5, 8]
    with begin(chained.engine) as conn:
        conn.execute(text("UPDATE verifications SET complete = false"))
    tamper(chained, "DELETE FROM outcomes WHERE seq > 7", "DELETE FROM log WHERE seq > 7")
    report = verify_next(chained.engine, 3)
    assert next((problem.table, problem.key, problem.found) for problem in report.problems) == ("log", "seq 8", "none")


def test_a_slice_that_is_mended_is_sound_again_and_the_pass_goes_on(chained: Ledger) -> None:
    verify_next(chained.engine, 2)
    tamper(chained, "UPDATE log SET description = 'x' || description WHERE seq = 4")
    for _ in range(3):
        report = verify_next(chained.engine, 2)
        assert (report.from_sequence, report.ok) == (3, False)
    assert len(results.unsound(results.last(chained.engine, 10))) == 1
    tamper(chained, "UPDATE log SET description = substr(description, 2) WHERE seq = 4")
    assert (verify_next(chained.engine, 2).from_sequence, verify_next(chained.engine, 2).from_sequence) == (3, 6)
    assert results.unsound(results.last(chained.engine, 10)) == []


def test_many_queues_are_followed_from_slice_to_slice(ledger: Ledger) -> None:
    with begin(ledger.engine) as conn:
        conn.execute(
            text("INSERT INTO queues (number) SELECT generate_series(0, :last) ON CONFLICT DO NOTHING"),
            {"last": MAX_QUEUES - 1},
        )
    for _ in range(3):
        ledger.bulk(*(transaction(source=f"@S{number}", destination=f"@D{number % 7}") for number in range(40)))
        ledger.drain()
    assert _ranges(ledger, rows=7, passes=2)[-1] == (120, 120, True)


def test_results_are_kept_for_a_while(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification_store, "KEPT", 5)
    for _ in range(3):
        results.record(ledger.engine, Kind.FULL, verify_next(ledger.engine), 0.0)
    for _ in range(10):
        verify_next(ledger.engine)
    with reading(ledger.engine) as conn:
        kinds = [row.kind for row in verification_store.newest(conn, 100)]
    assert kinds == ["slice"] * 5 + ["full"] * 3


def _run(database_url: str, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["verify", *arguments], env={"DATABASE_URL": database_url, "COLUMNS": "160"})
    return result.exit_code, result.stdout


def test_an_operator_sees_the_last_results(chained: Ledger, database_url: str) -> None:
    status, shown = _run(database_url, "--last")
    assert (status, shown) == (
        0, "nothing was verified yet: a worker verifies a slice each minute, and `pacioli verify` all\n"
    )  # fmt: skip
    assert json.loads(_run(database_url, "--last", "--json")[1]) == []
    assert _run(database_url)[0] == 0
    for _ in range(12):
        verify_next(chained.engine)
    status, shown = _run(database_url, "--last")
    assert status == 0
    assert shown.count("slice of the history") == 10
    assert shown.count("whole ledger") == 1
    assert "1 to 8, the end" in shown
    tamper(chained, "UPDATE log SET description = 'x' WHERE seq = 4")
    verify_next(chained.engine)
    status, shown = _run(database_url, "--last")
    assert status == 1
    assert "the first problem of slice of the history: log, seq 4" in " ".join(shown.split())
    status, shown = _run(database_url, "--last", "--json")
    found: list[dict[str, Any]] = json.loads(shown)
    assert status == 1
    assert [each["kind"] for each in found] == ["slice"] * 10 + ["full"]
    assert (found[0]["first_seq"], found[0]["last_seq"], found[0]["complete"]) == (1, 8, True)
    assert found[0]["problem_count"] == 1
    assert found[0]["problems"][0]["what"] == "digest"
    assert 0 <= found[0]["age_s"] < 60
