"""Alters a ledger as the owner of its database can, and makes every digest and hash fit again."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

from core.base.db import begin, driver
from core.ledger.rules import chain
from core.ledger.rules.log_row import digest_of
from core.notary import proof_store, seal_store
from tests.harness.factories import Ledger
from tests.harness.history import NO_TRIGGERS


@contextmanager
def as_owner(ledger: Ledger) -> Iterator[Connection]:
    """Open a transaction in which no guard holds, and make all digests and hashes fit at its end."""
    with begin(ledger.engine) as conn:
        conn.execute(text(NO_TRIGGERS))
        yield conn
        _make_fit(conn)


def _make_fit(conn: Connection) -> None:
    digest = chain.START
    last_seq = seal_store.state(conn).last_seq
    for seq, row in sorted(proof_store.rows(conn, range(1, last_seq + 1)).items()):
        digest = digest_of(row, digest)
        driver(conn).execute("UPDATE log SET digest = %s WHERE seq = %s", (digest, seq))
    for queue in seal_store.cursors(conn):
        hash = chain.START
        for outcome in seal_store.decided(conn, queue, after=0, last=last_seq, limit=10**6):
            hash = chain.link(hash, outcome.line)
            driver(conn).execute("UPDATE outcomes SET hash = %s WHERE seq = %s", (hash, outcome.seq))
        driver(conn).execute(
            "UPDATE queues SET hash = %s, cursor = least(cursor, %s) WHERE number = %s", (hash, last_seq, queue)
        )
