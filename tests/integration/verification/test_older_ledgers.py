"""A ledger that an earlier release wrote."""

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from core import migrations
from core.base.db import connect, reading
from core.ledger.directory import Directory
from core.ledger.rules import chain
from core.ledger.rules.log_row import digest_of
from core.verification.history_store import history
from core.verification.verify import verify_all, verify_since_checkpoint
from tests.harness.factories import Ledger
from tests.harness.history import KEY
from tests.harness.older_ledger import REJECTED, ROWS, UNDECIDED, WRITTEN, load


@pytest.fixture
def old(postgres: str) -> Iterator[Ledger]:
    """The older ledger, migrated to what the code wants today."""
    admin = create_engine(postgres, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as conn:
        conn.execute(text("DROP DATABASE IF EXISTS older"))
        conn.execute(text("CREATE DATABASE older"))
    engine = connect(make_url(postgres).set(database="older").render_as_string(hide_password=False))
    load(engine)
    migrations.upgrade(engine)
    yield Ledger(engine, Directory(engine))
    engine.dispose()


def test_it_verifies_whole_with_its_checkpoints(old: Ledger) -> None:
    for report in (verify_all(old.engine, key=KEY), verify_since_checkpoint(old.engine, key=KEY)):
        assert report.problems == []
        assert report.complete
        assert report.checkpoint is not None
        assert report.checkpoint.signed
    report = verify_all(old.engine)
    assert (report.transactions, report.undecided, report.rejected) == (ROWS, UNDECIDED, REJECTED)


def test_each_digest_comes_out_byte_for_byte(old: Ledger) -> None:
    with reading(old.engine) as conn:
        rows = [row.logged for row in history(conn, first=1, last=ROWS)]
    before = chain.START
    for row in rows:
        assert row is not None
        assert row.digest is not None
        assert digest_of(row, before) == row.digest, row
        before = row.digest
    assert before.hex() in WRITTEN.decode()


def test_a_repeated_reference_finds_what_it_named(old: Ledger) -> None:
    paid = old.post(reference="paid", precise_amount=1000, destination="@A")
    assert (paid.replayed, paid.seq) == (True, 1)
    with reading(old.engine) as conn:
        (first,) = history(conn, first=1, last=1)
    assert first.logged is not None
    assert paid.digest == first.logged.digest
    meta_data = (
        b'{"a": {"\\u00e9": "\\\\ \\" \\n \\t"}, "c": null, "b": [1.50, 1e400, -0.0, 123456789012345678901234567890]}'
    )
    assert old.post(reference="meta1", meta_data=meta_data, destination="@M").replayed


def test_it_goes_on(old: Ledger) -> None:
    accepted = old.post(source="@A", destination="@B", inflight=True)
    assert accepted.seq == ROWS + 1
    old.drain()
    old.settle(accepted.transaction_id, "commit")
    old.drain()
    report = verify_all(old.engine, key=KEY)
    assert report.problems == []
    assert (report.transactions, report.undecided) == (ROWS + 2, 0)
