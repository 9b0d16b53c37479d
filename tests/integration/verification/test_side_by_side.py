"""Several processes find what one finds, in every piece, and a verification that was killed goes on where it stood."""

import multiprocessing
import random
from collections.abc import Iterator
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import pytest

from core.base.db import begin, export_snapshot, snapshot, source_of
from core.notary.notary import Notary
from core.notary.seals import keypair
from core.verification import crew, kept, pieces, verify
from core.verification.checkpoints import Heads
from core.verification.pieces import Done, Piece, Reader
from core.verification.quick import QuickPiece
from core.verification.report import Report
from core.verification.tally import PRIME, is_followed, new_salt
from core.verification.verify import Effort, verify_all
from tests.harness.factories import Ledger
from tests.harness.history import KEY, checkpoint, mix, tamper

OURS = keypair(bytes(32))
ROWS = 12


@pytest.fixture
def mixed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Everything that there is, in pieces of some rows, with seals that begin and end within them."""
    monkeypatch.setattr(pieces, "ROWS", ROWS)
    rng = random.Random(5)
    notary = Notary(ledger.engine, OURS)
    for _ in range(4):
        mix(ledger, rng, steps=20)
        ledger.drain()
        assert notary.seal() is not None
    checkpoint(ledger)
    mix(ledger, rng, steps=10)
    return ledger


def told(report: Report) -> tuple[object, ...]:
    return (
        report.problems,
        report.problem_count,
        report.transactions,
        report.undecided,
        report.rejected,
        report.balances,
        report.holds,
        report.reached,
        report.to_sequence,
    )


def _by_jobs(ledger: Ledger) -> Iterator[Report]:
    for jobs in (1, 2):
        yield verify_all(ledger.engine, key=KEY, effort=Effort(jobs=jobs))


FAULTS = (
    "UPDATE log SET amount = amount + 1 WHERE seq = {}",
    "DELETE FROM log WHERE seq = {}",
    "UPDATE outcomes SET decided_at = decided_at - interval '1 day' WHERE seq = {}",
    "UPDATE outcomes SET amount = amount + 1 WHERE seq = {}",
    "DELETE FROM outcomes WHERE seq = {}",
)


@pytest.mark.parametrize("action", ["commit", "void"])
def test_a_hold_that_is_settled_in_a_later_piece_is_right(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setattr(pieces, "ROWS", ROWS)
    held = ledger.post(source="@A", destination="@B", allow_overdraft=True, inflight=True)
    for _ in range(2 * ROWS):
        ledger.post(source="@A", destination="@B", allow_overdraft=True)
    ledger.drain()
    ledger.settle(held.transaction_id, action)
    ledger.drain()
    for report in _by_jobs(ledger):
        assert report.problems == []


def test_faults_in_every_piece_are_found_by_several_processes_as_by_one(mixed: Ledger) -> None:
    one, two = _by_jobs(mixed)
    assert one.problems == []
    assert told(one) == told(two)
    last, count = one.to_sequence, one.to_sequence // ROWS
    assert count > 5
    seqs = [ROWS * number + 1 + number % ROWS for number in range(count)]
    tamper(mixed, *(FAULTS[number % len(FAULTS)].format(seq) for number, seq in enumerate(seqs)))
    one, two = _by_jobs(mixed)
    assert told(one) == told(two)
    keys = " ".join(f"{problem.key} " for problem in one.problems)
    for seq in seqs:
        assert f"seq {seq} " in keys or f"seq {seq}," in keys or f"seq {seq + 1}" in keys, (seq, last)


def _read_row_by_row(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the numbers of the pieces that are read row by row from now on."""
    numbers: list[int] = []
    read = Reader._read_carefully

    def noted(reader: Reader, piece: Piece) -> object:
        numbers.append(piece.number)
        return read(reader, piece)

    monkeypatch.setattr(Reader, "_read_carefully", noted)
    return numbers


def test_what_is_sound_is_checked_by_columns_but_for_the_first_and_the_last_piece(
    mixed: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed.drain()
    numbers = _read_row_by_row(monkeypatch)
    report = verify_all(mixed.engine, key=KEY)
    assert report.problems == []
    first, last = numbers
    assert (first, last > 5) == (0, True)
    with monkeypatch.context() as patched:
        patched.setattr(QuickPiece, "agrees", lambda *_: False)
        assert told(verify_all(mixed.engine, key=KEY)) == told(report)
    numbers.clear()
    monkeypatch.setattr(QuickPiece, "read", lambda *_: False)
    assert told(verify_all(mixed.engine, key=KEY)) == told(report)
    assert numbers == [*range(last + 1)]


def test_columns_are_tried_ever_less_often_where_no_piece_is_for_them(
    mixed: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed.drain()
    tried: list[int] = []
    seqs = [0]

    def in_vain(piece: QuickPiece, conn: object, salt: object, since: Heads, until: int) -> bool:
        tried.append(since.sequence)
        return False

    read = Reader._read_carefully

    def noted(reader: Reader, piece: Piece) -> object:
        seqs.append(piece.until or 0)
        return read(reader, piece)

    monkeypatch.setattr(QuickPiece, "read", in_vain)
    monkeypatch.setattr(Reader, "_read_carefully", noted)
    assert verify_all(mixed.engine, key=KEY).problems == []
    assert len(seqs) > 9
    assert tried == [seqs[1], seqs[3], seqs[7]]


FORGED = {
    "UPDATE log SET overdraft_limit = 2::numeric ^ 70 WHERE seq = {}": (
        "kind = 1 AND overdraft_limit IS NULL",
        "digest",
    ),
    "UPDATE outcomes SET source_balance = 2::numeric ^ 70 WHERE seq = {}": ("reason IS NOT NULL", "hash"),
    "UPDATE log SET digest_version = 1 WHERE seq = {}": ("kind = 1", "digest"),
    "DELETE FROM outcomes WHERE seq = {}": ("kind = 1", "row"),
    "DELETE FROM log WHERE seq = {}": ("kind = 1", "row"),
    "UPDATE log SET accepted_at = accepted_at - interval '1 day' WHERE seq = {}": ("kind = 1", "row"),
    "INSERT INTO clock_falls VALUES ({})": ("kind = 1", "row"),
    "UPDATE queues SET cursor = {} - 1 WHERE number = (SELECT queue FROM log WHERE seq = {})": ("kind = 1", "row"),
    "UPDATE balances SET currency = 'GBP' WHERE id = (SELECT source FROM log WHERE seq = {})": ("kind = 1", "currency"),
}
"""Damage to some row of a piece in the middle, and what is named of it."""


@pytest.mark.parametrize("statement", FORGED)
def test_damage_in_a_piece_that_is_checked_by_columns_is_named_as_row_by_row(
    mixed: Ledger, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    mixed.drain()
    which, what = FORGED[statement]
    find = f"SELECT min(seq) FROM log JOIN outcomes USING (seq) WHERE seq > {3 * ROWS} AND {which}"
    with begin(mixed.engine) as conn:
        seq = conn.exec_driver_sql(find).scalar_one()
    tamper(mixed, statement.format(seq, seq))
    report = verify_all(mixed.engine, key=KEY)
    assert (f"seq {seq}", what) in {(one.key.partition(",")[0], one.what) for one in report.problems}, report.problems
    monkeypatch.setattr(QuickPiece, "read", lambda *_: False)
    assert told(verify_all(mixed.engine, key=KEY)) == told(report)


def test_a_verification_that_was_killed_goes_on_where_it_stood(
    mixed: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed.drain()
    whole = verify_all(mixed.engine, key=KEY)
    monkeypatch.setattr(kept, "EVERY_S", 0.0)
    monkeypatch.setattr(kept, "SHARE", 0.0)
    path = tmp_path / "verify.progress"
    read: list[int] = []
    decide = Reader.decide

    def dies(reader: Reader, start: object) -> Done:
        done = decide(reader, start)  # type: ignore[arg-type]
        read.append(done.piece.number)
        if len(read) == 5:
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(Reader, "decide", dies)
    with pytest.raises(KeyboardInterrupt):
        verify_all(mixed.engine, key=KEY, effort=Effort(keep=path))
    assert path.exists()
    assert path.stat().st_mode & 0o777 == 0o600
    report = verify_all(mixed.engine, key=KEY, effort=Effort(keep=path))
    assert read[:6] == [0, 1, 2, 3, 4, 4]
    assert report.went_on_after is not None
    assert told(report) == told(whole)
    assert not path.exists()


@pytest.mark.parametrize("killed_after", [2, 3, 5])
def test_several_processes_go_on_where_several_were_killed(
    mixed: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    mixed.drain()
    whole = verify_all(mixed.engine, key=KEY)
    monkeypatch.setattr(kept, "EVERY_S", 0.0)
    monkeypatch.setattr(kept, "SHARE", 0.0)
    effort = Effort(jobs=2, keep=tmp_path / "verify.progress")
    ended: list[int] = []

    def killed(what: str, done: int, of: int) -> None:
        ended.append(done)
        if len(ended) == killed_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify_all(mixed.engine, key=KEY, effort=effort, progress=killed)
    report = verify_all(mixed.engine, key=KEY, effort=effort)
    assert report.went_on_after == ended[-1]
    assert told(report) == told(whole)


@pytest.mark.parametrize(
    "edit", ["UPDATE log SET digest = '\\x00' WHERE seq = {}", "UPDATE outcomes SET hash = '\\x00'"]
)
def test_it_begins_anew_when_what_it_had_verified_has_changed(
    mixed: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: str
) -> None:
    mixed.drain()
    monkeypatch.setattr(kept, "EVERY_S", 0.0)
    monkeypatch.setattr(kept, "SHARE", 0.0)
    path = tmp_path / "verify.progress"
    monkeypatch.setattr(kept.Keeper, "forget", lambda keeper: None)
    verify_all(mixed.engine, key=KEY, effort=Effort(keep=path))
    again = verify_all(mixed.engine, key=KEY, effort=Effort(keep=path))
    assert again.went_on_after is not None and again.problems == []
    tamper(mixed, edit.format(again.went_on_after))
    assert verify_all(mixed.engine, key=KEY, effort=Effort(keep=path)).went_on_after is None


def test_one_process_does_the_long_checks_while_another_begins_with_the_pieces(
    mixed: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []
    give = crew._give

    def noted(pipe: Pipe, work: Iterator[object], at_work: dict[Pipe, object]) -> None:
        give(pipe, work, at_work)
        given.append(at_work.get(pipe))

    monkeypatch.setattr(crew, "_give", noted)
    assert verify_all(mixed.engine, key=KEY, effort=Effort(jobs=2)).problems == []
    check, piece, *rest = given
    assert isinstance(piece, Piece)
    checks = [check, *(each for each in rest if each is not None and not isinstance(each, Piece))]
    assert checks == list(enumerate(verify.LONG_CHECKS))


def test_a_process_that_fails_ends_the_verification(mixed: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "export_snapshot", lambda conn: "none")
    with pytest.raises(RuntimeError, match="snapshot"):
        verify_all(mixed.engine, effort=Effort(jobs=2))


def test_a_process_whose_verification_was_killed_ends_quietly(mixed: Ledger) -> None:
    url = source_of(mixed.engine)
    assert url is not None
    ours, theirs = multiprocessing.Pipe()
    theirs.send("what nobody reads before it is killed")
    ours.close()
    with snapshot(mixed.engine) as conn:
        crew._work(url, export_snapshot(conn), new_salt(), theirs)


def test_the_products_tell_every_break_of_a_balance() -> None:
    salt = new_salt()
    steps = [(2, 5, 5), (3, 4, -1), (4, -2, -6), (5, 10**30, 10**30 + 2)]

    def follows(steps: list[tuple[int, int, int]], end: tuple[int, int]) -> bool:
        after = before = 1
        for version, balance, by in steps:
            after = after * salt.state(1, version, balance) % PRIME
            before = before * salt.state(1, version - 1, balance - by) % PRIME
        return is_followed(after, before, salt, [(1, *end)])

    end = (5, 10**30)
    assert follows(steps, end)
    assert not follows(steps, (5, 10**30 + PRIME))
    assert not follows(steps[1:], end)
    assert not follows([steps[0], *steps], end)
    assert not follows([(2, 6, 5), *steps[1:]], end)
    assert not follows([(2, 5, 6), *steps[1:]], end)
    assert not follows([*steps[:2], (4, -1, -6), steps[3]], end)
