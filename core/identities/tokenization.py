"""Tokenizes fields of an identity, and reads them in clear. Several fields of a request are done all or none."""

from collections.abc import Sequence

from sqlalchemy import Connection, Engine

from core.base.db import begin, reading
from core.base.errors import Conflict, Disabled, ErrorCode, InvalidRequest
from core.identities import store
from core.identities.fields import BLNK_NAMES, tokenizable
from core.identities.identities import fact_of, found, refuse_erased
from core.identities.store import IdentityRow
from core.identities.tokens import Keyring
from core.journal.actions import Action, Event
from core.journal.event_types import EventType
from core.journal.record import record

_BATCH = 500


def tokenize(conn: Connection, identity_id: str, names: Sequence[str], keyring: Keyring | None) -> None:
    """Put tokens in the place of fields. A blank field has nothing to hide, and is refused.

    Raises:
        InvalidRequest: a field cannot be tokenized, or is blank.
        NotFound: there is no such identity.
        Conflict: a field is tokenized already.
        Disabled: there is no key (IDT_TOKENIZATION_DISABLED).
    """
    fields = {tokenizable(name): name for name in names}
    row = found(conn, identity_id, lock=True)
    refuse_erased(row)
    for field, name in fields.items():
        if field in row.tokenized:
            raise Conflict(ErrorCode.IDT_FIELD_ALREADY_TOKENIZED, f"field {name} is already tokenized", {"field": name})
    ring = _needed(keyring)
    for field, name in fields.items():
        if not getattr(row, field):
            text = f"field {name} is blank, so there is nothing to tokenize"
            raise InvalidRequest([(name, text)], ErrorCode.IDT_VALIDATION_ERROR, message=text)
    data_key = (
        ring.new_data_key(row.identity_id) if row.data_key is None else ring.data_key(row.identity_id, row.data_key)
    )
    tokens = {field: data_key.seal(field, getattr(row, field)) for field in fields}
    store.change(conn, row.key, {**tokens, "tokenized": sorted({*row.tokenized, *fields}), "data_key": data_key.sealed})
    record(conn, _event(Action.IDENTITY_TOKENIZED, row, list(fields)))


def detokenize(
    conn: Connection, identity_id: str, names: Sequence[str] | None, keyring: Keyring | None
) -> dict[str, str]:
    """Read fields in clear, by the names that they have in Blnk. None means all that are tokenized. Every reading is recorded.

    Raises:
        InvalidRequest: a field cannot be tokenized, or is not.
        NotFound: there is no such identity.
        Disabled: there is no key (IDT_TOKENIZATION_DISABLED).
    """
    fields = None if names is None else {tokenizable(name): name for name in names}
    row = found(conn, identity_id)
    if fields is None:
        fields = {field: BLNK_NAMES[field] for field in row.tokenized}
    for field, name in fields.items():
        if field not in row.tokenized:
            text = f"field {name} is not tokenized"
            raise InvalidRequest([(name, text)], ErrorCode.IDT_FIELD_NOT_TOKENIZED, message=text)
    ring = _needed(keyring)
    if not fields:
        return {}
    assert row.data_key is not None
    data_key = ring.data_key(row.identity_id, row.data_key)
    clear = {BLNK_NAMES[field]: data_key.open(field, getattr(row, field)) for field in fields}
    record(conn, _event(Action.IDENTITY_READ_IN_CLEAR, row, list(fields)))
    return clear


def rotate(engine: Engine, keyring: Keyring) -> int:
    """Seal everything that an older master key has sealed under the newest. Returns how many identities were changed.

    Each identity gets a new data key and new tokens, in a commit of a batch. It can be ended and begun again at any time.

    Raises:
        InvariantBroken: a key is missing in the setting.
    """
    done, after = 0, 0
    while True:
        with reading(engine) as conn:
            keys = store.sealed_under_others(conn, keyring.newest, after=after, limit=_BATCH)
        if not keys:
            return done
        with begin(engine) as conn:
            for key in keys:
                done += _renew(conn, key, keyring)
        after = keys[-1]


def _renew(conn: Connection, key: int, keyring: Keyring) -> bool:
    row = store.find_locked(conn, key)
    if row is None or row.data_key is None:
        return False
    old, new = keyring.data_key(row.identity_id, row.data_key), keyring.new_data_key(row.identity_id)
    tokens = {field: new.seal(field, old.open(field, getattr(row, field))) for field in row.tokenized}
    store.change(conn, key, {**tokens, "data_key": new.sealed})
    return True


def _needed(keyring: Keyring | None) -> Keyring:
    if keyring is None:
        text = "tokenization is disabled: set PACIOLI_TOKENIZATION_SECRET"
        raise Disabled(ErrorCode.IDT_TOKENIZATION_DISABLED, text)
    return keyring


def _event(action: Action, row: IdentityRow, fields: list[str]) -> Event:
    named = sorted(fields)
    is_change = action is Action.IDENTITY_TOKENIZED
    fact = fact_of(EventType.IDENTITY_UPDATED, row, named) if is_change else None
    return Event(action=action, subject=row.identity_id, more={"fields": named}, fact=fact)
