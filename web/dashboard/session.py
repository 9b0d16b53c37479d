"""The session of the dashboard: a cookie that holds the key, which only this service can read.

The key itself is in it, encrypted, and is asked of the key ring with each request, so no table of sessions can leak. Whoever has
the cookie has the key's rights until the session ends: after eight hours, by a sign-out, which the database remembers, or with a
key that is revoked or rotated.
"""

import base64
import hmac
import json
import os
from uuid import UUID, uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import Request
from msgspec import Struct
from werkzeug.wrappers import Response

from web.dashboard.now import now

COOKIE = "pacioli_session"
LASTS_S = 8 * 3600
"""A session ends so long after it was signed in."""
ENDED_S = 2 * LASTS_S
"""A session that was signed out is remembered for longer than its cookie lasts, because the clocks of hosts may differ."""
_NONCE = 12


class Session(Struct, frozen=True):
    """Who is signed in. ``key`` is None in a service that needs none."""

    key: str | None
    csrf: str
    """The token that each write must repeat, which no page of another site knows."""
    since: int
    id: UUID


class Sessions:
    """Makes and reads the cookies of sessions."""

    def __init__(self, secret: bytes) -> None:
        """``secret`` is the same in all processes of a service."""
        self._box = AESGCM(HKDF(SHA256(), 32, None, b"pacioli dashboard session").derive(secret))

    def begin(self, key: str | None) -> Session:
        """Begin a session."""
        return Session(key, base64.urlsafe_b64encode(os.urandom(24)).decode(), int(now().timestamp()), uuid4())

    def read(self, request: Request) -> Session | None:
        """Return the session of a request, or None if it has none that is valid."""
        try:
            packed = base64.urlsafe_b64decode(request.cookies.get(COOKIE, "").encode())
            told = json.loads(self._box.decrypt(packed[:_NONCE], packed[_NONCE:], COOKIE.encode()))
            found = Session(told["key"], told["csrf"], told["since"], UUID(told["id"]))
        except (ValueError, InvalidTag, KeyError):  # The cookies of older releases have no ID.
            return None
        return found if now().timestamp() < found.since + LASTS_S else None

    def write(self, session: Session, response: Response, request: Request) -> None:
        """Set the cookie. It is sent over TLS alone, if this request came over TLS to us or to a proxy.

        Anybody may say so, and would only keep the cookie from himself.
        """
        secure = request.is_secure or request.headers.get("X-Forwarded-Proto") == "https"
        nonce = os.urandom(_NONCE)
        told = {"key": session.key, "csrf": session.csrf, "since": session.since, "id": str(session.id)}
        packed = self._box.encrypt(nonce, json.dumps(told).encode(), COOKIE.encode())
        value = base64.urlsafe_b64encode(nonce + packed).decode()
        response.set_cookie(
            COOKIE, value, max_age=LASTS_S, path="/dashboard", httponly=True, samesite="Strict", secure=secure
        )

    def end(self, response: Response) -> None:
        """Take the cookie away."""
        response.delete_cookie(COOKIE, path="/dashboard", httponly=True, samesite="Strict")


def is_own(session: Session, request: Request) -> bool:
    """Tell whether a write comes from a page of this session, by its token."""
    given = request.headers.get("X-CSRF-Token") or request.form.get("csrf", "")
    return hmac.compare_digest(given.encode(), session.csrf.encode())
