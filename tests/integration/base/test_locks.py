"""Each advisory lock keeps out its own work, and no other, and only of its own ledger."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, text

from core import migrations
from core.base import fence
from core.base.db import begin, connect
from core.base.errors import TransientError
from core.base.locks import AdvisoryLock, take
from core.funding import posting
from core.journal.actions import Action, Event
from core.journal.record import record
from core.ledger.directory import Directory
from core.verification import checkpoints
from core.verification.verify import verify_since_checkpoint
from tests.harness.databases import new_database, new_schema
from tests.harness.factories import Ledger, fund


def append(ledger: Ledger) -> None:
    ledger.post(source="@Bank", destination="@A")


def checkpoint(ledger: Ledger) -> None:
    report = verify_since_checkpoint(ledger.engine, key=None, limit=100)
    assert report.ok
    assert checkpoints.write(ledger.engine, report.reached, None) is not None


def migrate(ledger: Ledger) -> None:
    migrations.upgrade(ledger.engine)


def take_funding_steps(ledger: Ledger) -> None:
    assert fund(ledger, "@A", "@B", again=True).status == "COMPLETED"


def schedule(ledger: Ledger) -> None:
    ledger.post(scheduled_for="2100-01-01T00:00:00Z")


def audit(ledger: Ledger) -> None:
    with begin(ledger.engine) as conn:
        record(conn, Event(action=Action.QUEUES_RECOVERED, subject="queues"))


WORKS: dict[AdvisoryLock, Callable[[Ledger], None]] = {
    AdvisoryLock.APPEND: append,
    AdvisoryLock.CHECKPOINT: checkpoint,
    AdvisoryLock.MIGRATE: migrate,
    AdvisoryLock.FUND: take_funding_steps,
    AdvisoryLock.PLEDGE: schedule,
    AdvisoryLock.AUDIT: audit,
}

NEEDS = {
    AdvisoryLock.APPEND: {AdvisoryLock.APPEND, AdvisoryLock.AUDIT},
    AdvisoryLock.FUND: {AdvisoryLock.FUND, AdvisoryLock.PLEDGE, AdvisoryLock.APPEND, AdvisoryLock.AUDIT},
    AdvisoryLock.PLEDGE: {AdvisoryLock.PLEDGE, AdvisoryLock.APPEND},
}
"""The locks of work that takes more than its own, such as a funding run, which appends, and a first use of a name."""


@pytest.fixture
def impatient(ledger: Ledger) -> Iterator[Ledger]:
    """A ledger with something new to verify, on connections that wait for a lock for only a second."""
    ledger.post()
    ledger.drain()
    engine = connect(ledger.engine.url.render_as_string(hide_password=False), lock_timeout_s=1)
    yield Ledger(engine, Directory(engine))
    engine.dispose()


@pytest.fixture(scope="module")
def two_urls(postgres: str) -> tuple[str, str]:
    url = new_database(postgres)
    return url, new_schema(url)


@pytest.fixture
def two_schemas(two_urls: tuple[str, str]) -> Iterator[tuple[Engine, Ledger]]:
    """The engine of a ledger, and a ledger in another schema of its database, which waits for a lock for only a second."""
    engine, other = connect(two_urls[0]), connect(two_urls[1], lock_timeout_s=1)
    neighbour = Ledger(other, Directory(other))
    neighbour.post()
    neighbour.drain()
    yield engine, neighbour
    engine.dispose()
    other.dispose()


@pytest.mark.smoke
@pytest.mark.parametrize("held", AdvisoryLock)
def test_whoever_holds_a_lock_keeps_out_its_own_work_alone(
    engine: Engine, impatient: Ledger, monkeypatch: pytest.MonkeyPatch, held: AdvisoryLock
) -> None:
    monkeypatch.setattr(posting, "ALONE_AFTER_S", 0.0)
    monkeypatch.setattr(fence, "STANDS_STILL_S", 600.0)
    monkeypatch.setattr(fence, "PATIENCE_S", 0.0)
    with begin(engine) as conn:
        take(conn, held)
        kept_out = {lock for lock, work in WORKS.items() if not _is_done(work, impatient)}
    assert kept_out == {lock for lock in AdvisoryLock if held in NEEDS.get(lock, {lock})}


@pytest.mark.parametrize("held", AdvisoryLock)
def test_a_lock_of_one_ledger_keeps_out_no_other_of_the_same_database(
    two_schemas: tuple[Engine, Ledger], monkeypatch: pytest.MonkeyPatch, held: AdvisoryLock
) -> None:
    engine, neighbour = two_schemas
    monkeypatch.setattr(posting, "ALONE_AFTER_S", 0.0)
    with begin(engine) as conn:
        take(conn, held)
        assert [lock for lock, work in WORKS.items() if not _is_done(work, neighbour)] == []


def _is_done(work: Callable[[Ledger], None], ledger: Ledger) -> bool:
    try:
        work(ledger)
    except (AssertionError, TransientError):
        return False
    return True


@pytest.mark.parametrize("held", AdvisoryLock)
def test_a_process_of_an_earlier_release_is_kept_out_too(engine: Engine, impatient: Ledger, held: AdvisoryLock) -> None:
    """Earlier releases take the number alone. While both releases run, the order of the log hangs on it."""
    with begin(engine) as conn:
        conn.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": int(held)})
        with pytest.raises(TransientError), begin(impatient.engine) as other:
            take(other, held)
