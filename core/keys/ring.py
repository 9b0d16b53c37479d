"""Finds the actor of a secret, for every request of a process.

What was found is remembered for less than a second, so a key that is revoked, rotated or expired stops everywhere within a
second. In the second half of that time one thread looks again and the others go on, so that they never all wait at once.
"""

import threading
import time
from contextlib import suppress
from enum import Enum
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Engine

from core.base.actors import EVERYTHING, NO_CAPS, Actor, Caps, rights_of
from core.base.db import begin, reading
from core.base.errors import TransientError
from core.base.quick import WouldWait
from core.base.rate import rate
from core.base.threads import Loop
from core.keys import secret, session_store, store
from core.keys.store import KeyRow

REMEMBERED_S = 0.9
FRESH_S = REMEMBERED_S / 2
CAPACITY = 10_000
"""A process remembers so many keys. When there are more, it forgets all and begins anew."""

RECORDED_EVERY_S = 2.0
"""The uses of keys are written so often, in one statement for all."""


class Unusable(Enum):
    """Why a text opens nothing."""

    UNKNOWN = "unknown"
    LAPSED = "lapsed"
    """It was a key, and is revoked or expired."""


class _Entry(Struct):
    """The result of a look for a secret."""

    found: Actor | Unusable
    until: float
    fresh_until: float
    """From then on one thread looks again."""


class KeyRing:
    """Finds actors by their secrets. All threads of a process share it."""

    def __init__(self, engine: Engine, pepper: bytes, caps: Caps = NO_CAPS) -> None:
        """``caps`` are those of every key."""
        self._engine = engine
        self._caps = caps
        self._pepper = pepper
        self._entries: dict[bytes, _Entry] = {}
        self._used: dict[UUID, float] = {}
        self._work, self._stop = threading.Event(), threading.Event()
        self._loop: Loop | None = None

    def find(self, text: str) -> Actor | Unusable:
        """Return the actor of a secret, or why there is none.

        Raises:
            TransientError: the database was busy or gone.
        """
        if len(text) != secret.LENGTH:
            return Unusable.UNKNOWN
        hash, now = secret.hash_of(self._pepper, text), time.monotonic()
        entry = self._entries.get(hash)
        if entry is not None and now < entry.until:
            if now < entry.fresh_until:
                return entry.found
            fresh_until, entry.fresh_until = entry.fresh_until, entry.until  # The others go on with this one.
            try:
                return self._look(hash, now)
            except WouldWait:  # Another thread looks in place of this one.
                entry.fresh_until = fresh_until
                raise
        elif not secret.is_well_formed(text):
            return Unusable.UNKNOWN
        return self._look(hash, now)

    def is_open(self, session: UUID, text: str | None) -> bool:
        """Tell whether a session of the dashboard is open. It ends at once when its key is revoked or rotated.

        ``text`` is the secret of its key; None for the master key.

        Raises:
            TransientError: the database was busy or gone.
        """
        hash = None if text is None else secret.hash_of(self._pepper, text)
        with reading(self._engine) as conn:
            return session_store.is_open(conn, session, hash)

    def flush(self) -> None:
        """Write the uses that are not written yet."""
        self._work.clear()
        used, self._used = self._used, {}
        if not used:
            return
        now = time.monotonic()
        try:
            with begin(self._engine) as conn:
                store.record_use(conn, {id: now - at for id, at in used.items()})
        except TransientError:  # Whoever looks at a last use can wait for the database.
            self._used = used | self._used
            self._work.set()

    def _look(self, hash: bytes, now: float) -> Actor | Unusable:
        """Look a secret up. ``now`` is before the look, so what was true before it is not believed for too long."""
        with reading(self._engine) as conn:
            found = store.find_by_secret(conn, hash)
        if found is None:
            self._entries.pop(hash, None)
            return Unusable.UNKNOWN  # Not remembered, because there is no end of such texts.
        actor: Actor | Unusable = Unusable.LAPSED
        lasts_s = REMEMBERED_S
        if found.left_s > 0:
            actor, lasts_s = _actor_of(found.row, self._caps), min(REMEMBERED_S, found.left_s)
            self._note_use(found.row.id, now)
        if len(self._entries) >= CAPACITY:
            self._entries = {}
        self._entries[hash] = _Entry(actor, now + lasts_s, now + min(lasts_s, FRESH_S))
        return actor

    def _note_use(self, id: UUID, now: float) -> None:
        self._used[id] = now
        if not self._work.is_set():
            self._work.set()
        if self._loop is None:  # A service whose keys nobody uses has no such thread.
            self._loop = Loop("uses of keys", self._record, after_fork=self._forked, wake=self._end)
        self._loop.ensure()

    def _record(self) -> None:
        self._work.wait()
        self._stop.wait(RECORDED_EVERY_S)
        self.flush()

    def _end(self) -> None:
        self._stop.set()
        self._work.set()

    def _forked(self) -> None:
        self._work, self._stop, self._used = threading.Event(), threading.Event(), {}


def _actor_of(row: KeyRow, caps: Caps) -> Actor:
    reach = row.reach or EVERYTHING
    bound = None
    if reach.rate is not None:
        with suppress(ValueError):
            bound = rate(reach.rate)
    return Actor(
        key_id=row.key_id,
        owner=row.owner,
        name=row.name,
        scopes=row.scopes,
        rights=rights_of(row.scopes),
        reach=reach,
        rate=bound,
        expires_at=row.expires_at,
        caps=caps,
    )
