"""Checks the rows of a funding job, and stores them as a list if every row is valid.

The error lists the first hundred problems and counts all, so that a client can mend the whole file at once.
"""

import hashlib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import islice, starmap
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from core.base.actors import reach_of_request
from core.base.errors import ErrorCode, InvalidRequest
from core.base.money import InexactAmount, to_minor
from core.base.names import escaped
from core.base.problems import MAX_LISTED, Problem, ProblemList
from core.base.sizes import description_problem
from core.base.unreadable import NUL
from core.funding import row_store
from core.funding.files.reader import FileReader
from core.funding.files.rows import Given
from core.funding.row_store import FundingRow
from core.ledger.reach import reaches
from core.ledger.rules.model import GENERAL_LEDGER, BalanceRef
from core.ledger.rules.validation import indicator_problems, new_indicator_problems
from core.ledger.store import balances as balance_store

MAX_NEW_NAMES = 10_000
"""The largest number of internal balances that one list may create."""
PIECE = 1_000
"""The number of rows that are looked up and written at once."""

PIECE_OF_MATCHES = 20_000
"""The number of rows that are matched with metadata at once, which reads all balances of a currency."""

INVALID_RECIPIENTS = ErrorCode.FND_INVALID_RECIPIENTS

_AMOUNTS = ("amount", "precise_amount")


class Pool(Struct, frozen=True):
    """The balance that pays the rows of a job, with its currency and precision."""

    source: str
    """Balance ID or ``@Name``."""
    currency: str
    precision: int
    match: str = ""
    """The path in the metadata of balances that the rows name; empty where they name IDs."""


class StoredList(Struct, frozen=True):
    """A list that is checked and stored. ``amount`` is the sum of its rows in minor units."""

    rows: int
    amount: int
    """The sum of the rows in minor units."""
    digest: bytes
    """SHA-256 over the rows."""
    new_names: dict[str, int]
    """Internal balances that do not exist yet. A negative key stands for each of them in the stored rows."""


def check_and_store(
    conn: Connection, list_id: UUID, given: Iterable[Given], pool: Pool, *, allow_duplicates: bool
) -> StoredList:
    """Check all rows, and store them as the list ``list_id``.

    Raises:
        InvalidRequest: a row is wrong (FND_INVALID_RECIPIENTS). ``details`` has the first problems and the count of all.
            The rows are written already, so the caller rolls back.
    """
    source = _look_up(conn, {pool.source}, pool.currency).get(pool.source)
    reader = given if isinstance(given, FileReader) else None
    check, digest = _Check(pool, source.key if source else None, reader), hashlib.sha256()
    rows = amount = wrong = 0
    remaining = iter(given)
    while piece := list(islice(remaining, PIECE_OF_MATCHES if pool.match else PIECE)):
        # These balances are not read through a directory: a million of them would push all others out of its memory.
        refs, check.matches = _found(conn, {each.destination for each in piece}, pool)
        kept = []
        for each in piece:
            before = check.problems.count
            minor, key = check.row(each, refs)
            if check.problems.count == before:
                kept.append(FundingRow(each.row, key, minor, each.description, each.meta_data))
                text = f"{each.row}\t{each.destination}\t{minor}\t{each.description!r}\t{each.meta_data!r}\n"
                digest.update(text.encode())
                continue
            wrong += 1
            if key:
                # A wrong row is written too, because the query for repeated destinations needs it. The rollback removes it.
                kept.append(FundingRow(each.row, key, 1, None, row_store.WRONG))
        rows += len(piece)
        amount += sum(row.amount for row in kept)
        row_store.copy_rows(conn, list_id, kept)
    if not rows:
        raise InvalidRequest([("recipients", "cannot be empty")], INVALID_RECIPIENTS)
    if not allow_duplicates and rows > 1:
        found = row_store.repeated_destinations(conn, list_id, check.problems.max_listed)
        for row, first in found.pairs:
            check.problems.add(row, "destination", f"is in row {first} too; allow_duplicates permits that")
        check.problems.count += found.total - len(found.pairs)
        wrong += found.fine
    if check.problems.count:
        raise _refusal(check.problems, rows=rows, fine=rows - wrong)
    return StoredList(rows, amount, digest.digest(), check.new_names)


def row_problems(given: Given) -> list[Problem]:
    """List the problems of a row that need no look at the database."""
    problems = [*starmap(Problem, given.problems)]
    if not given.is_read:
        return problems
    if given.description is not None and "\x00" in given.description:
        problems.append(Problem("description", NUL))
    elif given.description is not None and (text := description_problem(given.description)):
        problems.append(Problem("description", text))
    are_amounts_read = all(name not in _AMOUNTS for name, _ in given.problems)
    if are_amounts_read and (given.amount is None) == (given.precise_amount is None):
        which = "is required, or precise_amount" if given.amount is None else "and precise_amount cannot both be given"
        problems.append(Problem("amount", which, _AMOUNTS))
    if not given.destination:
        if all(name != "destination" for name, _ in given.problems):
            problems.append(Problem("destination", "cannot be blank"))
    elif given.destination[0] == "@":
        problems += starmap(Problem, indicator_problems("destination", given.destination))
    return problems


def _refusal(problems: ProblemList, *, rows: int, fine: int) -> InvalidRequest:
    details = {**problems.details(), "rows": rows, "rows_fine": fine}
    first = problems.listed[0]
    where = f"row {first['row']}{', ' if first['field'] else ''}{first['field']}"
    more = f", and {problems.count - 1} more" if problems.count > 1 else ""
    return InvalidRequest([("recipients", f"{where}: {first['message']}{more}")], INVALID_RECIPIENTS, details)


def _found(conn: Connection, names: set[str], pool: Pool) -> tuple[dict[str, BalanceRef], dict[str, int]]:
    """Find the balances of rows by what these name, and count the balances of each text that is matched with metadata."""
    if not pool.match:
        return _look_up(conn, names, pool.currency), {}
    refs = _look_up(conn, {name for name in names if name[:1] == "@"}, pool.currency)
    texts = [name for name in names if name and name[0] != "@" and "\x00" not in name]
    matches = balance_store.find_by_metadata(conn, pool.match.split(".")[1:], texts, pool.currency)
    refs |= {name: ref for name, (ref, found) in matches.items() if found == 1}
    return refs, {name: found for name, (_, found) in matches.items()}


def _look_up(conn: Connection, names: set[str], currency: str) -> dict[str, BalanceRef]:
    """Find the balances that exist in reach of the request, by ID or ``@Name``. Invalid names are left out."""
    pairs = [(name, currency) for name in names if name[:1] == "@" and not indicator_problems("", name)]
    refs = balance_store.find_refs(conn, [name for name in names if name[:1] != "@"])
    if pairs:
        refs |= {name: ref for (name, _), ref in balance_store.find_indicators(conn, pairs).items()}
    reach = reach_of_request()
    if reach.bounds_balances:
        return {name: ref for name, ref in refs.items() if reaches(reach, ref.ledger_id, ref.indicator)}
    return refs


class _Check:
    """Checks the rows of one list one by one, and collects their problems."""

    def __init__(self, pool: Pool, pool_key: int | None, reader: FileReader | None) -> None:
        self.matches: dict[str, int] = {}
        """The number of balances that each text of the piece names by metadata."""
        self.problems = ProblemList("row", max_listed=reader.max_listed if reader is not None else MAX_LISTED)
        self._reader = reader
        self.new_names: dict[str, int] = {}
        self._pool, self._pool_key = pool, pool_key

    def row(self, given: Given, refs: Mapping[str, BalanceRef]) -> tuple[int, int]:
        """Check a row. Returns its amount in minor units and the key of its balance, each 0 if it is wrong.

        A balance that does not exist yet has a negative key.
        """
        wrong = row_problems(given)
        for each in wrong:
            self._add(given, each.field, each.text)
        if not given.is_read:
            return 0, 0
        if given.currency and given.currency.upper() != self._pool.currency:
            self._add(given, "currency", f"is {escaped(given.currency)}, and the job is in {self._pool.currency}")
        named = {each.field for each in wrong}
        minor = self._amount(given) if named.isdisjoint(_AMOUNTS) else 0
        key = self._destination(given, refs.get(given.destination)) if "destination" not in named else 0
        return minor, key

    def _add(self, given: Given, field: str, text: str) -> None:
        self.problems.add(given.row, field, text, given.text_of(field))

    def _amount(self, given: Given) -> int:
        name = "amount" if given.precise_amount is None else "precise_amount"
        try:
            minor = given.precise_amount if given.amount is None else self._minor(given, given.amount)
        except InexactAmount as error:
            self._add(given, name, str(error))
            return 0
        assert minor is not None
        if minor <= 0:
            self._add(given, name, "must be greater than zero")
        return minor

    def _minor(self, given: Given, amount: Decimal) -> int:
        """Return an amount in minor units. A computed number of a spreadsheet loses its dust, if it has any.

        Raises:
            InexactAmount: it is not a whole number of minor units.
        """
        try:
            return to_minor(amount, self._pool.precision)
        except InexactAmount:
            if given.seen is None:
                raise
            minor = to_minor(given.seen, self._pool.precision)
            if self._reader is not None:
                self._reader.finds.dust(given.row, amount, given.seen)
            return minor

    def _destination(self, given: Given, ref: BalanceRef | None) -> int:
        name = given.destination
        if text := self._destination_problem(name, ref):
            self._add(given, "destination", text)
            return 0
        return ref.key if ref is not None else self.new_names[name]

    def _destination_problem(self, name: str, ref: BalanceRef | None) -> str:
        """Describe the problem of a destination, or return an empty text. A valid new name then has a key in ``new_names``."""
        if name == self._pool.source or (ref is not None and ref.key == self._pool_key):
            return "is the source; a pool cannot fund itself"
        if ref is not None:
            wrong_currency = ref.currency != self._pool.currency
            return f"is in {ref.currency}, and the job is in {self._pool.currency}" if wrong_currency else ""
        if self._pool.match and name[0] != "@":
            found, text = self.matches.get(name, 0), f"{self._pool.match} {name[:100]!r}"
            if not found:
                return f"no balance in {self._pool.currency} has {text}"
            return f"{found} balances in {self._pool.currency} have {text}, and a row pays one"
        if name[0] != "@" or not reaches(reach_of_request(), GENERAL_LEDGER, name):
            return f"there is no balance {name[:100]!r}"
        for _, text in new_indicator_problems("", name):  # ``draft_job`` has checked the currency.
            return text
        self.new_names.setdefault(name, -1 - len(self.new_names))
        if len(self.new_names) > MAX_NEW_NAMES:
            text = f"would be the {len(self.new_names)}th new balance; a list may create {MAX_NEW_NAMES}"
            del self.new_names[name]
            return text
        return ""
