"""Checkpoints: how far the ledger was verified, and what the chains' hashes were there.

Each covers the one before it, and with a key it is signed, so that nobody can rewrite the history before it. What is left
to trust is that the newest ones were not removed: keep the signature of one elsewhere now and then to be sure of that too.
"""

import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, Engine

from core.base.db import begin
from core.ledger.rules import chain
from core.verification import checkpoint_store
from core.verification.checkpoint_store import CheckpointRow

LOOKED_AT = 100
"""The number of newest checkpoints that are searched for a valid one."""


class Heads(NamedTuple):
    """The ends of the chains at a ``sequence`` up to which all is decided. It never lies between a split and its legs."""

    sequence: int
    digest: bytes
    """The digest of that row of the log."""
    queues: dict[int, tuple[int, bytes]]
    """For each queue that had something to decide: the seq of its last outcome, and its hash."""


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
    """Whether the signature was made with the key, and checked."""


class _Text(msgspec.Struct):
    """``Heads`` as JSON. Hashes are hexadecimal."""

    sequence: int
    digest: str
    queues: dict[int, tuple[int, str]]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Text).decode


def read(row: CheckpointRow, before: CheckpointRow | None, key: bytes | None) -> Checkpoint | str:
    """A checkpoint, or what its signature should have been. Without the key, one that is signed is taken at its word.

    After one that is signed, one that is not cannot be right: it would be for everyone to make.
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
        text = _decode(row.heads)
        queues = {number: (seq, bytes.fromhex(hash)) for number, (seq, hash) in text.queues.items()}
        heads = Heads(text.sequence, bytes.fromhex(text.digest), queues)
    except (msgspec.MsgspecError, ValueError):
        return "over heads that can be read"
    return Checkpoint(row.id, heads, row.at, row.signature, signed and key is not None)


def newest(conn: Connection, key: bytes | None) -> tuple[Checkpoint | None, list[tuple[CheckpointRow, str]]]:
    """The newest valid checkpoint, and those above it that are not, with what their signatures should have been.

    With the key only one that is signed will do.
    """
    rows = checkpoint_store.newest(conn, LOOKED_AT + 1)
    wrong: list[tuple[CheckpointRow, str]] = []
    for place, row in enumerate(rows[:LOOKED_AT]):
        found = read(row, rows[place + 1] if place + 1 < len(rows) else None, key)
        if isinstance(found, Checkpoint):
            return (found if found.signed or key is None else None), wrong
        wrong.append((row, found))
    return None, wrong


def write(engine: Engine, heads: Heads, key: bytes | None) -> Checkpoint | None:
    """Add a checkpoint, if there is something new to say, and we are the ones to say it.

    The caller has verified everything up to there, from the newest checkpoint or the beginning. None without a right to
    write, and without the key where the last one is signed.

    Raises:
        TransientError: the database was busy or gone.
    """
    with begin(engine) as conn:
        if not checkpoint_store.may_add(conn):
            return None
        now = checkpoint_store.lock(conn)
        last, before = 0, ""
        for row in checkpoint_store.newest(conn, 1):
            last, before = _decode(row.heads).sequence, row.signature
        signed = before.startswith(chain.SIGNED)
        if (signed and key is None) or heads.sequence <= (last if signed or key is None else 0):
            return None
        queues = {number: (seq, hash.hex()) for number, (seq, hash) in sorted(heads.queues.items())}
        text = _encode(_Text(heads.sequence, heads.digest.hex(), queues)).decode()
        row = checkpoint_store.add(conn, heads=text, signature=chain.signature(key, text, now, before), at=now)
    return Checkpoint(row.id, heads, row.at, row.signature, key is not None)
