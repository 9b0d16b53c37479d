"""A run goes no further than the money, and a dry run says so before.

To search longer:

    PACIOLI_EXAMPLES=1000 pytest --long tests/integration/funding/test_limit.py -k any
"""

import itertools
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from core.base.db import begin, reading
from core.funding import create, draft, plan, runs, tries
from core.funding import dry_run as funding_dry_run
from core.funding import jobs as funding_jobs
from core.funding.progress import Progress
from core.funding.requests import FundingRule
from core.ledger import drain
from core.ledger.directory import Directory
from core.ledger.rules.model import RejectReason
from tests.harness.factories import Ledger
from tests.harness.funding import (
    APPLIED,
    NOW,
    SOON,
    advance_all,
    balance_of,
    count_kept_rows,
    create_balance,
    create_job,
    create_ledger,
    funding_request,
    give,
    many_rows,
    posted_by_job,
    read_counts,
    read_run,
    read_runs,
    refused,
    run_short_of_money,
    run_statuses,
    set_piece,
    take_steps,
)
from tests.harness.searching import search

pytestmark = pytest.mark.usefixtures("sound")

SEARCH = search(25)

_numbers = itertools.count(1)


def test_a_run_beyond_the_limit_is_refused_before_its_first_row_with_the_sum(ledger: Ledger) -> None:
    give(ledger, Pool=100)
    job = create_job(ledger, ("@A", 100), ("@B", 51), overdraft_limit=Decimal("0.50"))
    progress = advance_all(ledger)
    run = read_run(ledger, job)
    assert (run.status, run.posted, run.ended_at) == ("REFUSED", 0, NOW)
    assert [each.status for each in progress.ended] == ["REFUSED"]
    assert run.refusal is not None and json.loads(run.refusal) == {
        "reason": "LIMIT",
        "message": "the run needs 1.51 USD, and the pool can pay 1.50; row 2 is the first that is too much",
        "requested": 151,
        "available": 150,
        "short_by": 1,
        "first_row": 2,
    }
    give(ledger, Pool=1)
    tries.retry(ledger.engine, job.job_id, run.run_id, NOW)
    funding_jobs.run_now(ledger.engine, job.job_id, None, SOON, again=True)
    advance_all(ledger, SOON)
    assert run_statuses(ledger, job) == ["REFUSED", "COMPLETED", "REFUSED"]


@pytest.mark.parametrize("on_the_way", ["@Pool", "@World"])
def test_what_is_accepted_before_a_run_starts_counts_though_it_is_still_in_line(
    ledger: Ledger, on_the_way: str
) -> None:
    give(ledger, Pool=100)
    job = create_job(ledger, ("@A", 100), allow_overdraft=False, at=SOON)
    ledger.post(source=on_the_way, destination="@World" if on_the_way == "@Pool" else "@Pool", precise_amount=1)
    if on_the_way == "@World":
        ledger.post(source="@Pool", destination="@B", precise_amount=1)
    advance_all(ledger, SOON)
    assert run_statuses(ledger, job) == ["REFUSED" if on_the_way == "@Pool" else "COMPLETED"]


def test_an_atomic_run_is_decided_as_one(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    set_piece(monkeypatch, 2)
    give(ledger, Pool=5)
    job = create_job(ledger, *many_rows(5), atomic=True, allow_overdraft=False)
    progress = Progress()
    take_steps(ledger, 1)
    with monkeypatch.context() as patched:
        patched.setattr(drain, "drain_until", lambda *arguments, **named: set())
        assert runs.step(ledger.engine, NOW, progress)
    assert progress.posted == 5
    # Too late for the run to be refused, but its rows were accepted before.
    ledger.post(source="@Pool", precise_amount=1)
    advance_all(ledger)
    with reading(ledger.engine) as conn:
        groups = conn.execute(text("SELECT DISTINCT group_first, group_last FROM log WHERE parent LIKE 'run%'")).all()
    assert len(groups) == 1 and groups[0].group_last - groups[0].group_first == 4
    assert [row.status for row in posted_by_job(ledger, job)] == [APPLIED] * 5


@pytest.mark.parametrize("atomic", [True, False])
def test_money_that_goes_while_a_run_is_under_way_is_missing_to_some_rows_or_to_all_of_an_atomic_run(
    ledger: Ledger, atomic: bool
) -> None:
    give(ledger, Pool=50)
    job = create_job(ledger, *many_rows(5, 10), allow_overdraft=False, atomic=atomic)
    run = run_short_of_money(ledger, job, leaving=20)
    short, group = RejectReason.INSUFFICIENT_FUNDS, RejectReason.ATOMIC_GROUP
    counts = read_counts(ledger, job, run)
    assert counts.rejected == ({short: 1, group: 4} if atomic else {short: 3})
    assert (counts.total, counts.accepted, counts.applied, counts.undecided) == (5, 5, 0 if atomic else 2, 0)
    assert (run.status, counts.applied_amount, balance_of(ledger, "@Pool")) == (
        "COMPLETED",
        *((0, 20) if atomic else (20, 0)),
    )


def test_an_atomic_job_has_no_more_rows_than_are_decided_as_one(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (draft, plan):
        monkeypatch.setattr(module, "MAX_ATOMIC", 3)
    assert [field for field, _ in refused(ledger, *many_rows(4), atomic=True).problems] == ["atomic"]
    ledger_id, _ = create_ledger(ledger, *["USD"] * 3)
    job = create_job(ledger, rule=FundingRule(ledger_id=ledger_id, precise_amount=1), atomic=True)
    advance_all(ledger)
    with begin(ledger.engine) as conn:
        create_balance(conn, ledger_id)
    funding_jobs.run_now(ledger.engine, job.job_id, None, SOON)
    advance_all(ledger, SOON)
    assert run_statuses(ledger, job) == ["COMPLETED", "REFUSED"]
    refusal = json.loads(read_runs(ledger, job)[1].refusal or "")
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
def test_any_run_funds_what_plain_arithmetic_says_and_its_dry_run_says_the_same(
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
    request = funding_request(
        *[(f"@W{number}", amount) for number, amount in enumerate(amounts)],
        source=pool,
        allow_overdraft=allow,
        overdraft_limit=None if most is None else Decimal(most) / 100,
        until_limit=until_limit,
        atomic=atomic,
    )
    job = create.create_job(ledger.engine, request, None, ledger.directory, NOW).job
    for amount in in_line:
        move(amount)

    room = None if allow and most is None else decided - held + sum(in_line) + (most or 0)
    fitting = [position for position in range(len(amounts)) if room is None or sum(amounts[: position + 1]) <= room]
    whole = len(fitting) == len(amounts)
    expected = amounts[: len(fitting)] if whole or until_limit else []

    with pytest.MonkeyPatch.context() as patched:
        set_piece(patched, piece)
        advance_all(ledger)
    run = read_run(ledger, job)
    assert run.status == ("COMPLETED" if whole or until_limit else "REFUSED")
    assert [(row.amount, row.status) for row in posted_by_job(ledger, job)] == [
        (amount, APPLIED) for amount in expected
    ]
    ledger.drain()
    assert balance_of(ledger, pool) == decided + sum(in_line) - sum(expected)


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
def test_any_dry_run_writes_nothing_and_says_what_the_run_then_does(
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
        fields["rule"] = FundingRule(
            ledger_id=create_ledger(ledger, *["USD"] * len(amounts))[0], precise_top_up_to=amounts[0]
        )
    else:
        names = [f"@W{number % 2 if repeated else number}" for number in range(len(amounts))]
        rows = list(zip(names, amounts, strict=True))
    request = funding_request(
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
    before = count_kept_rows(ledger)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(funding_dry_run, "ROWS_AT_A_TIME", at_once)
        tried = funding_dry_run.dry_run_job(ledger.engine, request, None, Directory(ledger.engine), NOW)
    assert count_kept_rows(ledger) == before

    job = create.create_job(ledger.engine, request, None, ledger.directory, NOW).job
    advance_all(ledger)
    run = read_run(ledger, job)
    counts = read_counts(ledger, job, run)
    assert (tried.rows, tried.amount, tried.last_row) == (run.row_count, run.amount, run.last_row)
    assert tried.refusal == (None if run.refusal is None else json.loads(run.refusal))
    assert (tried.applied, tried.applied_amount) == (counts.applied, counts.applied_amount)
    assert dict(tried.rejected) == counts.rejected
    assert (tried.pool_before, tried.pool_after) == (pool_has, balance_of(ledger, pool))
    if tried.refusal is None:
        assert tried.beyond_limit == counts.unposted


def test_a_dry_run_of_what_is_new_makes_nothing(ledger: Ledger) -> None:
    before = count_kept_rows(ledger)
    request = funding_request(*many_rows(3), currency="XYZ", reference="mine", atomic=True)
    tried = funding_dry_run.dry_run_job(ledger.engine, request, None, ledger.directory, NOW)
    assert count_kept_rows(ledger) == before
    assert (tried.rows, tried.applied, tried.pool_after) == (3, 3, -3)
    assert create_job(ledger, *many_rows(3), currency="XYZ", precision=Decimal(7)).precision == 7
