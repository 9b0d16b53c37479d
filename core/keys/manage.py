"""Use cases of keys: make, list, rotate and revoke them.

The master key manages all keys. A stored key manages those of its own owner, and gives no other key what it has not itself.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base import clock
from core.base.actors import ANONYMOUS, EVERYTHING, KEY_PREFIX, SCOPES, Actor, Reach, grants, nearest_scope
from core.base.answers import encode
from core.base.decoding import Unread
from core.base.errors import BeyondKey, Conflict, ErrorCode, InvalidRequest, LedgerError, NotFound
from core.base.ids import new_key
from core.base.problems import refusal
from core.base.sizes import MAX_NAME
from core.journal.actions import Action, Event, text_of
from core.journal.record import record
from core.keys import secret, store
from core.keys.answers import ApiKey, key_of
from core.keys.reach import beyond, inherited, reach_problems
from core.keys.requests import KeyRequest, RotateRequest
from core.keys.store import KeyRow, Page
from core.ledger.rules.validation import name_problems
from core.ledger.store.reach import reaches_beyond

OVERLAP_S = 3_600
OVERLAP_MAX_S = 30 * 86_400
SCOPES_MAX = 100

Problems = list[tuple[str, str]]


class Mint(NamedTuple):
    """The pepper and the bounds with which the service makes keys."""

    pepper: bytes
    max_days: int
    """A key lasts so many days at most."""


def create(
    conn: Connection, asked: KeyRequest, actor: Actor, mint: Mint | None, unread: Sequence[Unread] = ()
) -> ApiKey:
    """Make a key. The answer is the only one that has its secret. ``unread`` has the fields that could not be read.

    Raises:
        InvalidRequest: it lists every problem.
        BeyondKey: it is for another owner (AUTH_CROSS_OWNER_ACCESS), or exceeds the actor (AUTH_SCOPE_ESCALATION).
    """
    mint = _principal(actor, mint)
    now = clock.now(conn)
    _check(asked, now, mint.max_days, unread)
    assert asked.name and asked.owner and asked.scopes and asked.expires_at
    if actor.is_stored and asked.owner != actor.owner:
        raise _cross_owner()
    reach = inherited(asked.reach or EVERYTHING, actor.reach)
    scopes = tuple(dict.fromkeys(asked.scopes))
    _refuse_escalation(actor, scopes, reach, asked.expires_at)
    text = secret.new_secret()
    row = KeyRow(
        id=new_key(),
        owner=asked.owner,
        name=asked.name,
        scopes=scopes,
        reach=None if reach == EVERYTHING else reach,
        created_by=actor.key_id,
        created_at=now,
        expires_at=asked.expires_at,
        last_used_at=None,
        revoked_at=None,
        prefix=secret.shown(text),
        overlap_until=None,
    )
    store.insert(conn, row)
    _give(conn, row.id, text, mint, now)
    record(conn, Event(action=Action.KEY_CREATED, subject=row.key_id, after=encode(key_of(row)).decode()))
    return key_of(row, text)


def list_keys(conn: Connection, owner: str | None, actor: Actor, page: Page, *, every: bool = False) -> list[ApiKey]:
    """List the keys of an owner, newest first. A stored key lists those of its own owner that reach nothing beyond it.

    Raises:
        InvalidRequest: the master key names no owner, and does not ask for every key.
        BeyondKey: a stored key asks for those of another owner.
    """
    _principal(actor, None)
    if actor.is_stored:
        if every or owner not in (None, actor.owner):
            raise _cross_owner()
        owner = actor.owner
    elif every:
        owner = None
    elif not owner:
        raise InvalidRequest([("owner", "is required")], ErrorCode.APIKEY_OWNER_REQUIRED, message="owner is required")
    now = clock.now(conn)
    return [key_of(row, now=now) for row in store.list_keys(conn, owner, page, actor.reach)]


def rotate(
    conn: Connection,
    key_id: str,
    asked: RotateRequest,
    actor: Actor,
    mint: Mint | None,
) -> ApiKey:
    """Give a key a new secret. The one of before works for the overlap, and older ones end no later.

    Raises:
        NotFound: the actor manages no such key.
        Conflict: it is revoked or expired.
        BeyondKey: it may do more than the actor, who would have its secret then.
    """
    mint = _principal(actor, mint)
    overlap_s = OVERLAP_S if asked.overlap_s is None else asked.overlap_s
    if not 0 <= overlap_s <= OVERLAP_MAX_S:
        raise InvalidRequest([("overlap_s", f"must be from 0 to {OVERLAP_MAX_S}")], ErrorCode.GEN_VALIDATION_ERROR)
    row, now = _managed(conn, key_id, actor), clock.now(conn)
    if row.revoked_at is not None or row.expires_at <= now:
        how = "revoked" if row.revoked_at is not None else "expired"
        raise Conflict(ErrorCode.GEN_CONFLICT, f"the key is {how}; make another", {"api_key_id": row.key_id})
    _refuse_escalation(actor, row.scopes, row.reach or EVERYTHING, row.expires_at)
    store.end_secrets(conn, row.id, now + timedelta(seconds=overlap_s))
    text = secret.new_secret()
    _give(conn, row.id, text, mint, now)
    rotated = store.find(conn, key_id)
    assert rotated is not None
    before, after = text_of(key_prefix=row.prefix), text_of(key_prefix=rotated.prefix)
    more = {"overlap_s": overlap_s}
    record(conn, Event(action=Action.KEY_ROTATED, subject=row.key_id, before=before, after=after, more=more))
    return key_of(rotated, text, now=now)


class RevokedKey(NamedTuple):
    """A key that is revoked, and those that it made, which work on unless they are revoked too."""

    row: KeyRow
    made: list[UUID]

    @property
    def key_ids(self) -> list[str]:
        """The IDs of all of them."""
        return [self.row.key_id, *(f"{KEY_PREFIX}{id}" for id in self.made)]


def revoke(conn: Connection, key_id: str, owner: str | None, actor: Actor, *, with_made: bool = False) -> RevokedKey:
    """Revoke a key for good, and with ``with_made`` those that it made. A revoked key stays revoked.

    Raises:
        NotFound: the actor manages no such key, or it belongs to another owner than the one named.
    """
    _principal(actor, None)
    row, now = _managed(conn, key_id, actor, owner=owner), clock.now(conn)
    made = store.made_by(conn, row.key_id, now)
    revoked = [*([row.key_id] if row.revoked_at is None else []), *(f"{KEY_PREFIX}{id}" for id in made if with_made)]
    store.revoke(conn, [row.id, *(made if with_made else ())], now)
    record(conn, *(Event(action=Action.KEY_REVOKED, subject=each) for each in revoked))
    return RevokedKey(row._replace(revoked_at=row.revoked_at or now), made)


def _give(conn: Connection, key: UUID, text: str, mint: Mint, now: datetime) -> None:
    hash = secret.hash_of(mint.pepper, text)
    store.insert_secret(conn, key=key, hash=hash, prefix=secret.shown(text), now=now)


def _principal(actor: Actor, mint: Mint | None) -> Mint:
    """Refuse whoever has shown no key at all: a service without a key knows nobody who could own one."""
    if actor.key_id == ANONYMOUS.key_id:
        text = "the service runs without a key, so nobody owns keys: set PACIOLI_SECRET_KEY"
        raise LedgerError(ErrorCode.AUTH_MISSING_PRINCIPAL, text)
    return mint or Mint(b"", 0)


def _managed(conn: Connection, key_id: str, actor: Actor, *, owner: str | None = None) -> KeyRow:
    row = store.find(conn, key_id, lock=True)
    owners = {owner or None, actor.owner if actor.is_stored else None} - {None}
    is_bound = actor.reach.bounds_balances
    if row is None or not owners <= {row.owner} or (is_bound and reaches_beyond(row.reach or EVERYTHING, actor.reach)):
        # Whether another owner has such a key is not said, nor what a key reaches that the actor does not.
        raise NotFound(ErrorCode.APIKEY_NOT_FOUND, "API key not found")
    return row


def _check(asked: KeyRequest, now: datetime, max_days: int, unread: Sequence[Unread]) -> None:
    """Refuse a request for a key that has problems of its own."""
    missing = [(name, "is required") for name in ("name", "owner", "scopes", "expires_at") if not getattr(asked, name)]
    problems: Problems = missing.copy()
    for field in ("name", "owner"):
        if text := getattr(asked, field):
            problems += name_problems(field, text, MAX_NAME)
    problems += _scope_problems(asked.scopes or ())
    if asked.expires_at is not None and asked.expires_at <= now:
        problems.append(("expires_at", "must be in the future"))
    elif asked.expires_at is not None and asked.expires_at - now > timedelta(days=max_days):
        problems.append(("expires_at", f"must be at most {max_days} days away (PACIOLI_KEY_MAX_DAYS)"))
    problems += reach_problems(asked.reach or EVERYTHING)
    if problems or unread:
        code = ErrorCode.GEN_MALFORMED_REQUEST if missing else ErrorCode.GEN_VALIDATION_ERROR
        raise refusal(unread, problems, code)


def _scope_problems(scopes: Sequence[str]) -> Problems:
    if len(scopes) > SCOPES_MAX:
        return [("scopes", f"has {len(scopes)} members, and may have {SCOPES_MAX}")]
    problems = []
    for number, scope in enumerate(scopes):
        if isinstance(scope, str) and scope not in SCOPES:  # One that could not be read is None.
            near = nearest_scope(scope)
            meant = f"; did you mean {near}?" if near is not None else ", such as transactions:read"
            problems.append((f"scopes[{number}]", f"there is no scope {scope[:64]!a}: it takes resource:action{meant}"))
    return problems


def _refuse_escalation(actor: Actor, scopes: Sequence[str], reach: Reach, expires_at: datetime) -> None:
    """Refuse a key that would exceed the stored key that makes it."""
    if not actor.is_stored:
        return
    if broader := [scope for scope in scopes if not any(grants(own, scope) for own in actor.scopes)]:
        raise _escalation("cannot grant scopes broader than caller", {"scopes": broader})
    if fields := beyond(reach, actor.reach):
        raise _escalation("cannot grant a reach beyond that of the caller", {"reach": fields})
    if actor.expires_at is not None and expires_at > actor.expires_at:
        raise _escalation("cannot make a key that lasts longer than the caller", {"expires_at": actor.expires_at})


def _escalation(text: str, details: Mapping[str, object]) -> BeyondKey:
    return BeyondKey(ErrorCode.AUTH_SCOPE_ESCALATION, text, details)


def _cross_owner() -> BeyondKey:
    return BeyondKey(ErrorCode.AUTH_CROSS_OWNER_ACCESS, "cannot manage API keys for another owner")
