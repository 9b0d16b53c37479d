"""Funding jobs: checked whole, claimed once, each row posted once, whoever asks, how often, and whatever dies when.

What comes due is told by ``now``, far enough from the database's own clock that this does not matter. To hunt longer:

    PACIOLI_EXAMPLES=1000 pytest --timeout=0 tests/integration/test_funding.py -k any
"""

import itertools
import json
import math
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from io import BytesIO
from random import Random
from typing import Any, NamedTuple
from unittest.mock import ANY

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import Raw
from sqlalchemy import Connection, Engine, text

from core.base.db import begin, reading
from core.base.errors import Conflict, InvalidRequest, NotFound, TransientError
from core.base.ids import new_id, new_key
from core.funding import jobs as funding
from core.funding import recipients, runs, schedule
from core.funding import store as funding_store
from core.funding.jobs import Counts, Created
from core.funding.recipients import Given
from core.funding.runs import Progress
from core.funding.schedule import Due
from core.funding.store import JobRow, RunRow
from core.ledger import drain, due
from core.ledger.directory import Directory
from core.ledger.rules.model import RejectReason
from core.ledger.rules.requests import FilterClause, FundingRequest, FundingRule, Recipient
from core.ledger.store import balances as balance_store
from core.ledger.store import ledgers as ledger_store
from core.verification import audit
from tests.harness.factories import Ledger, start_until_blocked

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
SOON = NOW + timedelta(hours=1)
LATER = SOON + timedelta(days=1)
HOURLY = "0 * * * *"

FRESH = "PACIOLI_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("PACIOLI_EXAMPLES", "25"))
SEARCH = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not FRESH,
    database=None,
    phases=[Phase.generate, Phase.shrink] if FRESH else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)

_numbers = itertools.count(1)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.fixture(autouse=True)
def _sound(ledger: Ledger) -> Iterator[None]:
    """Whatever a test did, the history adds up, and each row that was posted is one transaction, in the order of the list."""
    yield
    ledger.drain()
    assert audit.verify(ledger.engine).problems == []
    _check_postings(ledger.engine)


def _check_postings(engine: Engine) -> None:
    with reading(engine) as conn:
        kept = conn.execute(
            text("SELECT id, list, status, row_count, last_row, posted, posted_amount, posted_row FROM funding_runs")
        )
        found = {row.id: row for row in kept}
        rows = {
            row[:2]: row[2:] for row in conn.execute(text("SELECT list, row, destination, amount FROM funding_rows"))
        }
        posted = conn.execute(
            text(
                "SELECT run, row, seq, destination, amount FROM funding_postings AS p FULL JOIN "
                "(SELECT * FROM log WHERE parent LIKE 'run\\_%') AS l USING (seq) ORDER BY seq"
            )
        ).all()
    assert None not in {row.run for row in posted} | {row.destination for row in posted}
    for run in found.values():
        mine = [row for row in posted if row.run == run.id]
        numbers = [row.row for row in mine]
        assert numbers == sorted(set(numbers))
        assert [rows[run.list, row.row] for row in mine] == [(row.destination, row.amount) for row in mine]
        assert (run.posted, run.posted_amount) == (len(mine), sum(row.amount for row in mine))
        assert run.posted_row == (numbers[-1] if numbers else 0)
        wanted = [row for list, row in rows if list == run.list and (run.last_row is None or row <= run.last_row)]
        assert run.status != "COMPLETED" or numbers == sorted(wanted)


class Posted(NamedTuple):
    """A row of a run in the log."""

    reference: str
    destination: str
    amount: int
    status: int | None


APPLIED, INFLIGHT, REJECTED = 1, 2, 4


def _request(*rows: tuple[str, int], **fields: Any) -> FundingRequest:
    """From @Pool, by unlimited overdraft, now, unless told otherwise. Rows are destinations and cents."""
    given: dict[str, Any] = {
        "name": "wallets",
        "source": "@Pool",
        "currency": "USD",
        "precision": Decimal(100),
        "allow_overdraft": True,
    }
    if rows:
        given["recipients"] = [Recipient(destination=name, precise_amount=amount) for name, amount in rows]
    return FundingRequest(**(given | fields))


def _made(ledger: Ledger, *rows: tuple[str, int], now: datetime = NOW, **fields: Any) -> Created:
    return funding.create(ledger.engine, _request(*rows, **fields), None, ledger.directory, now)


def _create(ledger: Ledger, *rows: tuple[str, int], now: datetime = NOW, **fields: Any) -> JobRow:
    return _made(ledger, *rows, now=now, **fields).job


def _many(count: int, amount: int = 1) -> list[tuple[str, int]]:
    return [(f"@W{number}", amount) for number in range(count)]


def _pieces_of(patched: pytest.MonkeyPatch, rows: int) -> None:
    for name in ("PIECE", "PIECE_IN_COMPANY"):
        patched.setattr(runs, name, rows)


def _advance(ledger: Ledger, now: datetime = NOW) -> Progress:
    """All that there is to do."""
    return runs.advance(ledger.engine, now=now, for_s=600)


def _steps(ledger: Ledger, count: int, now: datetime = NOW) -> None:
    progress = Progress()
    for _ in range(count):
        assert runs.step(ledger.engine, now, progress)


def _job(ledger: Ledger, job: JobRow) -> JobRow:
    with reading(ledger.engine) as conn:
        return funding.found(conn, job.job_id)


def _runs(ledger: Ledger, job: JobRow) -> list[RunRow]:
    """Oldest first."""
    with reading(ledger.engine) as conn:
        return funding_store.list_runs(conn, job.id, limit=1000, after=None)[::-1]


def _run(ledger: Ledger, job: JobRow) -> RunRow:
    (run,) = _runs(ledger, job)
    return run


def _of_run(ledger: Ledger, run: RunRow) -> list[Posted]:
    """What a run has posted, in order."""
    sql = text(
        "SELECT reference, coalesce(indicator, 'bln_' || balance_id), log.amount, status FROM log "
        "JOIN balances ON balances.id = log.destination LEFT JOIN outcomes USING (seq) WHERE parent = :run ORDER BY seq"
    )
    with reading(ledger.engine) as conn:
        return [Posted(*row) for row in conn.execute(sql, {"run": run.run_id})]


def _of_job(ledger: Ledger, job: JobRow) -> list[Posted]:
    return [row for run in _runs(ledger, job) for row in _of_run(ledger, run)]


def _pairs(ledger: Ledger, job: JobRow) -> list[tuple[str, int]]:
    """Destination and amount of all that a job has posted."""
    return [(row.destination, row.amount) for row in _of_job(ledger, job)]


def _statuses(ledger: Ledger, job: JobRow) -> list[str]:
    return [run.status for run in _runs(ledger, job)]


def _counts(ledger: Ledger, job: JobRow, run: RunRow, now: datetime = NOW) -> Counts:
    with reading(ledger.engine) as conn:
        return funding.counts_of(job, run, funding_store.tally(conn, run.id), now)


def _sum(ledger: Ledger, name: str) -> int:
    return ledger.balance(name).balance


def _give(ledger: Ledger, **sums: int) -> None:
    """Cents for internal balances, from @World."""
    for name, amount in sums.items():
        ledger.post(destination=f"@{name}", precise_amount=amount)
    ledger.drain()


def _group(ledger: Ledger, *currencies: str) -> tuple[str, list[str]]:
    """A ledger with a balance in each of these currencies."""
    ledger_id = new_id("ldg_")
    with begin(ledger.engine) as conn:
        ledger_store.create(conn, ledger_id, "customers", None)
        return ledger_id, [_balance(conn, ledger_id, currency) for currency in currencies]


def _balance(conn: Connection, ledger_id: str, currency: str = "USD") -> str:
    row = balance_store.create(
        conn, key=new_key(), ledger_id=ledger_id, indicator=None, currency=currency, meta_data=None
    )
    return row.balance_id


_TABLES = ("funding_jobs", "funding_rows", "funding_runs", "funding_postings", "balances", "currencies", "log")


def _kept(ledger: Ledger) -> list[int]:
    """How many rows there are in every table that a job might change."""
    with reading(ledger.engine) as conn:
        return [conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in _TABLES]


def _refused(ledger: Ledger, *rows: tuple[str, int], csv: str | None = None, **fields: Any) -> InvalidRequest:
    """What is wrong with a job. Nothing of it is kept, and its rehearsal is refused alike."""
    before = _kept(ledger)
    request = _request(*rows, **fields)
    found = []
    for ask in (funding.rehearse, funding.create):
        given_ = None if csv is None else recipients.of_csv(BytesIO(csv.encode()))
        with pytest.raises(InvalidRequest) as caught:
            ask(ledger.engine, request, given_, Directory(ledger.engine), NOW)
        found.append(caught.value)
    assert _kept(ledger) == before
    assert found[0].message == found[1].message
    return found[1]


def _bad_rows(error: InvalidRequest) -> list[tuple[int, str]]:
    assert error.code == "FND_INVALID_RECIPIENTS"
    assert error.details["problem_count"] == len(error.details["problems"])
    return [(each["row"], each["field"]) for each in error.details["problems"]]


# Checked first


def test_every_kind_of_bad_row_is_named_with_its_row_and_field_in_one_answer(ledger: Ledger) -> None:
    _, (euros, dollars) = _group(ledger, "EUR", "USD")
    _give(ledger, Pool=1)
    pool = ledger.balance("@Pool").balance_id
    given_ = [
        Recipient(destination="@Good", amount=Decimal("1.25")),
        Recipient(destination=new_id("bln_"), amount=Decimal(1)),
        Recipient(destination=euros, amount=Decimal(1)),
        Recipient(destination="@A", amount=Decimal("1.005")),
        Recipient(destination="@B", amount=Decimal(0)),
        Recipient(destination="@C", precise_amount=-1),
        Recipient(destination="@D"),
        Recipient(destination="@E", amount=Decimal(1), precise_amount=100),
        Recipient(amount=Decimal(1)),
        Recipient(destination="@", amount=Decimal(1)),
        Recipient(destination="@Pool", amount=Decimal(1)),
        Recipient(destination=pool, amount=Decimal(1)),
        Recipient(destination="@F", amount=Decimal(1), description="a\x00b"),
        Recipient(destination="@G", amount=Decimal(1), meta_data=Raw(b"[]")),
        Recipient(destination="@H", precise_amount="1.5"),
        Recipient(destination="x\x00", amount=Decimal(1)),
        Recipient(destination="@I", amount=Decimal("NaN")),
        Recipient(destination=dollars, amount=Decimal(1)),
        Recipient(destination=dollars, amount=Decimal(1)),
        Recipient(destination="@Good", amount=Decimal(1)),
    ]
    assert _bad_rows(_refused(ledger, recipients=given_)) == [
        (2, "destination"),
        (3, "destination"),
        (4, "amount"),
        (5, "amount"),
        (6, "precise_amount"),
        (7, "amount"),
        (8, "amount"),
        (9, "destination"),
        (10, "destination"),
        (11, "destination"),
        (12, "destination"),
        (13, "description"),
        (14, "meta_data"),
        (15, "precise_amount"),
        (16, "destination"),
        (17, "amount"),
        (19, "destination"),
        (20, "destination"),
    ]


def test_all_that_is_wrong_with_one_row_is_named(ledger: Ledger) -> None:
    csv = "destination,amount,description\n@,x,\nbln_1,1.001,\n@A\n"
    assert _bad_rows(_refused(ledger, csv=csv)) == [
        (2, "amount"),
        (2, "destination"),
        (3, "amount"),
        (3, "destination"),
        (4, ""),
    ]


def test_a_repeated_destination_is_named_also_where_either_row_has_another_fault(ledger: Ledger) -> None:
    csv = "destination,amount\n@A,x\n@B,1\n@B,0\n@A,1\n"
    error = _refused(ledger, csv=csv)
    assert _bad_rows(error) == [(2, "amount"), (4, "amount"), (4, "destination"), (5, "destination")]
    assert "row 2" in error.details["problems"][3]["message"]


def test_one_balance_under_two_names_is_repeated(ledger: Ledger) -> None:
    _give(ledger, A=1)
    rows = [("@A", 1), (ledger.balance("@A").balance_id, 1)]
    assert _bad_rows(_refused(ledger, *rows)) == [(2, "destination")]
    job = _create(ledger, *rows, allow_duplicates=True)
    _advance(ledger)
    assert _pairs(ledger, job) == [("@A", 1), ("@A", 1)]


@pytest.mark.parametrize("csv_row", ["@,1", "@A,1"], ids=["wrong", "repeated"])
def test_a_hundred_problems_are_listed_and_all_are_counted(ledger: Ledger, csv_row: str) -> None:
    error = _refused(ledger, csv="destination,amount\n" + f"{csv_row}\n" * 2500)
    listed, count = error.details["problems"], error.details["problem_count"]
    assert (len(listed), count) == (100, 2500 if csv_row == "@,1" else 2499)
    assert [each["row"] for each in listed] == [*range(2, 102)] if csv_row == "@,1" else [*range(3, 103)]
    assert f"and {count - 1} more" in error.message


def test_the_pool_is_refused_as_a_destination_before_it_is_there(ledger: Ledger) -> None:
    assert _bad_rows(_refused(ledger, ("@A", 1), ("@Pool", 1))) == [(2, "destination")]


@pytest.mark.parametrize("csv", ["destination,amount\n", "destination,amount\n\n,\n"])
def test_a_file_without_rows_is_refused(ledger: Ledger, csv: str) -> None:
    assert "cannot be empty" in _refused(ledger, csv=csv).message


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": " "}, "name"),
        ({"source": None}, "source"),
        ({"source": "@"}, "source"),
        ({"currency": None}, "currency"),
        ({"recipients": []}, "recipients"),
        ({"recipients": None}, "recipients"),
        ({"rule": FundingRule(ledger_id="x", amount=Decimal(1))}, "recipients"),
        ({"recipients": None, "rule": FundingRule(amount=Decimal(1))}, "rule"),
        ({"recipients": None, "rule": FundingRule(ledger_id="x", amount=Decimal(0))}, "rule.amount"),
        ({"recipients": None, "rule": FundingRule(ledger_id="x", precise_top_up_to="x")}, "rule.precise_top_up_to"),
        ({"recipients": None, "rule": FundingRule(ledger_id="x")}, "rule.amount"),
        ({"recipients": None, "rule": FundingRule(filters=[], amount=Decimal(1))}, "rule.filters"),
        ({"until_limit": True}, "until_limit"),
        ({"until_limit": True, "atomic": True, "overdraft_limit": Decimal(1)}, "until_limit"),
        ({"overdraft_limit": Decimal(-1)}, "overdraft_limit"),
        ({"overdraft_limit": Decimal("0.001")}, "overdraft_limit"),
        ({"precision": Decimal("1.5")}, "precision"),
        ({"at": "tomorrow"}, "at"),
        ({"at": (NOW - timedelta(hours=1)).isoformat()}, "at"),
        ({"at": SOON.isoformat(), "cron": HOURLY}, "cron"),
        ({"count": 2}, "count"),
        ({"cron": HOURLY, "count": 0}, "count"),
        ({"cron": HOURLY, "ends_at": NOW.isoformat()}, "ends_at"),
        ({"missed": "perhaps"}, "missed"),
        ({"inflight_commit_date": SOON.isoformat()}, "inflight_commit_date"),
        ({"inflight": True, "inflight_commit_after_s": 0}, "inflight_commit_after_s"),
        ({"reference": "a\x00"}, "reference"),
    ],
)
def test_a_term_that_is_wrong_is_named_and_nothing_is_kept(ledger: Ledger, fields: dict[str, Any], named: str) -> None:
    error = _refused(ledger, ("@A", 1), **fields)
    assert named in [field for field, _ in error.problems]


def test_a_rule_about_a_ledger_that_is_not_there_is_refused(ledger: Ledger) -> None:
    with pytest.raises(NotFound) as caught:
        _create(ledger, rule=FundingRule(ledger_id="ldg_none", amount=Decimal(1)))
    assert caught.value.code == "LGR_NOT_FOUND"


def test_a_source_that_is_not_there_is_refused(ledger: Ledger) -> None:
    with pytest.raises(NotFound) as caught:
        _create(ledger, ("@A", 1), source=new_id("bln_"))
    assert caught.value.code == "BAL_NOT_FOUND"


def test_a_precision_that_the_currency_does_not_have_is_refused(ledger: Ledger) -> None:
    _give(ledger, Pool=1)
    assert _refused(ledger, ("@A", 1), precision=Decimal(1000)).code == "TXN_PRECISION_MISMATCH"


def test_a_job_fixes_the_precision_of_a_new_currency_and_makes_its_pool(ledger: Ledger) -> None:
    job = _create(ledger, ("@A", 1), currency="JPY", precision=Decimal(1))
    assert (job.indicator, job.precision) == ("@Pool", 1)
    _advance(ledger)
    assert ledger.balance("@A", "JPY").balance == 1
    assert Directory(ledger.engine).precision("JPY") == 1


def test_a_new_name_is_made_once_for_many_rows(ledger: Ledger) -> None:
    before = _kept(ledger)[_TABLES.index("balances")]
    rows = [(f"@N{number % 3}", 1) for number in range(2500)]
    job = _create(ledger, *rows, allow_duplicates=True)
    assert _kept(ledger)[_TABLES.index("balances")] == before + 4
    _advance(ledger)
    assert _pairs(ledger, job) == rows
    assert [_sum(ledger, f"@N{number}") for number in range(3)] == [834, 833, 833]


def test_a_list_makes_no_more_new_names_than_allowed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipients, "MAX_NEW_NAMES", 3)
    rows = [("@N1", 1), ("@N2", 1), ("@N3", 1), ("@N4", 1), ("@N1", 1), ("@N5", 1)]
    assert _bad_rows(_refused(ledger, *rows, allow_duplicates=True)) == [(4, "destination"), (6, "destination")]
    _give(ledger, N4=1, N5=1)
    _create(ledger, *rows, allow_duplicates=True)


def test_the_memory_does_not_grow_with_the_list(ledger: Ledger) -> None:
    rows = 20_000
    _, (balance,) = _group(ledger, "USD")
    given_ = (Given(row, balance, Decimal(1), None, f"{row:0200}", None) for row in range(1, rows + 1))
    request = _request(allow_duplicates=True)
    _refused(ledger, ("@", 1))  # What is made once is not to be measured.
    tracemalloc.start()
    funding.create(ledger.engine, request, given_, ledger.directory, NOW)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows * 200 / 2
    with begin(ledger.engine) as conn:
        conn.execute(text("UPDATE funding_runs SET status = 'CANCELLED'"))


# Rows are posted


def test_each_row_is_one_transaction_that_names_job_occurrence_and_row(ledger: Ledger) -> None:
    csv = "destination,amount,description\n@A,1.50,\n\n@B,2,lunch\n"
    made = funding.create(ledger.engine, _request(), recipients.of_csv(BytesIO(csv.encode())), ledger.directory, NOW)
    job = made.job
    assert made.run is not None and made.run.status == "PENDING"
    _advance(ledger)
    run = _run(ledger, job)
    assert _of_run(ledger, run) == [
        (f"{job.job_id}_now_2", "@A", 150, APPLIED),
        (f"{job.job_id}_now_4", "@B", 200, APPLIED),
    ]
    assert (run.status, run.row_count, run.amount, run.posted, run.posted_amount) == ("COMPLETED", 2, 350, 2, 350)
    with reading(ledger.engine) as conn:
        texts = conn.execute(text("SELECT description FROM log ORDER BY seq")).scalars().all()
    assert texts == ["wallets", "lunch"]
    assert _sum(ledger, "@Pool") == -350


def test_metadata_of_a_row_is_that_of_its_transaction(ledger: Ledger) -> None:
    _create(ledger, recipients=[Recipient(destination="@A", precise_amount=1, meta_data=Raw(b'{"a":\t"\\n\\\\"}'))])
    _advance(ledger)
    with reading(ledger.engine) as conn:
        assert conn.execute(text("SELECT meta_data FROM log")).scalar_one() == {"a": "\n\\"}


@pytest.mark.parametrize("rows", [1, 4, 5, 6, 10, 11])
def test_a_run_takes_as_many_pieces_as_it_needs(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    _pieces_of(monkeypatch, 5)
    job = _create(ledger, *_many(rows))
    _advance(ledger)
    assert _pairs(ledger, job) == _many(rows)
    assert _statuses(ledger, job) == ["COMPLETED"]


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.parametrize("squatted", [[2], [1, 2, 3], [3, 5]])
@pytest.mark.parametrize("alike", [True, False])
def test_a_row_whose_reference_is_squatted_is_posted_all_the_same_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, atomic: bool, squatted: list[int], alike: bool
) -> None:
    if not atomic:
        _pieces_of(monkeypatch, 3)
    job = _create(ledger, *_many(5), atomic=atomic)
    for row in squatted:
        name = f"@W{row - 1}"
        reference = f"{job.job_id}_now_{row}"
        ledger.post(
            source="@Pool", destination=name, reference=reference, description="wallets" if alike else "something else"
        )
    _advance(ledger)
    assert _pairs(ledger, job) == _many(5)
    assert [row.reference.startswith(job.job_id) for row in _of_job(ledger, job)] == [
        row not in squatted for row in range(1, 6)
    ]
    run = _run(ledger, job)
    assert _counts(ledger, job, run)[1:4] == (5, 5, {})
    assert _sum(ledger, "@Pool") == -5 - len(squatted)


def test_a_reference_that_a_scheduled_transaction_has_is_left_to_it(ledger: Ledger) -> None:
    job = _create(ledger, *_many(2))
    at = datetime.now(UTC) + timedelta(hours=1)
    ledger.post(reference=f"{job.job_id}_now_1", scheduled_for=at.isoformat())
    _advance(ledger)
    assert _pairs(ledger, job) == _many(2)
    due.accept_due(ledger.engine, at)
    assert ledger.drain() is None
    assert _sum(ledger, "@A") == 1


def test_the_database_refuses_a_second_posting_of_a_row(ledger: Ledger) -> None:
    job = _create(ledger, *_many(1))
    _advance(ledger)
    run = _run(ledger, job)
    row = funding_store.FundingRow(1, 1, 1, None, None)
    with pytest.raises(psycopg.errors.UniqueViolation), begin(ledger.engine) as conn:
        funding_store.post_rows(conn, run.id, [(row, 99)], NOW)


# Whatever dies


class Died(BaseException):
    """As if the process had been killed: nothing catches it."""


@contextmanager
def _dying(monkeypatch: pytest.MonkeyPatch, commit: int, *, before: bool) -> Iterator[None]:
    """Die right before or after this commit of a run, or of the decisions between its pieces."""
    numbers = itertools.count()

    @contextmanager
    def begin_and_die(engine: Engine) -> Iterator[Connection]:
        number = next(numbers)
        with begin(engine) as conn:
            yield conn
            if before and number == commit:
                raise Died
        if number == commit:
            raise Died

    with monkeypatch.context() as patched:
        patched.setattr(runs, "begin", begin_and_die)
        patched.setattr(drain, "begin", begin_and_die)
        yield


@pytest.mark.parametrize("before", [True, False], ids=["before the commit", "after the commit"])
@pytest.mark.parametrize("fields", [{}, {"overdraft_limit": Decimal(1)}, {"atomic": True}], ids=str)
def test_each_row_is_posted_once_whenever_the_process_dies(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, before: bool, fields: dict[str, Any]
) -> None:
    _pieces_of(monkeypatch, 3)
    deaths = 0
    for commit in itertools.count():
        ledger.post(source="@Pool")  # Something to be decided before the run starts.
        job = _create(ledger, *_many(8), at=SOON.isoformat(), **fields)
        try:
            with _dying(monkeypatch, commit, before=before):
                _advance(ledger, SOON)
            died = False
        except Died:
            died = True
        deaths += died
        _advance(ledger, SOON)
        assert _pairs(ledger, job) == _many(8)
        prefix = f"{job.job_id}_2030-01-01T13:00:00Z"
        assert [row.reference for row in _of_job(ledger, job)] == [f"{prefix}_{row}" for row in range(1, 9)]
        assert _statuses(ledger, job) == ["COMPLETED"]
        ledger.post(source="@World", destination="@Pool", precise_amount=9)
        ledger.drain()
        assert _sum(ledger, "@Pool") == 0
        if not died:
            break
    assert deaths >= 7


def test_two_who_advance_at_once_and_two_more_post_each_row_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, threads: ThreadPoolExecutor
) -> None:
    _pieces_of(monkeypatch, 7)
    jobs = [_create(ledger, *_many(40), at=SOON.isoformat()) for _ in range(3)]
    jobs.append(_create(ledger, *_many(40), at=SOON.isoformat(), overdraft_limit=Decimal(10), source="@Other"))
    together = threading.Barrier(4)

    def advance_until_all_is_done() -> int:
        together.wait()
        claimed = 0
        while any(_job(ledger, job).next_due or _job(ledger, job).unfinished for job in jobs):
            claimed += runs.advance(ledger.engine, now=SOON, for_s=0.01).claimed
        return claimed

    claimed = [future.result() for future in [threads.submit(advance_until_all_is_done) for _ in range(4)]]
    assert sum(claimed) == 4
    for job in jobs:
        assert _pairs(ledger, job) == _many(40)
        assert _statuses(ledger, job) == ["COMPLETED"]
    assert (_sum(ledger, "@Pool"), _sum(ledger, "@Other"), _sum(ledger, "@W39")) == (-120, -40, 4)


@pytest.mark.parametrize("seed", range(max(1, EXAMPLES // 25)))
def test_any_changes_of_jobs_while_runs_go_on_and_transactions_are_lost_leave_each_row_posted_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, threads: ThreadPoolExecutor, seed: int
) -> None:
    _pieces_of(monkeypatch, 5)
    _give(ledger, Pool=300)
    jobs = [_create(ledger, *_many(23), cron=HOURLY, missed="all", count=3) for _ in range(2)]
    jobs.append(_create(ledger, *_many(23), allow_overdraft=False, until_limit=True))
    jobs.append(
        _create(ledger, rule=FundingRule(filters=[FilterClause("indicator", "like", "@W%")], precise_top_up_to=9))
    )
    stop = threading.Event()

    def attempt(do: Callable[[], Any]) -> None:
        with suppress(TransientError, Conflict):
            do()

    def advance() -> None:
        while not stop.is_set():
            attempt(lambda: runs.advance(ledger.engine, now=NOW + timedelta(hours=4), for_s=0.02))

    def change() -> None:
        dice = Random(seed)
        for number in range(60):
            job = dice.choice(jobs)
            match dice.randrange(7):
                case 0 | 1:
                    attempt(partial(funding.pause, ledger.engine, job.job_id))
                case 2 | 3:
                    attempt(partial(funding.resume, ledger.engine, job.job_id, NOW))
                case 4:
                    attempt(partial(funding.run_now, ledger.engine, job.job_id, f"r{number}", NOW))
                case 5 if number > 40:
                    attempt(partial(funding.cancel, ledger.engine, job.job_id, NOW))
                case _:
                    attempt(lambda: _cancel_a_statement(ledger.engine, dice))

    advancing = [threads.submit(advance) for _ in range(2)]
    try:
        change()
    finally:
        stop.set()
    for future in advancing:
        future.result()
    for job in jobs:
        attempt(partial(funding.resume, ledger.engine, job.job_id, NOW))
    _advance(ledger, NOW + timedelta(hours=4))
    assert {status for job in jobs for status in _statuses(ledger, job)} <= {"COMPLETED", "CANCELLED"}
    for job in jobs:
        for run in _runs(ledger, job):
            if run.status == "COMPLETED" and (rejected := _counts(ledger, job, run).rejected):
                assert set(rejected) == {RejectReason.INSUFFICIENT_FUNDS}
                attempt(partial(funding.retry, ledger.engine, job.job_id, run.run_id, NOW))
    _advance(ledger, NOW + timedelta(hours=4))


def _cancel_a_statement(engine: Engine, dice: Random) -> None:
    """Of somebody who is in a transaction, which is then lost."""
    sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < now()"
    with begin(engine) as conn:
        if pids := conn.execute(text(sql)).scalars().all():
            conn.execute(text("SELECT pg_cancel_backend(:pid)"), {"pid": dice.choice(pids)})


def test_two_who_claim_at_once_make_one_run_of_an_occurrence(ledger: Ledger, threads: ThreadPoolExecutor) -> None:
    jobs = [_create(ledger, ("@A", 1), at=SOON.isoformat()) for _ in range(10)]
    together = threading.Barrier(4)

    def claim_all() -> int:
        together.wait()
        return sum(1 for _ in iter(lambda: runs.claim(ledger.engine, SOON, Progress()), False))

    assert sum(future.result() for future in [threads.submit(claim_all) for _ in range(4)]) == 10
    assert [_statuses(ledger, job) for job in jobs] == [["PENDING"]] * 10
    assert {_job(ledger, job).runs_made for job in jobs} == {1}


def test_a_job_that_somebody_has_locked_does_not_keep_the_others_waiting(ledger: Ledger) -> None:
    first, second = (_create(ledger, ("@A", 1), at=SOON.isoformat()) for _ in range(2))
    with begin(ledger.engine) as conn:
        funding_store.find_job(conn, first.job_id, lock=True)
        assert _advance(ledger, SOON).claimed == 1
        assert (_statuses(ledger, first), _statuses(ledger, second)) == ([], ["COMPLETED"])
    _advance(ledger, SOON)
    assert _statuses(ledger, first) == ["COMPLETED"]


def test_a_run_starts_though_what_came_before_it_takes_a_whole_turn_to_decide(ledger: Ledger) -> None:
    job = _create(ledger, ("@A", 1), overdraft_limit=Decimal(10))
    for _ in range(20):
        ledger.post(source="@Pool")
        runs.advance(ledger.engine, now=NOW, for_s=0)
    assert _statuses(ledger, job) == ["COMPLETED"]


# Occurrences


def test_a_job_waits_for_its_time_and_is_then_claimed_once(ledger: Ledger) -> None:
    job = _create(ledger, ("@A", 1), at=SOON.isoformat())
    assert _advance(ledger, SOON - timedelta(seconds=1)).claimed == 0
    assert _advance(ledger, SOON).claimed == 1
    assert _advance(ledger, LATER).claimed == 0
    job = _job(ledger, job)
    assert (job.next_due, job.runs_made, funding.status_of(job), _run(ledger, job).due_at) == (
        None,
        1,
        "FINISHED",
        SOON,
    )


@pytest.mark.parametrize(("missed", "hours", "skipped"), [("skip", [3], 2), ("once", [3], 2), ("all", [1, 2, 3], 0)])
def test_after_a_downtime_a_job_runs_as_it_was_told(
    ledger: Ledger, missed: str, hours: list[int], skipped: int
) -> None:
    job = _create(ledger, ("@A", 1), cron=HOURLY, missed=missed)
    now = NOW + timedelta(hours=3, seconds=30)
    _advance(ledger, now)
    assert [run.due_at for run in _runs(ledger, job)] == [NOW + timedelta(hours=hour) for hour in hours]
    assert _statuses(ledger, job) == ["COMPLETED"] * len(hours)
    job = _job(ledger, job)
    assert (job.runs_made, job.skipped, job.next_due) == (len(hours), skipped, NOW + timedelta(hours=4))
    assert len({row.reference for row in _of_job(ledger, job)}) == len(hours)


def test_what_is_too_late_is_skipped_where_that_is_wanted(ledger: Ledger) -> None:
    job = _create(ledger, ("@A", 1), cron=HOURLY, missed="skip")
    _advance(ledger, NOW + timedelta(hours=3, minutes=5))
    assert _runs(ledger, job) == []
    assert (_job(ledger, job).skipped, _job(ledger, job).next_due) == (3, NOW + timedelta(hours=4))


def test_a_job_ends_after_its_count(ledger: Ledger) -> None:
    job = _create(ledger, ("@A", 1), cron=HOURLY, count=3, missed="all")
    for hours in (2, 9, 20):
        _advance(ledger, NOW + timedelta(hours=hours))
    job = _job(ledger, job)
    assert [run.due_at.hour for run in _runs(ledger, job)] == [13, 14, 15]
    assert (job.next_due, funding.status_of(job), funding.next_occurrences(job)) == (None, "FINISHED", [])
    assert _sum(ledger, "@A") == 3


def test_a_job_ends_with_its_last_day_and_that_moment_counts(ledger: Ledger) -> None:
    job = _create(ledger, ("@A", 1), cron=HOURLY, ends_at=(NOW + timedelta(hours=2)).isoformat(), missed="all")
    assert funding.next_occurrences(job) == [NOW + timedelta(hours=1), NOW + timedelta(hours=2)]
    _advance(ledger, LATER)
    assert [run.due_at.hour for run in _runs(ledger, job)] == [13, 14]
    assert funding.status_of(_job(ledger, job)) == "FINISHED"


def test_the_next_occurrences_are_those_that_come_and_no_more_than_the_count(ledger: Ledger) -> None:
    job = _create(ledger, ("@A", 1), cron=HOURLY)
    assert funding.next_occurrences(job) == [NOW + timedelta(hours=hour) for hour in range(1, 11)]
    job = _create(ledger, ("@A", 1), cron=HOURLY, count=3)
    _advance(ledger, SOON)
    assert funding.next_occurrences(_job(ledger, job)) == [NOW + timedelta(hours=hour) for hour in (2, 3)]


def test_a_paused_job_claims_and_posts_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    _pieces_of(monkeypatch, 2)
    waiting = _create(ledger, ("@A", 1), at=SOON.isoformat())
    running = _create(ledger, *_many(5))
    _steps(ledger, 2)
    for job in (waiting, running):
        funding.pause(ledger.engine, job.job_id)
        assert funding.pause(ledger.engine, job.job_id).status == "PAUSED"
    progress = _advance(ledger, LATER)
    assert (progress.claimed, progress.posted) == (0, 0)
    assert (len(_runs(ledger, waiting)), _pairs(ledger, running)) == (0, _many(2))
    assert funding.status_of_run(_job(ledger, running), _run(ledger, running)) == "PAUSED"
    for job in (waiting, running):
        assert funding.resume(ledger.engine, job.job_id, LATER).status == "ACTIVE"
    _advance(ledger, LATER)
    assert (len(_of_job(ledger, waiting)), _pairs(ledger, running)) == (1, _many(5))


def test_what_came_while_a_job_was_paused_is_skipped(ledger: Ledger) -> None:
    job = _create(ledger, ("@A", 1), cron=HOURLY, missed="all", count=2)
    funding.pause(ledger.engine, job.job_id)
    resumed = funding.resume(ledger.engine, job.job_id, NOW + timedelta(hours=3, minutes=1))
    assert (resumed.next_due, resumed.skipped, resumed.runs_made) == (NOW + timedelta(hours=4), 3, 0)
    again = funding.resume(ledger.engine, job.job_id, NOW + timedelta(hours=6))  # It is not paused.
    assert (again.next_due, again.skipped) == (NOW + timedelta(hours=4), 3)
    _advance(ledger, NOW + timedelta(hours=6))
    assert [run.due_at.hour for run in _runs(ledger, job)] == [16, 17]


def test_a_single_time_that_came_while_its_job_was_paused_still_comes(ledger: Ledger) -> None:
    job = _create(ledger, ("@A", 1), at=SOON.isoformat())
    funding.pause(ledger.engine, job.job_id)
    assert funding.resume(ledger.engine, job.job_id, LATER).next_due == SOON
    _advance(ledger, LATER)
    assert _statuses(ledger, job) == ["COMPLETED"]


def test_what_is_not_posted_of_a_cancelled_job_stays_unposted(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    _pieces_of(monkeypatch, 2)
    job = _create(ledger, *_many(5))
    _steps(ledger, 2)
    assert funding.cancel(ledger.engine, job.job_id, NOW).status == "CANCELLED"
    assert funding.cancel(ledger.engine, job.job_id, LATER).status == "CANCELLED"
    _advance(ledger, LATER)
    run = _run(ledger, job)
    assert (run.status, run.ended_at, run.posted, _pairs(ledger, job)) == ("CANCELLED", NOW, 2, _many(2))
    assert _counts(ledger, job, run).unposted == 3
    for change in (funding.pause, lambda engine, id: funding.resume(engine, id, NOW)):
        with pytest.raises(Conflict):
            change(ledger.engine, job.job_id)
    with pytest.raises(Conflict):
        funding.run_now(ledger.engine, job.job_id, None, NOW)


def test_a_job_that_is_cancelled_before_its_time_never_comes(ledger: Ledger) -> None:
    job = _create(ledger, ("@A", 1), cron=HOURLY)
    assert funding.cancel(ledger.engine, job.job_id, NOW).next_due is None
    assert _advance(ledger, LATER).claimed == 0
    assert _runs(ledger, job) == []


@pytest.mark.parametrize("change", ["cancel", "pause"])
def test_a_job_is_not_stopped_in_the_middle_of_a_piece_and_nothing_is_posted_after_the_answer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, threads: ThreadPoolExecutor, change: str
) -> None:
    _pieces_of(monkeypatch, 2)
    job = _create(ledger, *_many(5))
    _steps(ledger, 1)

    def stop() -> int:
        if change == "cancel":
            funding.cancel(ledger.engine, job.job_id, NOW)
        else:
            funding.pause(ledger.engine, job.job_id)
        return _run(ledger, job).posted

    with begin(ledger.engine) as conn:
        found = funding_store.lock_next_run(conn)
        assert found is not None
        runs._advance_run(conn, *found, NOW, Progress())
        stopping = start_until_blocked(ledger.engine, threads, stop)
        assert not stopping.done()
    assert stopping.result() == 2
    _advance(ledger)
    assert _pairs(ledger, job) == _many(2)


def test_a_run_that_meets_a_cancellation_in_the_making_posts_nothing(
    ledger: Ledger, threads: ThreadPoolExecutor
) -> None:
    job, other = (_create(ledger, *_many(5)) for _ in range(2))
    with begin(ledger.engine) as conn:
        funding_store.find_job(conn, job.job_id, lock=True)
        advancing = start_until_blocked(ledger.engine, threads, lambda: _advance(ledger))
        assert [run.job for run in advancing.result().ended] == [other.id]
        funding_store.cancel_runs(conn, job.id, NOW)
        funding_store.update_job(conn, job.id, status="CANCELLED", next_due=None, runs_made=0, skipped=0)
    assert _advance(ledger).posted == 0
    assert _statuses(ledger, job) == ["CANCELLED"]


@pytest.mark.parametrize("rows", [2, 3])
def test_a_run_that_is_posted_whole_is_completed_whatever_becomes_of_its_job(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    _pieces_of(monkeypatch, 3)
    job = _create(ledger, *_many(rows))
    _steps(ledger, 2)
    funding.cancel(ledger.engine, job.job_id, NOW)
    _advance(ledger)
    assert _statuses(ledger, job) == ["COMPLETED"]
    job = _create(ledger, *_many(rows))
    _steps(ledger, 2)
    funding.pause(ledger.engine, job.job_id)
    _advance(ledger)
    assert _statuses(ledger, job) == ["COMPLETED"]


def test_a_job_whose_zone_is_known_no_more_is_paused_and_does_not_stop_the_others(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = _create(ledger, ("@A", 1), cron=HOURLY, timezone="Europe/Berlin")
    others = [_create(ledger, ("@B", 1), cron=HOURLY, count=1) for _ in range(3)]
    real = schedule.due

    def due_or_lost(schedule_: schedule.Schedule, **arguments: Any) -> Due:
        if schedule_.zone != "UTC":
            raise LookupError("No time zone found with key Europe/Berlin")
        return real(schedule_, **arguments)

    monkeypatch.setattr(schedule, "due", due_or_lost)
    with pytest.raises(LookupError, match="Europe/Berlin"):
        _advance(ledger, SOON)
    assert [_statuses(ledger, job) for job in others] == [["COMPLETED"]] * 3
    assert (_job(ledger, lost).status, _job(ledger, lost).next_due) == ("PAUSED", SOON)
    _advance(ledger, SOON)  # It is not found again.
    monkeypatch.undo()
    funding.resume(ledger.engine, lost.job_id, SOON - timedelta(seconds=1))
    _advance(ledger, SOON)
    assert _statuses(ledger, lost) == ["COMPLETED"]


def test_a_run_that_fails_does_not_stop_the_others_and_is_told(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    _pieces_of(monkeypatch, 2)
    bad = _create(ledger, *_many(9))
    others = [_create(ledger, *_many(9)) for _ in range(2)]
    real = runs._post

    def post_or_fail(conn: Connection, job: JobRow, *rest: Any) -> Any:
        if job.id == bad.id:
            raise ZeroDivisionError
        return real(conn, job, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(runs, "_post", post_or_fail)
        with pytest.raises(ZeroDivisionError):
            _advance(ledger)
    assert [_statuses(ledger, job) for job in (bad, *others)] == [["POSTING"], ["COMPLETED"], ["COMPLETED"]]
    _advance(ledger)
    assert _pairs(ledger, bad) == _many(9)


# Turns


def test_the_runs_of_a_job_follow_each_other(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    _pieces_of(monkeypatch, 2)
    job = _create(ledger, *_many(5), cron=HOURLY, missed="all")
    assert runs.claim(ledger.engine, NOW + timedelta(hours=3), Progress())
    funding.run_now(ledger.engine, job.job_id, None, NOW + timedelta(hours=3, minutes=1))
    open_ = ("PENDING", "COMPLETED")
    progress = Progress()
    while runs.step(ledger.engine, LATER, progress):
        statuses = _statuses(ledger, job)
        assert sum(status not in open_ for status in statuses) <= 1
        assert statuses == sorted(statuses, key=lambda status: (status != "COMPLETED", status == "PENDING"))
    assert _statuses(ledger, job) == ["COMPLETED"] * 4
    assert _pairs(ledger, job) == _many(5) * 4


def test_a_run_that_has_begun_is_not_overtaken_by_one_that_was_due_before_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pieces_of(monkeypatch, 1)
    job = _create(ledger, *_many(3), cron=HOURLY)
    funding.run_now(ledger.engine, job.job_id, None, SOON + timedelta(milliseconds=200))
    _steps(ledger, 2, SOON + timedelta(milliseconds=300))
    assert runs.claim(ledger.engine, SOON + timedelta(seconds=1), Progress())
    _steps(ledger, 1)
    assert [(run.status, run.posted) for run in _runs(ledger, job)] == [("POSTING", 2), ("PENDING", 0)]
    _advance(ledger, SOON)
    assert _statuses(ledger, job) == ["COMPLETED"] * 2


def test_a_run_is_completed_when_all_that_it_posted_is_decided(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    job = _create(ledger, *_many(3), cron=HOURLY, missed="all")
    assert runs.claim(ledger.engine, NOW + timedelta(hours=2), Progress())
    with monkeypatch.context() as patched:
        patched.setattr(drain, "drain_until", lambda *arguments, **named: set())
        _steps(ledger, 5)
    assert _statuses(ledger, job) == ["POSTED", "PENDING"]
    _advance(ledger)
    assert _statuses(ledger, job) == ["COMPLETED", "COMPLETED"]


def test_a_huge_run_and_a_small_one_take_turns(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    _pieces_of(monkeypatch, 2)
    huge = _create(ledger, *_many(60))
    _steps(ledger, 4)
    small = [_create(ledger, *_many(6)) for _ in range(2)]
    progress = Progress()
    for minute in range(16):
        assert runs.step(ledger.engine, NOW + timedelta(minutes=minute), progress)
    assert [_run(ledger, job).posted for job in small] == [6, 6]
    assert 8 < _run(ledger, huge).posted <= 20
    _advance(ledger, LATER)
    assert _statuses(ledger, huge) == ["COMPLETED"]


def test_whoever_advances_stops_after_its_time_and_says_that_there_is_more(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pieces_of(monkeypatch, 2)
    job = _create(ledger, *_many(9))
    ticks = itertools.count()
    progress = runs.advance(ledger.engine, now=NOW, for_s=3, clock=lambda: next(ticks))
    assert (progress.more, progress.posted) == (True, 4)
    assert not _advance(ledger).more
    assert _pairs(ledger, job) == _many(9)


# The limit


def test_a_run_beyond_the_limit_is_refused_before_its_first_row_with_the_sum(ledger: Ledger) -> None:
    _give(ledger, Pool=100)
    job = _create(ledger, ("@A", 100), ("@B", 51), overdraft_limit=Decimal("0.50"))
    progress = _advance(ledger)
    run = _run(ledger, job)
    assert (run.status, run.posted, run.ended_at) == ("REFUSED", 0, NOW)
    assert [each.status for each in progress.ended] == ["REFUSED"]
    assert run.refusal is not None and json.loads(run.refusal) == {
        "reason": "LIMIT",
        "message": "the run needs 1.51 USD, and the pool can pay 1.5; row 2 is the first that is too much",
        "requested": 151,
        "available": 150,
        "short_by": 1,
        "first_row": 2,
    }
    with pytest.raises(Conflict):
        funding.retry(ledger.engine, job.job_id, run.run_id, NOW)
    _give(ledger, Pool=1)
    funding.run_now(ledger.engine, job.job_id, None, SOON)
    _advance(ledger, SOON)
    assert _statuses(ledger, job) == ["REFUSED", "COMPLETED"]


@pytest.mark.parametrize("on_the_way", ["@Pool", "@World"])
def test_what_is_accepted_before_a_run_starts_counts_though_it_is_still_in_line(
    ledger: Ledger, on_the_way: str
) -> None:
    _give(ledger, Pool=100)
    job = _create(ledger, ("@A", 100), allow_overdraft=False, at=SOON.isoformat())
    ledger.post(source=on_the_way, destination="@World" if on_the_way == "@Pool" else "@Pool", precise_amount=1)
    if on_the_way == "@World":
        ledger.post(source="@Pool", destination="@B", precise_amount=1)
    _advance(ledger, SOON)
    assert _statuses(ledger, job) == ["REFUSED" if on_the_way == "@Pool" else "COMPLETED"]


def test_an_atomic_run_is_decided_as_one(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    _pieces_of(monkeypatch, 2)
    _give(ledger, Pool=5)
    job = _create(ledger, *_many(5), atomic=True, allow_overdraft=False)
    progress = Progress()
    _steps(ledger, 1)
    with monkeypatch.context() as patched:
        patched.setattr(drain, "drain_until", lambda *arguments, **named: set())
        assert runs.step(ledger.engine, NOW, progress)
    assert progress.posted == 5
    # Too late for the run to be refused, but its rows were accepted before.
    ledger.post(source="@Pool", precise_amount=1)
    _advance(ledger)
    with reading(ledger.engine) as conn:
        groups = conn.execute(text("SELECT DISTINCT group_first, group_last FROM log WHERE parent LIKE 'run%'")).all()
    assert len(groups) == 1 and groups[0].group_last - groups[0].group_first == 4
    assert [row.status for row in _of_job(ledger, job)] == [APPLIED] * 5


def _short_of_money(ledger: Ledger, job: JobRow, *, leaving: int, now: datetime = NOW) -> RunRow:
    """Start the job's next run, and take the pool's money away before its rows are posted."""
    progress = Progress()
    assert runs.step(ledger.engine, now, progress)
    run = _runs(ledger, job)[-1]
    assert run.status == "POSTING"
    ledger.post(source="@Pool", destination="@World", precise_amount=_sum(ledger, "@Pool") - leaving)
    _advance(ledger, now)
    return _runs(ledger, job)[-1]


@pytest.mark.parametrize("atomic", [True, False])
def test_money_that_goes_while_a_run_is_under_way_is_missing_to_some_rows_or_to_all_of_an_atomic_run(
    ledger: Ledger, atomic: bool
) -> None:
    _give(ledger, Pool=50)
    job = _create(ledger, *_many(5, 10), allow_overdraft=False, atomic=atomic)
    run = _short_of_money(ledger, job, leaving=20)
    short, group = RejectReason.INSUFFICIENT_FUNDS, RejectReason.ATOMIC_GROUP
    counts = _counts(ledger, job, run)
    assert counts.rejected == ({short: 1, group: 4} if atomic else {short: 3})
    assert (counts.total, counts.accepted, counts.applied, counts.undecided) == (5, 5, 0 if atomic else 2, 0)
    assert (run.status, counts.applied_amount, _sum(ledger, "@Pool")) == (
        "COMPLETED",
        *((0, 20) if atomic else (20, 0)),
    )


def test_an_atomic_job_has_no_more_rows_than_are_decided_as_one(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(funding, "MAX_ATOMIC", 3)
    assert [field for field, _ in _refused(ledger, *_many(4), atomic=True).problems] == ["atomic"]
    ledger_id, _ = _group(ledger, *["USD"] * 3)
    job = _create(ledger, rule=FundingRule(ledger_id=ledger_id, precise_amount=1), atomic=True)
    _advance(ledger)
    with begin(ledger.engine) as conn:
        _balance(conn, ledger_id)
    funding.run_now(ledger.engine, job.job_id, None, SOON)
    _advance(ledger, SOON)
    assert _statuses(ledger, job) == ["COMPLETED", "REFUSED"]
    refusal = json.loads(_runs(ledger, job)[1].refusal or "")
    assert refusal["reason"] == "TOO_MANY_ROWS"


_amounts = st.integers(1, 9)
_limits = st.sampled_from([(True, None), (True, 0), (True, 7), (True, 20), (False, None), (False, 0), (False, 5)])


@SEARCH
@given(
    amounts=st.lists(_amounts, min_size=1, max_size=8),
    limit=_limits,
    until_limit=st.booleans(),
    atomic=st.booleans(),
    decided=st.integers(-10, 30),
    held=st.integers(0, 5),
    in_line=st.lists(st.integers(-9, 9).filter(bool), max_size=4),
    piece=st.integers(1, 4),
)
def test_any_run_funds_what_plain_arithmetic_says_and_its_rehearsal_says_the_same(
    ledger: Ledger,
    amounts: list[int],
    limit: tuple[bool, int | None],
    until_limit: bool,
    atomic: bool,
    decided: int,
    held: int,
    in_line: list[int],
    piece: int,
) -> None:
    allow, most = limit
    until_limit = until_limit and not atomic and not (allow and most is None)
    pool = f"@Pool{next(_numbers)}"

    def move(amount: int, **fields: Any) -> None:
        ends = {"source": "@World", "destination": pool} if amount > 0 else {"source": pool, "destination": "@World"}
        if amount:
            ledger.post(**ends, precise_amount=abs(amount), **fields)

    move(decided)
    move(-held, inflight=True)
    ledger.drain()
    request = _request(
        *[(f"@W{number}", amount) for number, amount in enumerate(amounts)],
        source=pool,
        allow_overdraft=allow,
        overdraft_limit=None if most is None else Decimal(most) / 100,
        until_limit=until_limit,
        atomic=atomic,
    )
    job = funding.create(ledger.engine, request, None, ledger.directory, NOW).job
    for amount in in_line:
        move(amount)

    room = None if allow and most is None else decided - held + sum(in_line) + (most or 0)
    fitting = [place for place in range(len(amounts)) if room is None or sum(amounts[: place + 1]) <= room]
    whole = len(fitting) == len(amounts)
    expected = amounts[: len(fitting)] if whole or until_limit else []

    with pytest.MonkeyPatch.context() as patched:
        _pieces_of(patched, piece)
        _advance(ledger)
    run = _run(ledger, job)
    assert run.status == ("COMPLETED" if whole or until_limit else "REFUSED")
    assert [(row.amount, row.status) for row in _of_job(ledger, job)] == [(amount, APPLIED) for amount in expected]
    ledger.drain()
    assert _sum(ledger, pool) == decided + sum(in_line) - sum(expected)


@SEARCH
@given(
    amounts=st.lists(_amounts, min_size=1, max_size=8),
    limit=_limits,
    until_limit=st.booleans(),
    kind=st.sampled_from(["rows", "atomic", "inflight"]),
    pool_has=st.integers(-10, 40),
    repeated=st.booleans(),
    by_rule=st.booleans(),
    at_once=st.integers(1, 3),
)
def test_any_rehearsal_writes_nothing_and_says_what_the_run_then_does(
    ledger: Ledger,
    amounts: list[int],
    limit: tuple[bool, int | None],
    until_limit: bool,
    kind: str,
    pool_has: int,
    repeated: bool,
    by_rule: bool,
    at_once: int,
) -> None:
    allow, most = limit
    pool = f"@Pool{next(_numbers)}"
    if pool_has:
        ends = {"source": "@World", "destination": pool} if pool_has > 0 else {"source": pool, "destination": "@World"}
        ledger.post(**ends, precise_amount=abs(pool_has))
        ledger.drain()
    fields: dict[str, Any] = {}
    rows: list[tuple[str, int]] = []
    if by_rule:
        fields["rule"] = FundingRule(ledger_id=_group(ledger, *["USD"] * len(amounts))[0], precise_top_up_to=amounts[0])
    else:
        names = [f"@W{number % 2 if repeated else number}" for number in range(len(amounts))]
        rows = list(zip(names, amounts, strict=True))
    request = _request(
        *rows,
        source=pool,
        allow_overdraft=allow,
        overdraft_limit=None if most is None else Decimal(most) / 100,
        until_limit=until_limit and kind != "atomic" and not (allow and most is None),
        atomic=kind == "atomic",
        inflight=kind == "inflight",
        allow_duplicates=True,
        **fields,
    )
    before = _kept(ledger)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(funding, "REHEARSED", at_once)
        rehearsal = funding.rehearse(ledger.engine, request, None, Directory(ledger.engine), NOW)
    assert _kept(ledger) == before

    job = funding.create(ledger.engine, request, None, ledger.directory, NOW).job
    _advance(ledger)
    run = _run(ledger, job)
    counts = _counts(ledger, job, run)
    assert (rehearsal.rows, rehearsal.amount, rehearsal.last_row) == (run.row_count, run.amount, run.last_row)
    assert rehearsal.refusal == (None if run.refusal is None else json.loads(run.refusal))
    assert (rehearsal.applied, rehearsal.applied_amount) == (counts.applied, counts.applied_amount)
    assert dict(rehearsal.rejected) == counts.rejected
    assert (rehearsal.pool_before, rehearsal.pool_after) == (pool_has, _sum(ledger, pool))
    if rehearsal.refusal is None:
        assert rehearsal.beyond_limit == counts.unposted


def test_a_rehearsal_of_what_is_new_makes_nothing(ledger: Ledger) -> None:
    before = _kept(ledger)
    request = _request(*_many(3), currency="XYZ", reference="mine", atomic=True)
    rehearsal = funding.rehearse(ledger.engine, request, None, ledger.directory, NOW)
    assert _kept(ledger) == before
    assert (rehearsal.rows, rehearsal.applied, rehearsal.pool_after) == (3, 3, -3)
    assert _create(ledger, *_many(3), currency="XYZ", precision=Decimal(7)).precision == 7


# Rules


def test_a_rule_funds_the_balances_of_a_ledger_in_the_currency_but_not_the_pool(ledger: Ledger) -> None:
    ledger_id, (pool, one, _, two) = _group(ledger, "USD", "USD", "EUR", "USD")
    _, (stranger,) = _group(ledger, "USD")
    job = _create(ledger, source=pool, currency=None, rule=FundingRule(ledger_id=ledger_id, amount=Decimal("1.5")))
    assert (job.row_count, job.amount) == (None, None)
    _advance(ledger)
    assert _pairs(ledger, job) == [(one, 150), (two, 150)]
    assert stranger not in dict(_pairs(ledger, job))


def test_a_rule_by_filters_is_looked_up_when_the_run_starts_and_fixed_then(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pieces_of(monkeypatch, 2)
    _give(ledger, A=5, B=10, C=1, D=2)
    rule = FundingRule(
        filters=[
            FilterClause("balance", "lt", "10"),
            FilterClause("indicator", "in", values=["@A", "@B", "@C", "@D", "@E"]),
        ],
        precise_amount=3,
    )
    job = _create(ledger, rule=rule, at=SOON.isoformat())
    _give(ledger, C=20, E=1)
    assert runs.claim(ledger.engine, SOON, Progress())
    _steps(ledger, 2, SOON)
    _give(ledger, A=100, D=100, E=100)  # Too late to be left out.
    _advance(ledger, SOON)
    assert _pairs(ledger, job) == [("@A", 3), ("@D", 3), ("@E", 3)]


def test_a_rule_that_nothing_matches_is_a_run_of_no_rows(ledger: Ledger) -> None:
    ledger_id, _ = _group(ledger)
    job = _create(ledger, rule=FundingRule(ledger_id=ledger_id, amount=Decimal(1)), allow_overdraft=False)
    _advance(ledger)
    run = _run(ledger, job)
    assert (run.status, run.row_count, run.posted) == ("COMPLETED", 0, 0)


def test_a_run_of_no_rows_asks_nothing_of_a_pool_that_is_below_the_limit(ledger: Ledger) -> None:
    ledger.post(source="@Pool", destination="@World", precise_amount=5)
    ledger_id, _ = _group(ledger, "EUR")
    fields: dict[str, Any] = {"rule": FundingRule(ledger_id=ledger_id, precise_amount=10), "allow_overdraft": False}
    job = _create(ledger, **fields)
    _advance(ledger)
    assert (_sum(ledger, "@Pool"), _statuses(ledger, job)) == (-5, ["COMPLETED"])
    rehearsal = funding.rehearse(ledger.engine, _request(**fields), None, ledger.directory, NOW)
    assert (rehearsal.rows, rehearsal.refusal) == (0, None)


def test_balances_are_topped_up_to_an_amount_and_no_further(ledger: Ledger) -> None:
    ledger_id, (pool, full, above, some, empty, below, euros) = _group(ledger, *["USD"] * 6, "EUR")
    for name, amount in ((full, 100), (above, 101), (some, 40)):
        ledger.post(destination=name, precise_amount=amount)
    ledger.post(source=below, precise_amount=7)
    ledger.post(destination=empty, precise_amount=30, inflight=True)
    ledger.post(source=full, precise_amount=50, inflight=True)
    ledger.drain()
    rule = FundingRule(ledger_id=ledger_id, top_up_to=Decimal(1))
    job = _create(ledger, source=pool, rule=rule)
    _advance(ledger)
    assert _pairs(ledger, job) == [(some, 60), (empty, 70), (below, 107)]
    assert euros not in dict(_pairs(ledger, job))


@pytest.mark.parametrize("inflight", [True, False])
def test_two_runs_at_once_do_not_top_up_twice(ledger: Ledger, inflight: bool) -> None:
    ledger_id, names = _group(ledger, *["USD"] * 3)
    rule = FundingRule(ledger_id=ledger_id, precise_top_up_to=10)
    job = _create(ledger, rule=rule, cron=HOURLY, missed="all", inflight=inflight)
    other = _create(ledger, rule=rule, at=LATER.isoformat())
    ledger.post(destination=names[1], precise_amount=4)  # Still in line when the run comes due.
    _advance(ledger, NOW + timedelta(hours=4))
    _advance(ledger, LATER)
    assert _pairs(ledger, job) == [(names[0], 10), (names[1], 6), (names[2], 10)]
    assert [run.row_count for run in _runs(ledger, job)][:4] == [3, 0, 0, 0]
    assert _pairs(ledger, other) == []


@pytest.mark.parametrize("how", ["taking turns", "paused", "undecided"])
def test_what_another_job_has_yet_to_post_is_not_topped_up_once_more(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    _pieces_of(monkeypatch, 1)
    ledger_id, names = _group(ledger, *["USD"] * 3)
    rule = FundingRule(ledger_id=ledger_id, precise_top_up_to=10)
    first = _create(ledger, rule=rule)
    if how == "paused":
        _steps(ledger, 3)
        funding.pause(ledger.engine, first.job_id)
    second = _create(ledger, rule=rule)
    if how == "undecided":  # Somebody posts a piece after all was settled, and has not decided it yet.
        run, progress = _run(ledger, second), Progress()
        progress.settled.add(run.id)
        _steps(ledger, 2)
        with begin(ledger.engine) as conn:
            funding_store.touch_run(conn, run.id, LATER)
        with monkeypatch.context() as patched:
            patched.setattr(drain, "drain_until", lambda *arguments, **named: set())
            _steps(ledger, 1)
        with begin(ledger.engine) as conn:
            funding_store.touch_run(conn, run.id, NOW - timedelta(hours=1))
        assert all(runs.step(ledger.engine, NOW, progress) for _ in range(2))
        assert (_run(ledger, first).posted, _run(ledger, second).row_count) == (2, 0)
    _advance(ledger)
    if how == "paused":
        assert (_statuses(ledger, second), _pairs(ledger, second)) == (["COMPLETED"], [])
        funding.resume(ledger.engine, first.job_id, NOW)
        _advance(ledger)
    assert sorted(_pairs(ledger, first) + _pairs(ledger, second)) == sorted((name, 10) for name in names)


def test_a_retry_tops_up_no_more_than_is_missing_by_then(ledger: Ledger) -> None:
    ledger_id, names = _group(ledger, *["USD"] * 4)
    _give(ledger, Pool=40)
    job = _create(
        ledger, rule=FundingRule(ledger_id=ledger_id, precise_top_up_to=10), allow_overdraft=False, cron=HOURLY
    )
    funding.run_now(ledger.engine, job.job_id, None, NOW)
    first = _short_of_money(ledger, job, leaving=10)
    _give(ledger, Pool=100)
    for name, amount in ((names[1], 3), (names[2], 10)):
        ledger.post(destination=name, precise_amount=amount)
    retry, _ = funding.retry(ledger.engine, job.job_id, first.run_id, NOW)
    _advance(ledger)
    assert [(row.destination, row.amount) for row in _of_run(ledger, retry)] == [(names[1], 7), (names[3], 10)]
    assert _runs(ledger, job)[1].row_count == 2


@pytest.mark.parametrize("until_limit", [False, True])
def test_what_another_job_has_yet_to_post_is_not_promised_twice(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, until_limit: bool
) -> None:
    _pieces_of(monkeypatch, 2)
    _give(ledger, Pool=75)
    first = _create(ledger, *_many(9, 10), allow_overdraft=False, until_limit=True)
    second = _create(ledger, *_many(2, 3), allow_overdraft=False, until_limit=until_limit)
    _advance(ledger)
    assert [row.status for row in _of_job(ledger, first)] == [APPLIED] * 7
    assert [row.status for row in _of_job(ledger, second)] == ([APPLIED] if until_limit else [])
    refusal = _run(ledger, second).refusal
    assert until_limit or "can pay 0.05 beside the 0.5 that other runs have yet to post" in (refusal or "")


# Holds


@pytest.mark.parametrize("how", ["at a date", "after some seconds", "by hand"])
def test_a_job_may_hold_the_money_until_a_date(ledger: Ledger, how: str) -> None:
    fields: dict[str, Any] = {
        "at a date": {"inflight_commit_date": (SOON + timedelta(minutes=1)).isoformat()},
        "after some seconds": {"inflight_commit_after_s": 60},
        "by hand": {},
    }[how]
    job = _create(ledger, *_many(3), inflight=True, at=SOON.isoformat(), **fields)
    late = SOON + timedelta(seconds=30)  # The seconds count from when it was due.
    _advance(ledger, late)
    run = _run(ledger, job)
    assert [row.status for row in _of_run(ledger, run)] == [INFLIGHT] * 3
    assert (run.status, _counts(ledger, job, run).applied, _sum(ledger, "@Pool")) == ("COMPLETED", 3, 0)
    due.accept_due(ledger.engine, SOON + timedelta(seconds=59))
    ledger.drain()
    assert _sum(ledger, "@Pool") == 0
    for _ in range(2):
        due.accept_due(ledger.engine, SOON + timedelta(seconds=60))
        ledger.drain()
    assert _sum(ledger, "@Pool") == (0 if how == "by hand" else -3)
    assert _of_run(ledger, run)[0].reference == f"{job.job_id}_2030-01-01T13:00:00Z_1"


# Again


def test_only_rejected_rows_are_retried_once_under_new_references_linked_to_the_first(
    ledger: Ledger, threads: ThreadPoolExecutor
) -> None:
    _give(ledger, Pool=50)
    job = _create(ledger, *_many(5, 10), allow_overdraft=False)
    first = _short_of_money(ledger, job, leaving=20)
    _give(ledger, Pool=30)
    asked = [threads.submit(funding.retry, ledger.engine, job.job_id, first.run_id, SOON) for _ in range(4)]
    answers = [future.result() for future in asked]
    assert sorted(replayed for _, replayed in answers) == [False, True, True, True]
    second = _short_of_money(ledger, job, leaving=10, now=SOON)
    assert {run.id for run, _ in answers} == {second.id}
    assert [row.status for row in _of_run(ledger, second)] == [APPLIED, REJECTED, REJECTED]
    assert [row.reference for row in _of_run(ledger, second)] == [
        f"{job.job_id}_retry_{first.run_id}_{row}" for row in (3, 4, 5)
    ]
    _give(ledger, Pool=20)
    third, _ = funding.retry(ledger.engine, job.job_id, second.run_id, LATER)
    _advance(ledger, LATER)
    assert [(row.destination, row.status) for row in _of_run(ledger, third)] == [("@W3", APPLIED), ("@W4", APPLIED)]
    with pytest.raises(Conflict, match="nothing to retry"):
        funding.retry(ledger.engine, job.job_id, third.run_id, LATER)
    with reading(ledger.engine) as conn:
        for run, before in ((second, first), (third, second)):
            seqs = {
                each.row: each.seq for each in funding_store.row_states(conn, before, limit=9, after=0, status=None)
            }
            states = funding_store.row_states(
                conn,
                _runs(ledger, job)[[first, second, third].index(run)] if run is not third else _runs(ledger, job)[2],
                limit=9,
                after=0,
                status=None,
            )
            assert [each.first_seq for each in states] == [seqs[each.row] for each in states]
    assert [_sum(ledger, f"@W{number}") for number in range(5)] == [10] * 5


@pytest.mark.parametrize("until_limit", [False, True])
def test_what_a_retry_could_not_post_for_want_of_money_is_retried_by_the_next(
    ledger: Ledger, until_limit: bool
) -> None:
    _give(ledger, Pool=50)
    job = _create(ledger, *_many(5, 10), allow_overdraft=False, until_limit=until_limit)
    first = _short_of_money(ledger, job, leaving=20)
    _give(ledger, Pool=15)
    second, _ = funding.retry(ledger.engine, job.job_id, first.run_id, NOW)
    _advance(ledger)
    assert len(_of_run(ledger, second)) == (1 if until_limit else 0)
    _give(ledger, Pool=15)
    third, _ = funding.retry(ledger.engine, job.job_id, second.run_id, SOON)
    _advance(ledger, SOON)
    assert [row.status for row in _of_run(ledger, third)] == [APPLIED] * (2 if until_limit else 3)
    assert [_sum(ledger, f"@W{number}") for number in range(5)] == [10] * 5
    with pytest.raises(Conflict, match="nothing to retry"):
        funding.retry(ledger.engine, job.job_id, third.run_id, LATER)


def test_a_run_is_retried_only_when_all_of_it_is_decided(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    _give(ledger, Pool=50)
    job = _create(ledger, *_many(5, 10), allow_overdraft=False)

    def refused() -> None:
        with pytest.raises(Conflict, match="not decided"):
            funding.retry(ledger.engine, job.job_id, _run(ledger, job).run_id, NOW)

    refused()
    _steps(ledger, 1)
    refused()
    ledger.post(source="@Pool", destination="@World", precise_amount=50)
    with monkeypatch.context() as patched:
        patched.setattr(drain, "drain_until", lambda *arguments, **named: set())
        _steps(ledger, 1)
    refused()
    _advance(ledger)
    run, _ = funding.retry(ledger.engine, job.job_id, _run(ledger, job).run_id, NOW)
    assert (run.status, run.retry_of) == ("PENDING", _runs(ledger, job)[0].id)
    with pytest.raises(NotFound):
        funding.retry(ledger.engine, _create(ledger, ("@A", 1)).job_id, run.run_id, NOW)


def test_the_states_of_rows_are_paged_and_narrowed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    _pieces_of(monkeypatch, 4)
    _give(ledger, Pool=60)
    job = _create(ledger, *_many(6, 10), allow_overdraft=False)
    progress = Progress()
    assert runs.step(ledger.engine, NOW, progress)
    ledger.post(source="@Pool", destination="@World", precise_amount=40)
    assert runs.step(ledger.engine, NOW, progress)
    run = _run(ledger, job)
    with monkeypatch.context() as patched, reading(ledger.engine) as conn:

        def rows(status: str | None, after: int = 0, limit: int = 9) -> list[int]:
            return [each.row for each in funding_store.row_states(conn, run, limit=limit, after=after, status=status)]

        assert (rows(None), rows(None, 2, 3)) == ([1, 2, 3, 4, 5, 6], [3, 4, 5])
        assert (rows("APPLIED"), rows("REJECTED"), rows("UNPOSTED"), rows("QUEUED")) == ([1, 2], [3, 4], [5, 6], [])
        patched.setattr(drain, "drain_until", lambda *arguments, **named: set())
        assert runs.step(ledger.engine, NOW, progress)
        assert (rows("UNPOSTED"), rows("QUEUED")) == ([], [5, 6])


def test_a_job_is_run_once_more_beside_its_schedule_and_once_for_each_reference(
    ledger: Ledger, threads: ThreadPoolExecutor
) -> None:
    job = _create(ledger, ("@A", 1), cron=HOURLY, count=1)
    asked = [threads.submit(funding.run_now, ledger.engine, job.job_id, "mine", NOW) for _ in range(4)]
    answers = [future.result() for future in asked]
    assert sorted(replayed for _, replayed in answers) == [False, True, True, True]
    assert len({run.id for run, _ in answers}) == 1
    assert not funding.run_now(ledger.engine, job.job_id, None, NOW)[1]
    _advance(ledger, SOON)
    assert _statuses(ledger, job) == ["COMPLETED"] * 3
    assert (_job(ledger, job).runs_made, _sum(ledger, "@A")) == (1, 3)
    funding.pause(ledger.engine, job.job_id)
    assert funding.run_now(ledger.engine, job.job_id, "mine", LATER)[1]
    with pytest.raises(Conflict, match="paused"):
        funding.run_now(ledger.engine, job.job_id, "other", LATER)
    with pytest.raises(InvalidRequest):
        funding.run_now(ledger.engine, job.job_id, "a\x00", LATER)


# The same request again


def test_a_repeated_job_is_answered_with_the_first(ledger: Ledger, threads: ThreadPoolExecutor) -> None:
    rows = [("@Old", 1), *_many(3)]
    together = threading.Barrier(4)

    def ask() -> Created:
        together.wait()
        return _made(ledger, *rows, reference="mine", description="of the morning")

    asked = [threads.submit(ask) for _ in range(4)]
    answers = [future.result() for future in asked]
    assert sorted(made.replayed for made in answers) == [False, True, True, True]
    assert len({(made.job.id, made.run and made.run.id) for made in answers}) == 1
    assert _kept(ledger)[:2] == [1, 4]
    _advance(ledger)
    assert _pairs(ledger, answers[0].job) == rows
    again = _made(ledger, *rows, reference="mine", description="of the morning", now=LATER)
    assert again.replayed and again.run is not None and again.run.status == "COMPLETED"


def test_a_job_at_a_time_is_answered_again_when_that_has_passed(ledger: Ledger) -> None:
    fields = {"reference": "mine", "at": SOON.isoformat()}
    job = _create(ledger, ("@A", 1), **fields)
    _advance(ledger, SOON)
    again = _made(ledger, ("@A", 1), now=LATER, **fields)
    assert (again.replayed, again.job.id, again.run) == (True, job.id, None)


@pytest.mark.parametrize(
    ("fields", "differing"),
    [
        ({"name": "others"}, "name"),
        ({"source": "@Other"}, "source"),
        ({"currency": "EUR"}, "currency"),
        ({"description": "x"}, "description"),
        ({"overdraft_limit": Decimal(1)}, "overdraft_limit"),
        ({"at": SOON.isoformat()}, "at"),
        ({"cron": HOURLY}, "cron"),
        ({"atomic": True}, "atomic"),
        ({"recipients": [Recipient(destination="@A", precise_amount=2)]}, "list of recipients"),
        ({"recipients": None, "rule": FundingRule(ledger_id="general_ledger_id", precise_amount=1)}, "filters"),
    ],
)
def test_a_reference_that_is_taken_by_another_job_says_what_differs(
    ledger: Ledger, fields: dict[str, Any], differing: str
) -> None:
    job = _create(ledger, ("@A", 1), reference="mine")
    before = _kept(ledger)
    with pytest.raises(Conflict, match=f"whose {differing} differs") as caught:
        _create(ledger, ("@A", 1), reference="mine", **fields)
    assert (caught.value.code, caught.value.details["job_id"]) == ("FND_DUPLICATE_REFERENCE", job.job_id)
    assert _kept(ledger) == before


# Ahead, and how far


@pytest.mark.parametrize(
    ("fields", "after", "runs_left"),
    [
        ({}, 70, None),
        ({"allow_overdraft": False}, 70, 3),
        ({"overdraft_limit": Decimal("0.25")}, 70, 4),
        ({"inflight": True}, 100, None),
        ({"allow_overdraft": False, "recipients": [Recipient(destination="@A", precise_amount=101)]}, 100, 0),
    ],
)
def test_the_forecast_is_the_pool_after_the_next_run_and_how_many_it_carries(
    ledger: Ledger, fields: dict[str, Any], after: int, runs_left: int | None
) -> None:
    _give(ledger, Pool=100)
    job = _create(ledger, *_many(3, 10), **{"at": SOON.isoformat(), **fields})
    with reading(ledger.engine) as conn:
        forecast = funding.forecast(conn, job)
    assert (forecast.balance, forecast.balance_after, forecast.runs_left) == (100, after, runs_left)
    _advance(ledger, SOON)
    assert _sum(ledger, "@Pool") == after


@pytest.mark.parametrize("by_rule", [True, False])
@pytest.mark.parametrize(("has", "after"), [(0, 0), (9, 9), (10, 0), (25, 5), (100, 70)])
def test_the_forecast_of_a_run_that_goes_as_far_as_the_money_is_what_it_leaves(
    ledger: Ledger, by_rule: bool, has: int, after: int
) -> None:
    if has:
        _give(ledger, Pool=has)
    fields: dict[str, Any] = {"at": SOON.isoformat(), "allow_overdraft": False, "until_limit": True}
    if by_rule:
        ledger_id, _ = _group(ledger, *["USD"] * 3)
        job = _create(ledger, rule=FundingRule(ledger_id=ledger_id, precise_top_up_to=10), **fields)
    else:
        job = _create(ledger, *_many(3, 10), **fields)
    with reading(ledger.engine) as conn:
        assert funding.forecast(conn, job).balance_after == after
    _advance(ledger, SOON)
    assert _sum(ledger, "@Pool") == after


def test_the_forecast_of_a_rule_is_by_the_balances_as_they_are(ledger: Ledger) -> None:
    ledger_id, names = _group(ledger, *["USD"] * 3)
    job = _create(ledger, rule=FundingRule(ledger_id=ledger_id, precise_top_up_to=10), cron=HOURLY)
    ledger.post(destination=names[0], precise_amount=4)
    ledger.drain()
    with reading(ledger.engine) as conn:
        assert funding.forecast(conn, job)[:4] == (3, 26, 0, -26)


def test_the_counts_of_a_run_say_how_far_it_is_and_how_long_the_rest_takes(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pieces_of(monkeypatch, 5)
    job = _create(ledger, *_many(20, 3))
    assert _counts(ledger, job, _run(ledger, job)) == (None, 0, 0, {}, 0, 0, 0.0, None)
    progress = Progress()
    assert runs.step(ledger.engine, NOW, progress)
    assert runs.step(ledger.engine, NOW + timedelta(seconds=1), progress)
    counts = _counts(ledger, job, _run(ledger, job), NOW + timedelta(seconds=2))
    assert counts == (20, 5, 5, {}, 0, 15, 2.5, 6.0)
    assert counts.unposted == 15
    paused = funding.pause(ledger.engine, job.job_id)
    assert _counts(ledger, paused, _run(ledger, job), LATER)[-2:] == (5.0, None)
    funding.resume(ledger.engine, job.job_id, NOW)
    _advance(ledger, NOW + timedelta(seconds=4))
    assert _counts(ledger, job, _run(ledger, job), LATER) == (20, 20, 20, {}, 0, 60, 5.0, None)


def test_what_waits_for_a_job_that_pays_from_a_pool_is_listed_in_the_order_in_which_it_comes(ledger: Ledger) -> None:
    later = _create(ledger, ("@A", 1), at=LATER.isoformat())
    soon = _create(ledger, ("@A", 1), cron=HOURLY)
    _create(ledger, ("@A", 1), at=SOON.isoformat(), source="@Other")
    for stop in (funding.pause, lambda engine, id: funding.cancel(engine, id, NOW)):
        stop(ledger.engine, _create(ledger, ("@A", 1), at=SOON.isoformat()).job_id)
    with reading(ledger.engine) as conn:
        found = funding_store.active_jobs_of(conn, soon.source, 9)
        assert [job.id for job in found] == [soon.id, later.id]
        assert [job.id for job in funding_store.list_jobs(conn, limit=2, after=None, status="ACTIVE")][1] == soon.id


# In company


def test_pieces_are_small_while_others_post_and_large_when_nobody_else_has_for_a_while(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "PIECE", 10)
    monkeypatch.setattr(runs, "PIECE_IN_COMPANY", 2)
    job = _create(ledger, *_many(42))

    def pieces(count: int, alone_after_s: float) -> None:
        """One call of so many pieces, which takes others to be gone after so long."""
        monkeypatch.setattr(runs, "ALONE_AFTER_S", alone_after_s)
        progress = Progress()
        for _ in range(count):
            runs.step(ledger.engine, NOW, progress)

    pieces(2, 1e6)  # The start, and a piece: nobody is there.
    ledger.post()
    pieces(2, 1e6)  # Somebody was.
    pieces(1, 0.0)  # That was long ago.
    monkeypatch.setattr(runs, "ALONE_AFTER_S", 1e6)
    progress = Progress(last_seq=0, company_at=-math.inf)
    for _ in range(2):  # The first of these pieces sees by its place that somebody came, the next one is small.
        runs.step(ledger.engine, NOW, progress)
    with reading(ledger.engine) as conn:
        sql = text("SELECT count(*) FROM log WHERE parent = :run GROUP BY accepted_at ORDER BY accepted_at")
        sizes = conn.execute(sql, {"run": _run(ledger, job).run_id}).scalars().all()
    assert sizes == [10, 2, 2, 10, 10, 2]


def test_nothing_is_asked_for_twice_where_nothing_is_to_do(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lock_due_job", "try_posting_lock"):
        monkeypatch.setattr(funding_store, name, None)
    assert _advance(ledger) == Progress(company_at=ANY)
