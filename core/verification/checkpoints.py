"""Checkpoints: each says how far the ledger was verified, and what the hashes of the chains were there.

The signature of a checkpoint covers the checkpoint before it. With a key, nobody else can rewrite the history that a
checkpoint covers. A checkpoint cannot prove that newer ones were not removed: an operator who keeps a signature elsewhere
now and then can prove that too.
"""

import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, Engine

from core.base.fence import locking
from core.ledger.rules import chain
from core.verification import checkpoint_store
from core.verification.checkpoint_store import CheckpointRow

LOOKED_AT = 100
"""The number of newest checkpoints that are searched for a valid one."""


class Heads(NamedTuple):
    """The ends of the chains at a ``sequence``, which never lies between a split and its legs.

    Rows up to it may wait, for a queue may stand still. Then the end of the queue is before the first of them.
    """

    sequence: int
    digest: bytes
    """The digest of that row of the log."""
    queues: dict[int, tuple[int, bytes]]
    """Seq and hash of the last outcome of each queue that has decided something, by the queue's number."""


def is_further(heads: Heads, than: Heads) -> bool:
    """Tell whether heads cover more rows of the log than others, or as many and more outcomes."""

    def reach(of: Heads) -> tuple[int, int]:
        return of.sequence, sum(seq for seq, _ in of.queues.values())

    return reach(heads) > reach(than)


NOTHING = Heads(0, chain.START, {})
"""The heads of an empty ledger."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that passed its own checks."""

    id: int
    heads: Heads
    at: datetime
    signature: str
    signed: bool
    """True when the signature was made with a key and checked with it."""


class _Text(msgspec.Struct):
    """``Heads`` as JSON. Hashes are hexadecimal."""

    sequence: int
    digest: str
    queues: dict[int, tuple[int, str]]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Text).decode


def read(row: CheckpointRow, before: CheckpointRow | None, key: bytes | None) -> Checkpoint | str:
    """Return the checkpoint if its signature is right, else a text that says what the signature should have been.

    Without the key, a signed checkpoint is not checked and counts as valid. An unsigned checkpoint after a signed one is
    wrong, because anybody could make it.
    """
    before_it = before.signature if before is not None else ""
    signed = row.signature.startswith(chain.SIGNED)
    if not signed and before_it.startswith(chain.SIGNED):
        return "made with the key, as is the one before it"
    if key is not None or not signed:
        expected = chain.signature(key if signed else None, row.heads, row.at, before_it)
        if not hmac.compare_digest(expected.encode(), row.signature.encode()):
            return "made over its heads, its time and the signature before it" + (", with this key" if signed else "")
    try:
        heads = _heads(row.heads)
    except (msgspec.MsgspecError, ValueError):
        return "over heads that can be read"
    return Checkpoint(row.id, heads, row.at, row.signature, signed and key is not None)


def _heads(text: str) -> Heads:
    found = _decode(text)
    queues = {number: (seq, bytes.fromhex(hash)) for number, (seq, hash) in found.queues.items()}
    return Heads(found.sequence, bytes.fromhex(found.digest), queues)


def newest(conn: Connection, key: bytes | None) -> tuple[Checkpoint | None, list[tuple[CheckpointRow, str]]]:
    """Find the newest valid checkpoint, and the wrong ones after it with what their signatures should have been.

    With the key, an unsigned checkpoint is not returned.
    """
    rows = checkpoint_store.newest(conn, LOOKED_AT + 1)
    wrong: list[tuple[CheckpointRow, str]] = []
    for position, row in enumerate(rows[:LOOKED_AT]):
        found = read(row, rows[position + 1] if position + 1 < len(rows) else None, key)
        if isinstance(found, Checkpoint):
            return (found if found.signed or key is None else None), wrong
        wrong.append((row, found))
    return None, wrong


def write(engine: Engine, heads: Heads, key: bytes | None) -> Checkpoint | None:
    """Add a checkpoint at ``heads``, if it covers more than the last one, and return it.

    The caller has verified everything up to ``heads``, from the newest checkpoint or from the beginning. Returns None when
    nothing was added: the connection may not write, the last checkpoint covers as much, or it is signed and no key is given.

    Raises:
        TransientError: the database was busy or gone.
    """
    with locking(engine) as conn:
        if not checkpoint_store.may_add(conn):
            return None
        now = checkpoint_store.lock(conn)
        last, before = NOTHING, ""
        for row in checkpoint_store.newest(conn, 1):
            last, before = _heads(row.heads), row.signature
        signed = before.startswith(chain.SIGNED)
        if (signed and key is None) or not is_further(heads, last if signed or key is None else NOTHING):
            return None
        queues = {number: (seq, hash.hex()) for number, (seq, hash) in sorted(heads.queues.items())}
        text = _encode(_Text(heads.sequence, heads.digest.hex(), queues)).decode()
        row = checkpoint_store.add(conn, heads=text, signature=chain.signature(key, text, now, before), at=now)
    return Checkpoint(row.id, heads, row.at, row.signature, key is not None)
