"""The receipt of a statement: each entry is proved with the public key alone, and none can be left out."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from sqlalchemy import text

from core.base.db import reading
from core.notary.notary import Notary
from core.notary.seals import keypair
from core.notary.statement_check import CheckedStatement, check_statement
from core.notary.statement_receipts import StatementReceipt, statement_receipt
from ops.cli.main import main
from tests.harness.factories import Ledger, shares

OURS, NEXT, OTHER = keypair(bytes(32)), keypair(b"\1" * 32), keypair(b"\2" * 32)
KEYS = [OURS.public]


def receipt(ledger: Ledger, key: int, *, after: int = 0, limit: int = 500, **period: datetime) -> StatementReceipt:
    between = period.get("since"), period.get("until")
    made = statement_receipt(ledger.engine, key, between, after=after, limit=limit)
    return msgspec.json.decode(msgspec.json.encode(made), type=StatementReceipt)  # As it comes over the wire.


def checked(ledger: Ledger, key: int, **given: Any) -> CheckedStatement:
    return check_statement(receipt(ledger, key, **given), KEYS)


@pytest.fixture
def ada(ledger: Ledger) -> int:
    """Everything that can happen to the balance @Ada, sealed piece by piece. It ends with 68."""
    notary = Notary(ledger.engine, OURS)
    ledger.post(destination="@Ada", precise_amount=100)
    ledger.post(destination="@Bob", precise_amount=7)
    ledger.drain()
    notary.seal()
    hold = ledger.post(source="@Ada", destination="@Bob", precise_amount=30, inflight=True)
    ledger.post(source="@Ada", destination="@Bob", precise_amount=10**6, allow_overdraft=False)  # It is rejected.
    ledger.drain()
    notary.hand_over(NEXT)
    notary.seal()
    ledger.settle(hold.transaction_id, "commit", precise_amount=20)
    ledger.post(destination=None, precise_amount=10, destinations=shares(("@Ada", "40%"), ("@Bob", "left")))
    ledger.post(source="@Ada", destination="@Carl", precise_amount=16)
    ledger.post(source="@Carl", destination="@Bob", precise_amount=3)
    ledger.drain()
    notary.seal()
    with reading(ledger.engine) as conn:
        return int(conn.execute(text("SELECT id FROM balances WHERE indicator = '@Ada'")).scalar_one())


def test_every_entry_is_proved_and_the_sums_follow(ledger: Ledger, ada: int) -> None:
    found = checked(ledger, ada)
    assert (found.ok, found.problems, found.note) == (True, [], None)
    assert sorted(each.signed_amount for each in found.entries) == [-20, -16, 0, 4, 100]
    assert [each.version for each in found.entries] == [2, 3, 4, 5, 6]
    assert (found.opening_balance, found.debits, found.credits, found.closing_balance) == (0, 36, 104, 68)
    others = [each for each in receipt(ledger, ada).entries if "@Ada" not in msgspec.json.encode(each).decode()]
    assert others == []


def test_pages_continue_each_other(ledger: Ledger, ada: int) -> None:
    first = receipt(ledger, ada, limit=2)
    assert "after=3" in str(first.note)
    second = receipt(ledger, ada, after=3)
    assert check_statement(first, KEYS).ok and check_statement(second, KEYS).ok
    assert (
        (first.closing_version, first.closing_balance) == (second.opening_version, second.opening_balance) == (3, 100)
    )
    period = checked(ledger, ada, since=datetime(2000, 1, 1, tzinfo=UTC), until=datetime(2100, 1, 1, tzinfo=UTC))
    assert len(period.entries) == 5
    empty = receipt(ledger, ada, until=datetime(2000, 1, 1, tzinfo=UTC))
    assert (empty.entries, empty.opening_balance, empty.closing_balance) == ([], 0, 0)
    assert not check_statement(empty, KEYS).ok  # Nothing is proved by nothing.


def _left_out(made: StatementReceipt) -> dict[str, StatementReceipt]:
    entries = made.entries
    return {
        "the first entry": replace(made, entries=entries[1:]),
        "an entry between": replace(made, entries=entries[:2] + entries[3:]),
        "the last entry": replace(made, entries=entries[:-1]),
        "the hold": replace(made, entries=[entries[0], *entries[2:]]),
        "the first entry, and another opening": replace(
            made, entries=entries[1:], opening_version=2, opening_balance=99
        ),
        "no entry, and another opening": replace(made, opening_balance=1, closing_balance=69),
        "no entry, and another closing": replace(made, closing_balance=69),
        "an entry is there twice": replace(made, entries=[*entries, entries[-1]]),
        "two change places": replace(made, entries=[entries[1], entries[0], *entries[2:]]),
        "whose balance it is": replace(made, balance=replace(made.balance, balance_id="bln_other")),
        "the name": replace(made, balance=replace(made.balance, indicator="@Bob")),
        "an outcome": replace(made, entries=[replace(entries[0], decided=entries[1].decided), *entries[1:]]),
        "a proof": replace(made, entries=[replace(entries[0], decided=None), *entries[1:]]),
        "the keys": replace(made, keys=[]),
        "the form": replace(made, form="pacioli statement receipt 2"),
        "an amount": replace(
            made,
            entries=[
                replace(
                    entries[0], decided=replace(entries[0].decided, row=entries[0].decided.row.replace("100", "200"))
                ),  # type: ignore[union-attr, type-var]
                *entries[1:],
            ],
        ),
    }


def test_nothing_can_be_left_out_or_altered(ledger: Ledger, ada: int) -> None:
    made = receipt(ledger, ada)
    assert check_statement(made, KEYS).ok
    assert check_statement(made, [NEXT.public]).ok
    assert not check_statement(made, [OTHER.public]).ok
    for what, altered in _left_out(made).items():
        found = check_statement(altered, KEYS)
        assert not found.ok and found.problems, what


def test_what_is_not_sealed_yet_says_when(ledger: Ledger, ada: int) -> None:
    ledger.post(destination="@Ada")
    ledger.drain()
    made = receipt(ledger, ada)
    assert "ten seconds" in str(made.note)
    found = check_statement(made, KEYS)
    assert (found.ok, len(found.entries)) == (False, 5)
    assert "not proved" in found.problems[-1]


def test_the_command_checks_a_file_offline(
    ledger: Ledger, ada: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "statement.json"
    path.write_bytes(msgspec.json.encode(receipt(ledger, ada)))
    monkeypatch.setattr("socket.socket", None)  # Whatever opens a connection fails.
    good = CliRunner().invoke(main, ["receipt", "check", str(path), "--public-key", OURS.public])
    assert good.exit_code == 0, good.output
    assert "@Ada" in good.output and "is proved, and no entry is left out" in good.output
    assert "opening 0, debits 36, credits 104, closing 68" in good.output
    program = CliRunner().invoke(main, ["receipt", "check", str(path), "--public-key", OURS.public, "--json"])
    assert json.loads(program.stdout)["entries"][0]["signed_amount"] == 100
    path.write_bytes(path.read_bytes().replace(b'"closing_balance":68', b'"closing_balance":69'))
    bad = CliRunner().invoke(main, ["receipt", "check", str(path), "--public-key", OURS.public])
    assert (bad.exit_code, "wrong: it ends with" in bad.output) == (1, True)
