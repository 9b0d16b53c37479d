"""Receipts: each proves its own transaction with the public key alone, and nothing that was altered."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from core.base.actors import acting_for, with_all_rights
from core.notary.notary import Notary
from core.notary.receipt_check import Checked, check
from core.notary.receipts import Receipt, receipt_of
from core.notary.seals import keypair
from ops.cli.main import main
from tests.harness.factories import Ledger, shares
from tests.harness.forging import as_owner

OURS, NEXT, OTHER = keypair(bytes(32)), keypair(b"\1" * 32), keypair(b"\2" * 32)
KEYS = [OURS.public]


def receipt(ledger: Ledger, transaction_id: str) -> Receipt:
    made = receipt_of(ledger.engine, transaction_id, ledger.transaction(transaction_id).seq)
    return msgspec.json.decode(msgspec.json.encode(made), type=Receipt)  # As it comes over the wire.


def checked(ledger: Ledger, transaction_id: str) -> Checked:
    return check(receipt(ledger, transaction_id), KEYS)


def test_every_transaction_of_a_mix_is_proved_by_its_own_rows_and_hashes_of_others(ledger: Ledger) -> None:
    notary = Notary(ledger.engine, OURS)
    posted = []
    with acting_for(with_all_rights("key_alice")):
        for number in range(7):
            for destination in ("@A", "@B", "@C")[: 1 + number % 3]:
                posted.append(ledger.post(destination=destination, precise_amount=10 + number))
            posted.append(ledger.post(source="@A", destination="@D", precise_amount=10**9, allow_overdraft=False))
            if number % 2:
                ledger.drain()
            assert notary.seal() is not None
    ledger.drain()
    notary.seal()
    references = {ledger.transaction(each.transaction_id).reference for each in posted}
    for each in posted:
        found = checked(ledger, each.transaction_id)
        assert (found.ok, found.problems, found.note) == (True, [], None)
        assert (found.accepted["seq"], found.accepted["actor"]) == (each.seq, "key_alice")
        assert found.decided["seq"] == str(each.seq)
        assert found.source is not None and found.source.indicator in ("@World", "@A")
        text = msgspec.json.encode(receipt(ledger, each.transaction_id)).decode()
        own = ledger.transaction(each.transaction_id).reference
        assert not [other for other in references - {own} if f'\\"{other}\\"' in text]


def test_a_split_is_proved_and_its_legs_by_themselves(ledger: Ledger) -> None:
    split = ledger.post(precise_amount=100, destination=None, destinations=shares(("@A", "30%"), ("@B", "left")))
    ledger.drain()
    Notary(ledger.engine, OURS).seal()
    found = checked(ledger, split.transaction_id)
    assert found.ok and found.decided == {} and found.destination is None
    assert found.note is not None and "legs" in found.note
    for leg, amount in zip(split.legs, ("30", "70"), strict=True):
        assert checked(ledger, leg.transaction_id).decided["amount"] == amount


def test_what_is_not_proved_yet_says_when(ledger: Ledger) -> None:
    later = ledger.post(scheduled_for="2100-01-01T00:00:00Z")
    waits = receipt(ledger, later.transaction_id)
    assert waits.accepted is None and "date" in str(waits.note)
    assert not check(waits, KEYS).ok
    posted = ledger.post()
    notary = Notary(ledger.engine, OURS)
    unsealed = receipt(ledger, posted.transaction_id)
    assert unsealed.accepted is not None and unsealed.accepted.proof is None
    assert "ten seconds" in str(unsealed.note)
    notary.seal()
    undecided = receipt(ledger, posted.transaction_id)
    assert undecided.decided is None and "queue" in str(undecided.note)
    assert check(undecided, KEYS).ok
    ledger.drain()
    assert "ten seconds" in str(receipt(ledger, posted.transaction_id).note)
    notary.seal()
    assert checked(ledger, posted.transaction_id).decided["amount"] == "1"


def _texts(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all texts and numbers of a document."""
    match value:
        case dict():
            return [place for name, inner in value.items() for place in _texts(inner, (*path, name))]
        case list():
            return [place for index, inner in enumerate(value) for place in _texts(inner, (*path, index))]
    return [path] if value is not None else []


def test_nothing_in_a_receipt_can_be_altered(ledger: Ledger) -> None:
    for _ in range(5):
        posted = ledger.post()
    ledger.drain()
    Notary(ledger.engine, OURS).seal()
    whole = msgspec.json.encode(receipt(ledger, ledger.post(reference="x").transaction_id))
    whole = msgspec.json.encode(receipt(ledger, posted.transaction_id))
    assert check(msgspec.json.decode(whole, type=Receipt), KEYS).ok
    places = _texts(json.loads(whole))
    assert len(places) > 60
    for place in places:
        altered = json.loads(whole)
        inner = altered
        for step in place[:-1]:
            inner = inner[step]
        value = inner[place[-1]]
        inner[place[-1]] = value + 1 if isinstance(value, int) else value[:-1] + ("0" if value[-1:] != "0" else "1")
        found = check(msgspec.json.decode(json.dumps(altered), type=Receipt), KEYS)
        assert not found.ok, place


def test_rows_and_seals_that_do_not_belong_together_prove_nothing(ledger: Ledger) -> None:
    notary = Notary(ledger.engine, OURS)
    first, *_ = ledger.post(), ledger.post()
    ledger.drain()
    notary.seal()
    second, *_ = ledger.post(), ledger.post()
    ledger.drain()
    notary.seal()
    one, two = receipt(ledger, first.transaction_id), receipt(ledger, second.transaction_id)
    for swapped in (
        msgspec.structs.replace(one, transaction_id=two.transaction_id),
        msgspec.structs.replace(one, accepted=two.accepted),
        msgspec.structs.replace(one, decided=two.decided),
        msgspec.structs.replace(one, accepted=msgspec.structs.replace(one.accepted, proof=two.accepted.proof)),  # type: ignore[union-attr, type-var]
        msgspec.structs.replace(one, accepted=msgspec.structs.replace(one.accepted, proof=one.decided.proof)),  # type: ignore[union-attr, type-var]
        msgspec.structs.replace(one, accepted=None),
    ):
        assert not check(swapped, KEYS).ok


def test_only_a_known_key_or_its_successor_is_believed(ledger: Ledger) -> None:
    notary = Notary(ledger.engine, OURS)
    first = ledger.post()
    notary.hand_over(NEXT)
    notary.seal()
    posted = ledger.post()
    ledger.drain()
    notary.seal()
    made = receipt(ledger, posted.transaction_id)
    assert check(made, [OURS.public]).ok
    assert check(made, [NEXT.public]).ok
    assert not check(made, [OTHER.public]).ok
    assert not check(made, []).ok
    assert not check(msgspec.structs.replace(made, keys=[]), [OURS.public]).ok
    old = receipt(ledger, first.transaction_id)
    assert check(old, [OURS.public]).ok
    assert check(old, [NEXT.public]).ok
    assert not check(old, [OTHER.public]).ok
    assert not check(msgspec.structs.replace(old, keys=old.keys[:1]), [NEXT.public]).ok


def test_a_receipt_of_what_was_altered_since_is_not_right(ledger: Ledger) -> None:
    posted = ledger.post()
    ledger.drain()
    Notary(ledger.engine, OURS).seal()
    with as_owner(ledger) as conn:
        conn.exec_driver_sql("UPDATE balances SET indicator = '@Mallory' WHERE indicator = '@A'")
    found = checked(ledger, posted.transaction_id)
    assert found.problems == ["its row of the log, or a balance that it names, is not the one that was sealed",
                              "its outcome is that of another transaction, or of a row that is not proved"]  # fmt: skip


def test_the_command_checks_a_file_offline(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    posted = ledger.post(precise_amount=125)
    ledger.drain()
    Notary(ledger.engine, OURS).seal()
    file, key = tmp_path / "paid.json", tmp_path / "notary.pub"
    file.write_bytes(msgspec.json.encode(receipt(ledger, posted.transaction_id)))
    key.write_text(OURS.public + "\n")
    monkeypatch.setattr("socket.socket", None)  # Whatever opens a connection fails.
    good = CliRunner().invoke(main, ["receipt", "check", str(file), "--public-key", str(key)])
    assert good.exit_code == 0, good.output
    assert "from @World" in good.output and "125 minor units of USD" in good.output
    assert "APPLIED, 125" in good.output
    bad = CliRunner().invoke(main, ["receipt", "check", str(file), "--public-key", OTHER.public])
    assert bad.exit_code == 1
    assert "which is not the notary's" in bad.output
    program = CliRunner().invoke(main, ["receipt", "check", str(file), "--public-key", OURS.public, "--json"])
    assert json.loads(program.stdout)["ok"] is True
    without = CliRunner().invoke(main, ["receipt", "check", str(file)])
    assert without.exit_code == 2
