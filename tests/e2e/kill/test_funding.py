"""Each row of a funding job is posted once, whatever is killed while its run goes on. Short here; see ``pacioli torture``."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import Engine, text

from core.base.db import connect, reading
from core.funding import create
from core.funding.job_store import JobRow
from core.funding.requests import FundingRequest, Recipient
from core.ledger.directory import Directory
from core.verification.verify import verify_all
from ops.server.temporary import Running
from tests.harness.processes import kill, wait_until

ROWS = 1_500
BALANCES = 50
KILLS = 2

_POSTED = text("""
    SELECT reference, log.amount, status
    FROM log LEFT JOIN outcomes USING (seq)
    WHERE parent LIKE 'run\\_%'
""")


def test_each_row_is_posted_once_whenever_worker_and_beat_are_killed(service: Running) -> None:
    engine = connect(service.state["database_url"])
    now = datetime.now(UTC)
    jobs = [_create(engine, now), _create(engine, now, at=now + timedelta(seconds=1))]
    kills = 0
    for _ in range(KILLS):
        before = _posted(engine)
        wait_until(lambda before=before: _posted(engine) > before)  # type: ignore[misc]
        kills += _posted(engine) < 2 * ROWS
        kill(service, "worker")
        kill(service, "beat")
    wait_until(lambda: _completed(engine) == len(jobs))
    with reading(engine) as conn:
        found = conn.execute(_POSTED).all()
        pool = conn.execute(text("SELECT balance FROM balances WHERE indicator = '@Pool'")).scalar_one()
    occurrences = ["now", (now + timedelta(seconds=1)).isoformat().replace("+00:00", "Z")]
    assert {reference: rest for reference, *rest in found} == {
        f"{job.job_id}_{occurrence}_{row}": [row, 1]
        for job, occurrence in zip(jobs, occurrences, strict=True)
        for row in range(1, ROWS + 1)
    }
    assert len(found) == len(jobs) * ROWS
    assert pool == -ROWS * (ROWS + 1)
    assert verify_all(engine).problems == []
    engine.dispose()
    assert kills == KILLS


def _create(engine: Engine, now: datetime, *, at: datetime | None = None) -> JobRow:
    """Create a job with a row of one cent, one of two, and so on."""
    request = FundingRequest(
        name="wallets",
        source="@Pool",
        currency="USD",
        precision=Decimal(100),
        allow_overdraft=True,
        allow_duplicates=True,
        at=at,
        recipients=[
            Recipient(destination=f"@W{number % BALANCES}", precise_amount=number + 1) for number in range(ROWS)
        ],
    )
    return create.create_job(engine, request, None, Directory(engine), now).job


def _posted(engine: Engine) -> int:
    with reading(engine) as conn:
        posted: int = conn.execute(text("SELECT count(*) FROM funding_postings")).scalar_one()
        return posted


def _completed(engine: Engine) -> int:
    with reading(engine) as conn:
        ended: int = conn.execute(text("SELECT count(*) FROM funding_runs WHERE status = 'COMPLETED'")).scalar_one()
        return ended
