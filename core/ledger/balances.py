"""Creates and reads balances, and their statements. Amounts are minor units, unless a field says otherwise."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType
from sqlalchemy import Connection

from core.base.actors import current, reach_of_request
from core.base.answers import NO_TIME, Major, Members, Time, encode, major, members
from core.base.errors import BeyondKey, ErrorCode, InvalidRequest, NotFound
from core.base.metadata import meta_data_problems, meta_data_text, refuse_expanded, stamped
from core.journal.actions import Action, Event, object_of, text_of
from core.journal.event_types import EventType
from core.journal.facts import Fact
from core.journal.record import record
from core.ledger.reach import reaches
from core.ledger.rules.model import GENERAL_LEDGER
from core.ledger.rules.requests import BalanceRequest
from core.ledger.rules.validation import Problems, new_currency_problems, new_indicator_problems
from core.ledger.store import balances as balance_store
from core.ledger.store import entries as entry_store
from core.ledger.store import ledgers as ledger_store
from core.ledger.store.balances import BalanceRow


class Limits(Struct, frozen=True, kw_only=True):
    """The limits of a balance, which no request lifts."""

    floor: int | None
    """The least that its available balance may become, in minor units. None is no floor."""
    frozen: Literal["debits", "all"] | None
    """The direction that is stopped: debits, or all. None stops nothing."""
    reason: str
    set_by: str
    """The ID of the key that set it."""
    set_at: Time
    after_sequence: int
    """It counts for what was accepted after this sequence."""


class Balance(Struct, frozen=True, kw_only=True):
    """Blnk's balance object, with what Pacioli adds."""

    balance: int
    """credit_balance - debit_balance, in minor units of any size."""
    version: int
    """A number that goes up with each posting that touches the balance."""
    inflight_balance: int
    credit_balance: int
    inflight_credit_balance: int
    debit_balance: int
    inflight_debit_balance: int
    available_balance: int
    """The amount that may be spent: balance - inflight_debit_balance, less queued debits with with_queued."""
    ledger_id: str
    identity_id: str = ""
    """The ID of the identity that it belongs to, or an empty text."""
    balance_id: str
    indicator: str
    """The @Name of an internal balance. It is empty for others."""
    currency: str
    created_at: Time
    inflight_expires_at: Time = NO_TIME
    meta_data: Members | None
    track_fund_lineage: bool = False
    allocation_strategy: str = "FIFO"
    queued_debit_balance: int | UnsetType = UNSET
    """The debits that are accepted and not decided. It is there with with_queued only."""
    queued_credit_balance: int | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    """The floor and the freeze of a balance that is read alone. It is left out when there are none."""


class BalancePage(Struct, frozen=True):
    """A page of balances, and how many there are in all."""

    data: list[Balance]
    total_count: int
    truncated: bool | UnsetType = UNSET
    """true when the look or the counting ended early. The count is then too low, and the Link header goes on."""


class Entry(Struct, frozen=True, kw_only=True):
    """One side of a posting that moved money. It is a line of a statement.

    Where the other balance is out of reach of the key, all that tells of it is left blank, and sequence is 0.
    """

    version: int
    """The version of the balance after the entry. The next page begins after it."""
    at: Time
    effective_date: Time
    """The time from which the entry counts in the balance at a time."""
    direction: Literal["debit", "credit"]
    amount: Major
    """Major units."""
    precise_amount: int
    precise_balance_after: int
    currency: str
    counterparty: str
    transaction_id: str
    parent_transaction: str
    reference: str
    description: str
    sequence: int


def create(conn: Connection, asked: BalanceRequest) -> Balance:
    """Create a balance in a ledger, or an internal balance with an ``@Name``.

    Raises:
        InvalidRequest: it lists every problem, or there is no such ledger.
        BeyondKey: the indicator is out of reach of the key.
        Conflict: the indicator has a balance in this currency.
    """
    indicator = asked.indicator or None
    problems = _problems_of(asked, indicator)
    # A currency that the ledger uses already, as a release without this rule allowed, gets new balances as ever.
    wrong = new_currency_problems(asked.currency or "")
    if wrong and not (asked.currency and balance_store.has_currency(conn, asked.currency)):
        problems += wrong
    if problems:
        raise InvalidRequest(problems, ErrorCode.GEN_VALIDATION_ERROR)
    assert asked.ledger_id is not None and asked.currency is not None
    reach = reach_of_request()
    if indicator is not None and reach.indicators is not None and indicator not in reach.indicators:
        text = f"the key does not reach {indicator}"  # Whether it exists is not said.
        raise BeyondKey(ErrorCode.AUTH_INSUFFICIENT_PERMISSIONS, text, {"indicator": indicator})
    if ledger_store.find(conn, asked.ledger_id) is None or not reaches(reach, asked.ledger_id, indicator):
        text = "Invalid ledger ID"
        raise InvalidRequest(
            [("ledger_id", text)], ErrorCode.GEN_BAD_REQUEST, {"ledger_id": asked.ledger_id}, message=text
        )
    row = balance_store.create(
        conn,
        ledger_id=asked.ledger_id,
        indicator=indicator,
        currency=asked.currency,
        meta_data=stamped(meta_data_text(bytes(asked.meta_data)), current().key_id),
    )
    refuse_expanded(row.meta_data)
    record(conn, created(row))
    return balance_of(row)


def created(row: BalanceRow) -> Event:
    """Make the event of a new balance."""
    after = text_of(
        ledger_id=row.ledger_id, indicator=row.indicator, currency=row.currency, meta_data=object_of(row.meta_data)
    )
    fact = fact_of(EventType.BALANCE_CREATED, balance_of(row))
    return Event(action=Action.BALANCE_CREATED, subject=row.balance_id, after=after, fact=fact)


def fact_of(type: EventType, balance: Balance) -> Fact:
    """Make the fact that something became of a balance."""
    data = encode(balance).decode()
    return Fact(type=type, data=data, ledger_id=balance.ledger_id, balance_id=balance.balance_id)


def found(conn: Connection, balance_id: str) -> BalanceRow:
    """Find a balance by its ID.

    Raises:
        NotFound: there is none.
    """
    return there(balance_store.find(conn, balance_id), balance_id)


def there(row: BalanceRow | None, balance_id: str) -> BalanceRow:
    """Return a row that was looked for by its ID, if the request reaches it.

    Raises:
        NotFound: there is none, or it is out of reach.
    """
    if row is None or not reaches(reach_of_request(), row.ledger_id, row.indicator):
        raise NotFound(ErrorCode.BAL_NOT_FOUND, f"Balance with ID '{balance_id}' not found")
    return row


def found_indicator(conn: Connection, indicator: str, currency: str) -> BalanceRow:
    """Find an internal balance by its ``@Name`` and currency.

    Raises:
        NotFound: there is none.
    """
    row = balance_store.find_indicator(conn, indicator, currency)
    if row is None or not reaches(reach_of_request(), row.ledger_id, row.indicator):
        raise NotFound(ErrorCode.BAL_NOT_FOUND, f"balance with indicator '{indicator}' not found")
    return row


def balance_of(row: BalanceRow, queued: tuple[int, int] | None = None, limits: Limits | UnsetType = UNSET) -> Balance:
    """Make the answer of a balance from its row. ``queued`` has the debits and credits that are not decided."""
    debits, credits = queued or (0, 0)
    return Balance(
        balance=row.balance,
        version=row.version,
        inflight_balance=row.inflight_credit_balance - row.inflight_debit_balance,
        credit_balance=row.credit_balance,
        inflight_credit_balance=row.inflight_credit_balance,
        debit_balance=row.debit_balance,
        inflight_debit_balance=row.inflight_debit_balance,
        available_balance=row.available - debits,
        ledger_id=row.ledger_id,
        identity_id=row.identity_id or "",
        balance_id=row.balance_id,
        indicator=row.indicator or "",
        currency=row.currency,
        created_at=row.created_at,
        meta_data=members(row.meta_data),
        queued_debit_balance=UNSET if queued is None else debits,
        queued_credit_balance=UNSET if queued is None else credits,
        limits=limits,
    )


def entry_of(entry: entry_store.Entry) -> Entry:
    """Make the answer of an entry, which is a line of a statement."""
    return Entry(
        version=entry.version,
        at=entry.at,
        effective_date=entry.effective_date,
        direction="debit" if entry.direction == "debit" else "credit",
        amount=major(entry.amount, entry.precision),
        precise_amount=entry.amount,
        precise_balance_after=entry.balance_after,
        currency=entry.currency,
        counterparty=entry.counterparty,
        transaction_id=entry.transaction_id,
        parent_transaction=entry.parent or "",
        reference=entry.reference,
        description=entry.description,
        sequence=entry.sequence,
    )


def _problems_of(asked: BalanceRequest, indicator: str | None) -> Problems:
    """List what is wrong with the request for a new balance."""
    problems = meta_data_problems(bytes(asked.meta_data)) if asked.meta_data else []
    if not asked.ledger_id:
        problems.append(("ledger_id", "cannot be blank"))
    if indicator is not None:
        problems += new_indicator_problems("indicator", indicator)
        if asked.ledger_id != GENERAL_LEDGER:
            problems.append(("indicator", f"an internal balance is in the ledger {GENERAL_LEDGER}"))
    if asked.track_fund_lineage:
        problems.append(("track_fund_lineage", "is not available in this version; leave it out"))
    if (asked.allocation_strategy or "").strip().upper() not in ("", "FIFO"):
        problems.append(("allocation_strategy", "only FIFO is available in this version"))
    return problems
