"""The quick way along the chains beside the one row by row: over odd rows, and over each column that somebody altered."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from core.base.db import begin, reading
from core.base.tables.transactions import log, outcomes
from core.ledger.rules import chain
from core.ledger.rules.log_row import COLUMNS
from core.ledger.store.outcomes import OUTCOME
from core.notary import following, seal_store
from core.notary.following import Altered, Following
from core.notary.leaves import NO_PARTY
from core.notary.notary import Notary
from core.notary.receipt_check import check
from core.notary.receipts import receipt_of
from core.notary.seals import keypair, read
from tests.harness.factories import Ledger, shares
from tests.harness.history import NO_TRIGGERS

OURS = keypair(bytes(32))

TEXTS = [
    'a "quoted" word, {braces}, [brackets] and a comma,',
    r"a \ backslash, \n, \N, \u0041 and null",
    "é, \u6f22, \U0001f389",
    "<script>&amp;'%s'%%{}</script>",
]
"""Texts that one way of writing JSON may write in another way than the next."""

OBJECTS = [
    '{"a":   [1.0, 1e5, -0.5, 123456789012345678901234567890]}',
    '{"b": {"c": null, "d": true, "\\u0041\\n": "\\t\\"\\\\"}}',
    "{}",
]


def follow(conn: Connection) -> Following:
    found = Following(conn, {None: NO_PARTY}, None)
    found.follow(1, seal_store.state(conn).last_seq)
    return found


def values(found: Following) -> tuple[Any, ...]:
    return found.digest, found.leaves, found.versions, found.queues, found.outcomes


def one_by_one(conn: Connection) -> Following:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "leaves_of", lambda version, rows: [b""] * len(rows))
        patch.setattr(chain, "links_of", lambda before, lines: [b""] * len(lines))
        return follow(conn)


def fill(ledger: Ledger) -> None:
    """Rows of each kind with odd texts, decided and rejected, and some that wait."""
    for number, description in enumerate(TEXTS):
        ledger.post(
            description=description,
            reference=f"{number} {description}",
            destination=f"@{number % 3}",
            meta_data=None if number >= len(OBJECTS) else msgspec.Raw(OBJECTS[number].encode()),
            effective_date=None if number else datetime.fromisoformat("1970-01-01T00:00:00.000001+14:00"),
            precise_amount=10 + number,
        )
    hold = ledger.post(inflight=True, precise_amount=9)
    ledger.post(source="@0", precise_amount=10**9, allow_overdraft=False)
    ledger.post(overdraft_limit=5, source="@9", precise_amount=500)
    ledger.post(precise_amount=100, destination=None, destinations=shares(("@A", "30%"), ("@B", "left")))
    ledger.drain()
    ledger.settle(hold.transaction_id, "commit", precise_amount=4)
    ledger.drain()
    ledger.post(description="it waits")


def test_odd_rows_are_followed_quickly_and_as_one_by_one(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(ledger)
    monkeypatch.setattr(following, "_PIECE", 5)
    with reading(ledger.engine) as conn:
        exact = one_by_one(conn)
        monkeypatch.setattr(Following, "_follow_each", None)
        monkeypatch.setattr(following, "_link_each", None)
        quick = follow(conn)
    assert values(quick) == values(exact)
    assert len(quick.leaves) == 12 and len(quick.outcomes) == 10


@pytest.mark.parametrize("amount", [2**63 - 1, 2**63, 10**30])
def test_very_large_amounts_are_followed_one_by_one(ledger: Ledger, amount: int) -> None:
    ledger.post(precise_amount=1)
    ledger.post(precise_amount=amount, overdraft_limit=amount)
    ledger.drain()
    with reading(ledger.engine) as conn:
        assert values(follow(conn)) == values(one_by_one(conn))


def _altered(table: str, name: str) -> str:
    """Another value of a column."""
    kind = str((log if table == "log" else outcomes).c[name].type).lower()
    if name == "seq":
        return "1000000"
    for part, value in {
        "json": """'{"x": 1}'""",
        "bool": f"NOT {name}",
        "char(32)": "gen_random_uuid()",
        "time": f"coalesce({name}, now()) + interval '1 microsecond'",
        "blob": "'\\x00'",
        "text": f"coalesce({name}, '') || 'x'",
    }.items():
        if part in kind:
            return value
    return f"coalesce({name}, 0) + 1"


def _columns() -> Iterator[tuple[str, str]]:
    yield from (("log", name) for name in COLUMNS)
    yield from (("outcomes", name) for name in OUTCOME.split(", "))


def test_each_column_that_is_altered_is_found(ledger: Ledger) -> None:
    fill(ledger)
    missed = []
    with begin(ledger.engine) as conn:
        conn.execute(text(NO_TRIGGERS))
        for table, name in _columns():
            for seq in (2,) if name == "seq" else (2, 6):  # The second is rejected, and may be the last of its queue.
                step = conn.begin_nested()
                try:
                    conn.execute(text(f"UPDATE {table} SET {name} = {_altered(table, name)} WHERE seq = {seq}"))
                    follow(conn)
                    missed.append((table, name, seq))
                except (Altered, IntegrityError):
                    pass
                step.rollback()
        assert follow(conn).leaves
    assert missed == []


@pytest.mark.parametrize("limit", [2**62 + 1, 2**63, 10**30])
def test_a_limit_that_no_quick_look_can_read_does_not_pass_for_none(ledger: Ledger, limit: int) -> None:
    ledger.post()
    ledger.drain()
    with begin(ledger.engine) as conn:
        conn.execute(text(NO_TRIGGERS))
        conn.execute(text(f"UPDATE log SET overdraft_limit = {limit}"))
        with pytest.raises(Altered, match="row 1 of the log does not have the digest"):
            follow(conn)


def test_outcomes_that_come_late_are_sealed_in_their_turn(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "ROWS", 2)
    monkeypatch.setattr("core.notary.notary.ROWS", 10)
    notary = Notary(ledger.engine, OURS)
    posted = [ledger.post(source=source, precise_amount=1) for source in ["@X"] * 5 + ["@Y"] * 3]
    notary.seal()
    ledger.drain()
    posted += [ledger.post(source="@X", precise_amount=1) for _ in range(3)]
    ledger.drain()
    decided = []
    for _ in range(6):
        notary.seal()
        statement = read(notary.last) if notary.last is not None else None
        decided.append(0 if statement is None else statement.decided)
    assert sum(decided) == len(posted)
    for each in posted:
        receipt = receipt_of(ledger.engine, each.transaction_id, ledger.transaction(each.transaction_id).seq)
        found = check(receipt, [OURS.public])
        assert (found.ok, found.problems, found.note) == (True, [], None)
