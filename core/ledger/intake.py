"""Turns requests into drafts of rows of the log, in five steps. Each step makes its value from the one before.

    decoded    ``TransactionRequest``: JSON with its types                                        ``rules/requests.py``
    checked    ``Checked``: breaks no rule that can be checked from the request alone             ``rules/validation.py``
    resolved   ``Resolved``: balances in place of names, and a currency                           ``resolve.py``
    priced     ``Priced``: minor units, and the legs of a split                                   ``price.py``
    drafted    ``Draft``: a row of the log that has no position yet                               ``draft.py``

Plain transfers, in which the steps would find nothing wrong and nothing to create, take one pass instead (``plain.py``).

A batch goes through each step whole. A request with a problem stays behind and the others go on, so that one answer names
all problems. Nothing is written until there are none. ``append.py`` takes the drafts from there.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from core.base.decoding import Unread
from core.base.errors import ErrorCode
from core.base.names import unclear
from core.ledger.directory import Names
from core.ledger.draft import Part, Priced, draft
from core.ledger.failures import Failures
from core.ledger.permission import require_for
from core.ledger.plain import draft_one, draft_plain
from core.ledger.price import price
from core.ledger.resolve import NewBalances, problems_of_new, resolve
from core.ledger.rules.model import BalanceRef, Draft
from core.ledger.rules.pricing import check_precision
from core.ledger.rules.requests import TransactionRequest
from core.ledger.rules.validation import Checked, Found, check, new_name_problems

MAX_BULK = 10_000

_Placed = TypeVar("_Placed", Priced, Part)


class Batch(Struct, frozen=True):
    """Requests that were sent together and are accepted together."""

    id: str
    decided_at_once: bool = False
    """Whether it is decided together, or before the answer. Nothing in such a batch can wait for a date."""


def draft_all(
    requests: Sequence[TransactionRequest | None],
    directory: Names,
    *,
    batch: Batch | None = None,
    unread: Sequence[Unread] = (),
) -> Sequence[Draft]:
    """Draft requests, in their order. New internal balances are created only when nothing is wrong.

    ``unread`` has the fields of the body that could not be read, with their paths in it. A batch may have None in place of
    a request.

    Raises:
        InvalidRequest: it lists every problem of the request, or of all requests of the batch. The message for a batch is
            that of the first wrong request, and ``details`` has its index and the other problems.
        NotFound: there is no balance of an ID (BAL_NOT_FOUND), and nothing is wrong with an earlier request.
        Forbidden: nothing is wrong, but the key has not the right to an overdraft or a new balance.
    """
    if not unread and (drafts := _draft_plain(requests, directory, batch)) is not None:
        return drafts
    return draft_in_steps(requests, directory, batch=batch, unread=unread)


def draft_in_steps(
    requests: Sequence[TransactionRequest | None],
    directory: Names,
    *,
    batch: Batch | None = None,
    unread: Sequence[Unread] = (),
) -> list[Draft]:
    """Draft requests of every kind. It does and raises what ``draft_all`` does."""
    failures = Failures(of_batch=batch is not None)
    checked = _check(requests, unread, batch, failures, directory)
    new: NewBalances = {}
    resolved = resolve(checked, directory, new, failures)
    first_uses: dict[str, int] = {}
    priced = price(resolved, directory, first_uses, batch.id if batch is not None else None, failures)
    if batch is not None:
        _check_references(priced, failures)
    failures.raise_any()
    require_for(priced, new, of_batch=batch is not None)
    for currency, precision in first_uses.items():
        check_precision(currency, asked=precision, fixed=directory.fix_precision(currency, precision))
    rows = _create(priced.values(), new, directory) if new else priced.values()
    return [draft(each) for each in rows]


def _draft_plain(
    requests: Sequence[TransactionRequest | None], directory: Names, batch: Batch | None
) -> Sequence[Draft] | None:
    if batch is not None:
        return draft_plain(requests, directory, batch.id)
    drafts = []
    for request in requests:
        if request is None or (one := draft_one(request, directory)) is None:
            return None
        drafts.append(one)
    return drafts


def _check(
    requests: Sequence[TransactionRequest | None],
    unread: Sequence[Unread],
    batch: Batch | None,
    failures: Failures,
    directory: Names,
) -> list[Checked]:
    now = directory.now() if any(map(_has_date, requests)) else _NO_DATE
    unread_of = _by_index(unread, batch)
    unclear_references = _unclear_references(requests, directory)
    if batch is not None and -1 in unread_of:
        failures.add(-1, [], unread=unread_of[-1])
    checked = []
    for index, request in enumerate(requests):
        problems: Found = []
        if request is None:
            problems.append(("", "is required"))
        else:
            one = check(index, request, now, problems)
            if unclear_references and request.reference in unclear_references:
                problems += new_name_problems("reference", request.reference)
            if batch is not None and batch.decided_at_once and one.terms is not None and one.terms.scheduled_at:
                cannot_wait = Unread(f"transactions[{index}].scheduled_for", _CANNOT_WAIT, None)
                unread_of.setdefault(index, []).append(cannot_wait)
        if problems or (unread_of and index in unread_of):
            if request is not None and request.currency is not None:
                # A name that is not right is no problem if its balance exists, which ``resolve`` would see.
                seen = {each[0] for each in problems}
                new = problems_of_new(one, request.currency, directory)
                problems += [each for each in new if each[0] not in seen]
            failures.add(index, problems, unread=unread_of.get(index, ()))
        else:
            checked.append(one)
    return checked


def _unclear_references(requests: Sequence[TransactionRequest | None], directory: Names) -> set[str]:
    """Find the references that are new and not clear. One that is in the ledger already gets its transaction, as ever."""
    found = {
        request.reference
        for request in requests
        if request is not None and request.reference and unclear(request.reference) is not None
    }
    return found.difference(directory.accepted(found)) if found else found


def _has_date(request: TransactionRequest | None) -> bool:
    """Tell whether a request may be scheduled. Blnk's clients send the year 1 for no date."""
    return request is not None and request.scheduled_for is not None and request.scheduled_for.year > 1


_NO_DATE = datetime.max.replace(tzinfo=UTC)
"""Stands for now where no request has a date, so that the database need not be asked."""

_CANNOT_WAIT = "cannot wait for a date in a batch that is decided as one, or now; leave out atomic and skip_queue"
_ITEM = re.compile(r"transactions\[([0-9]+)\]")


def _by_index(unread: Sequence[Unread], batch: Batch | None) -> dict[int, list[Unread]]:
    """Group unreadable fields by the index of their request. The index -1 has those of the body around a batch."""
    found: dict[int, list[Unread]] = {}
    for each in unread:
        item = _ITEM.match(each.field)
        index = 0 if batch is None else int(item.group(1)) if item else -1
        found.setdefault(index, []).append(each)
    return found


def _check_references(priced: Mapping[int, Priced], failures: Failures) -> None:
    """Refuse a reference that two transactions of one batch have. A leg's reference is made from its split's."""
    seen: dict[str, int] = {}
    for index, row in priced.items():
        legs = [f"{row.reference}_{number}" for number in range(1, len(row.legs) + 1)] if row.legs else ()
        for one in (row.reference, *legs):
            if (first := seen.setdefault(one, index)) != index:
                text = f"reference {one} is used by transactions[{first}] too"
                failures.add(index, [("", text)], ErrorCode.TXN_DUPLICATE_REFERENCE)


def _create(priced: Iterable[Priced], new: NewBalances, directory: Names) -> list[Priced]:
    """Create the internal balances that do not exist yet, and put them into their places."""
    created = directory.create(new.keys())
    refs = {new[name].key: created[name] for name in new}
    return [_placed(row, refs) for row in priced]


def _placed(row: _Placed, refs: Mapping[int, BalanceRef]) -> _Placed:
    """Put created balances into a row or a leg."""
    source, destination = refs.get(row.source or 0), refs.get(row.destination or 0)
    if isinstance(row, Priced) and row.legs:
        row = replace(row, legs=tuple(_placed(leg, refs) for leg in row.legs))
    if source is not None:
        row = replace(row, source=source.key, route=source.route)
    return row if destination is None else replace(row, destination=destination.key)
