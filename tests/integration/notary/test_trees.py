"""A way in a large tree is found from the leaves of one block, and it is the way that all leaves make."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest
from sqlalchemy import Engine, text

from core.base.db import begin, connect, snapshot
from core.ledger.drain import drain
from core.ledger.store import queues
from core.notary import merkle, proof_store, seal_nodes
from core.notary.notary import Notary
from core.notary.seals import keypair
from core.notary.statement_receipts import ENTRIES, statement_receipt
from core.notary.trees import Trees, Way, _Search, write_nodes
from ops.proving.past import POOL, Shape, write
from tests.harness.databases import new_database
from web.app import create_app

ROWS, LATE = 1_500, 700
"""So many of these rows are decided after they were sealed."""


class Sealed(NamedTuple):
    engine: Engine
    queues: dict[int, int]
    """The queue of each row."""
    ways: dict[int, tuple[Way | None, Way | None]]
    """The ways of each row and its outcome, from all leaves."""


@pytest.fixture(scope="module")
def sealed(postgres: str) -> Iterator[Sealed]:
    """A ledger with two seals: one with all rows and some outcomes, and one with the other outcomes."""
    engine = connect(new_database(postgres))
    write(engine, Shape(ROWS, customers=40, undecided=LATE))
    notary = Notary(engine, keypair(bytes(32)))
    assert notary.seal() is not None
    with snapshot(engine) as conn:
        numbers = list(queues.cursors(conn))
    for number in numbers:
        drain(engine, number)
    assert notary.seal() is not None
    with snapshot(engine) as conn:
        of_rows = {
            seq: row.queue for seq, row in proof_store.rows(conn, range(1, ROWS + 1)).items() if row.queue is not None
        }
        plain = _Plain(conn)
        ways = {seq: (plain.of_row(seq), plain.of_outcome(queue, seq)) for seq, queue in of_rows.items()}
    yield Sealed(engine, of_rows, ways)
    engine.dispose()


class _Plain(Trees):
    """Trees without stored nodes."""

    def _nodes_of(self, *_: object) -> None:
        return None

    def _read_nodes(self, *_: object) -> None:
        return None


def test_every_way_over_nodes_is_that_over_all_leaves(sealed: Sealed) -> None:
    assert len(sealed.ways) == ROWS
    with snapshot(sealed.engine) as conn:
        assert set(seal_nodes.find(conn, [1, 2, 3])) == {1, 2}
        trees = Trees(conn)
        for seq, (row, outcome) in sealed.ways.items():
            assert row is not None and outcome is not None
            assert (trees.of_row(seq), trees.of_outcome(sealed.queues[seq], seq)) == (row, outcome)
        assert (1, -1) not in trees._outcomes and (2, -1) not in trees._outcomes
        assert (1, ROWS) not in trees._rows


def _count(monkeypatch: pytest.MonkeyPatch, name: str, read: list[int]) -> None:
    """Note how many rows each call of a function of the store reads."""
    function = getattr(proof_store, name)

    def counting(*given: Any, **named: Any) -> Any:
        found = function(*given, **named)
        read.append(sum(map(len, found)))
        return found

    monkeypatch.setattr(proof_store, name, counting)


def test_a_way_reads_one_block(sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    for name in ("quick_rows", "decided"):
        _count(monkeypatch, name, read)
    for seq in (1, ROWS // 3, ROWS - LATE, ROWS):
        with snapshot(sealed.engine) as conn:
            trees = Trees(conn)
            read.clear()
            assert (trees.of_row(seq), trees.of_outcome(sealed.queues[seq], seq)) == sealed.ways[seq]
            assert sum(read) <= 2 * seal_nodes.BLOCK


@pytest.mark.parametrize(
    "change",
    [
        "rows = overlay(rows placing sha256('x') from 33)",
        "rows = overlay(rows placing sha256('x') from 32 * 47 + 1), "
        "outcomes = overlay(outcomes placing sha256('x') from octet_length(outcomes) - 31)",
        "outcomes = overlay(outcomes placing sha256('x') from 33)",
        "rows = ''",
        "outcomes = substr(outcomes, 1, 40)",
        "starts = '[]'",
        "starts = 'nonsense'",
        "starts = '[[0,1],[9,9]]'",
    ],
)
def test_altered_nodes_are_not_believed(sealed: Sealed, change: str) -> None:
    with begin(sealed.engine) as conn:
        conn.execute(text("ALTER TABLE seal_nodes DISABLE TRIGGER USER"))
        conn.execute(text(f"UPDATE seal_nodes SET {change}"))
        trees = Trees(conn)
        for seq in (1, 200, ROWS - LATE, ROWS - 5):
            assert (trees.of_row(seq), trees.of_outcome(sealed.queues[seq], seq)) == sealed.ways[seq]
        conn.rollback()


def test_a_way_over_nodes_computes_one_group_and_the_level_above(
    sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    path = merkle.path
    monkeypatch.setattr(merkle, "path", lambda leaves, index: computed.append(len(leaves)) or path(leaves, index))
    with snapshot(sealed.engine) as conn:
        assert Trees(conn).of_row(700) == sealed.ways[700][0]
    assert computed == [seal_nodes.BLOCK, seal_nodes.GROUP, 3]


def test_nodes_of_an_older_release_have_one_level(sealed: Sealed) -> None:
    with begin(sealed.engine) as conn:
        conn.execute(text("ALTER TABLE seal_nodes DISABLE TRIGGER USER"))
        for column, size in (
            ("rows", "last_seq - first_seq + 1"),
            ("outcomes", "(statement::json ->> 'decided')::int"),
        ):
            conn.execute(
                text(
                    f"UPDATE seal_nodes SET {column} = substr({column}, 1, (32 * (({size} + 31) / 32))::int) FROM seals "
                    "WHERE number = seal"
                )
            )
        trees = Trees(conn)
        for seq in (1, 200, ROWS - LATE, ROWS - 5):
            assert (trees.of_row(seq), trees.of_outcome(sealed.queues[seq], seq)) == sealed.ways[seq]
        assert (1, ROWS) not in trees._rows and (1, -1) not in trees._outcomes
        conn.rollback()


def test_the_nodes_of_old_seals_are_written_later_and_are_the_same(sealed: Sealed) -> None:
    with begin(sealed.engine) as conn:
        made = seal_nodes.find(conn, [1])
        conn.execute(text("ALTER TABLE seal_nodes DISABLE TRIGGER USER"))
        conn.execute(text("DELETE FROM seal_nodes WHERE seal = 1"))
        conn.execute(text("ALTER TABLE seal_nodes ENABLE TRIGGER USER"))
    assert write_nodes(sealed.engine, after=0) == 1
    assert write_nodes(sealed.engine, after=1) is None
    assert write_nodes(sealed.engine, after=0) is None
    with snapshot(sealed.engine) as conn:
        assert seal_nodes.find(conn, [1]) == made


def test_a_page_of_a_statement_takes_as_many_statements_as_a_few_entries(
    sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    execute = psycopg.Cursor.execute

    def counting(cursor: Any, query: Any, *given: Any, **named: Any) -> Any:
        asked.append(query)
        return execute(cursor, query, *given, **named)

    monkeypatch.setattr(psycopg.Cursor, "execute", counting)
    counts = []
    for limit in (3, 300):
        asked.clear()
        made = statement_receipt(sealed.engine, POOL, (None, None), after=1, limit=limit)
        counts.append(len(asked))
        assert len(made.entries) == limit
    assert counts[0] == counts[1] <= 20, asked
    for entry in made.entries:
        assert entry.accepted is not None and entry.decided is not None
        for proof, way in zip(
            (entry.accepted.proof, entry.decided.proof), sealed.ways[entry.accepted.sequence], strict=True
        ):
            assert proof is not None and way is not None
            assert (proof.index, proof.size, proof.path) == (way.index, way.size, [each.hex() for each in way.path])


def test_an_outcome_is_found_under_whichever_seal_it_is() -> None:
    for beyond in range(2, 40):
        for low in range(1, beyond):
            for has_it in range(low, beyond):
                search, looks = _Search(low, beyond), 0
                while not search.is_done:
                    assert low <= search.next < beyond
                    search.learn(search.next >= has_it)
                    looks += 1
                assert search.low == has_it
                assert looks <= 1 + 2 * (has_it - low + 1).bit_length()


def test_a_page_of_a_statement_that_is_not_whole_says_where_it_goes_on(sealed: Sealed) -> None:
    settings = {"DATABASE_URL": sealed.engine.url.render_as_string(hide_password=False)}
    client = create_app(settings).test_client()
    with snapshot(sealed.engine) as conn:
        pool = conn.execute(text(f"SELECT 'bln_' || balance_id FROM balances WHERE id = {POOL}")).scalar_one()
    page = client.get(f"/balances/{pool}/statement/receipt").get_json()
    assert len(page["entries"]) == ENTRIES < 100
    assert f"after={page['closing_version']}" in page["note"]
