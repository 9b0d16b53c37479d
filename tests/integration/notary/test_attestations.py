"""The notary says by its own key how far the ledger was verified, whatever stands still."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from core.base.db import reading
from core.notary import attestations, seal_store
from core.notary.attestations import Attestation, VerifiedUpTo
from core.notary.publish import SealFile
from core.notary.published import brief_of, read_lines
from core.notary.seals import keypair
from core.verification import checkpoints
from core.verification.answers import verification_of
from core.verification.sealed import Known
from core.verification.verify import verify_all, verify_since_checkpoint
from ops.cli.main import main
from ops.server import notary
from ops.server.notary import KeyFile, NotaryService
from tests.harness.factories import Ledger
from tests.harness.history import KEY, tamper

OURS, OTHER = keypair(bytes(32)), keypair(b"\2" * 32)
PINNED = Known(keys=frozenset([OURS.public]))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sign at each step, instead of every ten seconds."""
    monkeypatch.setattr(notary, "EVERY_S", 0.0)


@pytest.fixture
def file(tmp_path: Path) -> SealFile:
    return SealFile(tmp_path / "seals.jsonl")


@pytest.fixture
def service(ledger: Ledger, file: SealFile) -> NotaryService:
    return NotaryService(ledger.engine, OURS, KeyFile(None), file, ())


def verify(ledger: Ledger) -> None:
    """Verify what is new, as a worker does each hour."""
    report = verify_since_checkpoint(ledger.engine, key=KEY)
    assert report.problems == []
    checkpoints.write(ledger.engine, report.reached, KEY)


def said(ledger: Ledger) -> list[tuple[Attestation, VerifiedUpTo]]:
    with reading(ledger.engine) as conn:
        found = [each for _, each in seal_store.attestations(conn)]
    return [(each, statement) for each in found if (statement := attestations.read(each))]


def test_a_queue_that_stands_still_stops_neither_the_seals_nor_what_is_verified(
    ledger: Ledger, service: NotaryService
) -> None:
    other = ledger.post(source="@World", destination="@A")
    ledger.drain()
    stuck = ledger.post(source=_in_another_queue(ledger, other.transaction_id), destination="@A")
    going = ledger.transaction(other.transaction_id).queue
    assert going is not None
    for number in range(1, 4):
        ledger.post(source="@World", destination="@A")
        ledger.drain(going)
        service.step()
        verify(ledger)
        service.step()
        _, statement = said(ledger)[-1]
        with reading(ledger.engine) as conn:
            head = seal_store.state(conn).last_seq
            newest = seal_store.newest(conn)
        assert newest is not None
        assert f'"last_seq":{head},' in newest[1].statement
        assert (statement.sequence, len(said(ledger))) == (head, number)
        assert statement.queues[going][0] == head
    assert ledger.transaction(stuck.transaction_id).status == "QUEUED"
    assert service.problem is None
    ledger.drain()
    service.step()
    verify(ledger)
    service.step()
    assert len(said(ledger)) == 4
    report = verify_all(ledger.engine, key=KEY, known=PINNED)
    assert report.problems == []
    assert report.attested == said(ledger)[-1][0]


def _in_another_queue(ledger: Ledger, transaction_id: str) -> str:
    """Make a balance whose debits are in another queue than a transaction."""
    for number in range(99):
        name = f"@Stuck{number}"
        made = ledger.post(source=name, destination="@A")
        if ledger.transaction(made.transaction_id).queue != ledger.transaction(transaction_id).queue:
            return name
        ledger.drain()
    raise AssertionError("all balances are in one queue")


def test_it_is_published_and_anybody_checks_it_offline(
    ledger: Ledger, service: NotaryService, file: SealFile, tmp_path: Path
) -> None:
    ledger.post()
    ledger.drain()
    verify(ledger)
    service.step()
    ((attestation, statement),) = said(ledger)
    lines = file._path.read_text().splitlines()
    assert json.loads(lines[-1]) == {"verified": attestation.statement, "signature": attestation.signature}
    assert [each.number for each in read_lines(lines)] == [1]
    assert SealFile(file._path).last() is not None
    assert json.loads(brief_of(attestation))["verified_up_to"] == 1
    path = tmp_path / "verified.json"
    path.write_bytes(msgspec.json.encode(verification_of(verify_all(ledger.engine, key=KEY, known=PINNED))))
    good = CliRunner().invoke(main, ["receipt", "check", str(path), "--public-key", OURS.public])
    assert good.exit_code == 0, good.output
    assert f"ledger {statement.ledger} was verified up to sequence 1 at" in good.output
    for key, text, told in (
        (OTHER.public, path.read_text(), "not the notary's"),
        (OURS.public, path.read_text().replace('sequence\\":1', 'sequence\\":2'), "signature is not valid"),
    ):
        path.write_text(text)
        bad = CliRunner().invoke(main, ["receipt", "check", str(path), "--public-key", key])
        assert (bad.exit_code, told in bad.output) == (1, True), bad.output


EDITS = {
    "UPDATE attestations SET statement = replace(statement, '\"sequence\":1', '\"sequence\":2')": "attestations",
    "UPDATE attestations SET signature = ''": "attestations",
    "UPDATE attestations SET checkpoint = 2": "attestations",
    "UPDATE checkpoints SET signature = ''": "checkpoints",
    "DELETE FROM checkpoints": "checkpoints",
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_was_altered_is_named(ledger: Ledger, service: NotaryService, edit: str) -> None:
    ledger.post()
    ledger.drain()
    verify(ledger)
    service.step()
    tamper(ledger, edit)
    for report in (verify_all(ledger.engine, known=PINNED), verify_since_checkpoint(ledger.engine, known=PINNED)):
        assert EDITS[edit] in {each.table for each in report.problems}, report.problems


def test_the_notary_does_not_repeat_what_the_log_contradicts(ledger: Ledger, service: NotaryService) -> None:
    ledger.post()
    ledger.drain()
    verify(ledger)
    tamper(ledger, "UPDATE checkpoints SET heads = replace(heads::text, 'digest\":\"', 'digest\":\"00')::json")
    service.step()
    assert said(ledger) == []
    assert "another digest of row 1" in str(service.problem)
