"""Resolve requests: balances for the names that they give, and a currency."""

from collections.abc import Sequence

from msgspec import Struct

from core.base.actors import Reach, reach_of_request
from core.base.errors import ErrorCode
from core.base.names import currency_problem, unclear
from core.ledger import reach as reach_of
from core.ledger.directory import Name, Names
from core.ledger.failures import Failures
from core.ledger.rules.model import GENERAL_LEDGER, BalanceRef
from core.ledger.rules.validation import Checked, Problems, new_currency_problems, new_indicator_problems
from core.ledger.store.balances import BALANCE_PREFIX

NewBalances = dict[tuple[str, str], BalanceRef]
"""Internal balances that are to be created, by indicator and currency. They have negative keys until they are."""

Sides = tuple[Sequence[BalanceRef | None], Sequence[BalanceRef | None]]
"""The balances of the sources and of the destinations of a request, with None for one that does not exist."""


class Resolved(Struct, frozen=True, gc=False):
    """A request whose balances are known, or are to be created."""

    checked: Checked
    currency: str
    sources: list[BalanceRef]
    destinations: list[BalanceRef]


def resolve(rows: Sequence[Checked], directory: Names, new: NewBalances, failures: Failures) -> list[Resolved]:
    """Look up the balances of all requests at once. Internal ones that are not there are added to ``new``."""
    ids = [name for row in rows for name in row.sources if name[0] != "@"]
    ids += [name for row in rows for name in row.destinations if name[0] != "@"]
    known = directory.know(ids)
    sides = [(row, _currency_of(row, known)) for row in rows]
    indicators = [(name, currency) for row, currency in sides for name in row.sources if name[0] == "@"]
    indicators += [(name, currency) for row, currency in sides for name in row.destinations if name[0] == "@"]
    if indicators:
        known |= directory.know(indicators)
    resolved = []
    reach = reach_of_request()
    is_bound = reach.bounds_balances
    for row, currency in sides:
        sources = [known.get((name, currency) if name[0] == "@" else name) for name in row.sources]
        destinations = [known.get((name, currency) if name[0] == "@" else name) for name in row.destinations]
        if is_bound and (hidden := _hidden(reach, row, (sources, destinations))):
            failures.add_unknown(row.index, hidden)
            continue
        are_known = bool(currency)
        for ref in sources + destinations:
            if ref is None or ref.currency != currency:
                are_known = False
        if not are_known:
            if not _check_names(row, currency, (sources, destinations), directory, failures):
                continue
            found = (
                _with_new(row.sources, sources, currency, new),
                _with_new(row.destinations, destinations, currency, new),
            )
        else:
            found = sources, destinations  # type: ignore[assignment]  # None of them is None.
        if len(sources) == len(destinations) == 1:
            is_on_both_sides = found[0][0].key == found[1][0].key
        else:
            is_on_both_sides = not {ref.key for ref in found[0]}.isdisjoint([ref.key for ref in found[1]])
        if not is_on_both_sides:
            resolved.append(Resolved(row, currency, *found))
        else:
            failures.add(row.index, [("destination", "source and destination cannot be the same balance")])
    return resolved


def _hidden(reach: Reach, row: Checked, found: Sides) -> Problems:
    """Refuse the balances that are out of reach as if there were none."""
    hidden: Problems = []
    for side, names, refs in (("source", row.sources, found[0]), ("destination", row.destinations, found[1])):
        for name, ref in zip(names, refs, strict=True):
            ledger_id, indicator = (ref.ledger_id, ref.indicator) if ref is not None else (GENERAL_LEDGER, name)
            if (ref is not None or name[0] == "@") and not reach_of.reaches(reach, ledger_id, indicator):
                hidden.append((side, f"Balance with ID '{name}' not found"))
    return hidden


def _currency_of(row: Checked, known: dict[Name, BalanceRef]) -> str:
    """Return the currency of a request, or that of its balances when exactly one side has balance IDs only.

    The result is blank when there is none, which ``_check_names`` refuses.
    """
    if row.request.currency is not None:
        return row.request.currency
    concrete = [names for names in (row.sources, row.destinations) if all(name[0] != "@" for name in names)]
    ref = known.get(concrete[0][0]) if len(concrete) == 1 else None
    return ref.currency if ref is not None else ""


def _check_names(
    row: Checked,
    currency: str,
    found: Sides,
    directory: Names,
    failures: Failures,
) -> bool:
    """Refuse IDs that name no balance, balances of another currency, and new balances whose name or currency is not right.

    The first balance of another currency is named.
    """
    unknown: list[tuple[str, str]] = []
    other: list[tuple[str, str]] = []
    sources, destinations = found
    for side, names, refs in (("source", row.sources, sources), ("destination", row.destinations, destinations)):
        for name, ref in zip(names, refs, strict=True):
            if ref is None and name[0] != "@":
                unknown.append((side, unknown_balance(name)))
            elif ref is not None and ref.currency != currency and currency:
                other.append(("currency", f"is {currency}, but the {side} balance is in {ref.currency}"))
    unclear = _new_problems(row, currency, found, directory)
    if unknown:
        failures.add_unknown(row.index, unknown + unclear + other[:1])
    elif unclear:
        failures.add(row.index, unclear)
    elif other:
        failures.add(row.index, other[:1], ErrorCode.TXN_CURRENCY_MISMATCH)
    elif not currency:
        failures.add(row.index, [("currency", "cannot be blank")])
    else:
        return True
    return False


def problems_of_new(row: Checked, currency: str, directory: Names) -> Problems:
    """Check the names and the currency of the balances that a request would create. Only a doubtful one is looked up."""
    names = {name for name in (*row.sources, *row.destinations) if name and name[0] == "@" and "\x00" not in name}
    if currency_problem(currency) is None and not any(map(unclear, names)):
        return []
    known = directory.know([(name, currency) for name in names])
    sources = [known.get((name or "", currency)) for name in row.sources]
    destinations = [known.get((name or "", currency)) for name in row.destinations]
    return _new_problems(row, currency, (sources, destinations), directory)


def _new_problems(row: Checked, currency: str, found: Sides, directory: Names) -> Problems:
    """Check the names and the currency of the balances without a reference, which the request would create.

    A currency that the ledger uses already, as a release without this rule allowed, gets new balances as ever.
    """
    problems: Problems = []
    creates = False
    sources, destinations = found
    for side, names, refs in (("source", row.sources, sources), ("destination", row.destinations, destinations)):
        is_split = bool(getattr(row.request, f"{side}s"))
        for index, (name, ref) in enumerate(zip(names, refs, strict=True)):
            if ref is None and name and name[0] == "@":
                creates = True
                problems += new_indicator_problems(f"{side}s[{index}].identifier" if is_split else side, name)
    wrong = new_currency_problems(currency) if creates and currency else []
    return problems + ([] if wrong and directory.uses(currency) else wrong)


def unknown_balance(name: str) -> str:
    """Say that a name stands for no balance, in Blnk's words, and which form a name has if this is neither."""
    text = f"Balance with ID '{name}' not found"
    if name.startswith(BALANCE_PREFIX):
        return text
    meant = f"@{name}"
    if new_indicator_problems("", meant):
        return text
    return f"{text}; did you mean {meant}? A balance is named by its id, bln_..., or by its @Name"


def _with_new(
    names: Sequence[str], refs: Sequence[BalanceRef | None], currency: str, new: NewBalances
) -> list[BalanceRef]:
    return [
        ref or new.setdefault((name, currency), BalanceRef(-1 - len(new), name, currency, name, 0))
        for name, ref in zip(names, refs, strict=True)
    ]
