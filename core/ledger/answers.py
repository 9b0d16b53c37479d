"""Makes the answers about transactions and queues. Amounts are minor units, unless a field says otherwise.

Read ``Transaction`` first. Each answer is made from a row that a store has read, so nothing here reads the database.
``batch_answers.py`` has the answers about many transactions at once.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from core.base.actors import current
from core.base.answers import NO_TIME, Major, Members, Time, encode, major
from core.base.metadata import stamped
from core.base.money import to_text
from core.ledger.explain import WIRE_NAMES, RejectionName, blnk_text, sum_text, waiting_text
from core.ledger.rules.model import Accepted, Draft, Kind, Status
from core.ledger.rules.requests import Leg, RefundRequest, SettleRequest, TransactionRequest, as_answered, terms_of
from core.ledger.rules.validation import REPEATABLE, is_partial, warnings_of
from core.ledger.store.queues import QueueState
from core.ledger.store.transaction_rows import TransactionRow
from core.ledger.store.transactions import Line

_members = msgspec.json.Decoder(dict[str, Raw]).decode


class Step(Struct, frozen=True):
    """A status of a transaction, and the time from which it had it."""

    status: Status
    at: Time


class Place(Struct, frozen=True, kw_only=True):
    """The position of a transaction in the line of its queue."""

    number: int
    """The number of the queue."""
    position: int
    """The position in line. The next transaction has 1."""
    ahead: int
    oldest_age_s: float
    waiting_for: str


class RejectionAnswer(Struct, frozen=True, kw_only=True):
    """Why a transaction was rejected, with the sum that did not work out."""

    reason: RejectionName
    message: str
    available: int | None
    """The available amount, or what is left of the hold or transaction for a commit, void or refund."""
    requested: int | None
    held: int | None
    overdraft_limit: int | None
    floor: int | UnsetType = UNSET
    """The floor of the source, if that is the reason."""
    short_by: int | None


class Settled(Struct, frozen=True):
    """The amounts of a hold that are committed, voided and left."""

    committed: int
    voided: int
    remaining: int


class SplitLeg(Struct, frozen=True, kw_only=True):
    """One posting of a split. The answer to a new submission has only its ID, reference and amount."""

    transaction_id: str
    reference: str
    source: str | UnsetType = UNSET
    destination: str | UnsetType = UNSET
    precise_amount: int
    status: Status | UnsetType = UNSET
    rejection: RejectionAnswer | UnsetType = UNSET


class Warning(Struct, frozen=True):
    """A field of the request that was accepted and has no effect, or whose absence has one."""

    field: str
    """Its name, in a batch with its place, such as ``transactions[3].rate``."""
    message: str


class Echo(Struct, frozen=True):
    """The parts of an answer that come from its request alone, and are not stored."""

    skip_queue: bool = False
    warnings: list[Warning] | UnsetType = UNSET


def echo_of(asked: TransactionRequest) -> Echo:
    """Make what the answer to a request repeats of it, and what it warns of."""
    return Echo(bool(asked.skip_queue), [Warning(*each) for each in warnings_of(asked)] or UNSET)


def warnings_of_part(asked: SettleRequest | RefundRequest) -> list[Warning] | UnsetType:
    """Warn of a part of a hold or of a refund that is moved again when its request is sent again."""
    if (
        not is_partial(asked)
        or asked.reference is not None
        or (isinstance(asked, SettleRequest) and asked.status == "void")
    ):
        return UNSET
    return [Warning("reference", REPEATABLE)]


class Transaction(Struct, frozen=True, kw_only=True):
    """Blnk's transaction object, with what Pacioli adds at its end."""

    precise_amount: int
    """The amount in minor units, of any size."""
    amount: Major
    """The amount in major units."""
    amount_string: str
    """The amount in major units, as text for clients whose numbers are floats."""
    pending: bool | UnsetType = UNSET
    """True when a refund, commit or void of all that is left is not decided yet. The amount is then what is left now."""
    precision: int
    """The number of minor units in a major unit."""
    overdraft_limit: Major | None
    """The amount by which the source may go below zero, in major units."""
    transaction_id: str
    parent_transaction: str
    """The ID of the hold, transaction or batch that it belongs to. It is empty for none."""
    source: str
    """The balance ID. The answer to a new submission has the name that was sent."""
    destination: str
    reference: str
    currency: str
    description: str
    status: Status
    """The status is QUEUED until the transaction is decided. An INFLIGHT hold becomes APPLIED or VOID."""
    hash: str
    """The SHA-256 over what was accepted, and over the hash of the transaction accepted before it."""
    allow_overdraft: bool
    inflight: bool
    skip_queue: bool = False
    """The answer to a request repeats what it said. It is not stored, so a later answer says false."""
    atomic: bool
    created_at: Time
    effective_date: Time
    scheduled_for: Time
    inflight_expiry_date: Time
    inflight_commit_date: Time
    sources: list[Leg] | UnsetType = UNSET
    """The sources as they were sent, with the ID of the leg of each if there is one."""
    destinations: list[Leg] | UnsetType = UNSET
    meta_data: Members | UnsetType = UNSET
    created_by: str | UnsetType = UNSET
    """The ID of the key that asked for it; master, anonymous or service. A scheduled one has the key that scheduled it."""
    created_through: str | UnsetType = UNSET
    """The part of the service that accepted it: web, tick for what was due, funding for a row of a run, or command."""
    sequence: int
    """The position in the order of acceptance, which outcomes follow."""
    rejection: RejectionAnswer | UnsetType = UNSET
    """Why it is REJECTED, with the sum that did not work out."""
    inflight_amounts: Settled | UnsetType = UNSET
    """The amounts of a decided hold."""
    timeline: list[Step]
    legs: list[SplitLeg] | UnsetType = UNSET
    """The postings of a split."""
    queue: Place | UnsetType = UNSET
    """The position in line of a QUEUED transaction."""
    queued: bool | UnsetType = UNSET
    """Whether a settlement is in line."""
    child_transaction: str | UnsetType = UNSET
    """The ID of a settlement."""
    child_transactions: list[str] | UnsetType = UNSET
    """The IDs of several settlements."""
    warnings: list[Warning] | UnsetType = UNSET
    """The fields of the request that had no effect. Only the answer to the request has them."""


class TransactionPage(Struct, frozen=True):
    """A page of transactions, and how many there are in all."""

    data: list[Transaction]
    total_count: int
    truncated: bool | UnsetType = UNSET
    """true when the look or the counting ended early. The count is then too low, and the Link header goes on."""


class Lineage(Struct, frozen=True, kw_only=True):
    """The shadow transactions of a transaction."""

    transaction_id: str
    shadow_transactions: list[dict[str, Any]]


class Added(Struct, frozen=True, kw_only=True):
    """The metadata that is there now."""

    meta_data: Members
    metadata: Members
    """The same metadata, for clients that look for it here."""


class Queue(Struct, frozen=True, kw_only=True):
    """The state of a queue, as an operator sees it."""

    number: int
    depth: int
    """The number of transactions that wait in the queue. It stops at 10000."""
    oldest_age_s: float | None
    cursor: int
    """The sequence up to which everything in the queue is decided."""
    last_drained_at: Time | None
    rate_per_s: float
    decided: int


def transaction_of(row: TransactionRow) -> Transaction:
    """Make the answer of a transaction from its row alone."""
    terms = terms_of(row.terms)
    text = to_text(row.amount, row.precision)
    rejection, hold = row.rejection, row.hold
    given = stamped(row.meta_data, row.actor)
    meta_data = UNSET if given is None else Raw(given.encode())
    if rejection is not None:
        own = _members(given) if given else {}
        meta_data = Raw(encode({**own, "blnk_rejection_reason": blnk_text(rejection, row)}))
    return Transaction(
        precise_amount=row.amount,
        amount=Raw(text.encode()),
        amount_string=text,
        pending=row.is_pending or UNSET,
        precision=row.precision,
        overdraft_limit=None if row.overdraft_limit is None else major(row.overdraft_limit, row.precision),
        transaction_id=row.transaction_id,
        parent_transaction=row.parent or "",
        source=balance_id(row.source) if row.source is not None else "",
        destination=balance_id(row.destination) if row.destination is not None else "",
        reference=row.reference,
        currency=row.currency,
        description=row.description,
        status=row.status,
        hash=row.digest.hex() if row.digest is not None else "",
        allow_overdraft=row.allow_overdraft,
        inflight=row.inflight or terms.inflight,
        atomic=row.group_first is not None or terms.atomic,
        created_at=row.accepted_at,
        effective_date=row.effective_date or row.accepted_at,
        scheduled_for=terms.scheduled_for or NO_TIME,
        inflight_expiry_date=terms.inflight_expiry_date or NO_TIME,
        inflight_commit_date=terms.inflight_commit_date or NO_TIME,
        sources=as_answered(terms.sources),
        destinations=as_answered(terms.destinations),
        meta_data=meta_data,
        created_by=row.actor or UNSET,
        created_through=row.part or UNSET,
        sequence=row.seq,
        rejection=UNSET if rejection is None else rejection_of(row),
        inflight_amounts=UNSET if hold is None else Settled(hold.committed, hold.voided, hold.remaining),
        timeline=[Step(status, at) for status, at in row.timeline],
    )


def accepted_of(draft: Draft, accepted: Accepted, asked: TransactionRequest) -> Transaction:
    """Make the answer of a new submission, without reading it back. Names stay as they were sent, as in Blnk."""
    row = draft.row
    terms = terms_of(row.terms)
    echo = echo_of(asked)
    status = Status.QUEUED if accepted.seq else Status.SCHEDULED
    actor = current()
    given = stamped(row.meta_data, actor.key_id)
    text = to_text(row.amount, row.precision)
    legs = [
        SplitLeg(transaction_id=leg.transaction_id, reference=leg.reference, precise_amount=leg.amount)
        for leg in (each.row for each in draft.legs)
    ]
    return Transaction(
        precise_amount=row.amount,
        amount=Raw(text.encode()),
        amount_string=text,
        precision=row.precision,
        overdraft_limit=None if row.overdraft_limit is None else major(row.overdraft_limit, row.precision),
        transaction_id=accepted.transaction_id,
        parent_transaction=row.parent or "",
        source=asked.source or "",
        destination=asked.destination or "",
        reference=row.reference,
        currency=row.currency,
        description=row.description,
        status=status,
        hash=accepted.digest.hex() if accepted.digest is not None else "",
        allow_overdraft=row.allow_overdraft,
        inflight=row.kind == Kind.HOLD or terms.inflight,
        atomic=bool(asked.atomic),
        created_at=accepted.accepted_at,
        effective_date=row.effective_date or accepted.accepted_at,
        scheduled_for=terms.scheduled_for or NO_TIME,
        inflight_expiry_date=terms.inflight_expiry_date or NO_TIME,
        inflight_commit_date=terms.inflight_commit_date or NO_TIME,
        sources=as_answered(terms.sources),
        destinations=as_answered(terms.destinations),
        meta_data=UNSET if given is None else Raw(given.encode()),
        created_by=actor.key_id,
        created_through=str(actor.part) if accepted.seq else UNSET,
        sequence=accepted.seq,
        timeline=[Step(status, accepted.accepted_at)],
        legs=legs or UNSET,
        skip_queue=echo.skip_queue,
        warnings=echo.warnings,
    )


def with_legs(transaction: Transaction, legs: Sequence[TransactionRow]) -> Transaction:
    """Add the postings of a split to its answer. A source or destination with a leg of its own names it, as in Blnk."""
    return msgspec.structs.replace(
        transaction,
        sources=_with_leg_ids(transaction.sources, legs),
        destinations=_with_leg_ids(transaction.destinations, legs),
        legs=[_leg(leg) for leg in legs],
    )


def with_line(transaction: Transaction, line: Line) -> Transaction:
    """Add the position in line to the answer of an undecided transaction."""
    place = Place(
        number=line.queue,
        position=line.ahead + 1,
        ahead=line.ahead,
        oldest_age_s=round(line.oldest_age_s, 3),
        waiting_for=waiting_text(line),
    )
    return msgspec.structs.replace(transaction, queue=place)


def queue_of(state: QueueState) -> Queue:
    """Make the answer of a queue from its state."""
    return Queue(
        number=state.number,
        depth=state.depth,
        oldest_age_s=None if state.oldest_age_s is None else round(state.oldest_age_s, 3),
        cursor=state.cursor,
        last_drained_at=state.drained_at,
        rate_per_s=round(state.rate, 1),
        decided=state.decided,
    )


def rejection_of(row: TransactionRow) -> RejectionAnswer:
    """Make the answer of a rejection from the row of its transaction."""
    rejection = row.rejection
    assert rejection is not None
    return RejectionAnswer(
        reason=WIRE_NAMES[rejection.reason],
        message=sum_text(rejection, row),
        available=rejection.available,
        requested=rejection.requested,
        held=rejection.held,
        overdraft_limit=rejection.overdraft_limit,
        floor=UNSET if rejection.floor is None else rejection.floor,
        short_by=rejection.short_by,
    )


def balance_id(key: object) -> str:
    """Write the public ID of a balance."""
    return f"bln_{key}"


def _leg(row: TransactionRow) -> SplitLeg:
    return SplitLeg(
        transaction_id=row.transaction_id,
        reference=row.reference,
        source=balance_id(row.source),
        destination=balance_id(row.destination),
        precise_amount=row.amount,
        status=row.status,
        rejection=UNSET if row.rejection is None else rejection_of(row),
    )


def _with_leg_ids(shares: list[Leg] | UnsetType, legs: Sequence[TransactionRow]) -> list[Leg] | UnsetType:
    if not shares or len(shares) != len(legs):
        return shares
    return [
        msgspec.structs.replace(share, transaction_id=leg.transaction_id)
        for share, leg in zip(shares, legs, strict=True)
    ]
