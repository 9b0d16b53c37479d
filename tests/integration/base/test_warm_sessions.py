"""The sessions that one test leaves to the next are as new ones."""

from contextlib import suppress

from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine

from core.base.db import begin, connect, driver, reading
from core.base.errors import TransientError
from tests.harness import warm_sessions

_LEFT = """
    SET lock_timeout = '7s';
    SET TIME ZONE 'Europe/Oslo';
    SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;
    LISTEN something;
    CREATE TEMPORARY TABLE balances (id int);
    SELECT pg_advisory_lock(1)
"""

_STATE = """
    SELECT
        current_setting('lock_timeout'),
        current_setting('TimeZone'),
        current_setting('default_transaction_read_only'),
        to_regclass('pg_temp.balances')::text,
        (SELECT count(*) FROM pg_listening_channels()),
        (SELECT count(*) FROM pg_prepared_statements),
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
"""


def test_a_session_is_taken_over_as_if_it_were_new(database_url: str) -> None:
    first = connect(database_url, connections=1)
    with begin(first) as conn:
        before, state = _process(conn), driver(conn).execute(_STATE).fetchone()
        driver(conn).execute(_LEFT, prepare=False)
        driver(conn).execute("SELECT 1", prepare=True)
    first.dispose()
    second = connect(database_url, connections=1)
    with begin(second) as conn:
        assert _process(conn) == before
        assert driver(conn).execute(_STATE).fetchone() == state
    second.dispose()


def test_a_session_that_the_server_has_ended_is_not_taken_over(database_url: str, engine: Engine) -> None:
    with reading(engine) as other:
        first = connect(database_url, connections=1)
        with begin(first) as conn:
            before = _process(conn)
        first.dispose()
        driver(other).execute("SELECT pg_terminate_backend(%s, 10000)", [before])
    second = connect(database_url, connections=1)
    with begin(second) as conn:
        assert _process(conn) != before
    second.dispose()


def test_a_connection_that_is_closed_in_a_transaction_leaves_nothing(engine: Engine) -> None:
    with suppress(TransientError), begin(engine) as conn:
        driver(conn).execute("SELECT 1")
        held, process = driver(conn), _process(conn)
        assert held.info.transaction_status is TransactionStatus.INTRANS
        held.close()
    assert process not in warm_sessions.process_ids()


def _process(conn: Connection) -> int:
    return driver(conn).info.backend_pid
