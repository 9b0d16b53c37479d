"""Creates, reads, updates, deletes and erases identities, and links balances to them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection

from core.base import clock
from core.base.errors import Conflict, Disabled, ErrorCode, InvalidRequest, NotFound
from core.base.ids import new_key, uuid_of
from core.base.metadata import meta_data_problems, meta_data_text, refuse_expanded
from core.base.sizes import MAX_META_DATA, size_problem
from core.base.unreadable import NUL
from core.identities import store
from core.identities.fields import PERSONAL, TEXTS
from core.identities.requests import IdentityRequest
from core.identities.store import PREFIX, IdentityRow
from core.identities.tokens import Keyring
from core.journal.actions import Action, Event, text_of
from core.journal.event_types import EventType
from core.journal.facts import Fact
from core.journal.record import record
from core.ledger.balances import balance_of
from core.ledger.balances import fact_of as balance_fact
from core.ledger.balances import found as found_balance
from core.ledger.store.reach import reaches_identity

MAX_TEXT = 1_000
"""The largest number of characters of a field."""


def create(conn: Connection, asked: IdentityRequest) -> IdentityRow:
    """Create an identity.

    Raises:
        InvalidRequest: it lists every problem, or there is an identity of this ID.
    """
    identity_id = _new_id(asked.identity_id)
    values = {name: value for name, value in _values(asked).items() if value not in (None, "")}
    row = store.create(conn, identity_id, values)
    if row is None:
        text = f"Identity already exists: {PREFIX}{identity_id}"
        raise InvalidRequest([("identity_id", text)], ErrorCode.IDT_VALIDATION_ERROR, message=text)
    refuse_expanded(row.meta_data)
    record(conn, _event(Action.IDENTITY_CREATED, row, values))
    return row


def found(conn: Connection, identity_id: str, *, lock: bool = False) -> IdentityRow:
    """Find an identity by its ID, and lock it if asked to. One is in reach of a bound key with a balance of it.

    Raises:
        NotFound: there is none in reach.
    """
    row = store.find(conn, identity_id, lock=lock)
    if row is None or not reaches_identity(conn, row.key):
        raise NotFound(ErrorCode.IDT_NOT_FOUND, f"Identity with ID '{identity_id[:64]}' not found")
    return row


def named(conn: Connection, identity_id: str) -> IdentityRow:
    """Find and lock the identity that a body names.

    Raises:
        NotFound: there is none. The message names the field.
    """
    try:
        return found(conn, identity_id, lock=True)
    except NotFound as error:
        raise NotFound(error.code, f"identity_id: {error}") from None


def update(conn: Connection, identity_id: str, asked: IdentityRequest, keyring: Keyring | None) -> IdentityRow:
    """Change the fields that a request gives. An empty text leaves a field as it is, and null blanks it.

    A tokenized field gets a token of its new value. Its own token leaves it as it is, because a client may send back what it
    has read.

    Raises:
        InvalidRequest: it lists every problem, or nothing was given.
        NotFound: there is no such identity.
    """
    if asked.identity_id not in (None, "", identity_id):
        raise InvalidRequest([("identity_id", "never changes; leave it out")], ErrorCode.IDT_VALIDATION_ERROR)
    values = {name: value for name, value in _values(asked).items() if value != ""}
    if not values:
        raise InvalidRequest([("", "No fields provided for update")], ErrorCode.GEN_BAD_REQUEST)
    row = found(conn, identity_id, lock=True)
    refuse_erased(row)
    tokenized = set(row.tokenized)
    for name in row.tokenized:
        value = values.get(name, UNSET)
        if value is None:
            tokenized.discard(name)
        elif value is not UNSET and value != getattr(row, name):
            if keyring is None or row.data_key is None:
                raise Disabled(ErrorCode.IDT_TOKENIZATION_DISABLED, f"field {name} is tokenized, and there is no key")
            values[name] = keyring.data_key(row.identity_id, row.data_key).seal(name, value)
    blank: dict[str, Any] = dict.fromkeys(TEXTS, "")
    changed = {name: blank.get(name) if value is None else value for name, value in values.items()}
    after = store.change(conn, row.key, {**changed, "tokenized": sorted(tokenized)})
    refuse_expanded(after.meta_data)
    record(conn, _event(Action.IDENTITY_UPDATED, row, values))
    return after


def delete(conn: Connection, identity_id: str) -> None:
    """Delete an identity that no balance belongs to.

    Raises:
        NotFound: there is no such identity.
        Conflict: balances belong to it.
    """
    row = found(conn, identity_id, lock=True)
    if count := store.count_balances(conn, row.key):
        text = f"{count} balance{'s belong' if count > 1 else ' belongs'} to the identity; link them to another, or erase it"
        raise Conflict(ErrorCode.GEN_CONFLICT, text, {"balances": count})
    store.remove(conn, row.key)
    record(conn, _event(Action.IDENTITY_DELETED, row))


def erase(conn: Connection, identity_id: str) -> IdentityRow:
    """Forget a person: blank everything about them and throw their data key away. The ID and its balances stay.

    Raises:
        NotFound: there is no such identity.
    """
    row = found(conn, identity_id, lock=True)
    if row.erased_at is not None:
        return row
    blank: dict[str, Any] = dict.fromkeys(TEXTS, "")
    more: dict[str, Any] = {
        "dob": None,
        "meta_data": None,
        "tokenized": [],
        "data_key": None,
        "erased_at": clock.now(conn),
    }
    after = store.change(conn, row.key, {**blank, **more})
    record(conn, _event(Action.IDENTITY_ERASED, row))
    return after


def link(conn: Connection, balance_id: str, identity_id: str | None) -> None:
    """Give a balance to an identity. None takes it from the one that has it.

    Raises:
        NotFound: there is no such balance or identity.
    """
    balance = found_balance(conn, balance_id)
    identity = None if identity_id is None else named(conn, identity_id)
    before = store.link(conn, balance.key, None if identity is None else identity.key)
    after = None if identity is None else identity.identity_id
    fact = balance_fact(EventType.BALANCE_UPDATED, balance_of(found_balance(conn, balance_id)))
    more = {"from": before, "to": after}
    record(conn, Event(action=Action.BALANCE_LINKED, subject=balance_id, more=more, fact=fact))


def add_metadata(conn: Connection, identity_id: str, meta_data: str) -> str:
    """Merge an object's JSON text into the metadata of an identity. Returns all of it.

    Raises:
        NotFound: there is no such identity.
        InvalidRequest: the merged metadata is too large.
    """
    row = store.find(conn, identity_id, lock=True)
    if row is None:
        raise NotFound(ErrorCode.META_ENTITY_NOT_FOUND, f"entity with ID '{identity_id[:64]}' not found")
    refuse_erased(row)
    merged = store.merge_metadata(conn, row.key, meta_data)
    if problem := size_problem(len(merged.encode()), MAX_META_DATA, "bytes with what is there already"):
        raise InvalidRequest([("meta_data", problem)], ErrorCode.GEN_VALIDATION_ERROR)
    record(conn, _event(Action.IDENTITY_UPDATED, row, ["meta_data"]))
    return merged


def refuse_erased(row: IdentityRow) -> None:
    """Refuse to write about a person who was erased.

    Raises:
        Conflict: the identity was erased.
    """
    if row.erased_at is not None:
        raise Conflict(ErrorCode.GEN_CONFLICT, "the identity was erased, and takes no data any more")


def _event(action: Action, row: IdentityRow, fields: "dict[str, Any] | list[str] | None" = None) -> Event:
    """Make the event of a change. It names fields, and no value of them."""
    named = sorted(fields) if fields else []
    fact = fact_of(_TOLD[action], row, named)
    return Event(action=action, subject=row.identity_id, more={"fields": named} if named else {}, fact=fact)


_TOLD = {
    Action.IDENTITY_CREATED: EventType.IDENTITY_CREATED,
    Action.IDENTITY_UPDATED: EventType.IDENTITY_UPDATED,
    Action.IDENTITY_DELETED: EventType.IDENTITY_DELETED,
    Action.IDENTITY_ERASED: EventType.IDENTITY_ERASED,
}


def fact_of(type: EventType, row: IdentityRow, fields: list[str]) -> Fact:
    """Make the fact that something became of an identity. It names fields, and nothing that they have in them."""
    return Fact(type=type, data=text_of(identity_id=row.identity_id, fields=fields))


def _new_id(asked: str | None) -> UUID:
    if not asked:
        return new_key()
    if not asked.startswith(PREFIX):
        text = "identity_id must start with the 'idt_' prefix"
        raise InvalidRequest([("identity_id", text)], ErrorCode.IDT_VALIDATION_ERROR)
    key = uuid_of(asked, PREFIX)
    if key is None:
        text = "identity_id suffix after 'idt_' must be a valid UUID"
        raise InvalidRequest([("identity_id", text)], ErrorCode.IDT_VALIDATION_ERROR)
    return key


def _values(asked: IdentityRequest) -> dict[str, Any]:
    """Check the fields of a request, and return those that it gives.

    Raises:
        InvalidRequest: it lists every problem. No text of a problem has a value.
    """
    values: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for name in PERSONAL:
        value = getattr(asked, name)
        if value is UNSET:
            continue
        if name == "meta_data":
            raw = bytes(value)
            problems += meta_data_problems(raw)
            values[name] = None if problems else meta_data_text(raw)
            continue
        if name == "dob" and value:
            value = _date(value)
            if value is None:
                problems.append(("dob", "must be an RFC 3339 time, or a day such as 1990-04-22"))
            elif value.year == 1:
                value = None
        elif value and "\x00" in value:
            problems.append((name, NUL))
        elif value and (too_long := size_problem(len(value), MAX_TEXT, "characters")):
            problems.append((name, too_long))
        values[name] = value
    if problems:
        raise InvalidRequest(problems, ErrorCode.GEN_MALFORMED_REQUEST)
    return values


def _date(text: str) -> datetime | None:
    try:
        value = msgspec.convert(text if "T" in text else f"{text}T00:00:00Z", datetime, strict=False)
        return value.astimezone(UTC) if value.tzinfo is not None else None
    except (msgspec.ValidationError, OverflowError):
        return None
