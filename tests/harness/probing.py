"""Health checks that run in threads, as in a web process, and a ledger whose parts all seem to live."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text

from core.base.db import begin
from web.probing.prober import Prober

_start = Prober.start


@contextmanager
def started(prober: Prober) -> Iterator[Prober]:
    """Let the checks run all the time, until the block ends."""
    _start(prober)
    try:
        yield prober
    finally:
        prober.stop()


def live(engine: Engine) -> None:
    """Record a worker, the ticks and a verification as of now."""
    with begin(engine) as conn:
        for statement in _LIVE:
            conn.execute(text(statement))


_LIVE = (
    """
    INSERT INTO heartbeats (worker, at, part, host)
    VALUES ('celery@a', clock_timestamp(), 'worker', 'a')
    """,
    """
    INSERT INTO ticks (name, started_at, ended_at, by)
    SELECT name, clock_timestamp(), clock_timestamp(), 'beat@a'
    FROM unnest(ARRAY['sweep', 'due', 'fund']) AS name
    """,
    """
    INSERT INTO verifications (at, kind, first_seq, last_seq, complete, problem_count, problems, took_s)
    VALUES (clock_timestamp(), 'slice', 1, 100, true, 0, '[]', 0.1)
    """,
)
