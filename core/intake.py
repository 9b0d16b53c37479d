"""Requests -> rows of the log: validate, resolve names, append.

``draft_all`` says everything that is wrong at once and writes nothing until all is right. ``append`` gives drafts their
place in the order, in one commit for as many as there are.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from core import store
from core.directory import Directory
from core.errors import Conflict, InvalidRequest, NotFound, ReferenceConflict
from core.explain import major
from core.ids import new_id
from core.model import Accepted, BalanceRef, Draft, Kind, Status
from core.money import MAX_DIGITS, MAX_PRECISION, InexactAmount, to_minor
from core.requests import Leg, SettleRequest, TransactionRequest
from core.routing import queue_of, route_of
from core.store.log import Prior
from core.store.transactions import TransactionRow

MAX_BULK = 10_000
MAX_NAME = 255
MAX_REFERENCE = 512
"""Characters. What is unique must fit into a page of a B-tree."""

_INDICATOR = re.compile(r"@\S+")
_SUSPECT_JSON = re.compile(rb"[\x00-\x1f]|\\u0000|\\u[dD][89a-fA-F]|[0-9][eE][+-]?[0-9]{3}|[0-9]{400}")
"""Signs of JSON that Postgres may refuse; only what shows one is parsed and looked at closely."""

_SURROGATE_OR_NUL = re.compile("[\x00\ud800-\udfff]")
_MAX_DEPTH = 100

Problems = list[tuple[str, str]]


# Submitting


def draft_all(
    requests: Sequence[TransactionRequest],
    directory: Directory,
    *,
    parent: str | None = None,
    inflight: bool | None = None,
) -> list[Draft]:
    """Validated drafts of some requests, in their order. Names are resolved, and created only when all else is right.

    ``inflight``, if given, is meant instead of each request's own.

    Raises:
        InvalidRequest: with every problem of the first request that has one; ``details`` holds its index.
        NotFound: a balance id is not known (BAL_NOT_FOUND).
    """
    for index, request in enumerate(requests):
        if problems := _problems_of(request):
            raise _at(index, parent, problems)
    directory.know(name for request in requests for name in _sides(request) if name[0] != "@")
    currencies = [_currency_of(request, directory) for request in requests]
    internal = {
        (name, currency)
        for request, currency in zip(requests, currencies, strict=True)
        for name in _sides(request)
        if name[0] == "@"
    }
    directory.know(internal)

    sums = []
    precisions: dict[str, int] = {}
    for index, (request, currency) in enumerate(zip(requests, currencies, strict=True)):
        try:
            _check_balances(request, currency, directory)
            sums.append(_sums_of(request, currency, directory, precisions))
        except InvalidRequest as error:
            raise _at(index, parent, error.problems, error.code, error.details) from None
    _fix_precisions(precisions, directory)
    directory.create(internal)
    return [
        _draft(request, currency, *amounts, directory, parent, inflight)
        for request, currency, amounts in zip(requests, currencies, sums, strict=True)
    ]


@dataclass
class Submission:
    """Drafts that are accepted together or not at all. ``atomic`` ones are also decided whole."""

    drafts: list[Draft]
    atomic: bool = False
    accepted: list[Accepted] = field(default_factory=list)
    error: Exception | None = None


def append(conn: Connection, submissions: Sequence[Submission]) -> None:
    """Give the drafts of all submissions their places in the log, and note in each what became of it.

    A draft whose reference is taken is answered with the first transaction when the content is the same; else the whole
    submission gets a ``ReferenceConflict``, and the others are not touched. Holds the append lock until the commit.

    Raises:
        TransientError: the lock was not had in time.
    """
    head, prior = store.log.lock_head(conn, [d.reference for s in submissions for d in s.drafts])
    rows: list[tuple[Any, ...]] = []
    seq = head.seq
    for submission in submissions:
        submission.accepted, submission.error = [], None
        try:
            known = {draft.reference: _replay(draft, prior) for draft in submission.drafts if draft.reference in prior}
            if submission.atomic and known and len(known) < len(submission.drafts):
                reference, found = next(iter(known.items()))
                raise ReferenceConflict(reference, "atomic batch", found.transaction_id)
        except ReferenceConflict as error:
            submission.error = error
            continue
        fresh = len(submission.drafts) - len(known)
        group = (seq + 1, seq + fresh) if submission.atomic and fresh > 1 else None
        for draft in submission.drafts:
            accepted = known.get(draft.reference)
            if accepted is None:
                seq += 1
                queue = queue_of(draft.route, head.queues)
                rows.append(store.log.row_of(draft, seq=seq, queue=queue, group=group, accepted_at=head.now))
                accepted = Accepted(draft.transaction_id, seq, queue, head.now, draft.parent, False)
                prior[draft.reference] = Prior(draft.transaction_id, seq, queue, head.now, draft)
            submission.accepted.append(accepted)
    if rows:
        store.log.append(conn, rows)


def check_distinct_references(drafts: Sequence[Draft]) -> None:
    """Within one request, a reference may name one transaction only.

    Raises:
        InvalidRequest: naming the second use.
    """
    seen: dict[str, int] = {}
    for index, draft in enumerate(drafts):
        if (first := seen.setdefault(draft.reference, index)) != index:
            text = f"reference {draft.reference} is used by transactions[{first}] too"
            raise InvalidRequest([(f"transactions[{index}]", text)], "TXN_DUPLICATE_REFERENCE", {"index": index})


_CONTENT = (
    ("kind", "inflight"),
    ("source", "source"),
    ("destination", "destination"),
    ("amount", "amount"),
    ("currency", "currency"),
    ("precision", "precision"),
    ("description", "description"),
    ("allow_overdraft", "allow_overdraft"),
    ("overdraft_limit", "overdraft_limit"),
    ("hold_seq", "transaction"),
    ("effective_date", "effective_date"),
)
"""What a repeated reference must repeat: the draft's field, and the name that the client gave it."""


def _replay(draft: Draft, prior: dict[str, Prior]) -> Accepted:
    """The first transaction of a repeated reference, if the content is the same."""
    first = prior[draft.reference]
    for name, called in _CONTENT:
        if getattr(draft, name) != getattr(first.draft, name):
            raise ReferenceConflict(draft.reference, called, first.transaction_id)
    if draft.meta_data != first.draft.meta_data and _parsed(draft.meta_data) != _parsed(first.draft.meta_data):
        raise ReferenceConflict(draft.reference, "meta_data", first.transaction_id)
    return Accepted(first.transaction_id, first.seq, first.queue, first.accepted_at, first.draft.parent, True)


def _parsed(meta_data: str | None) -> Any:
    return json.loads(meta_data, parse_float=Decimal) if meta_data else None


# Settling a hold


def draft_settlement(conn: Connection, transaction_id: str, request: SettleRequest) -> tuple[Draft, TransactionRow]:
    """A commit or void of a hold, and the hold. What the present state already forbids is refused here.

    What happens between now and its turn, the engine decides.

    Raises:
        InvalidRequest, NotFound, Conflict: with Blnk's codes and texts.
    """
    commit = request.status == "commit"
    if not commit and request.status != "void":
        raise InvalidRequest(
            [("", "status not supported. use either commit or void")], code="TXN_INVALID_STATUS_ACTION"
        )
    precise = _settled_minor(request)
    hold = store.transactions.find(conn, transaction_id)
    if hold is None:
        raise NotFound("TXN_NOT_FOUND", f"Transaction with ID '{transaction_id}' not found")
    if hold.kind != Kind.HOLD or hold.status is Status.REJECTED:
        raise InvalidRequest([("", "transaction is not in inflight status")], code="TXN_NOT_INFLIGHT")
    amount = _settled_amount(request, precise, hold) if commit else 0
    if request.reference is not None and (problems := _text_problems("reference", request.reference, MAX_REFERENCE)):
        raise InvalidRequest(problems)
    # A repeated reference is answered with the first settlement, which the hold's state may show already.
    if request.reference is None or not store.log.find_references(conn, [request.reference]):
        _check_settleable(hold, amount)
        if not request.skip_queue and store.transactions.has_undecided_settlement(conn, hold.seq):
            raise Conflict("GEN_CONFLICT", "a commit or void is already queued for this transaction")
    settlement_id = new_id("txn_")
    return Draft(
        settlement_id,
        request.reference or f"{transaction_id}_{request.status}_{settlement_id[4:]}",
        Kind.COMMIT_INFLIGHT if commit else Kind.VOID_INFLIGHT,
        hold.source_key,
        hold.destination_key,
        route_of(f"bln_{hold.source}"),
        amount,
        hold.currency,
        hold.precision,
        hold.description,
        False,
        None,
        hold.seq,
        transaction_id,
        None,
        hold.meta_data,
    ), hold


def _settled_minor(request: SettleRequest) -> int | None:
    """The checks that Blnk makes before it looks for the hold, also for a void."""
    precise = _whole(request.precise_amount) if request.precise_amount is not None else None
    if request.precise_amount is not None and (precise is None or precise <= 0):
        raise InvalidRequest([("", "precise_amount must be positive")], code="TXN_INVALID_AMOUNT")
    if request.amount is not None and (request.amount.is_nan() or request.amount < 0):
        raise InvalidRequest([("", "commit amount cannot be negative")], code="GEN_BAD_REQUEST")
    return precise


def _settled_amount(request: SettleRequest, precise: int | None, hold: TransactionRow) -> int:
    """Minor units to commit; 0 is all that is left."""
    if precise is not None:
        return precise
    try:
        return to_minor(request.amount, hold.precision) if request.amount else 0
    except InexactAmount as error:
        raise InvalidRequest([("amount", str(error))], code="TXN_INVALID_AMOUNT") from None


def _check_settleable(hold: TransactionRow, amount: int) -> None:
    state = hold.hold
    if state is not None and state.remaining == 0 and state.voided:
        raise Conflict("TXN_ALREADY_VOIDED", "transaction has already been voided")
    if state is not None and state.remaining == 0:
        raise Conflict("TXN_ALREADY_COMMITTED", "cannot commit. Transaction already committed")
    remaining = hold.requested if state is None else state.remaining
    if amount > hold.requested:
        limit = f"original transaction amount. Original: {major(hold.requested, hold)}"
    elif amount > remaining:
        limit = f"remaining amount. Available: {major(remaining, hold)}"
    else:
        return
    text = f"cannot commit more than the {limit}, Requested: {major(amount, hold)}"
    raise InvalidRequest([("", text)], code="TXN_COMMIT_AMOUNT_EXCEEDED")


# What can be said of a request without looking anything up


def _problems_of(request: TransactionRequest) -> Problems:
    problems: Problems = []
    if request.amount and request.precise_amount is not None:
        problems.append(("amount", "either amount or precise_amount should be provided, not both"))
    elif not request.amount and request.precise_amount is None:
        problems.append(("amount", "either amount or precise_amount is required"))
    elif request.amount and (request.amount.is_nan() or request.amount < 0):
        problems.append(("amount", "amount cannot be negative"))
    if request.precise_amount is not None:
        precise = _whole(request.precise_amount)
        if precise is None:
            problems.append(("precise_amount", f"must be an integer, or a string of at most {MAX_DIGITS} digits"))
        elif precise < 0:
            problems.append(("amount", "precise_amount cannot be negative"))
    problems += _precision_problems(request.precision)
    if request.currency is not None:
        problems += _text_problems("currency", request.currency, 32)
    problems += _text_problems("reference", request.reference, MAX_REFERENCE)
    if not request.description:
        problems.append(("description", "cannot be blank"))
    elif "\x00" in request.description:
        problems.append(("description", "must not contain the NUL character"))
    problems += _side_problems("source", request.source, request.sources)
    problems += _side_problems("destination", request.destination, request.destinations)
    if request.source and request.source == request.destination:
        problems.append(("destination", "source and destination cannot be the same balance"))
    limit = request.overdraft_limit
    if limit is not None and (not limit.is_finite() or limit < 0):
        problems.append(("overdraft_limit", "cannot be negative"))
    if request.effective_date is not None:
        problems += _date_problems("effective_date", request.effective_date)
    if request.meta_data:
        problems += meta_data_problems(bytes(request.meta_data))
    for name in ("scheduled_for", "inflight_expiry_date", "inflight_commit_date", "dry_run"):
        value = getattr(request, name)
        if value and value != "0001-01-01T00:00:00Z":
            problems.append((name, "is not available in this version; leave it out"))
    if request.status:
        problems.append(("status", "is set by the ledger; leave it out"))
    return problems


def _precision_problems(precision: Decimal | None) -> Problems:
    if not precision:
        return []
    if not precision.is_finite() or precision.adjusted() > 20 or precision.adjusted() < -20:
        return [("precision", f"must be an integer from 1 to {MAX_PRECISION}")]
    if precision != precision.to_integral_value():
        return [("precision", "precision must be an integer value")]
    if precision < 0:
        return [("precision", "precision cannot be negative")]
    return [] if precision <= MAX_PRECISION else [("precision", f"must be an integer from 1 to {MAX_PRECISION}")]


def _side_problems(side: str, name: str | None, legs: list[Leg] | None) -> Problems:
    if legs:
        if name:
            return [(side, f"either {side} or {side}s is required, not both")]
        return [
            (f"{side}s", "several are not available in this version; post one transaction for each, as an atomic bulk")
        ]
    if not name:
        return [(side, f"either {side} or {side}s is required, not both")]
    return indicator_problems(side, name) if name.startswith("@") else []


def indicator_problems(field: str, name: str) -> Problems:
    """What is wrong with an ``@Name``."""
    if len(name) > MAX_NAME:
        return [(field, f"an @Name has at most {MAX_NAME} characters")]
    if not _INDICATOR.fullmatch(name) or "\x00" in name:
        return [(field, "an @Name is @ and at least one more character, without spaces")]
    return []


def _text_problems(field: str, value: str | None, longest: int) -> Problems:
    if value is None or not value.strip():
        return [(field, "cannot be blank")]
    if len(value) > longest:
        return [(field, f"has more than {longest} characters")]
    return [(field, "must not contain the NUL character")] if "\x00" in value else []


def _date_problems(field: str, value: datetime) -> Problems:
    try:
        value.astimezone(UTC)
    except OverflowError:
        return [(field, "must be between the years 1 and 9999 in UTC")]
    return []


def meta_data_problems(raw: bytes) -> Problems:
    """What the database could not store in the JSON text of ``meta_data``, or would not give back as it was."""
    text = raw.strip()
    if text == b"null":
        return []
    if not text.startswith(b"{"):
        return [("meta_data", "must be an object")]
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            return [("meta_data", "must be UTF-8")]
    if text.count(b"{") + text.count(b"[") <= _MAX_DEPTH and not _SUSPECT_JSON.search(text):
        return []
    try:
        return _value_problems(json.loads(text, parse_float=Decimal, parse_int=Decimal), 1)
    except ArithmeticError:  # An exponent that not even Decimal can hold.
        return [("meta_data", f"has a number of more than {MAX_DIGITS} digits")]
    except (ValueError, RecursionError):
        return [("meta_data", "is not valid JSON")]


def _value_problems(value: Any, depth: int) -> Problems:
    if depth > _MAX_DEPTH:
        return [("meta_data", f"is nested more than {_MAX_DEPTH} levels deep")]
    if isinstance(value, str) and _SURROGATE_OR_NUL.search(value):
        return [("meta_data", "must not contain the NUL character or half of a surrogate pair")]
    if isinstance(value, Decimal) and (abs(value.adjusted()) > MAX_DIGITS or len(value.as_tuple().digits) > MAX_DIGITS):
        return [("meta_data", f"has a number of more than {MAX_DIGITS} digits")]
    children = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    for child in children:
        if problems := _value_problems(child, depth + 1):
            return problems
    return []


def meta_data_text(raw: bytes) -> str | None:
    """The text to store of ``meta_data`` that has no problems."""
    text = bytes(raw).strip()
    return None if text in (b"", b"null") else text.decode()


# What depends on balances and currencies


def _sides(request: TransactionRequest) -> tuple[str, str]:
    """Source and destination of a request without problems."""
    assert request.source and request.destination
    return request.source, request.destination


def _currency_of(request: TransactionRequest, directory: Directory) -> str:
    """The request's currency, or, left out, that of the other side when exactly one side is a balance id.

    Blank when there is none, which ``_check_balances`` refuses.
    """
    if request.currency is not None:
        return request.currency
    concrete = [name for name in _sides(request) if name[0] != "@"]
    ref = directory.balance(concrete[0]) if len(concrete) == 1 else None
    return ref.currency if ref is not None else ""


def _check_balances(request: TransactionRequest, currency: str, directory: Directory) -> None:
    """Both balances are there, or are names to be created, in one currency, and not the same one under two names.

    Raises:
        NotFound, InvalidRequest: saying which.
    """
    keys = []
    for side, name in zip(("source", "destination"), _sides(request), strict=True):
        ref = _ref(name, currency, directory)
        if ref is not None:
            keys.append(ref.key)
            if ref.currency != currency and currency:
                text = f"is {currency}, but the {side} balance is in {ref.currency}"
                raise InvalidRequest([("currency", text)], "TXN_CURRENCY_MISMATCH")
        elif name[0] != "@":
            raise NotFound("BAL_NOT_FOUND", f"Balance with ID '{name}' not found")
    if not currency:
        raise InvalidRequest([("currency", "cannot be blank")])
    if len(keys) == 2 and keys[0] == keys[1]:
        raise InvalidRequest([("destination", "source and destination cannot be the same balance")])


def _ref(name: str, currency: str, directory: Directory) -> BalanceRef | None:
    return directory.balance((name, currency) if name[0] == "@" else name)


def _sums_of(
    request: TransactionRequest, currency: str, directory: Directory, precisions: dict[str, int]
) -> tuple[int, int, int | None]:
    """Precision, amount and overdraft limit, the last two in minor units. Precisions to be fixed are added."""
    asked = int(request.precision) if request.precision else None
    if directory.check_precision:
        fixed = precisions.get(currency) or directory.precision(currency)
        if fixed is None and asked is not None:
            fixed = precisions[currency] = asked
        _check_precision(currency, asked, fixed)
        precision = fixed or 1
    else:
        precision = asked or 1
    if request.precise_amount is not None:
        amount = _whole(request.precise_amount) or 0
    else:
        amount = _minor("amount", request.amount or Decimal(0), precision)
    if amount == 0:
        raise InvalidRequest([("amount", "transaction precise amount must be positive")], code="TXN_INVALID_AMOUNT")
    limit = request.overdraft_limit
    return precision, amount, None if limit is None else _minor("overdraft_limit", limit, precision)


def _check_precision(currency: str, asked: int | None, fixed: int | None) -> None:
    if asked is not None and asked != fixed:
        text = f"is {asked}, but {currency} has precision {fixed}"
        raise InvalidRequest([("precision", text)], "TXN_PRECISION_MISMATCH", {"precision": fixed})


def _fix_precisions(precisions: dict[str, int], directory: Directory) -> None:
    for currency, precision in precisions.items():
        _check_precision(currency, precision, directory.fix_precision(currency, precision))


def _minor(field: str, amount: Decimal, precision: int) -> int:
    try:
        return to_minor(amount, precision)
    except InexactAmount as error:
        raise InvalidRequest([(field, str(error))], code="TXN_INVALID_AMOUNT") from None


def _whole(value: int | str) -> int | None:
    """An integer, or a string of its digits; None for anything else or longer than allowed."""
    if isinstance(value, int) and value.bit_length() <= 64:
        return value
    text = str(value)
    if not re.fullmatch(r"-?[0-9]+", text) or len(text) > MAX_DIGITS:
        return None
    return int(text)


def _draft(
    request: TransactionRequest,
    currency: str,
    precision: int,
    amount: int,
    limit: int | None,
    directory: Directory,
    parent: str | None,
    inflight: bool | None,
) -> Draft:
    source, destination = (_ref(name, currency, directory) for name in _sides(request))
    assert source is not None and destination is not None and request.reference and request.description
    allow_overdraft = bool(request.allow_overdraft or request.apply_overdraft)
    hold = request.inflight if inflight is None else inflight
    return Draft(
        new_id("txn_"),
        request.reference,
        Kind.HOLD if hold else Kind.TRANSFER,
        source.key,
        destination.key,
        source.route,
        amount,
        currency,
        precision,
        request.description,
        allow_overdraft,
        limit,
        None,
        parent,
        request.effective_date.astimezone(UTC) if request.effective_date else None,  # Postgres knows offsets to 15:59.
        meta_data_text(bytes(request.meta_data)),
    )


def _at(
    index: int,
    batch: str | None,
    problems: Sequence[tuple[str, str]],
    code: str = "TXN_VALIDATION_ERROR",
    details: Any = None,
) -> InvalidRequest:
    """The problems of one request, named by its place when it is part of a batch."""
    if batch is None:
        return InvalidRequest(problems, code, details)
    joined = InvalidRequest(problems, code).message
    return InvalidRequest([(f"transactions[{index}]", joined.removesuffix("."))], code, {"index": index})
