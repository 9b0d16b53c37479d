"""Checks a request without looking anything up, and lists every problem with its field."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from itertools import starmap

from msgspec import Struct

from core.base.errors import ErrorCode, InvalidRequest
from core.base.metadata import meta_data_problems
from core.base.money import MAX_DIGITS, MAX_PRECISION
from core.base.names import MAX_CURRENCY, currency_problem, unclear
from core.base.problems import Problem
from core.base.sizes import MAX_NAME, description_problem, size_problem
from core.base.unreadable import NUL
from core.ledger.rules.requests import BulkSettlement, Leg, RefundRequest, SettleRequest, Terms, TransactionRequest

MAX_REFERENCE = 512
"""The largest number of characters of a reference. A unique text must fit into a page of a B-tree."""
MAX_LEGS = 1_000
"""The largest number of sources, or of destinations, of one split."""

NO_TIME = datetime(1, 1, 1, tzinfo=UTC)
"""The time that Blnk's clients send when there is none."""

_INDICATOR = re.compile(r"@\S+")

_AMOUNTS = ("amount", "precise_amount")
_SIDES = ("source", "sources", "destination", "destinations")

Problems = list[tuple[str, str]]
"""Pairs of field and text."""
Found = list[tuple[str, str] | Problem]
"""Pairs of field and text, and problems of rules that look at several fields."""


class Checked(Struct, frozen=True, gc=False):
    """A transaction that breaks no rule that can be checked without looking anything up."""

    index: int
    """Its position among those that were sent together."""
    request: TransactionRequest
    sources: list[str]
    """The balances that are named, in order: IDs or ``@Names``."""
    destinations: list[str]
    minor: int | None
    """The amount in minor units, if it was sent in minor units."""
    effective_date: datetime | None
    terms: Terms | None
    """The terms beside a plain transfer, with dates in UTC."""


_RATE = (
    "must be 1, because a transaction moves one currency; post an exchange as two transactions, in an atomic bulk: from the "
    "source to a balance of yours in its currency, and from a balance of yours in the other currency to the destination"
)


def check(index: int, request: TransactionRequest, now: datetime, problems: Found) -> Checked:
    """Check one transaction, and add all that is wrong to ``problems``. The result counts only when nothing was wrong."""
    amount, minor = request.amount, None
    if request.precise_amount is not None:
        if amount:
            problems.append(Problem("amount", "either amount or precise_amount should be provided, not both", _AMOUNTS))
        minor = whole(request.precise_amount)
        if minor is None:
            problems.append(("precise_amount", f"must be an integer, or a string of at most {MAX_DIGITS} digits"))
        elif minor < 0:
            problems.append(Problem("amount", "precise_amount cannot be negative", _AMOUNTS))
    elif not amount:
        problems.append(Problem("amount", "either amount or precise_amount is required", _AMOUNTS))
    elif amount.is_nan() or amount < 0:
        problems.append(("amount", "amount cannot be negative"))
    if has_rate(request):
        problems.append(("rate", _RATE))
    problems += precision_problems(request.precision)
    if request.currency is not None:
        problems += used_currency_problems(request.currency)
    problems += text_problems("reference", request.reference, MAX_REFERENCE)
    if not request.description:
        problems.append(("description", "cannot be blank"))
    elif text := description_problem(request.description):
        problems.append(("description", text))
    sources = _side("source", request.source, request.sources, problems)
    destinations = _side("destination", request.destination, request.destinations, problems)
    if not set(sources).isdisjoint(destinations):
        problems.append(Problem("destination", "source and destination cannot be the same balance", _SIDES))
    limit = request.overdraft_limit
    if limit is not None and (not limit.is_finite() or limit < 0):
        problems.append(("overdraft_limit", "cannot be negative"))
    if request.meta_data:
        problems += meta_data_problems(bytes(request.meta_data))
    if request.status:
        problems.append(("status", "is set by the ledger; leave it out"))
    date, terms = request.effective_date, None
    if date is not None:
        date = in_utc("effective_date", date, problems)
    if (
        request.scheduled_for
        or request.inflight_expiry_date
        or request.inflight_commit_date
        or request.sources
        or request.destinations
    ):
        terms = _terms(request, now, problems)
    return Checked(index, request, sources, destinations, minor, date, terms)


def _terms(request: TransactionRequest, now: datetime, problems: Found) -> Terms | None:
    """Check the dates of a transaction, and collect its terms. Returns None for a plain transfer."""
    dates: dict[str, datetime] = {}
    for name in ("scheduled_for", "inflight_expiry_date", "inflight_commit_date"):
        date = getattr(request, name)
        if date is None or (date := in_utc(name, date, problems)) is None or date == NO_TIME:
            continue
        if name == "scheduled_for" or request.inflight:  # ``warnings_of`` says that the others have no effect.
            dates[name] = date
    waits = "scheduled_for" in dates and dates["scheduled_for"] > now
    if waits and request.skip_queue:
        text = "cannot be answered now when scheduled_for is in the future; leave one out"
        problems.append(Problem("skip_queue", text, ("skip_queue", "scheduled_for")))
    is_split = bool(request.sources or request.destinations)
    if not dates and not is_split:
        return None
    return Terms(
        sources=request.sources or None,
        destinations=request.destinations or None,
        atomic=is_split and bool(request.atomic),
        inflight=is_split and bool(request.inflight),
        scheduled_for=dates.get("scheduled_for"),
        scheduled_at=now if waits else None,
        inflight_expiry_date=dates.get("inflight_expiry_date"),
        inflight_commit_date=dates.get("inflight_commit_date"),
    )


def warnings_of(request: TransactionRequest) -> Problems:
    """List the fields of a right request that have no effect, though its sender may think that they have one."""
    warnings: Problems = []
    for name, done in (("inflight_expiry_date", "voided"), ("inflight_commit_date", "committed")):
        if getattr(request, name) not in (None, NO_TIME) and not request.inflight:
            warnings.append((name, f"has no effect without inflight: true, as there is no hold to be {done}"))
    return warnings


def has_rate(request: TransactionRequest) -> bool:
    """Tell whether a request asks for an exchange. Blnk's clients send 0, 1 or an empty text where there is none."""
    rate = request.rate
    return rate is not None and not (not isinstance(rate, bool) and rate in (0, 1, "", "0", "1", "1.0"))


def settlement_problems(request: SettleRequest) -> list[Problem]:
    """Check a commit or void. As in Blnk, the amounts of a void are checked too."""
    problems = []
    if request.status not in ("commit", "void"):
        text = "status not supported. use either commit or void"
        problems.append(Problem("", text, ("status",), ErrorCode.TXN_INVALID_STATUS_ACTION))
    return problems + _part_problems(request, "commit")


def refund_problems(request: RefundRequest) -> list[Problem]:
    """Check a refund."""
    problems = _part_problems(request, "refund")
    if request.description:
        problems += starmap(Problem, description_problems(request.description))
    if request.meta_data:
        problems += starmap(Problem, meta_data_problems(bytes(request.meta_data)))
    return problems


def _part_problems(request: SettleRequest | RefundRequest, action: str) -> list[Problem]:
    """Check the amounts and the reference of a request for a part of a hold or posting, or for all of it."""
    problems = []
    if request.precise_amount is not None and (whole(request.precise_amount) or 0) <= 0:
        text = "precise_amount must be positive"
        problems.append(Problem("", text, ("precise_amount",), ErrorCode.TXN_INVALID_AMOUNT))
    if request.amount is not None and (request.amount.is_nan() or request.amount < 0):
        text = f"{action} amount cannot be negative"
        problems.append(Problem("", text, ("amount",), ErrorCode.GEN_BAD_REQUEST))
    if request.reference is not None:
        problems += starmap(Problem, text_problems("reference", request.reference, MAX_REFERENCE))
    return problems


def is_partial(request: SettleRequest | RefundRequest | BulkSettlement) -> bool:
    """Tell whether a request names the amount of a part, so that the same request again would move another part."""
    return bool(request.amount or request.precise_amount)


REPEATABLE = "without a reference or an Idempotency-Key, the same request sent again moves the amount again"
"""The warning of a part whose request can be repeated."""


def precision_problems(precision: Decimal | None) -> Problems:
    """Check the number of minor units in a major unit."""
    if not precision:
        return []
    if not precision.is_finite() or precision.adjusted() > 20 or precision.adjusted() < -20:
        return [("precision", f"must be an integer from 1 to {MAX_PRECISION}")]
    if precision != precision.to_integral_value():
        return [("precision", "precision must be an integer value")]
    if precision < 0:
        return [("precision", "precision cannot be negative")]
    return [] if precision <= MAX_PRECISION else [("precision", f"must be an integer from 1 to {MAX_PRECISION}")]


def _side(side: str, name: str | None, legs: list[Leg] | None, problems: Found) -> list[str]:
    """Check one side, and return the balances that it names, in its order."""
    if bool(name) == bool(legs):
        rule = f"either {side} or {side}s is required{', not both' if name else ''}"
        problems.append(Problem(side, rule, (side, f"{side}s")))
    if not legs:
        if not name:
            return []
        if name[0] == "@":
            problems += indicator_problems(side, name)
        return [name]
    if len(legs) > MAX_LEGS:
        problems.append((f"{side}s", f"at most {MAX_LEGS} are allowed"))
        return []
    for index, leg in enumerate(legs):
        if not leg.identifier:
            problems.append((f"{side}s[{index}].identifier", "cannot be blank"))
        elif leg.identifier[0] == "@":
            problems += indicator_problems(f"{side}s[{index}].identifier", leg.identifier)
        for name in ("narration", "transaction_id"):  # They have no effect, and are stored.
            if text := size_problem(len(getattr(leg, name) or ""), MAX_NAME, "characters"):
                problems.append((f"{side}s[{index}].{name}", text))
    return [leg.identifier for leg in legs]


def indicator_problems(field: str, name: str) -> Problems:
    """Check an ``@Name`` that may exist already. ``new_indicator_problems`` has the rest, for one that does not."""
    if text := size_problem(len(name), MAX_NAME, "characters"):
        return [(field, text)]
    if not _INDICATOR.fullmatch(name) or "\x00" in name:
        return [(field, unclear(name) or "an @Name is @ and at least one more character, without spaces")]
    return []


def new_indicator_problems(field: str, name: str) -> Problems:
    """Check an ``@Name`` that no balance has yet. Balances from before this rule keep their names."""
    problems = indicator_problems(field, name)
    text = None if problems else unclear(name)
    return problems if text is None else [(field, text)]


def used_currency_problems(currency: str) -> Problems:
    """Check a currency that balances may have already. A new balance needs one without ``currency_problem``."""
    text = currency_problem(currency) if not currency.strip() or len(currency) > MAX_CURRENCY else None
    return [] if text is None else [("currency", text)]


def new_currency_problems(currency: str) -> Problems:
    """Check the currency of a new balance. Balances from before this rule keep theirs."""
    text = currency_problem(currency)
    return [] if text is None else [("currency", text)]


def text_problems(field: str, value: str | None, longest: int) -> Problems:
    """Check a text that must not be blank, nor longer than ``longest`` characters."""
    if value is None or not value.strip():
        return [(field, "cannot be blank")]
    if "\x00" in value:
        return [(field, NUL)]
    text = size_problem(len(value), longest, "characters")
    return [] if text is None else [(field, text)]


def description_problems(value: str) -> Problems:
    """Check a description, which must not be blank."""
    text = description_problem(value)
    return text_problems("description", value, len(value)) if text is None else [("description", text)]


def name_problems(field: str, value: str | None, longest: int) -> Problems:
    """Check a text by which people and programs find something: all of it must be seen."""
    return text_problems(field, value, longest) or new_name_problems(field, value)


def new_name_problems(field: str, value: str | None) -> Problems:
    """Check that a new text is clear. One that is in the ledger already may break this rule, and is found as ever.

    A blank text is no matter of this rule.
    """
    text = None if value is None or not value.strip() else unclear(value)
    return [] if text is None else [(field, text)]


def reference_refusal(reference: str | None) -> InvalidRequest | None:
    """Return the refusal of a new reference that is not clear, or None. A repetition of an old one is not refused."""
    problems = new_name_problems("reference", reference)
    return InvalidRequest(problems, ErrorCode.TXN_VALIDATION_ERROR) if problems else None


def in_utc(field: str, value: datetime, problems: Found) -> datetime | None:
    """Convert a time to UTC. A time beyond the calendar is added to ``problems``."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        problems.append((field, "must be between the years 1 and 9999 in UTC"))
        return None


def whole(value: int | str) -> int | None:
    """Read an integer, or the text of its digits. Returns None for anything else, or if it is longer than allowed."""
    if isinstance(value, int) and value.bit_length() <= 64:
        return value
    text = str(value)
    if not re.fullmatch(r"-?[0-9]+", text) or len(text) > MAX_DIGITS:
        return None
    return int(text)
