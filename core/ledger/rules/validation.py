"""What can be said of a request without looking anything up: every problem, each with its field."""

import re
from datetime import UTC, datetime
from decimal import Decimal

from core.base.metadata import meta_data_problems
from core.base.money import MAX_DIGITS, MAX_PRECISION
from core.ledger.rules.requests import Leg, TransactionRequest

MAX_NAME = 255
MAX_REFERENCE = 512
"""Characters. What is unique must fit into a page of a B-tree."""
MAX_LEGS = 1_000
"""Sources, or destinations, of one split."""

ZERO_TIME = "0001-01-01T00:00:00Z"
"""What Blnk's clients send for no time."""

_INDICATOR = re.compile(r"@\S+")
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

Problems = list[tuple[str, str]]


def problems_of(request: TransactionRequest) -> Problems:
    """Everything that is wrong with one transaction."""
    problems: Problems = []
    if request.amount and request.precise_amount is not None:
        problems.append(("amount", "either amount or precise_amount should be provided, not both"))
    elif not request.amount and request.precise_amount is None:
        problems.append(("amount", "either amount or precise_amount is required"))
    elif request.amount and (request.amount.is_nan() or request.amount < 0):
        problems.append(("amount", "amount cannot be negative"))
    if request.precise_amount is not None:
        precise = whole(request.precise_amount)
        if precise is None:
            problems.append(("precise_amount", f"must be an integer, or a string of at most {MAX_DIGITS} digits"))
        elif precise < 0:
            problems.append(("amount", "precise_amount cannot be negative"))
    problems += precision_problems(request.precision)
    if request.currency is not None:
        problems += text_problems("currency", request.currency, 32)
    problems += text_problems("reference", request.reference, MAX_REFERENCE)
    if not request.description:
        problems.append(("description", "cannot be blank"))
    elif "\x00" in request.description:
        problems.append(("description", "must not contain the NUL character"))
    problems += _side_problems("source", request.source, request.sources)
    problems += _side_problems("destination", request.destination, request.destinations)
    if request.sources or request.destinations:
        sources, destinations = (
            names_of(request.source, request.sources),
            names_of(request.destination, request.destinations),
        )
        shared = not set(sources).isdisjoint(destinations)
    else:
        shared = bool(request.source) and request.source == request.destination
    if shared:
        problems.append(("destination", "source and destination cannot be the same balance"))
    limit = request.overdraft_limit
    if limit is not None and (not limit.is_finite() or limit < 0):
        problems.append(("overdraft_limit", "cannot be negative"))
    if request.effective_date is not None:
        problems += _date_problems("effective_date", request.effective_date)
    if request.meta_data:
        problems += meta_data_problems(bytes(request.meta_data))
    if request.scheduled_for or request.inflight_expiry_date or request.inflight_commit_date:
        for name in ("scheduled_for", "inflight_expiry_date", "inflight_commit_date"):
            if (text := getattr(request, name)) and text != ZERO_TIME:
                problems += time_problems(name, text)
    if request.status:
        problems.append(("status", "is set by the ledger; leave it out"))
    return problems


def precision_problems(precision: Decimal | None) -> Problems:
    """What is wrong with the number of minor units in a major unit."""
    if not precision:
        return []
    if not precision.is_finite() or precision.adjusted() > 20 or precision.adjusted() < -20:
        return [("precision", f"must be an integer from 1 to {MAX_PRECISION}")]
    if precision != precision.to_integral_value():
        return [("precision", "precision must be an integer value")]
    if precision < 0:
        return [("precision", "precision cannot be negative")]
    return [] if precision <= MAX_PRECISION else [("precision", f"must be an integer from 1 to {MAX_PRECISION}")]


def names_of(name: str | None, legs: list[Leg] | None) -> list[str]:
    """The balances that one side names, in its order."""
    return [leg.identifier for leg in legs] if legs else [name] if name else []


def _side_problems(side: str, name: str | None, legs: list[Leg] | None) -> Problems:
    if bool(name) == bool(legs):
        return [(side, f"either {side} or {side}s is required, not both")]
    if name:
        return indicator_problems(side, name) if name.startswith("@") else []
    assert legs is not None
    if len(legs) > MAX_LEGS:
        return [(f"{side}s", f"at most {MAX_LEGS} are allowed")]
    problems: Problems = []
    for index, leg in enumerate(legs):
        if not leg.identifier:
            problems.append((f"{side}s[{index}].identifier", "cannot be blank"))
        elif leg.identifier.startswith("@"):
            problems += indicator_problems(f"{side}s[{index}].identifier", leg.identifier)
        for name in ("narration", "transaction_id"):  # They are stored with the split, as JSON that Postgres reads.
            if "\x00" in (getattr(leg, name) or ""):
                problems.append((f"{side}s[{index}].{name}", "must not contain the NUL character"))
    return problems


def indicator_problems(field: str, name: str) -> Problems:
    """What is wrong with an ``@Name``."""
    if len(name) > MAX_NAME:
        return [(field, f"an @Name has at most {MAX_NAME} characters")]
    if not _INDICATOR.fullmatch(name) or "\x00" in name:
        return [(field, "an @Name is @ and at least one more character, without spaces")]
    return []


def text_problems(field: str, value: str | None, longest: int) -> Problems:
    if value is None or not value.strip():
        return [(field, "cannot be blank")]
    if len(value) > longest:
        return [(field, f"has more than {longest} characters")]
    return [(field, "must not contain the NUL character")] if "\x00" in value else []


def time_of(text: str | None) -> datetime | None:
    """A time that has no problems, in UTC; None for none, also as Blnk's clients write that."""
    if not text or text == ZERO_TIME:
        return None
    # Postgres keeps microseconds; what is finer is cut.
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


def time_problems(field: str, text: str) -> Problems:
    """What is wrong with an RFC 3339 time."""
    if _RFC_3339.fullmatch(text):
        try:
            return _date_problems(field, datetime.fromisoformat(text.upper()))
        except ValueError:
            pass
    example = "(e.g., 2024-04-22T15:28:03+00:00)"
    return [(field, f"please format the scheduled date as 'YYYY-MM-DDTHH:MM:SS+00:00' {example}")]


def _date_problems(field: str, value: datetime) -> Problems:
    try:
        value.astimezone(UTC)
    except OverflowError:
        return [(field, "must be between the years 1 and 9999 in UTC")]
    return []


def whole(value: int | str) -> int | None:
    """An integer, or a string of its digits; None for anything else or longer than allowed."""
    if isinstance(value, int) and value.bit_length() <= 64:
        return value
    text = str(value)
    if not re.fullmatch(r"-?[0-9]+", text) or len(text) > MAX_DIGITS:
        return None
    return int(text)
