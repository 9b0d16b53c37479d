"""Checks what a key is to reach, and keeps it within what the key that makes it can reach."""

from collections.abc import Iterable
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from msgspec.structs import replace

from core.base.actors import EVERYTHING, Reach
from core.base.money import MAX_DIGITS
from core.base.names import currency_problem
from core.base.rate import rate as rate_of
from core.ledger.rules.validation import indicator_problems
from core.ledger.store.reach import reaches_beyond

Problems = list[tuple[str, str]]
Limit = Decimal | dict[str, Decimal] | None

LISTED_MAX = 1_000
"""A list of a reach has at most so many members."""


def reach_problems(reach: Reach) -> Problems:
    """List what is wrong with a reach."""
    problems: Problems = []
    for name in ("ledgers", "indicators", "networks"):
        given = getattr(reach, name)
        if given is not None and not given:
            problems.append((f"reach.{name}", "has nothing in it, so the key would reach nothing; leave it out"))
        elif given is not None and len(given) > LISTED_MAX:
            problems.append((f"reach.{name}", f"has {len(given)} members, and may have {LISTED_MAX}"))
    for number, name in enumerate(reach.indicators or ()):
        problems += indicator_problems(f"reach.indicators[{number}]", name)
    for number, ledger in enumerate(reach.ledgers or ()):
        if not ledger or len(ledger) > 255 or not ledger.isprintable():
            problems.append((f"reach.ledgers[{number}]", "must be the ID of a ledger"))
    for number, network in enumerate(reach.networks or ()):
        try:
            ip_network(network)
        except ValueError:
            problems.append((f"reach.networks[{number}]", "must be an address or a network such as 10.0.0.0/8"))
    for name in ("largest_amount", "largest_overdraft"):
        problems += _limit_problems(f"reach.{name}", getattr(reach, name))
    if reach.rate is not None:
        try:
            rate_of(reach.rate)
        except ValueError as error:
            problems.append(("reach.rate", str(error)))
    return problems


def _limit_problems(name: str, limit: Limit) -> Problems:
    if isinstance(limit, dict):
        if not limit:
            return [(name, "has no currency in it; leave it out")]
        if len(limit) > LISTED_MAX:
            return [(name, f"has {len(limit)} currencies, and may have {LISTED_MAX}")]
        pairs = [(f"{name}.{currency[:40]}", each) for currency, each in limit.items()]
        wrong = [(f"{name}.{currency[:40]}", text) for currency in limit if (text := currency_problem(currency))]
    else:
        pairs, wrong = [(name, limit)] if limit is not None else [], []
    return wrong + [(name, text) for name, each in pairs if (text := _amount_problem(each)) is not None]


def _amount_problem(amount: Decimal) -> str | None:
    if not amount.is_finite() or amount < 0:
        return "must be 0 or more"
    if abs(amount.adjusted()) > MAX_DIGITS or len(amount.as_tuple().digits) > MAX_DIGITS:
        return f"must have at most {MAX_DIGITS} digits"
    return None


def inherited(reach: Reach, parent: Reach) -> Reach:
    """Fill what a reach leaves open with what the parent has."""
    open_ = {name: getattr(parent, name) for name in Reach.__struct_fields__ if getattr(reach, name) is None}
    return replace(reach, **open_)


def beyond(reach: Reach, parent: Reach) -> list[str]:
    """List the fields in which a reach goes beyond its parent's. What the reach leaves open is to be inherited first."""
    if parent == EVERYTHING:
        return []
    return reaches_beyond(reach, parent) + [
        name
        for name in Reach.__struct_fields__
        if name not in ("ledgers", "indicators")
        and (bound := getattr(parent, name)) is not None
        and not _within(name, getattr(reach, name), bound)
    ]


def _within(name: str, own: Any, bound: Any) -> bool:
    match name:
        case "networks":
            outer = [ip_network(each) for each in bound]
            return all(any(_is_part(ip_network(each), of) for of in outer) for each in own)
        case "rate":
            ours, theirs = rate_of(own), rate_of(bound)
            return ours.per_s <= theirs.per_s and ours.burst <= theirs.burst
    return _is_lower(own, bound)


def _is_part(network: IPv4Network | IPv6Network, of: IPv4Network | IPv6Network) -> bool:
    return network.version == of.version and network.subnet_of(of)  # type: ignore[arg-type]


def _is_lower(own: Decimal | dict[str, Decimal], bound: Decimal | dict[str, Decimal]) -> bool:
    if isinstance(bound, dict):
        # One limit for all currencies also reaches those that the parent cannot.
        return isinstance(own, dict) and all(name in bound and each <= bound[name] for name, each in own.items())
    values: Iterable[Decimal] = own.values() if isinstance(own, dict) else [own]
    return all(each <= bound for each in values)
