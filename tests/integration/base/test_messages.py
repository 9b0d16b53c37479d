"""Several statements in one message: the same answers as those of a pipeline, whatever happened in the session before."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.errors import DivisionByZero
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine

from core.base import messages
from core.base.db import begin, driver
from core.base.errors import TransientError
from core.base.faults import is_lock_timeout
from core.base.locks import TAKE_FOR_APPEND, AdvisoryLock
from core.base.messages import Rows, Statement, run_together
from core.base.rows import text_array
from tests.harness.searching import search

_OFTEN = 8
"""The driver prepares what it has run more than five times."""

_ECHO = """
    SELECT given, length(given)
    FROM unnest(%(texts)s::text[]) AS given
"""
_DIGEST = """
    SELECT %(digest)s::bytea, %(number)s::bigint, NULL
"""

_COUNT = """
    SELECT count(*)
    FROM currencies
    WHERE currency = %(name)s
"""
_WAITS = """
    SELECT EXISTS (
        SELECT
        FROM pg_locks
        WHERE locktype = 'advisory' AND NOT granted
    )
"""


def _ask(conn: Connection, texts: list[str], digest: bytes = b"\x00'\\", number: int = -7) -> list[Rows]:
    echo = Statement(_ECHO, {"texts": text_array(texts)})
    return run_together(conn, [echo, Statement(_DIGEST, {"digest": digest, "number": number})])


def _is_one_message(conn: Connection) -> bool:
    return messages._message(driver(conn), [Statement(_ECHO, {"texts": "{}"})]) is not None


@pytest.fixture
def prepared(engine: Engine) -> Engine:
    for _ in range(_OFTEN):
        with begin(engine) as conn:
            _ask(conn, ["a"])
    return engine


texts = st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20), max_size=5)


@search(50)
@given(given=texts, digest=st.binary(max_size=40), number=st.integers(-(2**15), 2**15 - 1))
def test_whatever_the_values_are_they_come_back(prepared: Engine, given: list[str], digest: bytes, number: int) -> None:
    with begin(prepared) as conn:
        assert _is_one_message(conn)
        echo, facts = _ask(conn, given, digest, number)
    assert echo == [(text, len(text)) for text in given]
    assert facts == [(digest, number, None)]


def test_the_first_message_begins_the_transaction_and_an_error_takes_it_back(prepared: Engine) -> None:
    with begin(prepared) as conn:
        driver(conn).execute("CREATE TEMPORARY TABLE kept (number int)")

    def fail() -> None:
        with begin(prepared) as conn:
            assert _is_one_message(conn)
            _ask(conn, ["a"])
            assert driver(conn).info.transaction_status is TransactionStatus.INTRANS
            driver(conn).execute("INSERT INTO kept VALUES (1)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with begin(prepared) as conn:
        assert not _is_one_message(conn)  # The driver forgets its names with a rollback.
        assert _ask(conn, ["it's"])[0] == [("it's", 4)]
        assert driver(conn).execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_what_was_asked_before_in_the_transaction_is_kept(prepared: Engine) -> None:
    with begin(prepared) as conn:
        driver(conn).execute("CREATE TEMPORARY TABLE asked (number int)")
        assert _is_one_message(conn)
        _ask(conn, ["a"])
    with begin(prepared) as conn:
        assert driver(conn).execute("SELECT count(*) FROM asked").fetchone() == (0,)


@pytest.mark.parametrize("is_prepared", [False, True])
def test_a_savepoint_among_them_is_there_whatever_the_next_one_does(engine: Engine, is_prepared: bool) -> None:
    digest = Statement(_DIGEST, {"digest": b"", "number": 1})
    halves = Statement("SELECT 1 / %(number)s::bigint", {"number": "0" if not is_prepared else "2"})
    for _ in range(_OFTEN if is_prepared else 0):
        with begin(engine) as conn:
            assert run_together(conn, [Statement("SAVEPOINT here"), digest, halves])[1] == [(0,)]
    with begin(engine) as conn:
        driver(conn).execute("CREATE TEMPORARY TABLE kept_before (number int) ON COMMIT DROP")
        assert (messages._message(driver(conn), [halves]) is not None) is is_prepared
        with pytest.raises(DivisionByZero):
            run_together(conn, [Statement("SAVEPOINT here"), digest, halves._replace(values={"number": "0"})])
        driver(conn).execute("ROLLBACK TO SAVEPOINT here")
        assert driver(conn).execute("SELECT count(*) FROM kept_before").fetchone() == (0,)


def test_a_statement_sees_what_was_committed_while_the_one_before_it_waited(engine: Engine, owner: Engine) -> None:
    taking = Statement(TAKE_FOR_APPEND, {"lock": int(AdvisoryLock.APPEND)})
    counting = Statement(_COUNT, {"name": "XYZ"})

    def count() -> Rows:
        with begin(engine) as conn:
            return run_together(conn, [taking, counting])[1]

    for _ in range(_OFTEN):
        assert count() == [(0,)]
    with ThreadPoolExecutor(1) as pool:
        with begin(owner) as holder:
            driver(holder).execute(TAKE_FOR_APPEND, {"lock": int(AdvisoryLock.APPEND)})
            counted = pool.submit(count)
            while driver(holder).execute(_WAITS).fetchone() == (False,):
                time.sleep(0.01)
            driver(holder).execute("INSERT INTO currencies (currency, precision) VALUES ('XYZ', 100)")
        assert counted.result() == [(1,)]


def test_a_lock_that_is_not_had_in_time_is_an_error_that_may_pass(engine: Engine, owner: Engine) -> None:
    statements = [Statement(TAKE_FOR_APPEND, {"lock": int(AdvisoryLock.APPEND)}), Statement(_COUNT, {"name": "XYZ"})]
    for _ in range(_OFTEN):
        with begin(engine) as conn:
            run_together(conn, statements)
    with begin(owner) as holder:
        driver(holder).execute(TAKE_FOR_APPEND, {"lock": int(AdvisoryLock.APPEND)})
        with pytest.raises(TransientError) as caught, begin(engine) as conn:
            run_together(conn, statements)
    assert is_lock_timeout(caught.value)
    with begin(engine) as conn:
        assert run_together(conn, statements)[1] == [(0,)]
