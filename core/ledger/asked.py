"""Counts and stops what keys asked for and is still to come in the ledger, for whoever revokes the keys."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from core.base.db import begin
from core.journal.actions import Action, Event
from core.journal.record import record_all
from core.ledger import told
from core.ledger.store import asked as asked_store

_AT_ONCE = 1_000
"""So many scheduled transactions are cancelled in one commit."""


class Waiting(NamedTuple):
    """The pending work."""

    scheduled: int
    commits: int
    """Holds that are to be committed on a date."""
    expiries: int
    """Holds that are to be voided on a date."""


def count(conn: Connection, actors: Sequence[str]) -> Waiting:
    """Count what keys asked for. ``actors`` are the IDs of the keys."""
    return Waiting(*asked_store.count(conn, actors))


def stop(engine: Engine, actors: Sequence[str]) -> None:
    """Cancel the scheduled transactions of keys, and forget the dates on which their holds would be committed.

    Such a hold stays until somebody settles it, or it expires. The date of an expiry stays, because it only gives money back.
    """
    while True:
        with begin(engine) as conn:
            cancelled = asked_store.cancel_scheduled(conn, actors, _AT_ONCE)
            record_all(conn, told.cancelled(conn, cancelled))
        if len(cancelled) < _AT_ONCE:
            break
    with begin(engine) as conn:
        kept = asked_store.drop_commits(conn, actors)
        record_all(conn, [Event(action=Action.COMMIT_CANCELLED, subject=each) for each in kept])
