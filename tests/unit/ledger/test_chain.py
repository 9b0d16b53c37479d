"""Digests, hashes and signatures: each covers all that it says it covers."""

from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

import pytest

from core.ledger.rules import chain
from core.ledger.rules.model import Balance, Outcome, Rejection, RejectReason, Status
from core.ledger.store import outcomes
from core.verification import checkpoints
from core.verification.checkpoint_store import CheckpointRow
from core.verification.checkpoints import Checkpoint, Heads

NOW = datetime(2026, 4, 22, 15, 28, 3, 17, tzinfo=UTC)
BIG = 10**30
KEY = bytes(range(32))


ROW = (1, UUID(int=7), "ref", None, BIG, True, '{"a": 1.50}', NOW)
TEXT = (
    b'[1,"00000000-0000-0000-0000-000000000007","ref",null,1000000000000000000000000000000,true,'
    b'"{\\"a\\": 1.50}","2026-04-22T15:28:03.000017Z"]'
)


def test_a_digest_of_version_1_is_sha256_over_the_one_before_and_a_json_array() -> None:
    assert chain.digest_1(KEY, ROW) == sha256(KEY + TEXT).digest()


def test_a_leaf_is_sha256_over_its_version_and_a_json_array_and_a_digest_over_the_one_before_and_the_leaf() -> None:
    leaf = chain.leaf(2, ROW)
    assert leaf == sha256(b"\0pacioli row 2\n" + TEXT).digest()
    assert leaf != chain.leaf(1, ROW)
    assert chain.digest(KEY, leaf) == sha256(b"\2" + KEY + leaf).digest()


def test_a_hash_covers_the_one_before_and_the_row() -> None:
    hashes = {chain.link(before, line) for before in (chain.START, KEY) for line in ("a", "b")}
    assert len(hashes) == 4
    assert chain.link(KEY, "a") == sha256(KEY + b"a").digest()


APPLIED = Outcome(7, Status.APPLIED, 5, Balance(1, 3, 8, 0, 0, 4, 2), Balance(2, BIG, 0, 0, 0, 9, 7))
SUM = Rejection(RejectReason.OVERDRAFT_LIMIT, -3, BIG, held=2, overdraft_limit=0, short_by=1)
CULPRIT = Rejection(RejectReason.ATOMIC_GROUP, culprit=6)


@pytest.mark.parametrize(
    ("outcome", "stored"),
    [
        (APPLIED, (7, 1, 5, 1, 4, -5, 2, 9, BIG, None, None)),
        (APPLIED._replace(status=Status.INFLIGHT), (7, 2, 5, 1, 4, -5, 2, 9, BIG, None, None)),
        (
            Outcome(8, Status.REJECTED, 0, rejection=SUM),
            # The database gives names back sorted by length.
            (8, 4, 0, *[None] * 6, 7, f'{{"held": 2, "short_by": 1, "available": -3, "requested": {BIG}, "overdraft_limit": 0}}'),
        ),
        (Outcome(8, Status.REJECTED, 0, rejection=CULPRIT), (8, 4, 0, *[None] * 6, 8, '{"culprit": 6}')),
    ],
)  # fmt: skip
def test_what_is_hashed_can_be_had_from_what_is_stored(outcome: Outcome, stored: tuple[object, ...]) -> None:
    assert outcomes.line_of_row((*stored, NOW)) == outcomes.line_of(outcome, NOW.isoformat())


@pytest.mark.parametrize("rejection", ['{"held": 2, "more": 1}', '{"held": 2.0}', "[]", "2", "null"])
def test_a_rejection_with_anything_else_in_it_is_hashed_otherwise(rejection: str) -> None:
    own = outcomes.line_of_row((8, 4, 0, *[None] * 6, 7, '{"held": 2}', NOW))
    assert outcomes.line_of_row((8, 4, 0, *[None] * 6, 7, rejection, NOW)) != own


def row(key: bytes | None, before: CheckpointRow | None = None, **fields: object) -> CheckpointRow:
    heads = f'{{"sequence":5,"digest":"{"cd" * 32}","queues":{{"3":[4,"{"ab" * 32}"]}}}}'
    made = chain.signature(key, heads, NOW, before.signature if before is not None else "")
    return CheckpointRow(1 if before is None else before.id + 1, heads, made, NOW)._replace(**fields)  # type: ignore[arg-type]


def test_a_checkpoint_is_read_as_it_was_written() -> None:
    first = row(KEY)
    heads = Heads(5, b"\xcd" * 32, {3: (4, b"\xab" * 32)})
    assert checkpoints.read(first, None, KEY) == Checkpoint(1, heads, NOW, first.signature, signed=True)
    assert checkpoints.read(row(KEY, first), first, KEY) != checkpoints.read(first, None, KEY)
    plain = row(None)
    assert checkpoints.read(plain, None, None) == Checkpoint(1, heads, NOW, plain.signature, signed=False)


def test_without_the_key_a_signature_is_not_believed() -> None:
    found = checkpoints.read(row(bytes(32)), None, None)
    assert isinstance(found, Checkpoint) and not found.signed


@pytest.mark.parametrize("key", [None, KEY])
def test_a_checkpoint_with_anything_altered_is_not_read(key: bytes | None) -> None:
    first = row(key)
    second = row(key, first)
    assert isinstance(checkpoints.read(second, first, key), Checkpoint)
    later = NOW.replace(microsecond=18)
    for wrong, before in (
        (second, None),  # The one before it was removed.
        (second, second),
        (second._replace(heads=second.heads.replace("4", "5")), first),
        (second._replace(at=later), first),
        (second._replace(signature=first.signature), first),
        (second._replace(signature=""), first),
        (row(key, first, signature=chain.signature(key, "{", NOW, first.signature), heads="{"), first),
    ):
        assert isinstance(checkpoints.read(wrong, before, key), str), wrong


def test_what_anybody_can_make_is_not_believed_after_a_signature() -> None:
    first = row(KEY)
    for key in (None, KEY):
        assert isinstance(checkpoints.read(row(None, first), first, key), str)
    assert isinstance(checkpoints.read(row(bytes(32)), None, KEY), str)
    # The key may come later than the ledger.
    plain = row(None)
    assert isinstance(checkpoints.read(row(KEY, plain), plain, KEY), Checkpoint)
