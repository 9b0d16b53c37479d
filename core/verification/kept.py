"""Keeps how far a verification has come in a file, so that one that was killed goes on where it stood."""

import contextlib
import os
import time
from pathlib import Path

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from core.ledger.rules import chain
from core.verification import history_store
from core.verification.pieces import Course

EVERY_S = 30.0
SHARE = 50
"""The file is written every so many seconds, and takes at most one fiftieth of the time."""


class _Kept(Struct):
    """The content of the file."""

    ledger: str
    digest: str
    """The digest of the last row that was verified."""
    queues: dict[int, tuple[int, str]]
    """The ends of the queues there."""
    course: Course


class Keeper:
    """Writes a file now and then, and reads it at the start. Without a path it does neither."""

    def __init__(self, path: Path | None, conn: Connection) -> None:
        self._path, self._conn = path, conn
        self._next_at = time.monotonic() + EVERY_S

    def load(self) -> Course | None:
        """Return the course of a verification that did not end, if the ledger still is as that one has seen it."""
        if self._path is None:
            return None
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except (OSError, msgspec.MsgspecError):
            return None
        if kept.course.tallied != kept.course.ended:
            return None  # An older release kept it while a piece was tallied that had not ended.
        now = self._kept(kept.course)
        return kept.course if (now.ledger, now.digest, now.queues) == (kept.ledger, kept.digest, kept.queues) else None

    def is_due(self, course: Course) -> bool:
        """Tell whether it is time to write the file. What waits may be decided until the next verification, so it is not kept."""
        return self._path is not None and not course.undecided and time.monotonic() >= self._next_at

    def save(self, course: Course) -> None:
        """Write the file if it is time, and every piece that is tallied has ended: the sums are those at its end then."""
        if self._path is None or course.tallied != course.ended or not self.is_due(course):
            return
        began = time.monotonic()
        new = self._path.with_name(f"{self._path.name}.new")
        with contextlib.suppress(OSError):
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(self._kept(course)))
            new.replace(self._path)
        self._next_at = time.monotonic() + max(EVERY_S, SHARE * (time.monotonic() - began))

    def forget(self) -> None:
        """Remove the file, as the verification has ended."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _kept(self, course: Course) -> _Kept:
        digest = history_store.digest_before(self._conn, course.position + 1) or chain.START
        heads = history_store.heads_at(self._conn, course.position)
        return _Kept(
            ledger=history_store.ledger(self._conn),
            digest=digest.hex(),
            queues={number: (seq, hash.hex()) for number, (seq, hash) in heads.items()},
            course=course,
        )
