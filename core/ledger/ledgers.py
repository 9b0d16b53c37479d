"""Creates, renames and reads ledgers, which are groups of balances."""

from msgspec import UNSET, Struct, UnsetType
from sqlalchemy import Connection

from core.base.actors import current, reach_of_request
from core.base.answers import Members, Time, encode, members
from core.base.errors import BeyondKey, ErrorCode, InvalidRequest, NotFound
from core.base.ids import new_id
from core.base.metadata import meta_data_problems, meta_data_text, refuse_expanded, stamped
from core.base.sizes import MAX_NAME
from core.journal.actions import Action, Event, object_of, text_of
from core.journal.event_types import EventType
from core.journal.facts import Fact
from core.journal.record import record
from core.ledger.reach import reaches_whole
from core.ledger.rules.requests import LedgerRequest
from core.ledger.rules.validation import name_problems
from core.ledger.store import ledgers as ledger_store
from core.ledger.store.ledgers import LedgerRow
from core.ledger.store.reach import reaches_ledger


class Ledger(Struct, frozen=True, kw_only=True):
    """A group of balances."""

    ledger_id: str
    name: str
    created_at: Time
    meta_data: Members | None


class LedgerPage(Struct, frozen=True):
    """A page of ledgers, and how many there are in all."""

    data: list[Ledger]
    total_count: int
    truncated: bool | UnsetType = UNSET
    """true when the look or the counting ended early. The count is then too low, and the Link header goes on."""


def create(conn: Connection, asked: LedgerRequest) -> Ledger:
    """Create a ledger.

    Raises:
        InvalidRequest: it lists every problem.
        BeyondKey: the key is bound to ledgers, and could not reach a new one.
    """
    if reach_of_request().ledgers is not None:
        text = "the key is bound to ledgers, and would not reach a new one: use a key without that bound"
        raise BeyondKey(ErrorCode.AUTH_INSUFFICIENT_PERMISSIONS, text)
    name = _checked_name(asked)
    row = ledger_store.create(
        conn, new_id("ldg_"), name, stamped(meta_data_text(bytes(asked.meta_data)), current().key_id)
    )
    refuse_expanded(row.meta_data)
    after = text_of(name=row.name, meta_data=object_of(row.meta_data))
    ledger = ledger_of(row)
    fact = fact_of(EventType.LEDGER_CREATED, ledger)
    record(conn, Event(action=Action.LEDGER_CREATED, subject=row.ledger_id, after=after, fact=fact))
    return ledger


def rename(conn: Connection, ledger_id: str, asked: LedgerRequest) -> Ledger:
    """Change the name of a ledger, and nothing else.

    Raises:
        InvalidRequest: it lists every problem.
        NotFound: there is no such ledger.
    """
    name = _checked_name(asked)
    renamed = ledger_store.rename(conn, ledger_id, name) if reaches_whole(ledger_id) else None
    if renamed is None:
        raise _not_found()
    row, before = renamed
    ledger = ledger_of(row)
    record(
        conn,
        Event(
            action=Action.LEDGER_RENAMED,
            subject=ledger_id,
            before=text_of(name=before),
            after=text_of(name=row.name),
            fact=fact_of(EventType.LEDGER_UPDATED, ledger),
        ),
    )
    return ledger


def read(conn: Connection, ledger_id: str) -> Ledger:
    """Find a ledger by its ID.

    Raises:
        NotFound: there is none.
    """
    row = ledger_store.find(conn, ledger_id)
    if row is None or not reaches_ledger(ledger_id):
        raise _not_found()
    return ledger_of(row)


def ledger_of(row: LedgerRow) -> Ledger:
    """Make the answer of a ledger from its row."""
    return Ledger(ledger_id=row.ledger_id, name=row.name, created_at=row.created_at, meta_data=members(row.meta_data))


def fact_of(type: EventType, ledger: Ledger) -> Fact:
    """Make the fact that something became of a ledger."""
    return Fact(type=type, data=encode(ledger).decode(), ledger_id=ledger.ledger_id)


def _checked_name(asked: LedgerRequest) -> str:
    """Check a request, and return the name in it."""
    problems = meta_data_problems(bytes(asked.meta_data)) if asked.meta_data else []
    if problems := problems + name_problems("name", asked.name, MAX_NAME):
        raise InvalidRequest(problems, ErrorCode.GEN_VALIDATION_ERROR)
    assert asked.name is not None
    return asked.name


def _not_found() -> NotFound:
    return NotFound(ErrorCode.LGR_NOT_FOUND, "Ledger not found")
