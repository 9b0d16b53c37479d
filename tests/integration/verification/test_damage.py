"""The verifier names the row for each kind of damage."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from core.base.db import begin, connect
from core.funding import tries
from core.ledger.directory import Directory
from core.ledger.rules.requests import Leg
from core.ledger.store import balances as balance_store
from core.ledger.store import transactions as transaction_store
from core.verification.verify import verify_all
from tests.harness.factories import Ledger, fund, transaction
from tests.harness.forging import as_owner
from tests.harness.funding import SOON, advance_all, create_job, give, many_rows, run_short_of_money
from tests.harness.history import NO_TRIGGERS, refund
from tests.harness.saved import MadeOnce

_told, _more = MadeOnce(), MadeOnce()


@pytest.fixture
def told(ledger: Ledger) -> Ledger:
    """Seq 1: 100 to @A. 2: 30 to @B. 3: rejected. 4: holds 20, 5 commits 5 of it, 6 voids the rest. 7, 8: a group. 9: waits."""
    _told.rows(ledger.engine, lambda: _tell(ledger))
    return ledger


def _tell(ledger: Ledger) -> None:
    with begin(ledger.engine) as conn:
        for number, name in enumerate(["@World", "@A", "@B", "@C"]):
            # Ids that are always the same are always in the same queues.
            balance_store.create_indicators(conn, [(name, "USD", UUID(int=number))])
    ledger.post(precise_amount=100)
    ledger.post(precise_amount=30, source="@A", destination="@B", allow_overdraft=False)
    ledger.post(precise_amount=31, source="@B", destination="@A", allow_overdraft=False)
    ledger.drain()
    hold = ledger.post(precise_amount=20, source="@A", destination="@B", inflight=True, allow_overdraft=False)
    ledger.drain()
    ledger.settle(hold.transaction_id, "commit", precise_amount=5)
    ledger.drain()
    ledger.settle(hold.transaction_id, "void")
    ledger.bulk(
        transaction(source="@B", destination="@C", allow_overdraft=False),
        transaction(source="@C", destination="@A", allow_overdraft=False),
        atomic=True,
    )
    ledger.drain()
    ledger.post(precise_amount=7, source="@B", destination="@A", allow_overdraft=False)
    report = verify_all(ledger.engine)
    assert report.problems == []
    assert (report.transactions, report.undecided, report.rejected, report.holds) == (9, 1, 1, 1)


WORLD = "(SELECT id FROM balances WHERE indicator = '@World')"
OF_A = "WHERE indicator = '@A'"
OF_9 = "WHERE number = (SELECT queue FROM log WHERE seq = 9)"

DAMAGE = {
    "DELETE FROM log WHERE seq = 2": ("log", "seq 2", "row"),
    "DELETE FROM log WHERE seq = 2; DELETE FROM outcomes WHERE seq = 2": ("log", "seq 2", "row"),
    "DELETE FROM log WHERE seq = 8": ("log", "seq 7", "group"),
    "DELETE FROM log WHERE seq >= 7": ("log", "seq 7", "row"),
    "UPDATE log SET amount = 31 WHERE seq = 2": ("outcomes", "seq 2", "amount"),
    "UPDATE log SET allow_overdraft = false WHERE seq = 1": ("outcomes", "seq 1", "status"),
    "UPDATE log SET overdraft_limit = 99 WHERE seq = 1": ("outcomes", "seq 1", "status"),
    "UPDATE log SET currency = 'EUR' WHERE seq = 2": ("log", "seq 2", "currency"),
    "UPDATE log SET source = 999 WHERE seq = 2": ("log", "seq 2", "source"),
    "UPDATE log SET destination = 999 WHERE seq = 2": ("log", "seq 2", "destination"),
    f"UPDATE log SET destination = {WORLD} WHERE seq = 2": ("outcomes", "seq 2", "destination"),
    f"UPDATE log SET destination = {WORLD} WHERE seq = 5": ("log", "seq 5", "source and destination"),
    "UPDATE log SET hold_seq = 2 WHERE seq = 5": ("outcomes", "seq 5", "status"),
    "UPDATE log SET kind = 2 WHERE seq = 2": ("outcomes", "seq 2", "status"),
    "UPDATE log SET queue = 7 WHERE seq = 9": ("log", "seq 9", "queue"),
    "UPDATE log SET group_first = NULL, group_last = NULL WHERE seq = 8": ("log", "seq 7", "group"),
    "UPDATE log SET group_last = 9 WHERE seq = 8": ("log", "seq 8", "group_last"),
    "DELETE FROM outcomes WHERE seq = 2": ("outcomes", "seq 2", "row"),
    "UPDATE outcomes SET seq = 9 WHERE seq = 8": ("outcomes", "seq 8", "row"),
    "UPDATE outcomes SET status = 3 WHERE seq = 2": ("outcomes", "seq 2", "status"),
    "UPDATE outcomes SET status = 7 WHERE seq = 2": ("outcomes", "seq 2", "status"),
    "UPDATE outcomes SET amount = 31 WHERE seq = 2": ("outcomes", "seq 2", "amount"),
    "UPDATE outcomes SET reason = 7 WHERE seq = 3": ("outcomes", "seq 3", "reason"),
    "UPDATE outcomes SET reason = 77 WHERE seq = 3": ("outcomes", "seq 3", "reason"),
    """UPDATE outcomes SET rejection = rejection || '{"available": 29}' WHERE seq = 3""":
        ("outcomes", "seq 3", "rejection"),
    "UPDATE outcomes SET rejection = NULL WHERE seq = 3": ("outcomes", "seq 3", "rejection"),
    f"UPDATE outcomes SET source = {WORLD} WHERE seq = 2":
        ("outcomes", "seq 2", "source"),
    f"UPDATE queues SET cursor = 0 {OF_9}": ("outcomes", "seq 3", "row"),
    f"UPDATE queues SET cursor = 9 {OF_9}": ("outcomes", "seq 9", "row"),
    "UPDATE queues SET cursor = 10 WHERE number = 7": ("queues", "number 7", "cursor"),
    "DELETE FROM queues WHERE number = 0": ("queues", "all", "numbers"),
    "INSERT INTO clock_falls VALUES (5)": ("clock_falls", "seq 5", "row"),
    f"UPDATE balances SET balance = balance + 1, credit_balance = credit_balance + 1 {OF_A}":
        ("balances", "@A", "credit_balance"),
    f"UPDATE balances SET balance = balance - 1, debit_balance = debit_balance + 1 {OF_A}":
        ("balances", "@A", "debit_balance"),
    f"UPDATE balances SET inflight_credit_balance = 1 {OF_A}": ("balances", "@A", "inflight_credit_balance"),
    f"UPDATE balances SET inflight_debit_balance = 1 {OF_A}": ("balances", "@A", "inflight_debit_balance"),
    f"UPDATE balances SET version = version + 1 {OF_A}": ("balances", "@A", "version"),
    f"UPDATE balances SET last_credit_seq = 1 {OF_A}": ("balances", "@A", "last_credit_seq"),
    f"UPDATE balances SET currency = 'EUR' {OF_A}": ("log", "seq 1", "currency"),
    f"DELETE FROM balances {OF_A}": ("log", "seq 1", "destination"),
    "INSERT INTO balances (balance_id, ledger, currency, balance, credit_balance) "
    "VALUES (gen_random_uuid(), 1, 'EUR', 5, 5)": ("balances", "bln_", "credit_balance"),
    "DELETE FROM holds": ("holds", "seq 4", "row"),
    "INSERT INTO holds VALUES (2, 30, 0, 0, NULL, 1, 2)": ("holds", "seq 2", "row"),
    "UPDATE holds SET committed = 4, voided = 16": ("holds", "seq 4", "committed"),
    "UPDATE holds SET voided = 14, settled_at = NULL": ("holds", "seq 4", "voided"),
    "UPDATE holds SET amount = 21, voided = 16": ("holds", "seq 4", "amount"),
    "UPDATE holds SET settled_at = now()": ("holds", "seq 4", "settled_at"),
    f"UPDATE holds SET source = {WORLD}": ("holds", "seq 4", "source"),
    f"UPDATE holds SET destination = {WORLD}": ("holds", "seq 4", "destination"),
    "UPDATE holds SET destination = NULL": ("holds", "seq 4", "destination"),
}  # fmt: skip
"""Statements that damage the ledger of ``told``, and the table, key and aspect that must be named first."""


def _damage(ledger: Ledger, statements: str) -> None:
    with begin(ledger.engine) as conn:
        conn.execute(text(NO_TRIGGERS))
        for statement in statements.split("; "):
            conn.exec_driver_sql(statement)


@pytest.mark.parametrize("statements", DAMAGE)
def test_damage_is_named(told: Ledger, statements: str) -> None:
    _damage(told, statements)
    report = verify_all(told.engine)
    assert not report.ok
    table, key, what = DAMAGE[statements]
    first = report.problems[0]
    assert (first.table, first.what) == (table, what), first
    assert key in first.key
    assert first.expected != first.found


STATEMENTS = {
    "source_version = 99": ("seq 4", "source_version"),
    "source_version = NULL": ("seq 4", "source_version"),
    "source_balance = 71": ("seq 2", "source_balance"),
    "destination_balance = 31": ("seq 2", "destination_balance"),
}


@pytest.mark.parametrize("change", STATEMENTS)
def test_a_statement_with_a_gap_or_a_jump_is_named_beside_the_broken_chain(told: Ledger, change: str) -> None:
    with begin(told.engine) as conn:
        conn.execute(text(NO_TRIGGERS))
        conn.execute(text(f"UPDATE outcomes SET {change} WHERE seq = 2"))
    problems = verify_all(told.engine).problems
    assert (problems[0].table, problems[0].what) == ("outcomes", "hash")
    assert STATEMENTS[change] in [(problem.key, problem.what) for problem in problems]


@pytest.fixture
def more(ledger: Ledger) -> Ledger:
    """After ``told``, seq 10: an atomic split of 10, with legs 11 and 12 from @A to @B and @C. 13: @B pays 3 to @C, which
    14 gives back in part and 15 asks back beyond. 16: the split given back, by 17 and 18. Held and to be committed: 19.
    Scheduled: one."""
    _more.rows(ledger.engine, lambda: _tell_more(ledger))
    return ledger


def _tell_more(told: Ledger) -> None:
    _tell(told)
    told.drain()
    parts = [Leg("@B", "30%"), Leg("@C", "left")]
    told.post(reference="S", precise_amount=10, source="@A", destination=None, destinations=parts, atomic=True)
    paid = told.post(precise_amount=3, source="@B", destination="@C")
    told.drain()
    refund(told, paid.transaction_id, precise_amount=2)
    refund(told, paid.transaction_id, precise_amount=3)
    told.drain()
    with begin(told.engine) as conn:
        row = transaction_store.find_reference(conn, "S")
    assert row is not None
    refund(told, f"txn_{row.id}")
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    told.post(inflight=True, inflight_commit_date=tomorrow)
    told.post(reference="later", scheduled_for=tomorrow)
    told.drain()
    report = verify_all(told.engine)
    assert report.problems == []
    assert report.transactions == 19


FORGED = {
    "UPDATE log SET amount = 11 WHERE seq = 10": ("log", "seq 10", "amount"),
    "UPDATE log SET amount = 4 WHERE seq = 11": ("log", "seq 10", "amount"),
    "UPDATE log SET reference = 'S_7' WHERE seq = 11": ("log", "seq 11", "reference"),
    "UPDATE log SET reference = 'x' WHERE seq = 11; UPDATE log SET reference = 'S_1' WHERE seq = 12":
        ("log", "seq 11", "reference"),
    "UPDATE log SET parent = NULL WHERE seq = 12": ("log", "seq 10", "amount"),
    "UPDATE log SET parent = 'txn_' || id WHERE seq = 12": ("log", "seq 12", "parent"),
    "UPDATE log SET parent = (SELECT parent FROM log WHERE seq = 11) WHERE seq = 13": ("log", "seq 13", "reference"),
    "UPDATE log SET parent = NULL WHERE seq IN (11, 12)": ("log", "seq 10", "legs"),
    "UPDATE log SET group_first = NULL, group_last = NULL WHERE seq IN (10, 11, 12)": ("log", "seq 11", "group"),
    "UPDATE log SET group_first = NULL, group_last = NULL WHERE seq = 11": ("log", "seq 11", "group"),
    "UPDATE log SET group_first = NULL, group_last = NULL WHERE seq IN (16, 17, 18)": ("log", "seq 17", "group"),
    "INSERT INTO outcomes SELECT 10, 4, 0, NULL, NULL, NULL, NULL, NULL, NULL, 8, NULL, now()":
        ("outcomes", "seq 10", "row"),
    "DELETE FROM log WHERE seq = 10": ("log", "seq 10", "row"),
    "UPDATE log SET source = destination, destination = source WHERE seq = 14":
        ("log", "seq 14", "source and destination"),
    f"UPDATE log SET source = {WORLD} WHERE seq = 14": ("log", "seq 14", "source and destination"),
    "UPDATE log SET refund_of = 3 WHERE seq = 14": ("log", "seq 14", "row"),
    "UPDATE log SET amount = 1 WHERE seq = 15": ("outcomes", "seq 15", "status"),
    "UPDATE refunds SET refunded = 3 WHERE seq = 13": ("refunds", "seq 13", "refunded"),
    "UPDATE refunds SET amount = 4 WHERE seq = 13": ("refunds", "seq 13", "amount"),
    "DELETE FROM refunds WHERE seq = 13": ("refunds", "seq 13", "row"),
    "INSERT INTO refunds VALUES (2, 30, 0)": ("refunds", "seq 2", "row"),
    "UPDATE due SET transaction = gen_random_uuid()": ("due", "txn_", "transaction"),
    "UPDATE due SET transaction = (SELECT id FROM log WHERE seq = 13)": ("due", "txn_", "transaction"),
    "UPDATE scheduled SET reference = 'S'": ("scheduled", "txn_", "row"),
    "UPDATE scheduled SET id = (SELECT id FROM log WHERE seq = 10)": ("scheduled", "txn_", "row"),
}  # fmt: skip
"""Statements that damage the ledger of ``more``, as in ``DAMAGE``. What is named need not be named first."""


@pytest.mark.parametrize("statements", FORGED)
def test_damage_to_splits_refunds_and_dates_is_named(more: Ledger, statements: str) -> None:
    _damage(more, statements)
    table, key, what = FORGED[statements]
    problems = verify_all(more.engine).problems
    assert any((one.table, one.what) == (table, what) and key in one.key for one in problems), problems


@pytest.fixture
def funded(ledger: Ledger) -> Ledger:
    """A run of three rows, from @Pool to @A, @B and @C: seq 1 to 3. Then seq 4, which belongs to nothing."""
    fund(ledger, "@A", "@B", "@C")
    ledger.post(source="@Pool")
    ledger.drain()
    assert verify_all(ledger.engine).problems == []
    return ledger


MISPOSTED = {
    "DELETE FROM funding_postings WHERE row = 2": ("funding_postings", "run_", "row"),
    "DELETE FROM funding_rows WHERE row = 2": ("funding_postings", "row 2", "transaction"),
    "UPDATE funding_postings SET seq = 4 WHERE row = 2": ("funding_postings", "row 2", "transaction"),
    "UPDATE funding_postings SET seq = 99 WHERE row = 2": ("funding_postings", "row 2", "transaction"),
    "INSERT INTO funding_rows SELECT list, 9, destination, 7 FROM funding_rows WHERE row = 2": (
        "funding_postings",
        "row 9",
        "transaction",
    ),
    "INSERT INTO funding_rows SELECT list, 0, destination, 7 FROM funding_rows WHERE row = 2; "
    "UPDATE funding_runs SET status = 'CANCELLED'": ("funding_postings", "row 0", "transaction"),
    "UPDATE funding_rows SET amount = 8 WHERE row = 2": ("funding_postings", "row 2", "transaction"),
    "UPDATE funding_rows SET destination = source FROM log WHERE seq = 1": ("funding_postings", "row 1", "transaction"),
    "UPDATE funding_jobs SET source = destination FROM log WHERE seq = 1": ("funding_postings", "row 1", "transaction"),
    "UPDATE funding_runs SET id = gen_random_uuid()": ("funding_postings", "row 1", "transaction"),
    "UPDATE funding_runs SET posted = 2": ("funding_runs", "run_", "posted"),
    "UPDATE funding_runs SET posted_amount = 14": ("funding_runs", "run_", "posted_amount"),
    "UPDATE funding_runs SET posted_row = 2": ("funding_runs", "run_", "posted_row"),
    "UPDATE funding_runs SET row_count = 4": ("funding_runs", "run_", "row_count"),
    "UPDATE funding_runs SET amount = 16": ("funding_runs", "run_", "amount"),
    "UPDATE funding_runs SET applied = 4": ("funding_runs", "run_", "applied"),
    "UPDATE funding_runs SET applied_amount = 16": ("funding_runs", "run_", "applied_amount"),
    "UPDATE funding_runs SET rejected = 1": ("funding_runs", "run_", "rejected"),
    "UPDATE funding_rows SET description = 'x' WHERE row = 2": ("funding_jobs", "fund_", "content"),
    "UPDATE funding_digests SET digest = '\\x00'": ("funding_jobs", "fund_", "content"),
    "UPDATE funding_jobs SET amount = 16": ("funding_jobs", "fund_", "content"),
    "UPDATE funding_jobs SET terms = '{}'": ("funding_jobs", "fund_", "content"),
}


@pytest.mark.parametrize("statements", MISPOSTED)
def test_a_row_of_a_run_that_is_not_its_transaction_is_named(funded: Ledger, statements: str) -> None:
    _damage(funded, statements)
    table, key, what = MISPOSTED[statements]
    problems = verify_all(funded.engine).problems
    assert any((one.table, one.what) == (table, what) and key in one.key for one in problems), problems


TRIED = {
    "DELETE FROM funding_retries WHERE row = 4": "row 4",
    "UPDATE funding_retries SET row = 9 WHERE row = 4": "row 9",
    "UPDATE funding_retries SET run = retry WHERE row = 4": "row 4",
    "UPDATE funding_runs SET retry_of = NULL": "row 4",
}


def test_a_try_whose_rows_come_from_elsewhere_is_named(ledger: Ledger) -> None:
    give(ledger, Pool=50)
    job = create_job(ledger, *many_rows(5, 10), allow_overdraft=False)
    first = run_short_of_money(ledger, job, leaving=20)
    tries.retry(ledger.engine, job.job_id, first.run_id, SOON)
    give(ledger, Pool=30)
    advance_all(ledger, SOON)
    ledger.drain()
    assert verify_all(ledger.engine).problems == []
    with begin(ledger.engine) as conn:
        rows = [tuple(row) for row in conn.execute(text("SELECT retry, row, run FROM funding_retries"))]
    for statement, key in TRIED.items():
        _damage(ledger, statement)
        problems = verify_all(ledger.engine).problems
        assert any(one.table == "funding_retries" and key in one.key for one in problems), (statement, problems)
        _damage(ledger, "DELETE FROM funding_retries")
        _damage(
            ledger,
            "; ".join(f"INSERT INTO funding_retries VALUES ('{retry}', {row}, '{run}')" for retry, row, run in rows),
        )


def test_a_time_that_falls_is_named_where_the_ledger_does_not_know_it(told: Ledger) -> None:
    with as_owner(told) as conn:
        conn.execute(text("UPDATE log SET accepted_at = accepted_at - interval '1 hour' WHERE seq = 5"))
    (problem,) = verify_all(told.engine).problems
    assert (problem.table, problem.key, problem.what, problem.found) == ("clock_falls", "seq 5", "row", "none")
    _damage(told, "INSERT INTO clock_falls VALUES (5)")
    assert verify_all(told.engine).problems == []


def test_a_balance_that_is_not_credits_less_debits_is_named(own_database_url: str) -> None:
    engine = connect(own_database_url)
    Ledger(engine, Directory(engine)).post()
    with begin(engine) as conn:
        conn.execute(text("ALTER TABLE balances DROP CONSTRAINT balances_adds_up"))
        conn.execute(text(f"UPDATE balances SET balance = 1 {OF_A}"))
    first = verify_all(engine).problems[0]
    assert (first.table, first.what, first.found) == ("balances", "balance", "1")
    engine.dispose()


def test_what_each_currency_adds_up_to_is_named(told: Ledger) -> None:
    with begin(told.engine) as conn:
        conn.execute(text("UPDATE balances SET balance = balance + 2, credit_balance = credit_balance + 2 " + OF_A))
        conn.execute(text("UPDATE balances SET inflight_debit_balance = 3 " + OF_A))
    problems = [problem for problem in verify_all(told.engine).problems if problem.key == "all in USD"]
    assert [(problem.what, problem.found) for problem in problems] == [("balance", "2"), ("inflight", "-3")]


def test_of_much_damage_only_the_first_is_kept_but_all_is_counted(
    told: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.verification.report.LISTED", 2)
    with begin(told.engine) as conn:
        conn.execute(text("UPDATE balances SET version = version + 1"))
    report = verify_all(told.engine)
    assert len(report.problems) == 2
    assert report.problem_count == 4
