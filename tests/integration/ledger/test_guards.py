"""The database itself refuses what would falsify the ledger, whoever asks."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from core.base.db import begin
from tests.harness.factories import Ledger


@pytest.fixture
def kept(ledger: Ledger) -> Ledger:
    """Seq 1 is 10 from @World to @A; seq 2 is a hold of 5."""
    ledger.post(precise_amount=10)
    ledger.post(precise_amount=5, inflight=True)
    ledger.drain()
    return ledger


def refused(ledger: Ledger, sql: str, says: str) -> None:
    with pytest.raises(DBAPIError, match=says), begin(ledger.engine) as conn:
        conn.execute(text(sql))


@pytest.mark.parametrize("table", ["log", "outcomes"])
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE {} SET amount = amount + 1 WHERE seq = 1",
        "UPDATE {} SET amount = amount",
        "INSERT INTO {0} SELECT * FROM {0} ON CONFLICT (seq) DO UPDATE SET amount = 2",
        "DELETE FROM {} WHERE seq = 1",
        "TRUNCATE {}",
    ],
)
def test_history_is_neither_changed_nor_deleted(kept: Ledger, table: str, sql: str) -> None:
    refused(kept, sql.format(table), f"history is append-only: (UPDATE|DELETE|TRUNCATE) on {table} refused")


@pytest.mark.parametrize("table", ["balances", "holds"])
@pytest.mark.parametrize("sql", ["DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_balances_and_holds_are_not_deleted(kept: Ledger, table: str, sql: str) -> None:
    refused(kept, sql.format(table), f"history is append-only: (DELETE|TRUNCATE) on {table} refused")


@pytest.mark.parametrize("sql", ["DELETE FROM ledgers", "TRUNCATE ledgers CASCADE"])
def test_a_ledger_with_balances_is_not_deleted(kept: Ledger, sql: str) -> None:
    refused(kept, sql, "balances_ledger_fkey|history is append-only")


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("balance = balance + 1", "balances_adds_up"),
        ("credit_balance = credit_balance + 1", "balances_adds_up"),
        ("debit_balance = debit_balance + 1", "balances_adds_up"),
        ("balance = -11, credit_balance = -1", "balances_sums_not_negative"),
        ("balance = 11 + credit_balance - 10, debit_balance = -1", "balances_sums_not_negative"),
        ("inflight_credit_balance = -1", "balances_sums_not_negative"),
        ("inflight_debit_balance = -1", "balances_sums_not_negative"),
    ],
)
def test_a_balance_that_does_not_add_up_is_refused(kept: Ledger, change: str, constraint: str) -> None:
    where = "@World" if "balance = -11" in change else "@A"
    refused(kept, f"UPDATE balances SET {change} WHERE indicator = '{where}'", constraint)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("committed = 6, settled_at = now()", "holds_not_exceeded"),
        ("committed = 3, voided = 3, settled_at = now()", "holds_not_exceeded"),
        ("committed = -1", "holds_not_exceeded"),
        ("voided = -1", "holds_not_exceeded"),
        ("committed = 5", "holds_settled_when_nothing_left"),
        ("settled_at = now()", "holds_settled_when_nothing_left"),
    ],
)
def test_a_hold_is_never_settled_beyond_its_amount(kept: Ledger, change: str, constraint: str) -> None:
    refused(kept, f"UPDATE holds SET {change}", constraint)


@pytest.mark.parametrize("change", ["destination = NULL", "seq = 3, source = NULL"])
def test_an_open_hold_without_its_two_balances_is_refused(kept: Ledger, change: str) -> None:
    refused(kept, f"UPDATE holds SET {change}", "holds_between_two_balances")


@pytest.mark.parametrize("value", ["0.5", "1e-30", "-1.5", "NaN", "Infinity", "-Infinity"])
def test_minor_units_are_whole_numbers(kept: Ledger, value: str) -> None:
    refused(kept, f"SELECT CAST('{value}' AS minor_units)", "minor_units_check")


@pytest.mark.parametrize("value", ["0", "-1", "9" * 1000, "-" + "9" * 1000])
def test_minor_units_are_of_any_size(kept: Ledger, value: str) -> None:
    with begin(kept.engine) as conn:
        found = conn.execute(text(f"SELECT CAST('{value}' AS minor_units)")).scalar_one()
    assert found == int(value)


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"reference": "reference"}, "log_reference_key"),
        ({"id": "id"}, "log_id_key"),
        ({"seq": "seq"}, "log_pkey"),
        ({"destination": "source"}, "log_two_balances"),
        ({"amount": "0"}, "log_amount_fits_kind"),
        ({"amount": "-1"}, "log_amount_fits_kind"),
        ({"kind": "3"}, "log_amount_fits_kind"),
        ({"hold_seq": "2"}, "log_amount_fits_kind"),
        ({"overdraft_limit": "-1"}, "log_overdraft_limit_not_negative"),
        ({"group_first": "1", "group_last": "2"}, "log_inside_its_group"),
    ],
)
def test_a_row_of_the_log_that_makes_no_sense_is_refused(
    kept: Ledger, columns: dict[str, str], constraint: str
) -> None:
    given = {"seq": "99", "id": "gen_random_uuid()", "reference": "'new'"} | columns
    with begin(kept.engine) as conn:
        names = conn.execute(text("SELECT * FROM log LIMIT 0")).keys()
    values = ", ".join(given.get(name, f'"{name}"') for name in names)
    refused(kept, f"INSERT INTO log SELECT {values} FROM log WHERE seq = 1", constraint)


def test_a_balance_has_each_version_once(kept: Ledger) -> None:
    sql = "INSERT INTO outcomes SELECT 99, {} FROM outcomes WHERE seq = 1"
    columns = (
        "status, amount, source, source_version, source_balance, destination, destination_version, "
        "destination_balance, reason, rejection, decided_at"
    )
    refused(kept, sql.format(columns), "outcomes_source_version_idx")
    refused(kept, sql.format(columns.replace("source_version", "99")), "outcomes_destination_version_idx")


def test_a_rejection_has_a_reason_and_moves_nothing(kept: Ledger) -> None:
    row = "INSERT INTO outcomes (seq, status, amount, source, reason, decided_at) VALUES (99, {}, now())"
    refused(kept, row.format("4, 0, NULL, NULL"), "outcomes_rejected_with_reason")
    refused(kept, row.format("1, 5, 1, 6"), "outcomes_rejected_with_reason")
    refused(kept, row.format("4, 0, 1, 6"), "outcomes_rejected_changes_nothing")
    refused(kept, row.format("1, 5, NULL, NULL"), "outcomes_rejected_changes_nothing")


def test_a_precision_is_positive(kept: Ledger) -> None:
    refused(kept, "INSERT INTO currencies VALUES ('XXX', 0)", "currencies_precision_positive")


def test_an_indicator_has_one_balance_for_each_currency(kept: Ledger) -> None:
    sql = "INSERT INTO balances (balance_id, ledger, indicator, currency) VALUES (gen_random_uuid(), 1, '@A', 'USD')"
    with pytest.raises(IntegrityError, match="balances_indicator_currency_key"), begin(kept.engine) as conn:
        conn.execute(text(sql))
