"""Answers a request that is sent again under its ``Idempotency-Key`` with its first answer, and does nothing twice.

A request claims its key in a commit of its own before it does anything, and its answer is stored with the claim afterwards.
What may come between the two is the end of the process. So no money hangs on the stored answer: a request that moves
money gets its references from the key, if it has none itself, and the log takes each reference once. What creates a ledger
or a balance stores its answer in the commit that creates it.
"""

from hashlib import sha256

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine

from core.base.db import begin
from core.base.errors import Conflict, ErrorCode, InvalidRequest, TransientError
from core.base.ids import new_key
from core.journal import retry_store
from core.journal.retry_store import Claim, Known

MAX_KEY = 255
REFERENCE_PREFIX = "idem_"
LEASE_S = 10.0
"""A request that has not been answered for so long may be sent again under its key. If it is not lost but slow, the two find
each other by their references, or one of them is too late for its commit."""

FORGOTTEN = 5_000
"""One commit removes so many old keys."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[tuple[str, str]]).decode


class Answer(Struct, frozen=True):
    """An answer over HTTP, as it is stored."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def check_key(key: str) -> None:
    """Refuse a key that is blank, too long, or not printable ASCII.

    Raises:
        InvalidRequest: it is.
    """
    if not (key.strip() and len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        text = f"must be 1 to {MAX_KEY} printable ASCII characters"
        raise InvalidRequest([("Idempotency-Key", text)], ErrorCode.GEN_VALIDATION_ERROR)


def reference_of(actor: str, key: str) -> str:
    """Make the reference of what a request with this key posts, if the request names none."""
    return REFERENCE_PREFIX + sha256(f"{actor}\0{key}".encode()).hexdigest()[:40]


def claim(engine: Engine, actor: str, key: str, fingerprint: bytes) -> Claim | Answer:
    """Claim a key for a request, or return the answer that the same request got before.

    Raises:
        Conflict: the key was sent with another request, or the first one is still under way.
        TransientError: the database was busy or gone. Nothing was done.
    """
    wanted = Claim(actor, key, new_key())
    with begin(engine) as conn:
        if retry_store.claim(conn, wanted, fingerprint, lease_s=LEASE_S):
            return wanted
        known = retry_store.find(conn, actor, key)
    if known is not None and known.fingerprint != fingerprint:
        raise Conflict(
            ErrorCode.GEN_IDEMPOTENCY_KEY_REUSED,
            "this Idempotency-Key was sent with another request; a new request needs a new key",
            {"idempotency_key": key},
        )
    if known is None or known.status is None:
        raise Conflict(
            ErrorCode.GEN_IDEMPOTENCY_IN_PROGRESS,
            "the first request with this Idempotency-Key is still under way; try again in a moment",
            {"idempotency_key": key},
        )
    return _answer_of(known, known.status)


def _answer_of(known: Known, status: int) -> Answer:
    return Answer(status, _decode(known.headers or "[]"), known.body or b"")


def keep_in(conn: Connection, ours: Claim, answer: Answer) -> None:
    """Store the answer in the transaction that does what was asked.

    Raises:
        TransientError: another request has taken the claim over, so this one must do nothing.
    """
    if not _store(conn, ours, answer):
        raise TransientError("the same request was sent again, and is under way; try again")


def keep(engine: Engine, ours: Claim, answer: Answer) -> None:
    """Store the answer, after what was asked is done.

    Raises:
        TransientError: the database was busy or gone.
    """
    with begin(engine) as conn:
        _store(conn, ours, answer)


def _store(conn: Connection, ours: Claim, answer: Answer) -> bool:
    headers = _encode(answer.headers).decode()
    return retry_store.answer(conn, ours, status=answer.status, headers=headers, body=answer.body)


def release(engine: Engine, ours: Claim) -> None:
    """Give up a claim whose request did nothing, or has failed.

    Raises:
        TransientError: the database was busy or gone.
    """
    with begin(engine) as conn:
        retry_store.release(conn, ours)


def forget(engine: Engine, hours: int) -> int:
    """Remove the keys that were sent more than so many hours ago. Returns their number.

    Raises:
        TransientError: the database was busy or gone. Earlier commits stay.
    """
    total = 0
    while True:
        with begin(engine) as conn:
            removed = retry_store.forget(conn, hours=hours, limit=FORGOTTEN)
        total += removed
        if removed < FORGOTTEN:
            return total
