"""Who is signed in."""

from flask import current_app, g, request

from core.base.actors import ANONYMOUS, MASTER, NOBODY, Actor
from web.dashboard.session import Session, Sessions
from web.http import proxies
from web.http.master import MasterKey
from web.service import Service


def actor() -> Actor:
    """Return who is signed in. Nobody has no rights."""
    found: Actor = g.get("actor", NOBODY)
    return found


def actor_of(ledger: Service, key: str | None) -> Actor | None:
    """Return whose key it is, or None. Without a key the service answers its own machine alone."""
    if ledger.secret_key is None or ledger.ring is None:
        return ANONYMOUS if proxies.is_from_this_machine(request.environ) else None
    if not key:
        return None
    if MasterKey(ledger.secret_key.reveal()).matches(key):
        return MASTER
    found = ledger.ring.find(key)
    return found if isinstance(found, Actor) else None


def is_open(ledger: Service, session: Session, who: Actor) -> bool:
    """Tell whether a session was not signed out, and its key is neither revoked nor rotated.

    Raises:
        TransientError: the database is away, so nobody knows.
    """
    return ledger.ring is None or ledger.ring.is_open(session.id, None if who is MASTER else session.key)


def sessions() -> Sessions:
    """Return the maker of sessions of this application."""
    found: Sessions = current_app.extensions["sessions"]
    return found
