"""The rows of a funding job: read one by one, checked all, and kept only if every one is right.

A million rows pass through in pieces, so memory does not grow with the file. Of what is wrong the first hundred places are
listed, and all are counted, so that one look mends the whole file.
"""

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import BinaryIO, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base.errors import InvalidRequest
from core.base.metadata import meta_data_problems, meta_data_text
from core.base.money import MAX_DIGITS, InexactAmount, to_minor
from core.base.problems import MAX_LISTED, ProblemList
from core.funding import row_store
from core.funding.requests import Recipient
from core.funding.row_store import FundingRow
from core.ledger.rules.model import BalanceRef
from core.ledger.rules.validation import indicator_problems, whole
from core.ledger.store import balances as balance_store

COLUMNS = ("destination", "amount", "precise_amount", "description")
"""Of a CSV."""
MAX_LINE = 65_536
"""Bytes of one line of a CSV."""
MAX_NEW_NAMES = 10_000
"""Internal balances that one list may create."""
PIECE = 1_000
"""Rows that are looked up and written at once."""

_AMOUNT = re.compile(r"-?[0-9]+(\.[0-9]*)?", re.ASCII)


class Given(NamedTuple):
    """A row as it was given, and what already the reading has found wrong with it."""

    row: int
    """The line of a CSV, whose header is line 1; else the place in the list, from 1."""
    destination: str
    amount: Decimal | None
    precise_amount: int | None
    description: str | None
    meta_data: str | None
    problems: Sequence[tuple[str, str]] = ()

    @property
    def is_read(self) -> bool:
        """Whether it has columns at all. Nothing more can be said of a row that has none."""
        return all(name for name, _ in self.problems)


def of_list(recipients: Iterable[Recipient]) -> Iterator[Given]:
    """The rows of a JSON list."""
    for row, each in enumerate(recipients, 1):
        problems = list(meta_data_problems(bytes(each.meta_data))) if each.meta_data else []
        precise = None if each.precise_amount is None else whole(each.precise_amount)
        if each.precise_amount is not None and precise is None:
            problems.append(("precise_amount", f"must be an integer, or a string of at most {MAX_DIGITS} digits"))
        text = None if problems else meta_data_text(bytes(each.meta_data))
        yield Given(row, each.destination or "", each.amount, precise, each.description, text, problems)


def of_csv(stream: BinaryIO) -> Iterator[Given]:
    """The rows of a CSV in UTF-8, with a header, as spreadsheets write it. Blank lines are left out.

    Raises:
        InvalidRequest: the header does not say what the columns are.
    """
    lines = _Lines(stream)
    reader = csv.reader(lines, strict=True)
    names: list[str] | None = None
    while True:
        first = lines.number + 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            values = [""]
            lines.problem = lines.problem or f"is not CSV: {error}"
        if values is None:
            break
        if names is None:
            if lines.problem:
                raise _bad_header(f"line 1 {lines.problem}")
            if values:
                names = _header(values)
        elif lines.problem:
            yield Given(first, "", None, None, None, None, [("", lines.problem)])
        elif any(values):
            yield _of_line(first, names, values)
        lines.problem = ""
    if names is None:
        raise _bad_header("it is empty")


class _Lines:
    """Lines of text out of bytes. One that is none becomes an empty one, and the problem is noted."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.number = 0
        self.problem = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(MAX_LINE + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > MAX_LINE:
            self.problem = f"is longer than {MAX_LINE} bytes"
            while line and not line.endswith(b"\n"):
                line = self._stream.readline(MAX_LINE)
            return "?\n"
        try:
            # Spreadsheets mark UTF-8 at the beginning of a file.
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError:
            self.problem = "is not UTF-8; save the file as CSV UTF-8"
            return "?\n"


def _header(values: list[str]) -> list[str]:
    names = [name.strip().lower() for name in values]
    if unknown := [name for name in names if name not in COLUMNS]:
        hint = "; the columns must be separated by commas" if ";" in unknown[0] or "\t" in unknown[0] else ""
        raise _bad_header(f"there is no column {unknown[0][:100]!r}; there are {', '.join(COLUMNS)}{hint}")
    if len(set(names)) < len(names):
        raise _bad_header("a column is there twice")
    if "destination" not in names or ("amount" in names) == ("precise_amount" in names):
        raise _bad_header("it must have destination, and either amount or precise_amount")
    return names


def _bad_header(text: str) -> InvalidRequest:
    example = "the first line must be a header such as destination,amount,description"
    return InvalidRequest([("recipients", f"{text}: {example}")], "FND_INVALID_RECIPIENTS")


def _of_line(row: int, names: list[str], values: list[str]) -> Given:
    if len(values) != len(names):
        text = f"has {len(values)} columns, and the header has {len(names)}"
        return Given(row, "", None, None, None, None, [("", text)])
    given = dict(zip(names, map(str.strip, values), strict=True))
    problems, amount, precise = [], None, None
    if text := given.get("amount", ""):
        if _AMOUNT.fullmatch(text) and len(text) <= MAX_DIGITS:
            amount = Decimal(text)
        else:
            problems.append(("amount", f"must be a number such as 12.50, not {text[:50]!r}"))
    if text := given.get("precise_amount", ""):
        precise = whole(text)
        if precise is None:
            problems.append(("precise_amount", f"must be a whole number of minor units, not {text[:50]!r}"))
    return Given(row, given["destination"], amount, precise, given.get("description") or None, None, problems)


# Checking


@dataclass
class Loaded:
    """A list that is right, and kept."""

    rows: int
    amount: int
    digest: bytes
    new_names: dict[str, int]
    """Internal balances that are not there yet, and the negative keys that stand for them in the list."""


def load(
    conn: Connection,
    list_id: UUID,
    given: Iterable[Given],
    *,
    source: str,
    currency: str,
    precision: int,
    allow_duplicates: bool,
) -> Loaded:
    """Check all rows, and keep them as a list.

    Raises:
        InvalidRequest: some row is wrong (FND_INVALID_RECIPIENTS); ``details`` has the first problems, and their number.
    """
    problems, digest, new_names = ProblemList("row"), hashlib.sha256(), dict[str, int]()
    rows = amount = 0
    pool = _look_up(conn, {source}, currency).get(source)
    remaining = iter(given)
    while piece := list(islice(remaining, PIECE)):
        # Asked for here and then forgotten: a million of them would drive all else out of a directory's memory.
        refs = _look_up(conn, {each.destination for each in piece}, currency)
        kept = []
        for each in piece:
            before = problems.count
            wrong = row_problems(each)
            for name, text in wrong:
                problems.add(each.row, name, text)
            named = {name for name, _ in wrong}
            minor = key = 0
            if each.is_read and named.isdisjoint(_AMOUNTS):
                minor = _minor(each, precision, problems)
            if each.is_read and "destination" not in named:
                key = _key_of(each, source, currency, refs, pool.key if pool else None, new_names, problems)
            if problems.count == before:
                kept.append(FundingRow(each.row, key, minor, each.description, each.meta_data))
                text = f"{each.row}\t{each.destination}\t{minor}\t{each.description!r}\t{each.meta_data!r}\n"
                digest.update(text.encode())
            elif key:
                # It goes with the whole list, and until then it shows which destinations are there twice.
                kept.append(FundingRow(each.row, key, 1, None, None))
        rows += len(piece)
        amount += sum(row.amount for row in kept)
        row_store.copy_rows(conn, list_id, kept)
    if not rows:
        raise InvalidRequest([("recipients", "cannot be empty")], "FND_INVALID_RECIPIENTS")
    if not allow_duplicates and rows > 1:
        count, repeated = row_store.repeated_destinations(conn, list_id, MAX_LISTED)
        for row, first in repeated:
            problems.add(row, "destination", f"is in row {first} too; allow_duplicates permits that")
        problems.count += count - len(repeated)
    if problems.count:
        raise _error(problems)
    return Loaded(rows, amount, digest.digest(), new_names)


def _look_up(conn: Connection, names: set[str], currency: str) -> dict[str, BalanceRef]:
    """The balances that are there, by id or ``@Name``. What cannot be a name is not looked for."""
    pairs = [(name, currency) for name in names if name[:1] == "@" and not indicator_problems("", name)]
    refs = balance_store.find_refs(conn, [name for name in names if name[:1] != "@"])
    if pairs:
        refs |= {name: ref for (name, _), ref in balance_store.find_indicators(conn, pairs).items()}
    return refs


def row_problems(given: Given) -> Sequence[tuple[str, str]]:
    """What can be said of a row by itself."""
    if not given.is_read:
        return given.problems
    problems = list(given.problems)
    if given.description is not None and "\x00" in given.description:
        problems.append(("description", "must not contain the NUL character"))
    are_amounts_read = all(name not in _AMOUNTS for name, _ in given.problems)
    if are_amounts_read and (given.amount is None) == (given.precise_amount is None):
        which = "is required, or precise_amount" if given.amount is None else "and precise_amount cannot both be given"
        problems.append(("amount", which))
    if not given.destination:
        problems.append(("destination", "cannot be blank"))
    elif given.destination[0] == "@":
        problems += indicator_problems("destination", given.destination)
    return problems


_AMOUNTS = ("amount", "precise_amount")


def _minor(given: Given, precision: int, problems: ProblemList) -> int:
    """The amount of a row in minor units, which is right if nothing is wrong."""
    name = "amount" if given.precise_amount is None else "precise_amount"
    try:
        minor = given.precise_amount if given.amount is None else to_minor(given.amount, precision)
    except InexactAmount as error:
        problems.add(given.row, name, str(error))
        return 0
    assert minor is not None
    if minor <= 0:
        problems.add(given.row, name, "must be greater than zero")
    return minor


def _error(problems: ProblemList) -> InvalidRequest:
    details = problems.details()
    first = problems.listed[0]
    place = f"row {first['row']}{', ' if first['field'] else ''}{first['field']}"
    more = f", and {problems.count - 1} more" if problems.count > 1 else ""
    text = f"{place}: {first['message']}{more}"
    return InvalidRequest([("recipients", text)], "FND_INVALID_RECIPIENTS", details)


def _key_of(
    given: Given,
    source: str,
    currency: str,
    refs: dict[str, BalanceRef],
    pool: int | None,
    new_names: dict[str, int],
    problems: ProblemList,
) -> int:
    """The key of a row's balance, or of one that is to be created; 0 where that is not to be."""
    name = given.destination
    ref = refs.get(name)
    text = ""
    if name == source or (ref is not None and ref.key == pool):
        text = "is the source; a pool cannot fund itself"
    elif ref is not None and ref.currency != currency:
        text = f"is in {ref.currency}, and the job is in {currency}"
    elif ref is None and name[0] != "@":
        text = f"there is no balance {name[:100]!r}"
    elif ref is None:
        new_names.setdefault(name, -1 - len(new_names))
        if len(new_names) > MAX_NEW_NAMES:
            text = f"would be the {len(new_names)}th new balance; a list may create {MAX_NEW_NAMES}"
            del new_names[name]
    if text:
        problems.add(given.row, "destination", text)
        return 0
    return ref.key if ref is not None else new_names[name]
